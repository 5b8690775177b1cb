"""Codes as people type them, and what strangers are told: once an hour, at next to no cost."""

from __future__ import annotations

import asyncio
from dataclasses import dataclass, field, replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from core.access import (
    ALPHABET,
    CODE_CHARS,
    Doorman,
    hash_code,
    new_code,
    parse_code,
    split_confirmation,
)
from core.errors import StorageFailure
from core.messages import Actor, ConversationAddress, InboundMessage
from core.refusals import STRANGER, UNLINKED, Rejected
from core.words import Words


@dataclass
class Time:
    """Seconds that a test sets."""

    at: float = 0.0

    def __call__(self) -> float:
        """Now."""
        return self.at


@dataclass
class Asked:
    """Counts the strangers that are noted."""

    who: list[Actor] = field(default_factory=list)

    async def __call__(self, message: InboundMessage) -> str:
        """A pairing code."""
        self.who.append(message.actor)
        return "AAAA-BBBB"


def message(actor: Actor) -> InboundMessage:
    """A message of somebody."""
    address = ConversationAddress(platform="telegram", workspace="", channel="1", thread="")
    return InboundMessage(event_id="e", address=address, actor=actor, text="hello")


EVE = Actor(platform="telegram", workspace="", external_id="7", name="Eve")


def test_codes_are_random_and_readable() -> None:
    """Groups of four out of an alphabet without look-alikes; no two alike."""
    codes = {new_code() for _ in range(500)}
    assert len(codes) == 500
    for code in codes:
        assert len(parse_code(code)) == CODE_CHARS
        assert set(code) <= set(ALPHABET) | {"-"}


@given(st.text(alphabet=ALPHABET, min_size=1, max_size=CODE_CHARS))
def test_a_code_survives_being_read_aloud_and_copied(code: str) -> None:
    """Case, dashes, blanks, backticks and look-alike letters do not matter."""
    worn = code.replace("1", "l").replace("0", "o").replace("V", "u").lower()
    typed = f" `{worn[:4]}-{worn[4:]}` "
    assert parse_code(typed) == code
    assert hash_code(typed) == hash_code(code)


@given(st.text(max_size=300))
def test_any_text_may_be_sent_as_a_code(text: str) -> None:
    """Whatever is typed has a hash of fixed length, and parsing twice changes nothing."""
    assert parse_code(parse_code(text)) == parse_code(text)
    assert len(hash_code(text)) == 64


async def test_a_stranger_is_told_once_an_hour() -> None:
    """The first message is answered with a pairing code, the next ones not, an hour later again."""
    time, asked = Time(), Asked()
    doorman = Doorman(now=time)
    first = await doorman.answer(message(EVE), STRANGER, asked)
    assert "`/invite AAAA-BBBB`" in first.sentence
    assert not first.quiet
    for at in (1.0, 3599.0):
        time.at = at
        renamed = replace(EVE, name="Mallory", language="zh")
        assert (await doorman.answer(message(renamed), STRANGER, asked)).quiet
    assert len(asked.who) == 1
    time.at = 3601.0
    assert not (await doorman.answer(message(EVE), STRANGER, asked)).quiet
    other = replace(EVE, external_id="8")
    assert not (await doorman.answer(message(other), STRANGER, asked)).quiet


async def test_an_unlinked_place_costs_no_transaction() -> None:
    """Its people are told how it is linked; nobody is noted, and the sentence is translatable."""
    asked = Asked()
    said = await Doorman(now=Time()).answer(message(EVE), UNLINKED, asked)
    assert asked.who == []
    assert "`it0 link`" in said.sentence
    assert "此处尚未与任何团队关联" in Words("zh").of(said.sentence)


async def test_the_api_has_no_way_in() -> None:
    """A token of somebody who was shut out gets no pairing code."""
    asked = Asked()
    mine = replace(EVE, platform="it0")
    assert await Doorman(now=Time()).answer(message(mine), STRANGER, asked) == STRANGER
    assert asked.who == []


def test_guessing_stops_after_five_wrong_codes() -> None:
    """For ten minutes, for that person alone."""
    time = Time()
    doorman = Doorman(now=time)
    for at in range(5):
        time.at = float(at)
        assert doorman.try_code(EVE) is None
    assert isinstance(doorman.try_code(replace(EVE, name="other name")), Rejected)
    assert doorman.try_code(replace(EVE, external_id="8")) is None
    time.at = 600.5
    assert doorman.try_code(EVE) is None
    assert isinstance(doorman.try_code(EVE), Rejected)


def test_what_was_no_wrong_guess_does_not_count() -> None:
    """Good codes, however many; one more than was tried takes nothing back."""
    doorman = Doorman(now=Time())
    for _ in range(9):
        assert doorman.try_code(EVE) is None
        doorman.take_back(EVE)
    doorman.take_back(EVE)
    for _ in range(5):
        assert doorman.try_code(EVE) is None
    assert doorman.try_code(EVE) is not None


async def test_of_many_messages_at_once_one_is_answered() -> None:
    """The others arrive while the answer is made."""
    asked, doorman = Asked(), Doorman(now=Time())
    answers = await asyncio.gather(
        *(doorman.answer(message(EVE), STRANGER, asked) for _ in range(30))
    )
    assert sum(not answer.quiet for answer in answers) == 1
    assert len(asked.who) == 1


async def test_who_could_not_be_answered_is_answered_next_time() -> None:
    """A database that fails does not silence a stranger for an hour."""
    asked, doorman = Asked(), Doorman(now=Time())

    async def broken(_message: InboundMessage) -> str:
        raise StorageFailure("no")

    with pytest.raises(StorageFailure):
        await doorman.answer(message(EVE), STRANGER, broken)
    assert not (await doorman.answer(message(EVE), STRANGER, asked)).quiet


@pytest.mark.parametrize(
    ("typed", "split"),
    [
        ("7KQ2-M9XD-04TR", ("7KQ2-M9XD-04TR", False)),
        ("7KQ2 M9XD  04TR\tConfirm ", ("7KQ2 M9XD 04TR", True)),
        ("confirm", ("confirm", False)),
        (" ", (" ", False)),
    ],
)
def test_the_word_behind_a_code(typed: str, split: tuple[str, bool]) -> None:
    """``confirm`` is no part of the code, and alone it confirms nothing."""
    assert split_confirmation(typed) == split


def test_strangers_do_not_fill_the_memory() -> None:
    """Of very many strangers the oldest are forgotten."""
    asked, doorman = Asked(), Doorman(now=Time())

    async def crowd() -> None:
        for number in range(10_050):
            await doorman.answer(message(replace(EVE, external_id=str(number))), STRANGER, asked)

    asyncio.run(crowd())
    assert len(doorman._told) == 10_000

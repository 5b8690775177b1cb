"""What every way in makes of recorded payloads, and of payloads that are broken."""

from __future__ import annotations

import copy
from collections.abc import Iterator
from dataclasses import replace
from functools import partial
from typing import Any

import pytest
import structlog
from hypothesis import given, settings
from hypothesis import strategies as st

from core.messages import MAX_ATTACHMENTS
from tests.contracts.translate_kit import CALLER, KITS, InKit, Payload, Reading

CASES = [pytest.param(kit, name, id=f"{kit.name}-{name}") for kit in KITS for name in kit.expected]

JUNK = st.one_of(
    st.none(),
    st.booleans(),
    st.integers(),
    st.floats(allow_nan=False),
    st.text(max_size=8),
    st.lists(st.integers(), max_size=2),
    st.dictionaries(st.text(max_size=4), st.text(max_size=4), max_size=2),
)
"""What may stand where something else belongs."""

TELEGRAM_KINDS = ("message", "edited_message", "callback_query", "my_chat_member")
Path = tuple[str | int, ...]


@pytest.fixture(autouse=True)
def _quiet() -> Iterator[None]:
    """Thousands of unreadable payloads need no line each."""
    with structlog.testing.capture_logs():
        yield


def seen(kit: InKit, payload: Payload) -> Reading | None:
    """The reading; a place of the API that nobody named is made up anew each time."""
    reading = kit.read(payload)
    if kit.name == "api" and reading and reading.place[2].startswith("place_"):
        return replace(reading, place=(*reading.place[:2], "place"))
    return reading


@pytest.mark.parametrize("kit", KITS, ids=lambda kit: kit.name)
def test_every_recorded_payload_has_an_expectation(kit: InKit) -> None:
    """A new payload needs a line in the table."""
    assert kit.recorded() == set(kit.expected)


@pytest.mark.parametrize(("kit", "name"), CASES)
def test_a_payload_becomes_what_it_says(kit: InKit, name: str) -> None:
    """Kind, event id, person, workspace, group, thread, text and files are exactly these."""
    assert seen(kit, kit.payload(name)) == kit.expected[name]


@pytest.mark.parametrize(("kit", "name"), CASES)
def test_a_redelivery_reads_the_same(kit: InKit, name: str) -> None:
    """The same payload has the same event id again, and reading changes nothing in it."""
    payload = kit.payload(name)
    kept = copy.deepcopy(payload)
    first = seen(kit, payload)
    assert payload == kept
    assert seen(kit, payload) == first


@pytest.mark.parametrize("kit", KITS, ids=lambda kit: kit.name)
def test_only_twins_share_an_event_id(kit: InKit) -> None:
    """What a platform sends twice is one message; what differs, and edits, never collide."""
    by_id: dict[str, set[str]] = {}
    for name, reading in kit.expected.items():
        if reading is not None and reading.kind == "message" and reading.event_id:
            by_id.setdefault(reading.event_id, set()).add(name)
    if kit.name != "api":  # there the client's key is the identity, which is the same here
        shared = {frozenset(names) for names in by_id.values() if len(names) > 1}
        assert shared == {frozenset(pair) for pair in kit.twins}
    for one, other in kit.twins:
        assert kit.expected[one] == kit.expected[other]


def paths(value: object, at: Path = ()) -> Iterator[Path]:
    """The way to every part of a payload."""
    match value:
        case dict():
            parts: list[tuple[str | int, Any]] = list(value.items())
        case list():
            parts = list(enumerate(value))
        case _:
            parts = []
    for key, part in parts:
        yield (*at, key)
        yield from paths(part, (*at, key))


def change(payload: Payload, path: Path, junk: object, *, drop: bool) -> None:
    """Take a part away, or put something else in its place; it may be gone already."""
    owner: Any = payload
    try:
        for key in path[:-1]:
            owner = owner[key]
        if drop:
            del owner[path[-1]]
        else:
            owner[path[-1]] = junk
    except (LookupError, TypeError):
        return


@pytest.mark.parametrize(("kit", "name"), CASES)
@settings(max_examples=25)
@given(data=st.data())
def test_a_broken_payload_never_raises(kit: InKit, name: str, data: st.DataObject) -> None:
    """Parts are missing or of a wrong type: no crash, and nobody else is taken for the writer."""
    payload = kit.payload(name)
    everywhere = list(paths(payload))
    for _ in range(data.draw(st.integers(1, 3))):
        path = data.draw(st.sampled_from(everywhere))
        change(payload, path, data.draw(JUNK), drop=data.draw(st.booleans()))
    reading = kit.read(payload)
    if reading is None or reading.kind == "refused":
        return
    assert reading.actor[1] in {"", *acting(payload)}, "somebody else was named"
    assert len(reading.files) <= MAX_ATTACHMENTS


def acting(payload: Payload) -> set[str]:
    """The ids that stand where a payload says who acts; whom it quotes does not count."""
    places: tuple[Path, ...] = (
        *((kind, "from", "id") for kind in TELEGRAM_KINDS),
        ("event", "user"),
        ("event", "message", "user"),
        ("event", "assistant_thread", "user_id"),
        ("user", "id"),
        ("user_id",),
    )
    return {CALLER.user.id, *(str(found) for found in map(partial(part_at, payload), places))}


def part_at(payload: object, path: Path) -> object:
    """What stands at a path; empty where nothing does."""
    for key in path:
        payload = payload.get(key, "") if isinstance(payload, dict) else ""
    return payload

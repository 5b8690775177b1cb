"""What must hold after a chat run: the platform's side is the truth, the database its witness.

A check adds a sentence to ``problems``; a window that no program can close is counted.
"""

from __future__ import annotations

import re
from collections import defaultdict
from collections.abc import Mapping
from dataclasses import dataclass
from itertools import pairwise

from core.turns import MAX_CROWDED, MAX_FAILURES
from tests.chaos.chat_history import PLACEHOLDERS, Part, Said, Shown, numbered, parts_by_marker
from tests.chaos.chat_killer import Strike
from tests.chaos.checks import Verdict, audited, metered
from tests.chaos.records import Records, TurnRecord

SEE_ABOVE = "(see above)"
"""What is left of a preview's later part that the final text did not need (core.replies)."""
_REFUSALS = ('"logger": "telegram.request.BaseRequest"', '"event": "slack.wrong_token"')
"""Lines about a platform that was down or busy; the first comes from the library itself."""
_ASKED = re.compile(r"\[\[word (q\d+[oe])")


@dataclass(frozen=True, slots=True, kw_only=True)
class Stored:
    """A turn with what the checks of chats need besides its record."""

    record: TurnRecord
    conversation: str
    text: str
    files: int

    @property
    def marker(self) -> str:
        """Which message it answers; empty for the commands of the beginning."""
        found = _ASKED.search(self.text)
        return found[1] if found else ""

    @property
    def joined(self) -> bool:
        """It is an edit that came while its message was being answered."""
        return ":edit:" in self.record.event

    @property
    def given_up(self) -> bool:
        """It crashed too often."""
        crashes = self.record.failures >= MAX_FAILURES or self.record.crowded >= MAX_CROWDED
        return self.record.failure == "poisoned" and crashes


@dataclass(frozen=True, slots=True, kw_only=True)
class History:
    """Everything that a run left behind."""

    said: tuple[Said, ...]
    shown: tuple[Shown, ...]
    """What the bot wrote since everybody was let in."""
    stored: tuple[Stored, ...]
    commands: int
    """How many turns it took to let everybody in."""
    records: Records
    requests: int
    logs: str
    strikes: tuple[Strike, ...]
    leftovers: Mapping[str, int]


def judge(history: History) -> Verdict:
    """Check everything."""
    verdict = Verdict()
    turns: dict[str, list[Stored]] = defaultdict(list)
    for stored in history.stored:
        turns[stored.marker[:-1]].append(stored)
    parts = parts_by_marker(history.shown)
    first: dict[str, Shown] = {}
    """Where the answer of each turn begins, by turn id."""
    for said in history.said:
        mine = turns.get(said.marker[:-1], [])
        _stored_once(said, mine, verdict)
        _answered_once(said, mine, parts, first, verdict)
    expected = len(history.said) + sum(stored.joined for stored in history.stored)
    verdict.demand(
        len(history.stored) == expected + history.commands,
        f"{len(history.stored)} turns, {expected} messages and {history.commands} commands",
    )
    _in_order(history, turns, first, verdict)
    _timed(history, parts, verdict)
    _nothing_else(history, verdict)
    metered(history.records, history.requests, verdict)
    audited(history.records, verdict)
    verdict.demand(history.records.leases == 0, f"{history.records.leases} leases were left")
    _counted(history, verdict)
    verdict.answers_s.sort()
    return verdict


def _stored_once(said: Said, mine: list[Stored], verdict: Verdict) -> None:
    originals = [stored for stored in mine if not stored.joined]
    verdict.demand(
        len(originals) == 1, f"{_name(said)}: stored {len(originals)} times {_ids(mine)}"
    )
    verdict.demand(len(mine) - len(originals) <= 1, f"{_name(said)}: its edit joined twice")
    for stored in originals:
        verdict.demand(stored.files == said.files, f"{_name(said)}: {stored.files} files")
    for stored in mine:
        record = stored.record
        name = f"{_name(said)} ({record.id}, {record.attempts} attempts)"
        verdict.demand(record.status == "done", f"{name}: not terminal but {record.status}")
        ended = record.outcome == "answered" or stored.given_up
        ended = ended or (stored.joined and record.outcome == "steered")
        verdict.demand(ended, f"{name}: {record.outcome} {record.failure}")
        verdict.demand(
            record.delivered and record.problem is None, f"{name}: not delivered {record.problem}"
        )
        verdict.windows["given up after too many crashes"] += stored.given_up
        verdict.windows["attempts beyond the first"] += record.attempts - 1
    if said.edited:
        verdict.windows[f"edits: {_fate(said, mine)}"] += 1


def _fate(said: Said, mine: list[Stored]) -> str:
    if any(stored.joined for stored in mine):
        steered = any(stored.record.outcome == "steered" for stored in mine)
        return "joined the answer" if steered else "answered once more"
    replaced = any(stored.marker == said.edited for stored in mine)
    return "in time" if replaced else "after the answer"


def _answered_once(
    said: Said,
    mine: list[Stored],
    parts: Mapping[str, tuple[Part, ...]],
    first: dict[str, Shown],
    verdict: Verdict,
) -> None:
    """As many answers as turns that were answered; each whole, once, and in its place."""
    wanted = [stored for stored in mine if stored.record.outcome == "answered"]
    shown = {marker: parts[marker] for marker in said.expected if marker in parts}
    verdict.demand(bool(shown) or not wanted, f"{_name(said)}: no answer {_ids(mine)}")
    verdict.demand(
        len(shown) <= len(wanted), f"{_name(said)}: {len(shown)} answers to {len(wanted)} turns"
    )
    for marker, pieces in shown.items():
        chain = whole(pieces, said.expected[marker])
        if chain is None:
            pictured = [(part.shown.ref, part.numbers[0], part.numbers[-1]) for part in pieces]
            verdict.problems.append(
                f"{_name(said)}: {marker} is not 0 to {said.expected[marker] - 1} once,"
                f" but {pictured} {_ids(mine)}"
            )
            continue
        for stored in wanted:
            if stored.marker == marker or len(wanted) == 1:
                first[stored.record.id] = chain[0].shown
        for part in pieces:
            where = part.shown.place
            verdict.demand(where == said.place, f"{_name(said)}: answered in {where}")
            if part not in chain:
                _extra(said, part, verdict)


def whole(pieces: tuple[Part, ...], words: int, begin: int = 0) -> tuple[Part, ...] | None:
    """The pieces that make the words from ``begin`` on, in the platform's order; None: none do."""
    if begin == words:
        return ()
    for at, part in enumerate(pieces):
        numbers = part.numbers
        if numbers != tuple(range(begin, begin + len(numbers))):
            continue
        rest = whole(pieces[at + 1 :], words, begin + len(numbers))
        if rest is not None:
            return (part, *rest)
    return None


def _extra(said: Said, part: Part, verdict: Verdict) -> None:
    """A piece that is there besides the answer: a later part's copy is the known window."""
    if part.numbers[0] == 0:
        verdict.problems.append(f"{_name(said)}: answered twice, again in {part.shown.ref}")
    else:
        verdict.windows[f"duplicate later parts ({said.platform})"] += 1


def _in_order(
    history: History,
    turns: Mapping[str, list[Stored]],
    first: Mapping[str, Shown],
    verdict: Verdict,
) -> None:
    """Answers stand in the order of the turns, these in that of the messages."""
    conversations: dict[tuple[str, str], list[tuple[int, float]]] = defaultdict(list)
    for stored in history.stored:
        begin = first.get(stored.record.id)
        if begin is not None:
            key = (stored.conversation, begin.place)
            conversations[key].append((stored.record.seq, begin.order))
    for (conversation, place), found in conversations.items():
        orders = [order for _, order in sorted(found)]
        verdict.demand(
            orders == sorted(orders), f"{place}: answers out of order ({conversation}) {orders}"
        )
    places: dict[str, list[tuple[float, int, bool]]] = defaultdict(list)
    for said in history.said:
        for stored in turns.get(said.marker[:-1], []):
            if not stored.joined:
                places[said.place].append((said.at, stored.record.seq, said.in_order))
    for place, messages in places.items():
        messages.sort()
        for (_, before, first_ordered), (_, after, ordered) in pairwise(messages):
            turned = before > after
            if first_ordered and ordered:
                verdict.demand(not turned, f"{place}: stored out of order ({before}, {after})")
            verdict.windows["messages stored in another order than they were said"] += turned


def _nothing_else(history: History, verdict: Verdict) -> None:
    """Every message of the bot is part of an answer, a known remainder, or a problem."""
    known = {marker for said in history.said for marker in said.expected}
    notices = {stored.record.final for stored in history.stored if stored.given_up}
    for shown in history.shown:
        markers = numbered(shown.text)
        if shown.text.strip() in PLACEHOLDERS:
            verdict.windows[f"orphan placeholders ({shown.platform})"] += 1
        elif not markers:
            expected = shown.text.strip() == SEE_ABOVE or shown.text in notices
            verdict.windows["pieces of previews put away"] += expected
            verdict.demand(expected, f"{shown.ref}: unexpected {shown.text[:200]!r}")
        else:
            one = len(markers) == 1 and set(markers) <= known
            verdict.demand(one, f"{shown.ref}: answers {sorted(markers)}")
            verdict.demand(not shown.open, f"{shown.ref}: never finished")


def _timed(history: History, parts: Mapping[str, tuple[Part, ...]], verdict: Verdict) -> None:
    """From the last kill that fell while a message was being answered to its whole answer.

    Messages that waited behind others of their place at that moment do not count: platforms
    limit how much may be written in a place, so such waits measure the limit.
    """
    kills = [strike.at for strike in history.strikes if strike.deadly]
    ready: dict[str, float] = {}
    """When the place was last done with what had been said before."""
    for said in sorted(history.said, key=lambda item: item.at):
        pieces = [part for marker in said.expected for part in parts.get(marker, ())]
        if not pieces:
            continue
        done = max(part.shown.final_at for part in pieces)
        begun = max(said.at, ready.get(said.place, 0.0))
        hits = [at for at in kills if begun < at < done]
        if hits:
            verdict.answers_s.append(done - max(hits))
        ready[said.place] = max(done, begun)


def _counted(history: History, verdict: Verdict) -> None:
    for line in history.logs.splitlines():
        if any(words in line for words in _REFUSALS):
            verdict.windows["refusals of the platforms logged as errors"] += 1
        elif "Traceback" in line or '"level": "error"' in line:
            verdict.problems.append(f"log: {line[-1500:]}")
    fenced = history.logs.count('"event": "turn.fenced"')
    verdict.windows["turns fenced or dropped by zombies"] = fenced + history.logs.count(
        '"reason": "lost"'
    )
    verdict.windows["late edits of zombies, made good"] = history.logs.count("reply.late_edit")
    verdict.windows.update(history.leftovers)


def _name(said: Said) -> str:
    return f"{said.platform} {said.place} {said.marker} ({said.kind})"


def _ids(mine: list[Stored]) -> list[str]:
    return [f"{stored.record.id}:{stored.record.outcome}" for stored in mine]

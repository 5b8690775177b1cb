"""What must hold after a run, from the database and from the platform; and what is counted.

A check adds a sentence to ``problems``; a window that no program can close is counted.
"""

from __future__ import annotations

import re
from collections import Counter, defaultdict
from dataclasses import dataclass, field
from itertools import pairwise

from core.markdown import split_markdown
from core.replies import PLACEHOLDER
from core.steps import ModelStep, ToolStep
from core.turns import MAX_CROWDED, MAX_FAILURES
from tests.chaos.clients import Clients
from tests.chaos.messages import Chat, Planned
from tests.chaos.records import Records, TurnRecord, model_calls_of
from tests.chaos.site import Hit
from tests.fakes.platform import MAX_CHARS, FakePlatform, Message

ENOUGH_STOPS = 4
"""From so many frozen workers on, one at least must have found its turns taken."""

WINDOWS = (
    "orphan placeholders (platform with look-up)",
    "orphan placeholders (platform without look-up)",
    "duplicate later parts",
    "previews orphaned with text",
    "adopted posts",
    "edits repeated with the same text",
    "estimated model calls",
    "unknown tool outcomes",
    "turns fenced or dropped by zombies",
    "attempts beyond the first",
    "given up after too many crashes",
    "late edits of zombies, made good",
)


@dataclass(slots=True, kw_only=True)
class Evidence:
    """Everything that a run left behind."""

    chats: tuple[Chat, ...]
    clients: Clients
    platform: FakePlatform
    records: Records
    requests: int
    """Model requests that the provider saw."""
    logs: str
    hits: list[Hit]


@dataclass(slots=True)
class Verdict:
    """Problems (there must be none) and counts (which are reported)."""

    problems: list[str] = field(default_factory=list)
    windows: Counter[str] = field(default_factory=Counter)
    answers_s: list[float] = field(default_factory=list)
    """From the last kill to the final text of each turn that a killed worker was answering."""

    def demand(self, holds: bool, sentence: str) -> None:  # reads like assert
        """Note a problem unless it holds."""
        if not holds:
            self.problems.append(sentence)


def judge(evidence: Evidence) -> Verdict:
    """Check everything."""
    verdict = Verdict()
    turns = {turn.event: turn for turn in evidence.records.turns}
    _nothing_lost(evidence, turns, verdict)
    for chat in evidence.chats:
        _in_order(chat, turns, evidence.platform, verdict)
        for planned in chat.messages:
            if (turn := turns.get(planned.event)) is not None:
                _answered_once(planned, turn, evidence.platform, verdict, chat)
                _tools_once(planned, turn, evidence.platform, verdict)
    metered(evidence.records, evidence.requests, verdict)
    audited(evidence.records, verdict)
    _clean_logs(evidence, verdict)
    _count(evidence, verdict)
    verdict.answers_s = _answer_times(evidence, turns)
    return verdict


def _nothing_lost(evidence: Evidence, turns: dict[str, TurnRecord], verdict: Verdict) -> None:
    planned = {item.event for chat in evidence.chats for item in chat.messages}
    verdict.demand(
        set(evidence.clients.acked) == planned, "not every message was acknowledged in the end"
    )
    for event, turn_id in evidence.clients.acked.items():
        stored = turns.get(event)
        verdict.demand(
            stored is not None and stored.id == turn_id,
            f"lost: {event} was acknowledged as {turn_id}",
        )
    verdict.demand(len(turns) == len(evidence.records.turns) == len(planned), "turns != messages")
    verdict.problems += evidence.clients.contradictions
    verdict.demand(evidence.records.leases == 0, f"{evidence.records.leases} leases were left")


def _in_order(
    chat: Chat, turns: dict[str, TurnRecord], platform: FakePlatform, verdict: Verdict
) -> None:
    stored = [turn for turn in turns.values() if turn.thread == chat.name]
    stored.sort(key=lambda turn: turn.seq)
    sent = [planned.event for planned in chat.messages]
    verdict.demand([turn.event for turn in stored] == sent, f"{chat.name}: stored out of order")
    places = [_number(turn.parts[1]) for turn in stored if 1 in turn.parts]
    verdict.demand(places == sorted(places), f"{chat.name}: answers out of order on the platform")


def _number(ref: str) -> int:
    return int(ref.removeprefix("m"))


def _answered_once(
    planned: Planned, turn: TurnRecord, platform: FakePlatform, verdict: Verdict, chat: Chat
) -> None:
    name = f"{planned.event} ({planned.kind}, {turn.id}, {turn.attempts} attempts)"
    crashes = turn.failures >= MAX_FAILURES or turn.crowded >= MAX_CROWDED
    poisoned = turn.failure == "poisoned" and crashes
    verdict.windows["given up after too many crashes"] += poisoned
    verdict.demand(turn.status == "done", f"{name}: not terminal but {turn.status}")
    verdict.demand(turn.outcome == "answered" or poisoned, f"{name}: {turn.outcome} {turn.failure}")
    verdict.demand(turn.delivered and turn.problem is None, f"{name}: not delivered {turn.problem}")
    if not poisoned:
        verdict.demand(_says_it(planned, turn), f"{name}: wrong text {turn.final[:300]!r}")
    texts = split_markdown(turn.final, MAX_CHARS)
    shown = {message.id: message for message in platform.shown(turn.id)}
    for part, text in enumerate(texts, start=1):
        message = shown.get(turn.parts.get(part, ""))
        verdict.demand(
            message is not None and message.text == text,
            f"{name}: part {part} of {len(texts)} shows {message and message.text[:200]!r}",
        )
    extra = [shown[ref] for part, ref in turn.parts.items() if part > len(texts) and ref in shown]
    verdict.demand(all(item.text == "(see above)" for item in extra), f"{name}: stale extra part")
    _orphans(name, turn, shown, texts, verdict, chat)


def _orphans(
    name: str,
    turn: TurnRecord,
    shown: dict[str, Message],
    texts: tuple[str, ...],
    verdict: Verdict,
    chat: Chat,
) -> None:
    known = set(turn.parts.values())
    for message in shown.values():
        if message.id in known:
            continue
        if message.part > 1:
            verdict.windows["duplicate later parts"] += 1
        elif message.text == PLACEHOLDER:
            can = "with" if chat.platform == "finding" else "without"
            verdict.windows[f"orphan placeholders (platform {can} look-up)"] += 1
        else:
            verdict.windows["previews orphaned with text"] += 1
            verdict.demand(message.text != texts[0], f"{name}: answered twice")


def _says_it(planned: Planned, turn: TurnRecord) -> bool:
    """Whether the final text is exactly what the scripted model said, once."""
    asked = re.findall(r"\[\[text (\d+)\]\]", planned.text)
    words = [word for word in turn.final.split() if re.fullmatch(r"w\d+", word)]
    expected = [f"w{number}" for count in asked for number in range(int(count))]
    first = planned.kind not in {"tool", "steps"} or turn.final.count(f" {planned.event}") >= 1
    return words == expected and first


def _tools_once(
    planned: Planned, turn: TurnRecord, platform: FakePlatform, verdict: Verdict
) -> None:
    """Each change ran exactly once, or not more than once and the reply says so."""
    keys = {
        call.id: str(call.arguments["key"])
        for step in turn.steps
        if isinstance(step, ModelStep)
        for call in step.tool_calls
        if call.name == "bump"
    }
    outputs = {
        keys[step.tool_call_id]: step.output
        for step in turn.steps
        if isinstance(step, ToolStep) and step.tool_call_id in keys
    }
    ran = Counter(key for _, key in platform.effects if key in planned.keys)
    for key in planned.keys:
        output = outputs.get(key)
        verdict.demand(ran[key] <= 1, f"{key}: ran {ran[key]} times")
        if output is None:
            verdict.demand(turn.failure == "poisoned", f"{key}: no result on record")
        elif not output.startswith("Outcome unknown"):
            verdict.demand(ran[key] == 1, f"{key}: ran {ran[key]} times, recorded {output!r}")


def metered(records: Records, requests: int, verdict: Verdict) -> None:
    """Every model call is settled, every request and every step has its call."""
    states = Counter(records.calls.values())
    verdict.demand(states["reserved"] == 0, f"{states['reserved']} model calls never settled")
    verdict.demand(
        requests <= len(records.calls),
        f"{requests} requests reached the provider, {len(records.calls)} are on record",
    )
    verdict.demand(requests > 0, "the provider saw no request")
    for turn in records.turns:
        for call_id in model_calls_of(turn):
            known = call_id in records.calls
            verdict.demand(known, f"{turn.event}: step without model call {call_id}")
    verdict.windows["estimated model calls"] = states["estimated"]


def audited(records: Records, verdict: Verdict) -> None:
    """The audit chains verify, and something is in them."""
    verdict.problems += [f"audit: {fault}" for fault in records.audit_faults.values()]
    verdict.demand(records.audit_rows > 0, "the audit log is empty")
    verdict.windows["unknown tool outcomes"] = records.unknown_outcomes


def _clean_logs(evidence: Evidence, verdict: Verdict) -> None:
    for line in evidence.logs.splitlines():
        if "Traceback" in line or '"level": "error"' in line:
            verdict.problems.append(f"log: {line[-1500:]}")
    fenced = evidence.logs.count('"event": "turn.fenced"')
    dropped = evidence.logs.count('"reason": "lost"')
    verdict.windows["turns fenced or dropped by zombies"] = fenced + dropped
    stops = sum(hit.kind == "SIGSTOP" for hit in evidence.hits)
    verdict.demand(
        stops < ENOUGH_STOPS or fenced + dropped > 0,
        f"{stops} workers were frozen and none held a turn: nothing is proven about zombies",
    )


def _count(evidence: Evidence, verdict: Verdict) -> None:
    turns = evidence.records.turns
    verdict.windows["adopted posts"] = evidence.platform.found
    verdict.windows["attempts beyond the first"] = sum(turn.attempts - 1 for turn in turns)
    for message in evidence.platform.messages:
        texts = [text for _, text in message.texts]
        verdict.windows["edits repeated with the same text"] += sum(
            now == before for before, now in pairwise(texts)
        )
    verdict.windows["late edits of zombies, made good"] = evidence.logs.count("reply.late_edit")


def _answer_times(evidence: Evidence, turns: dict[str, TurnRecord]) -> list[float]:
    by_turn = {turn.id: turn for turn in turns.values()}
    callers: dict[str, list[tuple[float, str]]] = defaultdict(list)
    for call in evidence.platform.calls:
        callers[call.turn].append((call.at, call.worker))
    final_at = {
        turn_id: _final_at(evidence.platform.shown(turn_id), by_turn[turn_id])
        for turn_id in callers
        if turn_id in by_turn
    }
    last: dict[str, float] = {}
    for hit in evidence.hits:  # in the order of time: a turn that is hit again starts again
        if hit.kind == "SIGTERM":
            continue
        for turn_id, at in final_at.items():
            before = [worker for when, worker in callers[turn_id] if when <= hit.at]
            if before and before[-1] == hit.worker and at > hit.at:
                last[turn_id] = at - hit.at
    return sorted(last.values())


def _final_at(messages: list[Message], turn: TurnRecord) -> float:
    known = set(turn.parts.values())
    moments = [
        next(at for at, text in message.texts if text == message.text)
        for message in messages
        if message.id in known
    ]
    return max(moments, default=0.0)

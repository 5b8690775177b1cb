"""The checks of the chat runs find what they are there for, planted into a good history."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace

import pytest

from core.metering import Usage
from core.steps import ModelStep
from tests.chaos.chat_checks import History, Stored, judge
from tests.chaos.chat_history import Said, Shown
from tests.chaos.chat_killer import Strike
from tests.chaos.checks import Verdict
from tests.chaos.records import Records, TurnRecord

LONG = 30


def _words(marker: str, begin: int, end: int) -> str:
    return " ".join(f"{marker}x{number}" for number in range(begin, end))


def _said(number: int, **more: object) -> Said:
    plain = Said(
        marker=f"q{number}o",
        words=LONG if number == 1 else 5,
        edited="",
        edited_words=0,
        platform="telegram",
        place="7001",
        kind="plain",
        at=10.0 * number,
        in_order=True,
        files=0,
    )
    return replace(plain, **more)  # type: ignore[arg-type]


def _stored(said: Said, seq: int, **more: object) -> Stored:
    record = TurnRecord(
        id=f"turn_{seq}",
        event=f"telegram:1:7001:{seq}",
        thread="",
        seq=seq,
        status="done",
        outcome="answered",
        failure="",
        final="",
        attempts=1,
        failures=0,
        crowded=0,
        delivered=True,
        problem=None,
        steps=(),
        parts={},
    )
    return Stored(
        record=replace(record, **more),  # type: ignore[arg-type]
        conversation="conv_1",
        text=f"[[word {said.marker}x]][[text {said.words}]] please",
        files=0,
    )


def _shown(order: int, text: str, *, place: str = "7001") -> Shown:
    return Shown(
        platform="telegram",
        place=place,
        ref=f"{place}/{order}",
        order=order,
        texts=((order - 1.0, "…"), (float(order), text)),
    )


SAID = tuple(_said(number) for number in range(3))
GOOD = History(
    said=SAID,
    shown=(
        _shown(5, _words("q0o", 0, 5)),
        _shown(15, _words("q1o", 0, 20)),
        _shown(16, _words("q1o", 20, LONG)),
        _shown(28, _words("q2o", 0, 5)),
    ),
    stored=tuple(_stored(said, seq) for seq, said in enumerate(SAID, start=1)),
    commands=0,
    records=Records(
        turns=(),
        calls={"call_1": "settled"},
        unknown_outcomes=0,
        leases=0,
        audit_faults={},
        audit_rows=1,
    ),
    requests=1,
    logs="",
    strikes=(Strike(at=12.0, kind="SIGKILL at a random moment", role="up"),),
    leftovers={},
)


def _with(*more: Shown) -> Verdict:
    return judge(replace(GOOD, shown=(*GOOD.shown, *more)))


def test_a_good_history_has_no_problem() -> None:
    """Whole answers in their places and in order; the one that a kill hit is timed."""
    verdict = judge(GOOD)
    assert verdict.problems == []
    assert verdict.answers_s == [4.0]


def _drop(index: int) -> History:
    return replace(GOOD, shown=GOOD.shown[:index] + GOOD.shown[index + 1 :])


def _record(**more: object) -> History:
    first = GOOD.stored[0]
    changed = replace(first, record=replace(first.record, **more))  # type: ignore[arg-type]
    return replace(GOOD, stored=(changed, *GOOD.stored[1:]))


FAULTS: dict[str, tuple[Callable[[], History], str]] = {
    "answered twice": (
        lambda: replace(GOOD, shown=(*GOOD.shown, _shown(40, _words("q0o", 0, 5)))),
        "answered twice",
    ),
    "answered again in part": (
        lambda: replace(GOOD, shown=(*GOOD.shown, _shown(40, _words("q1o", 0, 7)))),
        "answered twice",
    ),
    "not answered": (lambda: _drop(0), "no answer"),
    "a part is missing": (lambda: _drop(2), "is not 0 to 29 once"),
    "the end is missing": (
        lambda: replace(GOOD, shown=(_shown(5, _words("q0o", 0, 4)), *GOOD.shown[1:])),
        "is not 0 to 4 once",
    ),
    "parts in the wrong order": (
        lambda: replace(
            GOOD,
            shown=(
                GOOD.shown[0],
                replace(GOOD.shown[1], order=17),
                GOOD.shown[2],
                GOOD.shown[3],
            ),
        ),
        "is not 0 to 29 once",
    ),
    "a word twice inside a message": (
        lambda: replace(GOOD, shown=(_shown(5, "q0ox0 " + _words("q0o", 0, 5)), *GOOD.shown[1:])),
        "is not 0 to 4 once",
    ),
    "answers in the wrong order": (
        lambda: replace(GOOD, shown=(replace(GOOD.shown[0], order=50), *GOOD.shown[1:])),
        "answers out of order",
    ),
    "answered in another place": (
        lambda: replace(GOOD, shown=(replace(GOOD.shown[0], place="7002"), *GOOD.shown[1:])),
        "answered in 7002",
    ),
    "two answers in one message": (
        lambda: replace(
            GOOD,
            shown=(
                _shown(5, f"{_words('q0o', 0, 5)} {_words('q2o', 0, 5)}"),
                *GOOD.shown[1:3],
            ),
        ),
        "answers ['q0o', 'q2o']",
    ),
    "something nobody asked for": (
        lambda: replace(GOOD, shown=(*GOOD.shown, _shown(40, "Hello?"))),
        "unexpected 'Hello?'",
    ),
    "a stream that never ends": (
        lambda: replace(GOOD, shown=(replace(GOOD.shown[0], open=True), *GOOD.shown[1:])),
        "never finished",
    ),
    "not stored": (lambda: replace(GOOD, stored=GOOD.stored[1:]), "stored 0 times"),
    "stored twice": (
        lambda: replace(GOOD, stored=(*GOOD.stored, _stored(SAID[0], 9))),
        "stored 2 times",
    ),
    "stored in the wrong order": (
        lambda: replace(
            GOOD, stored=(_stored(SAID[0], 2), _stored(SAID[1], 1), _stored(SAID[2], 3))
        ),
        "stored out of order",
    ),
    "a turn that nobody can explain": (
        lambda: replace(GOOD, stored=(*GOOD.stored, _stored(_said(77), 9))),
        "4 turns, 3 messages",
    ),
    "a turn that is still open": (lambda: _record(status="running"), "not terminal"),
    "a turn that failed": (lambda: _record(outcome="failed"), "failed"),
    "a turn that is not delivered": (lambda: _record(delivered=False), "not delivered"),
    "a file that was not fetched": (
        lambda: replace(GOOD, said=(_said(0, files=1), *SAID[1:])),
        "0 files",
    ),
    "a call that nobody settled": (
        lambda: replace(GOOD, records=replace(GOOD.records, calls={"call_1": "reserved"})),
        "never settled",
    ),
    "a request that is not on record": (lambda: replace(GOOD, requests=2), "2 requests"),
    "a lease that was left": (
        lambda: replace(GOOD, records=replace(GOOD.records, leases=1)),
        "1 leases",
    ),
    "a broken audit chain": (
        lambda: replace(GOOD, records=replace(GOOD.records, audit_faults={"t": "row 3"})),
        "audit: row 3",
    ),
    "a traceback in the log": (lambda: replace(GOOD, logs="Traceback (most ...)"), "log:"),
}


@pytest.mark.parametrize("fault", FAULTS)
def test_a_planted_fault_is_found(fault: str) -> None:
    """Each fault alone is a problem, named by its own sentence."""
    make, sentence = FAULTS[fault]
    problems = judge(make()).problems
    assert any(sentence in problem for problem in problems), problems


def test_a_step_without_its_call_is_found() -> None:
    """A committed model step must have its call on record."""
    step = ModelStep(
        call_id="call_lost",
        engine="claude_api",
        model="m",
        text="",
        tool_calls=(),
        stop_reason="end_turn",
        usage=Usage(),
    )
    record = replace(GOOD.stored[0].record, steps=(step,))
    records = replace(GOOD.records, turns=(record,))
    assert any("call_lost" in problem for problem in judge(replace(GOOD, records=records)).problems)


def test_the_known_windows_are_counted() -> None:
    """An orphaned placeholder and a later part's copy are windows, wherever they stand."""
    verdict = _with(_shown(3, "…"), _shown(14, "…"))
    assert verdict.problems == []
    assert verdict.windows["orphan placeholders (telegram)"] == 2
    verdict = judge(
        replace(
            GOOD,
            shown=(*GOOD.shown[:2], _shown(15, _words("q1o", 20, 25)), *GOOD.shown[2:]),
        )
    )
    assert verdict.problems == []
    assert verdict.windows["duplicate later parts (telegram)"] == 1


def test_an_edit_may_be_answered_with_either_text() -> None:
    """The new text in place of the old one, or both when it came too late; nothing else."""
    said = _said(0, edited="q0e", edited_words=3, kind="edited")
    replaced = replace(_stored(said, 1), text="[[word q0ex]][[text 3]] second thought")
    joined = replace(
        replaced,
        record=replace(replaced.record, id="turn_9", seq=4, event="telegram:1:7001:1:edit:ab"),
    )
    new, old = _shown(5, _words("q0e", 0, 3)), GOOD.shown[0]
    history = replace(GOOD, said=(said, *SAID[1:]))

    in_time = replace(history, stored=(replaced, *GOOD.stored[1:]), shown=(new, *GOOD.shown[1:]))
    assert judge(in_time).problems == []
    late = replace(new, order=40)
    again = replace(history, stored=(*GOOD.stored, joined), shown=(*GOOD.shown, late))
    assert judge(again).problems == []
    both = replace(in_time, shown=(new, replace(old, order=6), *GOOD.shown[1:]))
    assert any("2 answers to 1 turns" in problem for problem in judge(both).problems)

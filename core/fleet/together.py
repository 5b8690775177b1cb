"""What several servers answered, as one output: a judging line, a table, the bad ones in full."""

from __future__ import annotations

from collections.abc import Sequence

from core.fleet.report import Report, Verdict, clean, count, table

Answers = Sequence[tuple[str, Report]]
"""A server's name and what was found there, one for each server."""

_NAMES = 5
_DETAILED = 8
"""Servers whose details are shown; of the others there is the table's row."""
_DETAILS_CHARS = 24_000
_FINDING_CHARS = 240
_MOST_ROWS = 200


def text_of(answers: Answers) -> str:
    """The output: of one server its report, of several a summary with the worst first."""
    if len(answers) == 1:
        name, report = answers[0]
        return report.text(name)
    ordered = sorted(answers, key=lambda answer: (_rank(answer[1]), answer[0]))
    rows = table(
        ("Server", "Finding"),
        ((name, f"{_mark(report)}{report.headline}") for name, report in ordered),
        limit=_MOST_ROWS,
        width=_FINDING_CHARS,
    )
    return "\n\n".join((_headline(ordered), rows, *_details(ordered)))


def all_failed(answers: Answers) -> bool:
    """Whether not one server could be looked at."""
    return all(report.failed for _, report in answers)


def names(listed: Sequence[str], *, most: int = _NAMES) -> str:
    """``a, b and 3 more``."""
    shown = ", ".join(clean(name) for name in listed[:most])
    left = len(listed) - most
    return f"{shown} and {left} more" if left > 0 else shown


def _headline(ordered: Answers) -> str:
    bad = [name for name, report in ordered if not report.failed and report.verdict > Verdict.FINE]
    failed = [name for name, report in ordered if report.failed]
    unknown = [
        name for name, report in ordered if not report.failed and report.verdict is Verdict.UNKNOWN
    ]
    worst = max(
        (report.verdict for _, report in ordered if not report.failed), default=Verdict.LOOK
    )
    mark = (max(worst, Verdict.LOOK) if failed else worst).mark
    fine = len(ordered) - len(bad) - len(failed) - len(unknown)
    parts = [f"{_of(bad, ordered)} {_need(bad)} attention: {names(bad)}"] if bad else []
    parts += [f"{_of(failed, ordered)} gave no answer: {names(failed)}"] if failed else []
    parts += [f"{names(unknown)} could not tell"] if unknown else []
    if fine:
        parts.append(f"{'all ' if not parts else ''}{count(fine, 'server')} fine")
    return f"{mark}{'; '.join(parts)}."


def _of(some: Sequence[str], everything: Answers) -> str:
    return f"{len(some)} of {len(everything)} servers"


def _need(some: Sequence[str]) -> str:
    return "needs" if len(some) == 1 else "need"


def _details(ordered: Answers) -> list[str]:
    """The details of whatever is not fine; of all when that is only a few servers."""
    bad = [each for each in ordered if each[1].failed or each[1].verdict > Verdict.FINE]
    wanted = ordered if len(ordered) <= _DETAILED else bad
    sections: list[str] = []
    room = _DETAILS_CHARS
    for name, report in wanted[:_DETAILED]:
        if report.details and len(report.details) <= room:
            sections.append(f"### {clean(name)}\n\n{report.details}")
            room -= len(report.details)
    return sections


def _rank(report: Report) -> int:
    if report.failed:
        return 1
    return {Verdict.ACT: 0, Verdict.LOOK: 2, Verdict.UNKNOWN: 3, Verdict.FINE: 4}[report.verdict]


def _mark(report: Report) -> str:
    return Verdict.UNKNOWN.mark if report.failed else report.verdict.mark

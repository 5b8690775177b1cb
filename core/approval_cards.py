"""What an approver reads: the card of an approval, and the sentences around a decision.

A card is Markdown, short first. What is in it came from a model, a tool or a person: it is
shown so that it can neither hide a part of itself nor look like the card around it.
"""

from __future__ import annotations

from collections.abc import Sequence
from datetime import UTC, datetime
from typing import Final

from core.agent_config import OnTimeout
from core.approvals import Approval, Decided, Status
from core.sinks import CardForm
from core.visible import fenced, visible_change, visible_code, visible_line
from core.words import Words

SHORT_CHARS: Final = 6
PLACE: Final = "/api/v1/approvals"
"""Where the whole of an approval is, and where it can be decided."""
_MOST_LINE: Final = 600
_MOST_NAME: Final = 80
_MOST_SERVERS: Final = 40
_MOST_NOTICE: Final = 2_400
"""Characters of a card that is a message of its own on a platform that is not known yet."""
_MOST_CHANGE: Final = 4_096
"""Characters of a change above which no platform has room for it; it is not even tried."""
_SAMPLE: Final = 240
"""Of a command that is too long to be decided about in a chat."""


def short_id(approval_id: str) -> str:
    """The end of an id, as people type it."""
    return approval_id[-SHORT_CHARS:]


def card_forms(approval: Approval, words: Words, *, now_ms: int) -> tuple[CardForm, ...]:
    """The card from the fullest form to the shortest; a platform takes the first that fits.

    Every form but the last has the command and the change whole. The last has no buttons: who
    has not seen what will run is sent to where it can be seen.
    """
    made: list[str] = []
    if len(approval.card.change) <= _MOST_CHANGE:
        made = [_whole(approval, words, now_ms, reasons=reasons) for reasons in (True, False)]
    return (
        *(CardForm(text=text, approvals=(approval.id,)) for text in dict.fromkeys(made)),
        CardForm(text=_withheld(approval, words, now_ms)),
    )


def notice_card(approval: Approval, words: Words, *, now_ms: int) -> CardForm:
    """The card for approvers elsewhere: one form for every platform."""
    forms = card_forms(approval, words, now_ms=now_ms)
    return next((form for form in forms if len(form.text) <= _MOST_NOTICE), forms[-1])


def card_text(approval: Approval, words: Words, *, now_ms: int) -> str:
    """All of it as text, for a terminal or a page, where the decision is asked for at once."""
    return _whole(approval, words, now_ms, reasons=True)


def settled_line(approval: Approval, words: Words) -> str:
    """What became of it, in one line: ``Approved by Ann, 14:02 UTC``; empty while it waits."""
    who = " ".join(approval.decided_by_name.split())[:_MOST_NAME]
    at = _clock(approval.decided_at_ms)
    match approval.status:
        case Status.APPROVED if approval.decided_where == "timeout":
            return words("Approved, because nobody decided in time, {at}", at=at)
        case Status.APPROVED:
            return words("Approved by {who}, {at}", who=who, at=at)
        case Status.DENIED if approval.comment:
            comment = " ".join(approval.comment.split())
            return words("Denied by {who}, {at}: {why}", who=who, at=at, why=comment)
        case Status.DENIED:
            return words("Denied by {who}, {at}", who=who, at=at)
        case Status.EXPIRED:
            return words("Not approved: nobody decided in time")
        case Status.VOID:
            return words("No longer needed")
        case Status.PENDING:
            return ""


def decided_line(decided: Decided, words: Words) -> str:
    """What whoever decided is told: that it counts, or whose decision came before."""
    line = visible_line(settled_line(decided.approval, words), _MOST_LINE)
    if decided.first:
        return f"{line}."
    return words("This was decided already. {line}.", line=line)


def listed(waiting: Sequence[Approval], words: Words, *, now_ms: int) -> str:
    """What waits, a line each, with what to type; for a decision that names none."""
    if not waiting:
        return words("Nothing waits for an approval.")
    lines = [
        words(
            "- `{id}`: {what}, asked by {who}, {left} left",
            id=short_id(one.id),
            what=_what(one, words),
            who=visible_line(one.card.asked_by, _MOST_NAME),
            left=_left(one, words, now_ms),
        )
        for one in waiting
    ]
    head = words("What waits for an approval; decide with `/approve ID` or `/deny ID reason`:")
    return "\n".join([head, "", *lines])


# -- the parts of a card -------------------------------------------------------------------


def _whole(approval: Approval, words: Words, now_ms: int, *, reasons: bool) -> str:
    card = approval.card
    blocks = [_title(approval, words), fenced(visible_code(card.action))]
    if card.steps:
        blocks.append(words("**Its steps**, each of which is still checked against this:"))
        blocks += [fenced(visible_code(step)) for step in card.steps]
    blocks.append("\n".join(_facts(approval, words, now_ms, reasons=reasons)))
    if card.change:
        blocks += _change(approval, words)
    short = short_id(approval.id)
    blocks.append(
        words("`/approve {id}` or `/deny {id} reason`", id=short),
    )
    return "\n\n".join(blocks)


def _withheld(approval: Approval, words: Words, now_ms: int) -> str:
    shown = visible_code(approval.card.action)[:_SAMPLE]
    told = words(
        "**Too long to show here, so there are no buttons.** Only its beginning stands above. "
        "Read the whole at `{place}` and decide there, or deny it with `/deny {id} reason`.",
        place=f"{PLACE}/{approval.id}",
        id=short_id(approval.id),
    )
    until = _until(approval, words, now_ms)
    return "\n\n".join([_title(approval, words), fenced(f"{shown}…"), until, told])


def _title(approval: Approval, words: Words) -> str:
    return words("**Approve?** {what}", what=_what(approval, words))


def _what(approval: Approval, words: Words) -> str:
    card = approval.card
    tool = visible_line(card.tool, _MOST_NAME)
    match card.servers:
        case ():
            return tool
        case (server,):
            return words("{tool} on {server}", tool=tool, server=visible_line(server, _MOST_NAME))
        case servers:
            return words("{tool} on {count} servers", tool=tool, count=len(servers))


def _facts(approval: Approval, words: Words, now_ms: int, *, reasons: bool) -> list[str]:
    card = approval.card
    facts: list[str] = []
    if card.servers:
        names = [visible_line(name, _MOST_NAME) for name in card.servers[:_MOST_SERVERS]]
        facts.append(words("- **Servers:** {names}", names=", ".join(names)))
        more = len(card.servers) - _MOST_SERVERS
        if more > 0:
            facts[-1] += words(
                " and {more} more, all at `{place}`", more=more, place=f"{PLACE}/{approval.id}"
            )
    risks = "; ".join(visible_line(risk, _MOST_LINE) for risk in card.risks)
    level = f"{card.level}: {risks}" if risks else card.level
    facts.append(words("- **Risk:** {level}", level=level))
    if reasons:
        facts += _words(approval, words)
    if approval.four_eyes:
        facts.append(
            words(
                "- **Who decides:** another operator or admin than {who}",
                who=visible_line(card.asked_by, _MOST_NAME),
            )
        )
    else:
        facts.append(words("- **Who decides:** any operator or admin of the team"))
    return [*facts, _until(approval, words, now_ms)]


def _words(approval: Approval, words: Words) -> list[str]:
    card = approval.card
    said: list[str] = []
    if card.why:
        said.append(
            words("- **The agent's reason:** “{why}”", why=visible_line(card.why, _MOST_LINE))
        )
    if card.undo:
        said.append(words("- **To undo it:** {undo}", undo=visible_line(card.undo, _MOST_LINE)))
    who, asked = visible_line(card.asked_by, _MOST_NAME), visible_line(card.asked, _MOST_LINE)
    if card.unattended:
        said.append(
            words("- **Asked by** a standing order of {who}: “{asked}”", who=who, asked=asked)
        )
    else:
        said.append(words("- **Asked by** {who}: “{asked}”", who=who, asked=asked))
    return said


def _until(approval: Approval, words: Words, now_ms: int) -> str:
    at, left = _clock(approval.expires_at_ms), _left(approval, words, now_ms)
    if approval.on_timeout is OnTimeout.APPROVE:
        return words(
            "- **Until:** {at} ({left} left), then it counts as approved", at=at, left=left
        )
    return words("- **Until:** {at} ({left} left), then it is not run", at=at, left=left)


def _change(approval: Approval, words: Words) -> list[str]:
    """The whole diff: a card that has no room for it has no buttons."""
    whole = visible_change(approval.card.change).strip("\n")
    return [words("**What would change:**"), fenced(whole, "diff")]


def _left(approval: Approval, words: Words, now_ms: int) -> str:
    seconds = max(0, (approval.expires_at_ms - now_ms) // 1000)
    if seconds < 2 * 60:
        return words("{count} s", count=seconds)
    if seconds < 2 * 3600:
        return words("{count} min", count=seconds // 60)
    return words("{count} h", count=seconds // 3600)


def _clock(at_ms: int | None) -> str:
    """The time of a day; UTC, because the readers of one card may sit anywhere."""
    return "" if at_ms is None else f"{datetime.fromtimestamp(at_ms / 1000, UTC):%H:%M} UTC"

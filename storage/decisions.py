"""Approvals decided in a chat: by ``/approve`` and ``/deny``, or by a button under the card."""

from __future__ import annotations

import sqlalchemy as sa

from core.approval_cards import decided_line, listed, notice_card
from core.approval_choice import choose
from core.approvals import Decision
from core.buttons import Action, Press
from core.commands_text import is_shared
from core.inbox import ControlDone
from core.messages import InboundMessage
from core.refusals import Rejected
from core.tenants import Role, User
from core.words import Words, sentence
from storage import approval_desk
from storage.controlled import done, done_before
from storage.database import now_ms
from storage.places import find, sender

MAX_COMMENT_CHARS = 1_000


def by_command(
    conn: sa.Connection, audit_key: bytes, message: InboundMessage, rest: str, *, approve: bool
) -> ControlDone | Rejected:
    """Decide about the request that is meant; where that is not clear, list what waits."""
    who = sender(conn, message.actor, message.group)
    if isinstance(who, Rejected):
        return who
    user, words = who.user, Words(who.language)
    if not user.role.includes(Role.OPERATOR):
        return approval_desk.MAY_NOT
    before = done_before(conn, user, message.event_id)
    if before is not None:
        return before
    conversation_id = find(conn, user, message) or ""
    waiting = approval_desk.pending(conn, user.tenant_id)
    choice = choose(rest, waiting, conversation_id)
    if choice.approval is None:
        shared = is_shared(message.address)
        shown = [one for one in waiting if not shared or one.conversation_id == conversation_id]
        reply = listed(shown, words, now_ms=now_ms(conn))
        return ControlDone(conversation_id=conversation_id, reply=reply)
    if approve and not notice_card(choice.approval, words, now_ms=now_ms(conn)).approvals:
        return _TOO_LONG
    decision = Decision(
        approve=approve,
        where=message.address.platform,
        comment=choice.comment[:MAX_COMMENT_CHARS],
    )
    return _decided(conn, audit_key, user, words, message.event_id, choice.approval.id, decision)


_TOO_LONG = Rejected(
    code="too_long_to_show",
    sentence=sentence(
        "What would run is too long to be shown here whole, and nobody should approve what they "
        "have not seen. See it at /api/v1/approvals, and decide there; `/deny` works here too."
    ),
)


def by_press(conn: sa.Connection, audit_key: bytes, pressed: Press) -> ControlDone | Rejected:
    """Decide by a button; whoever it is shown to, only the tenant's operators can."""
    who = sender(conn, pressed.actor, pressed.group)
    if isinstance(who, Rejected):
        return who
    before = done_before(conn, who.user, pressed.event_id)
    if before is not None:
        return before
    decision = Decision(approve=pressed.action is Action.APPROVE, where=pressed.address.platform)
    words = Words(who.language)
    return _decided(conn, audit_key, who.user, words, pressed.event_id, pressed.subject, decision)


def _decided(
    conn: sa.Connection,
    audit_key: bytes,
    user: User,
    words: Words,
    event_id: str,
    approval_id: str,
    decision: Decision,
) -> ControlDone | Rejected:
    decided = approval_desk.decide(conn, audit_key, user, approval_id, decision)
    if isinstance(decided, Rejected):
        return decided
    conversation_id = decided.approval.conversation_id
    reply = decided_line(decided, words)
    done(conn, user, event_id, conversation_id, reply)
    return ControlDone(conversation_id=conversation_id, reply=reply)

"""Memory of conversations, and the lists, pointers and erasure behind the chat commands."""

from __future__ import annotations

import json

import sqlalchemy as sa

from core.commands_conversations import ConversationInfo, Resumed
from core.commands_text import is_shared
from core.conversations import Memory, PastTurn
from core.engines.engine import NativeSession
from core.errors import Fenced, NotFound
from core.messages import Attachment, AttachmentRef, ConversationAddress
from core.metering import Settlement
from core.names import plain_name
from core.steps import Exchange
from core.turns import Ending, Outcome, Turn
from core.words import sentence
from storage.conversation_rows import UNTITLED
from storage.database import Database, execute
from storage.erasure import delete_chosen, erase, owned
from storage.holding import HELD
from storage.metering import settle
from storage.places import insert_conversation, where
from storage.rows import blob, integer, text
from storage.shares import allowed
from storage.steps import recent_steps, steps_of

HISTORY_ATTACHMENT_BYTES = 10 * 1024 * 1024
"""Files of earlier messages that are sent again, newest first, at most this much."""


class SqlConversations:
    """Implements the ports ``ConversationStore`` (``core.conversations``) and ``Desk``."""

    def __init__(self, db: Database) -> None:
        """Wire the database."""
        self._db = db

    async def remember(self, turn: Turn, *, max_turns: int) -> Memory:
        """See the port."""
        return await self._db.read(_remember, turn, max_turns)

    async def save_summary(
        self, turn: Turn, *, upto_seq: int, text: str, settlement: Settlement | None
    ) -> None:
        """See the port."""
        await self._db.transaction(_save_summary, turn, upto_seq, text, settlement)

    async def list_conversations(
        self, tenant_id: str, user_id: str, *, limit: int
    ) -> tuple[ConversationInfo, ...]:
        """See the port."""
        return await self._db.read(list_own, tenant_id, user_id, limit)

    async def new_conversation(self, turn: Turn) -> str:
        """See the port."""
        return await self._db.transaction(_new, turn)

    async def resume_conversation(self, turn: Turn, conversation_id: str) -> Resumed:
        """See the port."""
        return await self._db.transaction(_resume, turn, conversation_id)

    async def delete_conversation(self, turn: Turn, conversation_id: str) -> str | None:
        """See the port; the command's own turn in the same conversation may be running."""
        return await self._db.transaction(delete_chosen, turn, conversation_id)

    async def delete(self, tenant_id: str, user_id: str, conversation_id: str) -> str | None:
        """Erase from outside a turn; raises ``NotFound`` when it is not the user's."""
        return await self._db.transaction(erase, tenant_id, user_id, conversation_id, running=None)

    async def messages(
        self, tenant_id: str, user_id: str, conversation_id: str, *, limit: int
    ) -> tuple[MessageRow, ...]:
        """The newest messages, oldest first. Raises ``NotFound`` when it is not the user's.

        Others' commands are not among them: their answers were for their senders' eyes.
        """
        return await self._db.read(_messages, tenant_id, user_id, conversation_id, limit)


MessageRow = tuple[str, str, str, str, int, str, str]
"""Turn id, text, reply, notice, creation time, status, outcome."""


def _remember(conn: sa.Connection, turn: Turn, max_turns: int) -> Memory:
    summary, upto = "", 0
    row = execute(
        conn,
        "SELECT text, upto_seq FROM summaries WHERE conversation_id = :cid"
        " AND tenant_id = :tenant AND upto_seq < :seq ORDER BY upto_seq DESC LIMIT 1",
        cid=turn.conversation_id,
        tenant=turn.tenant_id,
        seq=turn.seq,
    ).first()
    if row is not None:
        summary, upto = text(row[0]), integer(row[1])
    past, older = _past(conn, turn, upto, max_turns)
    return Memory(
        summary=summary,
        past=past,
        attachments=_load(conn, turn.tenant_id, turn.attachments),
        steps=steps_of(conn, turn) if turn.attempt > 1 else (),
        session=_session(conn, turn, past[-1].turn_id) if past else None,
        older=older,
    )


def _session(conn: sa.Connection, turn: Turn, last_turn: str) -> NativeSession | None:
    """The engine's own memory, if it holds everything up to the last turn, of this person."""
    row = execute(
        conn,
        "SELECT engine, token FROM engine_sessions WHERE conversation_id = :cid"
        " AND tenant_id = :tenant AND user_id = :user AND turn_id = :turn",
        cid=turn.conversation_id,
        tenant=turn.tenant_id,
        user=turn.user.id,
        turn=last_turn,
    ).first()
    return None if row is None else NativeSession(engine=text(row[0]), token=text(row[1]))


def _told(reply: str, outcome: str, notice: str) -> str:
    """What a later turn reads as the answer: of one that broke off, also that it did.

    Otherwise the model would find tool results that nobody answered, and go on with them.
    """
    if outcome in {Outcome.FAILED, Outcome.CANCELLED}:
        return Ending(outcome=Outcome(outcome), reply=reply, notice=notice).text
    return reply


def _said(said: str, user_id: str, name: str, turn: Turn) -> str:
    """A message as the model reads it: in a group it must know who of several people wrote.

    What others wrote is quoted line by line, so that nobody can write in another one's name.
    """
    if user_id == turn.user.id:
        return said
    quoted = "\n".join(f"> {line}" for line in said.splitlines())
    return f"({json.dumps(plain_name(name), ensure_ascii=False)} wrote:)\n{quoted}"


def _past(
    conn: sa.Connection, turn: Turn, upto: int, max_turns: int
) -> tuple[tuple[PastTurn, ...], bool]:
    """The newest turns, oldest first, and whether there are older ones."""
    if turn.seq == 1:
        return (), False
    rows = execute(
        conn,
        "SELECT id, seq, text, attachments, reply, outcome, notice, user_id,"
        " (SELECT name FROM users u WHERE u.id = turns.user_id AND u.tenant_id = :tenant)"
        " FROM turns"
        " WHERE conversation_id = :cid"
        " AND tenant_id = :tenant AND seq > :upto AND seq < :seq AND status = 'done'"
        " AND kind = 'message' AND outcome <> 'steered' ORDER BY seq DESC LIMIT :n",
        cid=turn.conversation_id,
        tenant=turn.tenant_id,
        upto=upto,
        seq=turn.seq,
        n=max_turns + 1,
    ).all()
    older, rows = len(rows) > max_turns, rows[:max_turns]
    if not rows:
        return (), older
    steps = recent_steps(conn, turn, integer(rows[-1][1]))
    budget = HISTORY_ATTACHMENT_BYTES
    past: list[PastTurn] = []
    for row in rows:
        refs = tuple(AttachmentRef(**ref) for ref in json.loads(text(row[3])))
        budget -= sum(ref.size for ref in refs)
        files = _load(conn, turn.tenant_id, refs) if refs and budget >= 0 else ()
        exchange = Exchange(
            user_text=_said(text(row[2]), text(row[7]), text(row[8]), turn),
            attachments=files,
            steps=steps.get(text(row[0]), ()),
            reply=_told(text(row[4]), text(row[5]), text(row[6])),
        )
        past.append(PastTurn(seq=integer(row[1]), exchange=exchange, turn_id=text(row[0])))
    return tuple(reversed(past)), older


def _load(
    conn: sa.Connection, tenant_id: str, refs: tuple[AttachmentRef, ...]
) -> tuple[Attachment, ...]:
    found: list[Attachment] = []
    for ref in refs:
        row = execute(
            conn,
            "SELECT data FROM attachments WHERE tenant_id = :tenant AND sha256 = :sha",
            tenant=tenant_id,
            sha=ref.sha256,
        ).first()
        if row is not None:
            found.append(Attachment(name=ref.name, media_type=ref.media_type, data=blob(row[0])))
    return tuple(found)


def _save_summary(
    conn: sa.Connection, turn: Turn, upto_seq: int, summary: str, settlement: Settlement | None
) -> None:
    row = execute(
        conn,
        "INSERT INTO summaries (conversation_id, upto_seq, tenant_id, text, created_at)"
        " SELECT CAST(:cid AS TEXT), CAST(:upto AS BIGINT), CAST(:tenant AS TEXT),"
        " CAST(:text AS TEXT), {now} WHERE EXISTS"
        " (SELECT 1 FROM conversations WHERE id = :cid AND tenant_id = :tenant"
        f" AND {HELD}{{share}})"
        " ON CONFLICT (conversation_id, upto_seq) DO UPDATE SET text = excluded.text"
        " RETURNING upto_seq",
        cid=turn.conversation_id,
        upto=upto_seq,
        tenant=turn.tenant_id,
        text=summary,
        epoch=turn.epoch,
        seq=turn.seq,
    ).first()
    if row is None:
        raise Fenced("The conversation has another owner now.")
    if settlement is not None:
        settle(conn, settlement)


def list_own(
    conn: sa.Connection, tenant_id: str, user_id: str, limit: int
) -> tuple[ConversationInfo, ...]:
    """A user's conversations, the most recently used first."""
    rows = execute(
        conn,
        "SELECT id, title, platform, updated_at, last_seq, channel FROM conversations"
        " WHERE tenant_id = :tenant AND user_id = :user AND deleted_at IS NULL"
        " ORDER BY updated_at DESC, id DESC LIMIT :n",
        tenant=tenant_id,
        user=user_id,
        n=limit,
    ).all()
    return tuple(
        ConversationInfo(
            id=text(row[0]),
            title=text(row[1]) or UNTITLED,
            platform=text(row[2]),
            updated_at_ms=integer(row[3]),
            turns=integer(row[4]),
            channel=text(row[5]),
        )
        for row in rows
    )


def _new(conn: sa.Connection, turn: Turn) -> str:
    """A new conversation at the turn's place. A re-run of the turn makes the same one."""
    conversation_id = f"conv_{turn.id.removeprefix('turn_')}"
    there = execute(conn, "SELECT 1 FROM conversations WHERE id = :id", id=conversation_id).first()
    if there is None:
        insert_conversation(conn, turn.user, conversation_id, turn.address, "")
    _point(conn, turn, conversation_id)
    return conversation_id


def _point(conn: sa.Connection, turn: Turn, conversation_id: str) -> None:
    execute(
        conn,
        "INSERT INTO places (tenant_id, platform, workspace, channel, thread, conversation_id)"
        " VALUES (:tenant, :platform, :workspace, :channel, :thread, :cid)"
        " ON CONFLICT (tenant_id, platform, workspace, channel, thread)"
        " DO UPDATE SET conversation_id = excluded.conversation_id",
        tenant=turn.tenant_id,
        cid=conversation_id,
        **where(turn.address),
    )


def _resume(conn: sa.Connection, turn: Turn, conversation_id: str) -> Resumed:
    # Locked: of two places that resume it at once, the second takes it from the first.
    mine = owned(conn, turn.tenant_id, turn.user.id, conversation_id, lock="{row}")
    shared_here = is_shared(turn.address)
    if not mine and (shared_here or not allowed(conn, turn, conversation_id)):
        return Resumed.GONE
    _point(conn, turn, conversation_id)
    lost = [
        place
        for place in _pointing(conn, turn.tenant_id, conversation_id)
        if place != turn.address and (shared_here or is_shared(place))
    ]
    for place in lost:
        execute(
            conn,
            "DELETE FROM places WHERE tenant_id = :tenant AND platform = :platform"
            " AND workspace = :workspace AND channel = :channel AND thread = :thread",
            tenant=turn.tenant_id,
            **where(place),
        )
    return Resumed.MOVED if lost else Resumed.DONE


def _pointing(
    conn: sa.Connection, tenant_id: str, conversation_id: str
) -> tuple[ConversationAddress, ...]:
    """The places where the conversation goes on."""
    rows = execute(
        conn,
        "SELECT platform, workspace, channel, thread FROM places WHERE conversation_id = :cid"
        " AND tenant_id = :tenant",
        cid=conversation_id,
        tenant=tenant_id,
    ).all()
    return tuple(
        ConversationAddress(
            platform=text(row[0]), workspace=text(row[1]), channel=text(row[2]), thread=text(row[3])
        )
        for row in rows
    )


def _messages(
    conn: sa.Connection, tenant_id: str, user_id: str, conversation_id: str, limit: int
) -> tuple[MessageRow, ...]:
    if not owned(conn, tenant_id, user_id, conversation_id):
        raise NotFound(sentence("There is no such conversation."))
    rows = execute(
        conn,
        "SELECT id, CASE WHEN event_id LIKE 'notice/%' THEN '' ELSE text END,"
        " COALESCE(reply, ''), COALESCE(notice, ''), created_at, status,"
        " COALESCE(outcome, '') FROM turns"
        " WHERE conversation_id = :cid AND tenant_id = :tenant"
        " AND (kind = 'message' OR user_id = :user) ORDER BY seq DESC LIMIT :n",
        cid=conversation_id,
        tenant=tenant_id,
        user=user_id,
        n=limit,
    ).all()
    return tuple(
        (
            text(row[0]),
            text(row[1]),
            text(row[2]),
            text(row[3]),
            integer(row[4]),
            text(row[5]),
            text(row[6]),
        )
        for row in reversed(rows)
    )

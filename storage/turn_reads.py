"""What was said and done in a conversation, for its owner: turns, tools, model calls, files."""

from __future__ import annotations

import json
from collections.abc import Sequence

import sqlalchemy as sa

from core.errors import NotFound
from core.messages import AttachmentRef
from core.metering import Usage
from core.reading import (
    FileBytes,
    ModelCallEntry,
    ToolLine,
    ToolOutput,
    ToolState,
    TurnEntry,
    TurnPage,
)
from core.redact import redact_now
from core.steps import ModelStep, Step, ToolCall, ToolStartedStep, ToolStep, load_step
from core.toolrunner import one_line
from core.words import sentence
from storage.database import Database, execute
from storage.endings import load_offer
from storage.erasure import owned
from storage.rows import blob, integer, optional_text, text
from storage.streams import check_reader

_GONE = sentence("There is no such conversation.")
_NO_CALL = sentence("There is no such tool call in this turn.")
_NO_FILE = sentence("There is no such file in this conversation.")

# Others' commands in a shared conversation were answered for their eyes only.
_TURNS = """
SELECT t.id, t.seq, t.created_at, t.finished_at, t.status, t.kind, t.user_id, t.platform,
 CASE WHEN t.event_id LIKE 'notice/%' THEN '' ELSE t.text END, t.attachments,
 COALESCE(t.reply, ''), COALESCE(t.notice, ''), COALESCE(t.outcome, ''),
 COALESCE(t.failure, ''), COALESCE(t.answered_by, ''), t.engine_reason, t.offer, t.merged_into,
 t.order_id,
 COALESCE((SELECT COALESCE(NULLIF(u.name, ''), u.email) FROM users u
  WHERE u.id = t.user_id AND u.tenant_id = t.tenant_id), ''),
 CASE WHEN t.event_id LIKE 'notice/%' OR t.order_id <> '' THEN 1 ELSE 0 END
FROM turns t
WHERE t.conversation_id = :cid AND t.tenant_id = :tenant
 AND (t.kind = 'message' OR t.user_id = :user) AND t.seq < :before
ORDER BY t.seq DESC LIMIT :n
"""
_RANGE = """
 t.conversation_id = :cid AND t.tenant_id = :tenant AND t.seq >= :first AND t.seq <= :last
 AND (t.kind = 'message' OR t.user_id = :user)
"""
_STEPS = f"""
SELECT s.turn_id, s.kind, s.payload FROM turns t JOIN turn_steps s ON s.turn_id = t.id
WHERE {_RANGE} AND s.kind IN ('model', 'tool_started', 'tool') ORDER BY t.seq, s.n
"""
_TOKENS = f"""
SELECT m.turn_id, CAST(SUM(m.input_tokens + m.output_tokens + m.cache_read_tokens
 + m.cache_write_5m_tokens + m.cache_write_1h_tokens) AS BIGINT)
FROM turns t JOIN model_calls m ON m.turn_id = t.id AND m.tenant_id = t.tenant_id
WHERE {_RANGE} GROUP BY m.turn_id
"""
_APPROVALS = f"""
SELECT a.turn_id, a.id FROM turns t JOIN approvals a ON a.turn_id = t.id
WHERE {_RANGE} AND a.tenant_id = :tenant AND a.status = 'pending' ORDER BY a.created_at, a.id
"""
_NO_LIMIT = 9_223_372_036_854_775_807


class SqlTurnReads:
    """Implements ``core.reading.TurnReader``."""

    def __init__(self, db: Database) -> None:
        """Wire the database."""
        self._db = db

    async def turns(
        self, tenant_id: str, user_id: str, conversation_id: str, *, before: int | None, limit: int
    ) -> TurnPage:
        """See the port."""
        return await self._db.read(_page, (tenant_id, user_id), conversation_id, before, limit)

    async def calls(
        self, tenant_id: str, user_id: str, turn_id: str
    ) -> tuple[str, str, tuple[ModelCallEntry, ...]]:
        """See the port."""
        return await self._db.read(_calls, tenant_id, user_id, turn_id)

    async def output(self, tenant_id: str, user_id: str, turn_id: str, call_id: str) -> ToolOutput:
        """See the port."""
        return await self._db.read(_output, (tenant_id, user_id), turn_id, call_id)

    async def file(
        self, tenant_id: str, user_id: str, conversation_id: str, sha256: str
    ) -> FileBytes:
        """See the port."""
        return await self._db.read(_file, (tenant_id, user_id), conversation_id, sha256)


def _page(
    conn: sa.Connection, who: tuple[str, str], conversation_id: str, before: int | None, limit: int
) -> TurnPage:
    tenant_id, user_id = who
    if not owned(conn, tenant_id, user_id, conversation_id):
        raise NotFound(_GONE)
    where: dict[str, str | int] = {"cid": conversation_id, "tenant": tenant_id, "user": user_id}
    rows = execute(
        conn, _TURNS, before=_NO_LIMIT if before is None else before, n=limit + 1, **where
    ).all()
    shown = list(reversed(rows[:limit]))
    if not shown:
        return TurnPage(turns=(), earlier=None)
    where |= {"first": integer(shown[0][1]), "last": integer(shown[-1][1])}
    tools = _tools(conn, where, {text(row[0]): text(row[4]) for row in shown})
    tokens = {text(row[0]): integer(row[1]) for row in execute(conn, _TOKENS, **where)}
    waiting: dict[str, list[str]] = {}
    for row in execute(conn, _APPROVALS, **where):
        waiting.setdefault(text(row[0]), []).append(text(row[1]))
    turns = tuple(
        _turn(
            row,
            user_id,
            tools=tools.get(text(row[0]), ()),
            tokens=tokens.get(text(row[0]), 0),
            approvals=tuple(waiting.get(text(row[0]), ())),
        )
        for row in shown
    )
    return TurnPage(turns=turns, earlier=turns[0].seq if len(rows) > limit else None)


def _turn(
    row: Sequence[object],
    user_id: str,
    *,
    tools: tuple[ToolLine, ...],
    tokens: int,
    approvals: tuple[str, ...],
) -> TurnEntry:
    status, unasked = text(row[4]), bool(integer(row[20]))
    return TurnEntry(
        id=text(row[0]),
        seq=integer(row[1]),
        at_ms=integer(row[2]),
        finished_at_ms=None if row[3] is None else integer(row[3]),
        status="waiting" if approvals and status != "done" else status,
        kind=text(row[5]),
        sender="" if unasked else text(row[19]),
        own=text(row[6]) == user_id,
        platform=text(row[7]),
        text=text(row[8]),
        attachments=tuple(AttachmentRef(**ref) for ref in json.loads(text(row[9]))),
        reply=text(row[10]),
        notice=text(row[11]),
        outcome=text(row[12]),
        failure=text(row[13]),
        engine=text(row[14]),
        engine_reason=text(row[15]),
        offer=load_offer(optional_text(row[16])),
        merged_into=optional_text(row[17]),
        order_id=text(row[18]),
        approvals=approvals,
        tools=tools,
        tokens=tokens,
    )


def _tools(
    conn: sa.Connection, where: dict[str, str | int], statuses: dict[str, str]
) -> dict[str, tuple[ToolLine, ...]]:
    steps: dict[str, list[Step]] = {}
    for row in execute(conn, _STEPS, **where):
        steps.setdefault(text(row[0]), []).append(load_step(text(row[1]), text(row[2])))
    return {
        turn_id: _lines(found, done=statuses.get(turn_id) == "done")
        for turn_id, found in steps.items()
    }


def _lines(steps: Sequence[Step], *, done: bool) -> tuple[ToolLine, ...]:
    """Every call that began, in the order in which it was asked for."""
    return tuple(
        ToolLine(call_id=call.id, tool=call.name, summary=one_line(call), state=state)
        for call in _asked(steps)
        if (state := _state(steps, call.id, done=done)) is not None
    )


def _asked(steps: Sequence[Step]) -> list[ToolCall]:
    """Calls of the models, and those that an engine made without a model."""
    calls: dict[str, ToolCall] = {}
    for step in steps:
        match step:
            case ModelStep():
                calls |= {call.id: call for call in step.tool_calls}
            case ToolStep() | ToolStartedStep() if step.tool_call_id not in calls:
                calls[step.tool_call_id] = ToolCall(
                    id=step.tool_call_id, name=step.name, arguments={}
                )
            case _:
                pass
    return list(calls.values())


def _state(steps: Sequence[Step], call_id: str, *, done: bool) -> ToolState | None:
    """What became of a call; None: it never began."""
    begun = False
    for step in steps:
        if isinstance(step, ToolStep) and step.tool_call_id == call_id:
            return ToolState.FAILED if step.is_error else ToolState.OK
        begun = begun or (isinstance(step, ToolStartedStep) and step.tool_call_id == call_id)
    if done:
        return ToolState.UNKNOWN if begun else None
    return ToolState.RUNNING


def _calls(
    conn: sa.Connection, tenant_id: str, user_id: str, turn_id: str
) -> tuple[str, str, tuple[ModelCallEntry, ...]]:
    check_reader(conn, tenant_id, user_id, turn_id)
    turn = execute(
        conn,
        "SELECT conversation_id, status FROM turns WHERE id = :id AND tenant_id = :tenant",
        id=turn_id,
        tenant=tenant_id,
    ).one()
    rows = execute(
        conn,
        "SELECT engine, model, state, created_at, input_tokens, output_tokens, cache_read_tokens,"
        " cache_write_5m_tokens, cache_write_1h_tokens, own_key FROM model_calls"
        " WHERE turn_id = :id AND tenant_id = :tenant ORDER BY created_at, id",
        id=turn_id,
        tenant=tenant_id,
    ).all()
    return text(turn[0]), text(turn[1]), tuple(_call(row) for row in rows)


def _call(row: Sequence[object]) -> ModelCallEntry:
    return ModelCallEntry(
        engine=text(row[0]),
        model=text(row[1]),
        state=text(row[2]),
        at_ms=integer(row[3]),
        usage=Usage(
            input_tokens=integer(row[4]),
            output_tokens=integer(row[5]),
            cache_read_tokens=integer(row[6]),
            cache_write_5m_tokens=integer(row[7]),
            cache_write_1h_tokens=integer(row[8]),
        ),
        own_key=bool(integer(row[9])),
    )


def _output(conn: sa.Connection, who: tuple[str, str], turn_id: str, call_id: str) -> ToolOutput:
    tenant_id, user_id = who
    check_reader(conn, tenant_id, user_id, turn_id)
    rows = execute(
        conn,
        "SELECT s.kind, s.payload, t.status FROM turn_steps s JOIN turns t ON t.id = s.turn_id"
        " WHERE s.turn_id = :id AND s.tenant_id = :tenant"
        " AND s.kind IN ('model', 'tool_started', 'tool') ORDER BY s.n",
        id=turn_id,
        tenant=tenant_id,
    ).all()
    steps = [load_step(text(row[0]), text(row[1])) for row in rows]
    call = next((one for one in _asked(steps) if one.id == call_id), None)
    state = _state(steps, call_id, done=bool(rows) and text(rows[0][2]) == "done")
    if call is None or state is None:
        raise NotFound(_NO_CALL)
    output = next(
        (s.output for s in steps if isinstance(s, ToolStep) and s.tool_call_id == call_id), ""
    )
    arguments = json.dumps(call.arguments, ensure_ascii=False, indent=1)
    return ToolOutput(
        call_id=call_id,
        tool=call.name,
        arguments=redact_now(arguments),
        output=output,
        state=state,
    )


def _file(
    conn: sa.Connection, who: tuple[str, str], conversation_id: str, sha256: str
) -> FileBytes:
    tenant_id, user_id = who
    if not owned(conn, tenant_id, user_id, conversation_id):
        raise NotFound(_GONE)
    rows = execute(
        conn,
        "SELECT t.attachments, a.data FROM turns t"
        " JOIN turn_files f ON f.turn_id = t.id AND f.tenant_id = t.tenant_id"
        " JOIN attachments a ON a.tenant_id = f.tenant_id AND a.sha256 = f.sha256"
        " WHERE t.conversation_id = :cid AND t.tenant_id = :tenant AND f.sha256 = :sha"
        " AND (t.kind = 'message' OR t.user_id = :user) ORDER BY t.seq LIMIT 1",
        cid=conversation_id,
        tenant=tenant_id,
        user=user_id,
        sha=sha256,
    ).all()
    for row in rows:
        for ref in json.loads(text(row[0])):
            if ref["sha256"] == sha256:
                return FileBytes(name=ref["name"], media_type=ref["media_type"], data=blob(row[1]))
    raise NotFound(_NO_FILE)

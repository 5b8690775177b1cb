"""A backup is older than what happened since: no decision in it is acted on again."""

from __future__ import annotations

import pytest

from core.agent_config import OnTimeout
from core.approvals import Approval, Card, Decision, Question, Status
from core.risk import Level
from core.tenants import User
from core.turns import Turn
from storage.approval_desk import SqlApprovalDesk
from storage.approvals import SqlApprovals
from storage.backup import backup
from storage.restore import restore
from tests.storage.kit import accept, install, message
from tests.storage.places import KINDS, Places, opened

KEY = b"k" * 32


def _question(call_id: str) -> Question:
    return Question(
        call_id=call_id,
        digest="d",
        level=Level.L2,
        card=Card(tool="wreck", action="wreck", level="L2"),
        asked_by="usr_1",
        four_eyes=False,
        on_timeout=OnTimeout.APPROVE,
        timeout_s=600,
    )


async def _asked(store: SqlApprovals, turn: Turn, call_id: str) -> Approval:
    return await store.ask(turn, _question(call_id))


async def _states(desk: SqlApprovalDesk, admin: User) -> dict[str, Status]:
    return {one.call_id: one.status for one in await desk.listed(admin.tenant_id, None, 10)}


@pytest.mark.parametrize("kind", KINDS)
async def test_what_waits_or_was_approved_is_void_after_a_restore(
    places: Places, kind: str
) -> None:
    """It may have run since the backup was written; denied stays denied."""
    source = places.new(kind, "source")
    async with opened(source) as db:
        admin = await install(db, source.data_dir)
        turn = (await accept(db, message(admin, 1))).leased
        assert turn is not None
        store, desk = SqlApprovals(db, KEY), SqlApprovalDesk(db, KEY)
        await _asked(store, turn, "waits")
        for call_id, approve in (("approved", True), ("denied", False)):
            one = await _asked(store, turn, call_id)
            await desk.decide(admin, one.id, Decision(approve=approve, where="test"))
    file = places.root / "file"
    await backup(source, file)
    copy = places.new("sqlite", "copy")
    await restore(copy, file)
    async with opened(copy) as db:
        assert await _states(SqlApprovalDesk(db, KEY), admin) == {
            "waits": Status.VOID,
            "approved": Status.VOID,
            "denied": Status.DENIED,
        }

"""The audit log in the database: append-only, verified page by page, read and exported."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncGenerator

import pytest
import sqlalchemy as sa

from core.audit import AuditEntry, AuditFilter
from core.audit_export import Head, check_export, read_heads
from storage import audit as audit_module
from storage.audit import SqlAudit, append_audit
from storage.audit_reads import SqlAuditLog
from storage.database import Database, execute
from storage.migrate import downgrade, revision, sqlite_engine, upgrade
from storage.sqlite import SqliteDatabase
from tests.storage.orders_kit import MOSTLY_LITE
from tests.storage.places import Places, opened
from tests.storage.racing import rows
from tests.storage.test_announcements import write
from tests.support.audit_kit import lift_guards

KEY = b"k" * 32


@pytest.fixture(params=MOSTLY_LITE)
async def lite(request: pytest.FixtureRequest, places: Places) -> AsyncGenerator[Database]:
    """A database, in the fast suite of SQLite."""
    async with opened(places.new(request.param, "audit")) as made:
        yield made


async def fill(db: Database, tenant: str, count: int) -> None:
    """Rows of several kinds."""

    def work(conn: sa.Connection) -> None:
        for n in range(count):
            detail: dict[str, str | int] = {
                "level": f"L{n % 3}",
                "servers": "web-1,db_1" if n % 2 else "web-10",
                "summary": f"run {n} on web-1 at L2",
            }
            entry = AuditEntry(
                actor=f"user_{n % 2}",
                action="tool.ran" if n % 3 else "approval.asked",
                turn_id=f"turn_{n // 4}",
                detail=detail,
            )
            append_audit(conn, KEY, tenant, entry)

    await db.transaction(work)


async def numbers(db: Database, asked: AuditFilter, limit: int = 100) -> list[int]:
    """The rows of a page."""
    page = await SqlAuditLog(db, KEY).page("ten_a", asked, before=None, limit=limit)
    return [row.seq for row in page]


async def exported(db: Database, asked: AuditFilter) -> list[str]:
    """The lines of an export."""
    pieces = [piece async for piece in SqlAuditLog(db, KEY).export("ten_a", asked)]
    return "".join(pieces).splitlines()


async def test_the_database_refuses_what_is_not_an_append(db: Database) -> None:
    """On both: no change, no deletion, no head that goes; new rows as ever (also after refusal)."""
    await fill(db, "ten_a", 3)
    statements = [
        "UPDATE audit_log SET actor = 'nobody' WHERE seq = 2",
        "DELETE FROM audit_log WHERE seq = 3",
        "DELETE FROM audit_log",
        "DELETE FROM audit_heads",
    ]
    for statement in statements:
        with pytest.raises(Exception, match="append-only"):
            await write(db, statement)
    await fill(db, "ten_a", 2)
    assert await rows(db, "SELECT COUNT(*) FROM audit_log") == [(5,)]
    assert await SqlAudit(db, KEY).verify() == {}


async def test_the_guards_go_with_their_migration(db: Database) -> None:
    """Down and up again: without guards a row can be changed, with them it cannot."""

    def round_trip(conn: sa.Connection) -> None:
        downgrade(conn, "0004")
        assert revision(conn) == "0004"
        execute(conn, "UPDATE audit_log SET actor = 'nobody'")
        upgrade(conn)

    await fill(db, "ten_a", 1)
    if isinstance(db, SqliteDatabase):
        engine = sqlite_engine(db.path)
        with engine.begin() as conn:
            round_trip(conn)
        engine.dispose()
    else:
        await db.transaction(round_trip)
    assert set(await SqlAudit(db, KEY).verify()) == {"ten_a"}
    with pytest.raises(Exception, match="append-only"):
        await write(db, "UPDATE audit_log SET actor = 'user_0'")


async def test_pages_are_verified_across_their_borders(
    lite: Database, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Chains longer than a page; a fault on its border, and in one of several teams."""
    monkeypatch.setattr(audit_module, "PAGE", 4)
    for tenant in ("ten_a", "ten_b", "ten_c"):
        await fill(lite, tenant, 9)
    await fill(lite, "ten_d", 8)
    audit = SqlAudit(lite, KEY)
    assert await audit.verify() == {}
    assert {tenant: head[0] for tenant, head in (await audit.heads()).items()} == {
        "ten_a": 9,
        "ten_b": 9,
        "ten_c": 9,
        "ten_d": 8,
    }
    await lift_guards(lite)
    await write(lite, "DELETE FROM audit_log WHERE tenant_id = 'ten_b' AND seq = 5")
    await write(lite, "UPDATE audit_heads SET seq = 8 WHERE tenant_id = 'ten_c'")
    await write(lite, "DELETE FROM audit_heads WHERE tenant_id = 'ten_d'")
    assert await audit.verify() == {
        "ten_b": "row 5 of tenant ten_b is missing (found 6)",
        "ten_c": "the log of tenant ten_c ends at row 9, its head says 8",
        "ten_d": "the log of tenant ten_d ends at row 8, its head says 0",
    }
    assert set(await SqlAudit(lite, b"o" * 32).verify()) == {"ten_a", "ten_b", "ten_c", "ten_d"}


async def test_two_teams_that_take_each_others_place_are_found(lite: Database) -> None:
    """Rows and heads changed owners as a whole: every MAC names its team."""
    await fill(lite, "ten_a", 3)
    await fill(lite, "ten_b", 3)
    await lift_guards(lite)
    for table in ("audit_log", "audit_heads"):
        for before, after in (("ten_a", "x"), ("ten_b", "ten_a"), ("x", "ten_b")):
            await write(
                lite, f"UPDATE {table} SET tenant_id = :to WHERE tenant_id = :t", t=before, to=after
            )
    assert set(await SqlAudit(lite, KEY).verify()) == {"ten_a", "ten_b"}


async def test_a_log_that_was_cut_off_shows_against_the_head(lite: Database) -> None:
    """By file or as SEQ:MAC: cut off with its head, grown again, or gone altogether."""
    await fill(lite, "ten_a", 5)
    audit = SqlAudit(lite, KEY)
    (head,) = read_heads(KEY, await SqlAuditLog(lite, KEY).head("ten_a"))
    assert (head.seq, await audit.compare({"ten_a": (head.seq, head.mac)})) == (5, {})
    assert await audit.holds(head.seq, head.mac)
    await lift_guards(lite)
    await write(lite, "DELETE FROM audit_log WHERE seq > 3")
    await write(
        lite,
        "UPDATE audit_heads SET seq = 3, mac = (SELECT mac FROM audit_log WHERE seq = 3)",
    )
    assert await audit.verify() == {}
    for _ in range(2):
        assert set(await audit.compare({"ten_a": (head.seq, head.mac)})) == {"ten_a"}
        assert not await audit.holds(head.seq, head.mac)
        await fill(lite, "ten_a", 4)  # it grows beyond the head again
        assert await audit.verify() == {}
    assert set(await audit.compare({"ten_z": (1, "mac")})) == {"ten_z"}


async def test_rows_that_are_written_meanwhile_are_no_fault(
    lite: Database, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Verification beside a running process finds nothing, however pages and rows fall."""
    monkeypatch.setattr(audit_module, "PAGE", 3)
    await fill(lite, "ten_a", 10)
    audit = SqlAudit(lite, KEY)
    writing = [asyncio.create_task(fill(lite, "ten_a", 5)) for _ in range(4)]
    for _ in range(5):
        assert await audit.verify() == {}
    await asyncio.gather(*writing)
    assert await audit.verify() == {}


@pytest.mark.parametrize(
    ("asked", "found"),
    [
        (AuditFilter(), [12, 11, 10, 9, 8, 7, 6, 5, 4, 3, 2, 1]),
        (AuditFilter(actor="user_1"), [12, 10, 8, 6, 4, 2]),
        (AuditFilter(action="approval.asked"), [10, 7, 4, 1]),
        (AuditFilter(action="approval.*", actor="user_0"), [7, 1]),
        (AuditFilter(turn_id="turn_1"), [8, 7, 6, 5]),
        (AuditFilter(server="web-1"), [12, 10, 8, 6, 4, 2]),
        (AuditFilter(server="db_1", level="L2"), [12, 6]),
        (AuditFilter(server="web"), []),
        (AuditFilter(server="%"), []),
        (AuditFilter(level="L2"), [12, 9, 6, 3]),
        (AuditFilter(since_ms=0, until_ms=1), []),
        (AuditFilter(since_ms=1, until_ms=2**50, turn_id="turn_0"), [4, 3, 2, 1]),
    ],
)
async def test_a_page_holds_what_is_asked(
    lite: Database, asked: AuditFilter, found: list[int]
) -> None:
    """Newest first, of one team alone; a part of a server's name is no server."""
    await fill(lite, "ten_b", 2)
    await fill(lite, "ten_a", 12)
    assert await numbers(lite, asked) == found
    assert await numbers(lite, asked, limit=2) == found[:2]
    checked = check_export(KEY, await exported(lite, asked))
    assert (checked.faults, checked.rows) == ([], len(found))


async def test_paging_is_stable(lite: Database) -> None:
    """Rows that come meanwhile neither repeat nor hide one that was there."""
    await fill(lite, "ten_a", 7)
    log, seen, before = SqlAuditLog(lite, KEY), list[int](), None
    while page := await log.page("ten_a", AuditFilter(), before=before, limit=3):
        seen += [row.seq for row in page]
        before = page[-1].seq
        await fill(lite, "ten_a", 2)
    assert seen == [7, 6, 5, 4, 3, 2, 1]


async def test_an_export_ends_where_the_log_did_when_it_began(
    lite: Database, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Rows of later are not in it; the sealed end says what it covers."""
    monkeypatch.setattr("storage.audit_reads.MOST", 2)
    await fill(lite, "ten_a", 5)
    (head,) = read_heads(KEY, await SqlAuditLog(lite, KEY).head("ten_a"))
    pieces = SqlAuditLog(lite, KEY).export("ten_a", AuditFilter())
    first = await anext(pieces)
    await fill(lite, "ten_a", 3)
    lines = "".join([first, *[piece async for piece in pieces]]).splitlines()
    assert [json.loads(line).get("seq") for line in lines] == [1, 2, 3, 4, 5, None]
    assert check_export(KEY, lines, [head]).faults == []
    later = Head(tenant_id="ten_a", seq=8, mac="m", at_ms=1)
    assert "ended at row 5" in check_export(KEY, lines, [later]).faults[0]
    empty = [piece async for piece in SqlAuditLog(lite, KEY).export("ten_z", AuditFilter())]
    assert check_export(KEY, empty).faults == []

"""``it0 audit``: check the log, keep its head elsewhere, export it.

Everything only reads, so that it works beside a running process and without one.
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import AsyncGenerator, Sequence
from contextlib import asynccontextmanager
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, TextIO

if TYPE_CHECKING:
    from core.audit import AuditFilter
    from core.audit_export import Head
    from settings import Settings
    from storage.database import Database


def add_audit(
    commands: argparse._SubParsersAction[argparse.ArgumentParser],
) -> argparse.ArgumentParser:
    """The options of every subcommand; ``arguments.action`` says which one it is."""
    parser = commands.add_parser("audit", help="the audit log")
    actions = parser.add_subparsers(dest="action", required=True, metavar="ACTION")
    verify = actions.add_parser("verify", help="find edits, deletions, reordering and truncation")
    verify.add_argument("--head", metavar="FILE|SEQ:MAC", help="a head exported earlier")
    verify.add_argument("--file", type=Path, metavar="FILE", help="check an export instead")
    head = actions.add_parser("head", help="print the log's head, to be kept elsewhere")
    head.add_argument("--out", type=Path, metavar="FILE", help="write it there")
    export = actions.add_parser("export", help="print the rows as JSON lines")
    for name in ("--since", "--until"):
        export.add_argument(name, metavar="TIME", type=instant, help="ISO 8601; UTC unless said")
    export.add_argument("--action", dest="kind", metavar="ACTION", help="such as tool.ran, tool.*")
    export.add_argument("--actor", metavar="ID", help="a user's id")
    export.add_argument("--turn", metavar="ID")
    export.add_argument("--server", metavar="NAME")
    export.add_argument("--level", choices=["L0", "L1", "L2", "L3"])
    export.add_argument("--tenant", metavar="ID", help="one team; default all")
    return parser


def instant(written: str) -> int:
    """Epoch milliseconds of an ISO 8601 time. Raises ``ArgumentTypeError``."""
    try:
        at = datetime.fromisoformat(written)
    except ValueError:
        message = f"{written} is no time such as 2026-11-22T18:00"
        raise argparse.ArgumentTypeError(message) from None
    known = at if at.tzinfo is not None else at.replace(tzinfo=UTC)
    return int(known.timestamp() * 1000)


async def audit(settings: Settings, arguments: argparse.Namespace) -> int:
    """``it0 audit``. Raises ``It0Error`` with a sentence, and ``OSError``."""
    from reach import installation_keys  # noqa: PLC0415  # --help must not import the product

    key = installation_keys(settings).derive("audit")
    match arguments.action:
        case "verify" if arguments.file is not None:
            return _verify_file(key, arguments.file, arguments.head, sys.stdout)
        case "verify":
            async with _database(settings) as db:
                return await verify(db, key, arguments.head, sys.stdout)
        case "head":
            async with _database(settings) as db:
                return await _head(db, key, arguments.out, sys.stdout)
        case _:
            async with _database(settings) as db:
                return await export(db, key, arguments, sys.stdout)


async def verify(db: Database, key: bytes, head: str | None, out: TextIO) -> int:
    """Check every chain, also against a head; 1 when something is wrong."""
    from storage.audit import SqlAudit  # noqa: PLC0415  # --help must not import the product

    log = SqlAudit(db, key)
    pair = _pair(head)
    exported = () if head is None or pair is not None else _heads(key, head)
    faults = await log.verify()
    faults |= await log.compare({one.tenant_id: (one.seq, one.mac) for one in exported})
    if pair is not None and not await log.holds(*pair):
        faults["the head"] = (
            f"no team's row {pair[0]} is the one of this head: the log was cut off or written anew"
        )
    for fault in faults.values():
        print(f"NOT INTACT: {fault}", file=out)
    if not faults:
        heads = await log.heads()
        rows = sum(seq for seq, _mac in heads.values())
        print(f"The audit log is intact: {_of(rows, len(heads))}.", file=out)
    return 1 if faults else 0


def _of(rows: int, teams: int) -> str:
    """How much was checked."""
    of_rows = "1 row" if rows == 1 else f"{rows} rows"
    return f"{of_rows} of 1 team" if teams == 1 else f"{of_rows} of {teams} teams"


def _verify_file(key: bytes, file: Path, head: str | None, out: TextIO) -> int:
    # --help must not import the product.
    from core.audit_export import BadHead, check_export  # noqa: PLC0415

    if _pair(head) is not None:
        raise BadHead("An export is checked against a head's file: `it0 audit head` writes one.")
    heads = () if head is None else _heads(key, head)
    with file.open(encoding="utf-8", errors="replace") as lines:
        checked = check_export(key, lines, heads)
    for fault in checked.faults:
        print(f"NOT INTACT: {fault}", file=out)
    for point in checked.open_points:
        print(f"NOT CHECKED: {point}", file=out)
    if not checked.faults:
        teams = len(checked.tenants)
        print(f"The export is intact: {_of(checked.rows, teams)}.", file=out)
    return 1 if checked.faults else 0


async def _head(db: Database, key: bytes, file: Path | None, out: TextIO) -> int:
    from core.audit_export import head_file  # noqa: PLC0415  # --help must not import the product
    from storage.audit import SqlAudit  # noqa: PLC0415  # as above

    content = head_file(key, await SqlAudit(db, key).heads_now())
    if file is None:
        out.write(content)
    else:
        file.write_text(content, encoding="utf-8")  # noqa: ASYNC240  # a command's only work
        print(f"Wrote {file}. Keep it where IT0's operator cannot change it.", file=out)
    return 0


async def export(db: Database, key: bytes, arguments: argparse.Namespace, out: TextIO) -> int:
    """Print the rows that were asked for, team by team."""
    from storage.audit import SqlAudit  # noqa: PLC0415  # --help must not import the product
    from storage.audit_reads import SqlAuditLog  # noqa: PLC0415  # as above

    asked = _asked(arguments)
    teams: Sequence[str] = sorted(await SqlAudit(db, key).heads())
    for tenant_id in [arguments.tenant] if arguments.tenant is not None else teams:
        async for lines in SqlAuditLog(db, key).export(tenant_id, asked):
            out.write(lines)
    return 0


def _asked(arguments: argparse.Namespace) -> AuditFilter:
    from core.audit import AuditFilter  # noqa: PLC0415  # --help must not import the product

    return AuditFilter(
        since_ms=arguments.since,
        until_ms=arguments.until,
        action=arguments.kind or "",
        actor=arguments.actor or "",
        turn_id=arguments.turn or "",
        server=arguments.server or "",
        level=arguments.level or "",
    )


def _pair(head: str | None) -> tuple[int, str] | None:
    """``SEQ:MAC``, as somebody wrote it down."""
    number, _, mac = (head or "").partition(":")
    return (int(number), mac) if number.isascii() and number.isdigit() and mac else None


def _heads(key: bytes, file: str) -> tuple[Head, ...]:
    from core.audit_export import BadHead, read_heads  # noqa: PLC0415  # --help needs it not

    try:
        return read_heads(key, Path(file).read_text(encoding="utf-8"))
    except (OSError, UnicodeDecodeError) as error:
        raise BadHead(f"The head {file} cannot be read: {error}.") from error


@asynccontextmanager
async def _database(settings: Settings) -> AsyncGenerator[Database]:
    """The database of an installation that may be running: reads only, so no lock is taken."""
    from core.clock import SystemClock  # noqa: PLC0415  # --help must not import the product
    from core.errors import It0Error  # noqa: PLC0415  # as above
    from storage.sqlite import SqliteDatabase  # noqa: PLC0415  # as above

    db: Database
    path = settings.database_path
    if path is None:
        from storage.postgres import PostgresDatabase  # noqa: PLC0415  # 10 MB only when used

        db = PostgresDatabase(str(settings.database_url))
    elif path.exists():
        db = SqliteDatabase(path, SystemClock())
    else:
        raise It0Error(f"There is no database at {path} yet. `it0 up` makes one.")
    try:
        yield db
    finally:
        await db.close()

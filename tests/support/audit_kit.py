"""What whoever owns the database can do to the audit log, its guards notwithstanding."""

from __future__ import annotations

import sqlalchemy as sa

from storage.database import Database, execute

GUARDS = (("audit_log", "update"), ("audit_log", "delete"), ("audit_heads", "delete"))


async def lift_guards(db: Database) -> None:
    """Drop the triggers that refuse changes."""
    await db.transaction(_lift)


def _lift(conn: sa.Connection) -> None:
    for table, event in GUARDS:
        of_table = f" ON {table}" if conn.dialect.name == "postgresql" else ""
        execute(conn, f"DROP TRIGGER IF EXISTS {table}_no_{event}{of_table}")

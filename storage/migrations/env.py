"""Alembic's environment: always on a connection that the caller opened.

On PostgreSQL a migration waits at most ten seconds for a lock: behind one that waits, every
query of a running installation would queue.
"""

from __future__ import annotations

import sqlalchemy as sa
from alembic import context

from storage.tables import metadata

connection = context.config.attributes["connection"]
context.configure(
    connection=connection,
    target_metadata=metadata,
    render_as_batch=connection.dialect.name == "sqlite",
    compare_type=True,
    compare_server_default=False,
)
if connection.dialect.name == "postgresql":
    connection.execute(sa.text("SET LOCAL lock_timeout = '10s'"))
with context.begin_transaction():
    context.run_migrations()

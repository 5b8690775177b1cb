"""What the tests of the core get: a site on each database, made from a migrated template."""

from tests.support.core_fixtures import (
    _plain_logs,
    migrated_postgres,
    postgres_place,
    site,
    sqlite_template,
)

__all__ = ["_plain_logs", "migrated_postgres", "postgres_place", "site", "sqlite_template"]

"""What the tests of the core get: a site on each database, made from a migrated template."""

from tests.support.core_fixtures import (
    migrated_postgres,
    postgres_place,
    site,
    sqlite_template,
)

__all__ = ["migrated_postgres", "postgres_place", "site", "sqlite_template"]

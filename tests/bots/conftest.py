"""What the edges' tests get: a site on each database."""

from tests.support.core_fixtures import migrated_postgres, postgres_place, site, sqlite_template

__all__ = ["migrated_postgres", "postgres_place", "site", "sqlite_template"]

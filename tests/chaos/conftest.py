"""What the tests of what chaos found get: a site on each database."""

from tests.support.core_fixtures import (
    copies,
    postgres_place,
    site,
    sqlite_template,
)

__all__ = ["copies", "postgres_place", "site", "sqlite_template"]

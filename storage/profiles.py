"""What the page knows of its reader: their team, and the language they chose."""

from __future__ import annotations

import sqlalchemy as sa

from core.sign_in import PageLanguage, Profile
from core.tenants import User
from storage.database import Database, execute
from storage.joining import live_user
from storage.rows import optional_text, text


class SqlProfiles:
    """Implements ``bots.web.sessions.Profiles``."""

    def __init__(self, db: Database) -> None:
        """Wire the database."""
        self._db = db

    async def profile(self, user: User) -> Profile:
        """Their team and their choices."""
        return await self._db.read(_profile, user)

    async def choose_language(self, user: User, language: str | None) -> None:
        """Remember the language of our words; None forgets it."""
        await self._db.transaction(_choose_language, user, language)

    async def member(self, tenant_id: str, email: str) -> User | None:
        """A person of the team by address."""
        return await self._db.read(live_user, tenant_id, "email = :value", email.casefold())


def _profile(conn: sa.Connection, user: User) -> Profile:
    row = execute(
        conn,
        "SELECT t.name, u.language, (SELECT value FROM installation WHERE key = 'operator_tenant')"
        " FROM tenants t LEFT JOIN users u ON u.tenant_id = t.id AND u.id = :user"
        " WHERE t.id = :tenant",
        user=user.id,
        tenant=user.tenant_id,
    ).one()
    return Profile(
        team=text(row[0]),
        language=_known(optional_text(row[1])),
        operator_team=optional_text(row[2]) == user.tenant_id,
    )


def _known(language: str | None) -> PageLanguage:
    match language:
        case "en":
            return "en"
        case "zh":
            return "zh"
        case _:
            return ""


def _choose_language(conn: sa.Connection, user: User, language: str | None) -> None:
    execute(
        conn,
        "UPDATE users SET language = :language WHERE id = :id AND tenant_id = :tenant",
        language=language,
        id=user.id,
        tenant=user.tenant_id,
    )

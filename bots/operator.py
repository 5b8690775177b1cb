"""The operator's commands as a client of the API: users, tokens, skills."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from http import HTTPStatus
from typing import Final, TypedDict, cast
from urllib.parse import quote

import aiohttp

PATIENCE_S: Final = 30.0
NO_HEADERS: Final[Mapping[str, str]] = {}


class UserRow(TypedDict):
    """A user as the API shows them."""

    id: str
    email: str
    name: str
    role: str


class TokenRow(TypedDict):
    """A live token as the API lists it."""

    id: str
    email: str
    created_at: str
    expires_at: str
    parent: str | None


class SkillRow(TypedDict):
    """A skill as the API lists it."""

    name: str
    description: str
    source: str
    enabled: bool


class SignInLink(TypedDict):
    """A link that opens the page once."""

    url: str
    email: str


class RequestRefused(Exception):
    """The server refused, or could not be reached; the text is a sentence."""


@dataclass(frozen=True, slots=True, kw_only=True)
class OperatorClient:
    """Speaks to one server as whoever holds the installation's key."""

    base_url: str
    token_source: Callable[[], str]

    async def users(self) -> list[UserRow]:
        """The operator's team."""
        return cast("list[UserRow]", (await self.call("GET", "users"))["users"])

    async def add_user(self, *, email: str, name: str, role: str) -> UserRow:
        """Add a person."""
        body = {"email": email, "name": name, "role": role}
        return cast("UserRow", await self.call("POST", "users", body))

    async def set_role(self, email: str, role: str) -> UserRow:
        """Give a person of the team another role."""
        path = f"users/{(await self._user(email))['id']}"
        return cast("UserRow", await self.call("PATCH", path, {"role": role}))

    async def disable_user(self, email: str) -> None:
        """Shut a person of the team out, with all their tokens."""
        await self.call("DELETE", f"users/{(await self._user(email))['id']}")

    async def token(self, *, days: int) -> str:
        """A bearer token for the user this client acts as."""
        return str((await self.call("POST", "tokens", {"days": days}))["token"])

    async def sign_in_link(self) -> SignInLink:
        """A link that signs its bearer in as the user this client acts as."""
        return cast("SignInLink", await self.call("POST", "sign-in-links", {}))

    async def link_code(self) -> str:
        """A code that makes its sender the user this client acts as."""
        return str((await self.call("POST", "codes", {"kind": "link"}))["code"])

    async def invite_code(self, *, email: str, role: str) -> str:
        """A code that makes its sender a user of the team."""
        body = {"kind": "invite", "email": email, "role": role}
        return str((await self.call("POST", "codes", body))["code"])

    async def tokens(self) -> list[TokenRow]:
        """The team's live tokens."""
        return cast("list[TokenRow]", (await self.call("GET", "tokens"))["tokens"])

    async def revoke_token(self, token_id: str) -> None:
        """Revoke a token and those made with it."""
        await self.call("DELETE", f"tokens/{quote(token_id, safe='')}")

    async def skills(self) -> list[SkillRow]:
        """The team's skills, those that are off included."""
        return cast("list[SkillRow]", (await self.call("GET", "skills"))["skills"])

    async def add_skills(self, skills: Sequence[Mapping[str, object]]) -> list[SkillRow]:
        """Add skills of the team's own or replace them, all or none."""
        answer = await self.call("POST", "skills", {"skills": skills})
        return cast("list[SkillRow]", answer["skills"])

    async def _user(self, email: str) -> UserRow:
        wanted = email.strip().casefold()
        for user in await self.users():
            if user["email"] == wanted:
                return user
        raise RequestRefused(f"There is no user {email}. `it0 user list` shows who there is.")

    async def call(
        self,
        method: str,
        path: str,
        body: Mapping[str, object] | None = None,
        *,
        headers: Mapping[str, str] = NO_HEADERS,
        patience_s: float = PATIENCE_S,
    ) -> dict[str, object]:
        """Ask the server. Raises ``RequestRefused`` with its sentence."""
        headers = {"Authorization": f"Bearer {self.token_source()}", **headers}
        url = f"{self.base_url}/api/v1/{path}"
        timeout = aiohttp.ClientTimeout(total=patience_s)
        try:
            async with (
                aiohttp.ClientSession(timeout=timeout) as session,
                session.request(method, url, json=body, headers=headers) as response,
            ):
                if response.status == HTTPStatus.NO_CONTENT:
                    return {}
                answer = cast("dict[str, object]", await response.json(content_type=None))
        except (aiohttp.ClientError, TimeoutError, ValueError) as error:
            message = f"IT0 does not answer at {self.base_url}. Is it running there?"
            raise RequestRefused(message) from error
        if not response.ok:
            raise RequestRefused(str(answer.get("detail", "The server refused the request.")))
        return answer

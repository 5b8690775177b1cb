"""The operator's commands as a client of the API: users, tokens, servers."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import TypedDict, cast

import aiohttp


class UserRow(TypedDict):
    """A user as the API shows them."""

    id: str
    email: str
    name: str
    role: str


class ServerRow(TypedDict):
    """A server as the API shows it."""

    id: str
    name: str
    kind: str


class RequestRefused(Exception):
    """The server refused, or could not be reached; the text is a sentence."""


@dataclass(frozen=True, slots=True, kw_only=True)
class OperatorClient:
    """Speaks to one server as whoever holds the installation's key."""

    base_url: str
    token_source: Callable[[], str]

    async def users(self) -> list[UserRow]:
        """The operator's team."""
        return cast("list[UserRow]", (await self._call("GET", "users"))["users"])

    async def add_user(self, *, email: str, name: str, role: str) -> UserRow:
        """Add a person."""
        body = {"email": email, "name": name, "role": role}
        return cast("UserRow", await self._call("POST", "users", body))

    async def servers(self) -> list[ServerRow]:
        """The team's servers."""
        return cast("list[ServerRow]", (await self._call("GET", "servers"))["servers"])

    async def token(self, *, days: int) -> str:
        """A bearer token for the user this client acts as."""
        return str((await self._call("POST", "tokens", {"days": days}))["token"])

    async def _call(
        self, method: str, path: str, body: dict[str, str] | dict[str, int] | None = None
    ) -> dict[str, object]:
        headers = {"Authorization": f"Bearer {self.token_source()}"}
        url = f"{self.base_url}/api/v1/{path}"
        timeout = aiohttp.ClientTimeout(total=30)
        try:
            async with (
                aiohttp.ClientSession(timeout=timeout) as session,
                session.request(method, url, json=body, headers=headers) as response,
            ):
                answer = cast("dict[str, object]", await response.json(content_type=None))
        except (aiohttp.ClientError, TimeoutError, ValueError) as error:
            message = f"IT0 does not answer at {self.base_url}. Is it running there?"
            raise RequestRefused(message) from error
        if not response.ok:
            raise RequestRefused(str(answer.get("detail", "The server refused the request.")))
        return answer

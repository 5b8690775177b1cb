"""The team's servers as a client of the API: what ``it0 server`` asks."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Final, TypedDict, cast
from urllib.parse import quote

from bots.operator import OperatorClient

TRIAL_S: Final = 150.0
"""A trial connects and runs four commands, each of which may time out."""


class ServerRow(TypedDict):
    """A server as the API shows it."""

    id: str
    name: str
    kind: str
    address: str
    port: int
    user: str
    tags: list[str]
    environment: str
    criticality: str
    jump: str
    identity: str
    identity_file: str
    key_fingerprint: str | None
    host_key: str
    host_key_fingerprint: str | None
    sudo: str
    revision: int


class TrialRow(TypedDict):
    """What a trial found."""

    host_key: str
    fingerprint: str
    confirmed: bool
    changed: bool
    reached: bool
    latency_ms: int | None
    user: str
    sudo: bool | None
    problem: str


@dataclass(frozen=True, slots=True, kw_only=True)
class ServersClient:
    """Every method raises ``RequestRefused`` with the server's sentence."""

    client: OperatorClient

    async def servers(self, selection: str = "") -> list[ServerRow]:
        """The team's servers, or those that are meant."""
        query = f"?select={quote(selection, safe='')}" if selection else ""
        answer = await self.client.call("GET", f"servers{query}")
        return cast("list[ServerRow]", answer["servers"])

    async def add(self, body: Mapping[str, object]) -> ServerRow:
        """Register one."""
        return cast("ServerRow", await self.client.call("POST", "servers", body))

    async def change(self, name: str, body: Mapping[str, object]) -> ServerRow:
        """Change what is registered of one."""
        return cast("ServerRow", await self.client.call("PATCH", _path(name), body))

    async def remove(self, name: str) -> None:
        """Forget one."""
        await self.client.call("DELETE", _path(name))

    async def trial(self, name: str) -> TrialRow:
        """Try one out."""
        answer = await self.client.call("POST", f"{_path(name)}/test", patience_s=TRIAL_S)
        return cast("TrialRow", answer)

    async def confirm(self, name: str, host_key: str, *, replace: bool) -> ServerRow:
        """Pin its host key."""
        body = {"host_key": host_key, "replace": replace}
        return cast("ServerRow", await self.client.call("POST", f"{_path(name)}/host-key", body))


def _path(name: str) -> str:
    return f"servers/{quote(name, safe='')}"

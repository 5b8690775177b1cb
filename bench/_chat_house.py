"""``it0 up`` with a chat platform, and people it knows."""

from __future__ import annotations

import asyncio
import sys
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import app
from bench import _house
from bench._chat_stage import Person
from bench._child import ROOT
from core.messages import Actor, ConversationAddress, InboundMessage
from core.tenants import Role
from settings import Settings
from storage.access import SqlGate
from tests.support.processes import Process, free_port


@dataclass(frozen=True, slots=True, kw_only=True)
class Place:
    """A fake platform: its name and what it greeted with."""

    platform: str
    given: Mapping[str, str]

    @property
    def environment(self) -> dict[str, str]:
        """What IT0 is told of it."""
        given = self.given
        if self.platform == "telegram":
            return {"TELEGRAM_BOT_TOKEN": given["token"], "IT0_TELEGRAM_API_URL": given["url"]}
        return {
            "SLACK_BOT_TOKEN": given["bot_token"],
            "SLACK_APP_TOKEN": given["app_token"],
            "SLACK_SIGNING_SECRET": given["signing_secret"],
            "IT0_SLACK_API_URL": given["url"],
        }


def furnish(data_dir: Path, platform: str, people: Sequence[Person]) -> None:
    """A database in which all these people are members; their workspace is linked by the first."""

    async def make() -> None:
        settings = Settings.from_environment({"IT0_DATA_DIR": str(data_dir)})
        async with app.open_storage(settings) as storage:
            admin = await storage.people.install(tenant_name="Bench", admin_email="a@example.com")
            gate = SqlGate(storage.db, storage.keys.derive("audit"))
            for number, person in enumerate(people):
                if number:
                    email = f"p{number}@example.com"
                    code = await gate.invite_code(admin, email=email, role=Role.OPERATOR)
                else:
                    code = await gate.link_code(admin)
                refused = await gate.redeem(_code(platform, person, number), code)
                assert refused is None, refused

    asyncio.run(make())


def _code(platform: str, person: Person, number: int) -> InboundMessage:
    return InboundMessage(
        event_id=f"bench:link:{number}",
        address=ConversationAddress(
            platform=platform,
            workspace=person.workspace,
            channel=person.external_id,
            thread="",
        ),
        actor=Actor(platform=platform, workspace=person.workspace, external_id=person.external_id),
        text="/link",
        group=person.group,
    )


def start(data_dir: Path, place: Place, model: str, profile: Path | None) -> Process:
    """Start it and wait until it listens; with ``profile``, under cProfile."""
    port = free_port()
    environ = _house.environment(
        data_dir, port, model, **place.environment, NO_PROXY="127.0.0.1", no_proxy="127.0.0.1"
    )
    command = _house.command()
    if profile is not None:
        command = [sys.executable, "-m", "bench._chat_profile", str(profile)]
    process = Process(command, env=environ, cwd=ROOT)
    process.wait_for_port(port)
    return process


def peak_mb(pid: int) -> float:
    """The largest resident memory so far."""
    for line in Path(f"/proc/{pid}/status").read_text().splitlines():
        if line.startswith("VmHWM:"):
            return int(line.split()[1]) / 1024
    raise AssertionError(pid)

"""Engines, tools and commands of an installation, made from its settings."""

from __future__ import annotations

from collections.abc import Mapping
from contextlib import AsyncExitStack
from pathlib import Path

from core.clock import SystemClock
from core.commands import CommandPorts, ServerNames
from core.engine_choice import Engines
from core.engines.engine import Engine
from core.engines.runbook import RunbookEngine
from core.engines.runbook_words import WhyOffline
from core.fleet.inventory import Inventory
from core.fleet.local import LocalConnector, LocalHost
from core.fleet.tools import fleet_tools
from core.protected import ProtectedPaths
from core.skills import SkillLibrary, SkillShelf
from core.tools import Tool
from settings import Settings
from storage.access import SqlGate
from storage.choices import SqlChoices
from storage.conversations import SqlConversations
from storage.database import Database
from storage.people import SqlPeople
from storage.shares import SqlShares


def make_engines(
    settings: Settings,
    skills: SkillShelf,
    inventory: Inventory,
    added: Mapping[str, Engine],
    stack: AsyncExitStack,
) -> Engines:
    """The configured engines, those that were added, and the default."""
    key = settings.anthropic.api_key
    why = WhyOffline.NO_KEY if key is None else WhyOffline.CHOSEN
    runbook = RunbookEngine(skills=skills, inventory=inventory, why=why)
    engines: dict[str, Engine] = {"runbook": runbook}
    if key is not None:
        engines["claude_api"] = _claude(settings, stack)
    engines.update(added)
    return Engines(engines=engines, default=settings.default_engine, model=settings.model)


def _claude(settings: Settings, stack: AsyncExitStack) -> Engine:
    from core.engines.claude_api import (  # noqa: PLC0415  # only where it is configured
        ClaudeApiConfig,
        ClaudeApiEngine,
    )

    engine = ClaudeApiEngine(
        ClaudeApiConfig(
            api_key=settings.anthropic.api_key or "",
            base_url=settings.anthropic.base_url,
            ca_file=settings.anthropic.ca_file,
            stall_timeout_s=settings.tuning.model_timeout_s,
        )
    )
    stack.push_async_callback(engine.aclose)
    return engine


def make_tools(settings: Settings, people: SqlPeople, added: tuple[Tool, ...]) -> dict[str, Tool]:
    """The fleet's tools and those that were added, by name."""
    own = [settings.data_dir, Path.cwd() / ".env"]
    if settings.database_path is not None:
        own.append(settings.database_path)
    protected = ProtectedPaths.of(*own)
    tools = (
        *fleet_tools(people, LocalConnector(host=LocalHost(protected)), protected),
        *added,
    )
    return {tool.spec.name: tool for tool in tools}


def server_names(people: SqlPeople) -> ServerNames:
    """How the commands learn the names of a tenant's servers."""

    async def names(tenant_id: str) -> list[str]:
        return [server.name for server in await people.servers(tenant_id)]

    return names


def command_ports(
    db: Database, audit_key: bytes, people: SqlPeople, skills: SkillLibrary, engines: Engines
) -> CommandPorts:
    """What the chat commands work with."""
    choices = SqlChoices(db, audit_key)
    return CommandPorts(
        desk=SqlConversations(db),
        shares=SqlShares(db, audit_key),
        codes=SqlGate(db, audit_key),
        memberships=choices,
        preferences=choices,
        servers=server_names(people),
        skills=skills,
        engines=engines,
        clock=SystemClock(),
    )

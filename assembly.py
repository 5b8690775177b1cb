"""Engines, tools and commands of an installation, made from its settings."""

from __future__ import annotations

import time
from collections.abc import Mapping, Sequence
from contextlib import AsyncExitStack
from dataclasses import dataclass

from core.agent_rules import AgentRules, KnownModels
from core.clock import SystemClock
from core.commands import CommandPorts
from core.engine_choice import Engines
from core.engine_state import EngineStates
from core.engines.agent_pool import AgentPool, PoolLimits
from core.engines.agent_process import Member
from core.engines.breaker import BreakerConfig, Breakers
from core.engines.claude_agent_sdk import claude_agent_sdk
from core.engines.claude_api import ClaudeApiConfig, ClaudeApiEngine
from core.engines.claude_code_cli import claude_code_cli
from core.engines.cli_home import Homes, HomesConfig
from core.engines.engine import Engine
from core.engines.failover import FailoverEngine
from core.engines.gateway import Gateway, GatewayConfig
from core.engines.runbook import RunbookEngine
from core.engines.runbook_words import WhyOffline
from core.fleet.inventory import Inventory
from core.plan_tool import PROPOSE_PLAN, plan_tool
from core.skill_prompt import READ_SKILL
from core.skill_tool import skill_tool
from core.skills import SkillLibrary, SkillShelf
from core.tools import Tool
from settings import Settings
from storage.access import SqlGate
from storage.agent_config import SqlAgentConfigs
from storage.choices import SqlChoices
from storage.conversations import SqlConversations
from storage.shares import SqlShares
from storage.skills import SqlSkills
from stores import Storage


def make_engines(
    settings: Settings,
    skills: SkillShelf,
    inventory: Inventory,
    added: Mapping[str, Engine],
    homes: Homes,
    pool: AgentPool[Member],
    stack: AsyncExitStack,
) -> Engines:
    """Every engine, those that were added, and the default.

    An engine that the installation has no account for is there all the same: a team may bring
    its own key. Each has others behind it: first the plain API, then the offline engine.
    """
    key, login = settings.anthropic.api_key, settings.agents.login
    why = WhyOffline.NO_KEY if key is None and login is None else WhyOffline.CHOSEN
    runbook = RunbookEngine(skills=skills, inventory=inventory, why=why)
    engines: dict[str, Engine] = {
        "claude_api": _claude(settings, stack),
        **_agents(settings, homes, pool, stack),
        "runbook": runbook,
    }
    keyless = set() if key is not None else {"claude_api"}
    if key is None and login is None:
        keyless |= {"claude_agent_sdk", "claude_code_cli"}
    engines.update(added)
    breakers = Breakers(BreakerConfig(), time.monotonic)
    offline = RunbookEngine(skills=skills, inventory=inventory, why=WhyOffline.OUTAGE)
    return Engines(
        engines=engines,
        default=settings.default_engine,
        model=settings.model,
        guarded=_guarded(engines, breakers, behind=(engines["claude_api"], offline)),
        own_key_only=frozenset(keyless - added.keys()),
        circuits=breakers,
    )


def _guarded(
    engines: Mapping[str, Engine], breakers: Breakers, *, behind: Sequence[Engine]
) -> dict[str, Engine]:
    """Each engine with a model, and behind it those that answer when it cannot."""
    return {
        name: FailoverEngine(
            [engine, *(other for other in behind if other is not engine)],
            breakers=breakers,
            one_provider=True,
        )
        for name, engine in engines.items()
        if engine.has_model
    }


def _claude(settings: Settings, stack: AsyncExitStack) -> Engine:
    engine = ClaudeApiEngine(
        ClaudeApiConfig(
            api_key=settings.anthropic.api_key,
            base_url=settings.anthropic.base_url,
            ca_file=settings.anthropic.ca_file,
            stall_timeout_s=settings.tuning.model_timeout_s,
        )
    )
    stack.push_async_callback(engine.aclose)
    return engine


def _agents(
    settings: Settings, homes: Homes, pool: AgentPool[Member], stack: AsyncExitStack
) -> dict[str, Engine]:
    """The engines on Claude Code: their processes, and the gateway between them and the key."""
    agents = settings.agents
    gateway = Gateway(
        GatewayConfig(
            api_key=settings.anthropic.api_key,
            base_url=settings.anthropic.base_url,
            ca_file=settings.anthropic.ca_file,
            stall_timeout_s=settings.tuning.model_timeout_s,
        )
    )
    made = (
        claude_agent_sdk(homes, gateway, pool=pool, login=agents.login),
        claude_code_cli(homes, gateway, pool=pool, login=agents.login),
    )
    stack.push_async_callback(gateway.aclose)
    for engine in made:
        stack.push_async_callback(engine.aclose)
    return {engine.name: engine for engine in made}


@dataclass(frozen=True, slots=True)
class Added:
    """What an installation adds to the engines and tools that every one has."""

    engines: Mapping[str, Engine]
    tools: tuple[Tool, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class Team:
    """What the teams of this installation chose, and what they may choose from."""

    homes: Homes
    """Where the processes of Claude Code live."""
    pool: AgentPool[Member]
    """Those processes."""
    installed: SkillLibrary
    """The skills that every team begins with."""
    skills: SqlSkills
    agents: SqlAgentConfigs
    engines: Engines
    states: EngineStates
    tools: Mapping[str, Tool]
    rules: AgentRules


def make_team(
    settings: Settings,
    storage: Storage,
    installed: SkillLibrary,
    added: Added,
    stack: AsyncExitStack,
) -> Team:
    """Engines, tools and skills, and where each team's own choices are kept."""
    audit_key = storage.keys.derive("audit")
    all_tools = {tool.spec.name: tool for tool in added.tools}
    skills = SqlSkills(storage.db, audit_key, installed, tools=all_tools)
    all_tools[READ_SKILL] = skill_tool(skills)
    all_tools[PROPOSE_PLAN] = plan_tool(all_tools)
    agents = settings.agents
    homes = Homes(HomesConfig(root=agents.directory, uid=agents.uid))
    pool: AgentPool[Member] = AgentPool(
        PoolLimits(most=agents.processes, idle_s=agents.idle_s), "claude_code"
    )
    engines = make_engines(settings, skills, storage.people, added.engines, homes, pool, stack)
    agent_configs = SqlAgentConfigs(
        storage.db,
        storage.keys.derive("agent_configs"),
        audit_key,
        login_only=settings.anthropic.api_key is None and settings.agents.login is not None,
    )
    return Team(
        homes=homes,
        pool=pool,
        installed=installed,
        skills=skills,
        agents=agent_configs,
        engines=engines,
        states=EngineStates(engines, agent_configs, agent_configs, SystemClock()),
        tools=all_tools,
        rules=AgentRules(
            engines=engines,
            tools=tuple(all_tools),
            operator_login=settings.agents.login is not None,
            models=KnownModels(SystemClock()),
        ),
    )


def command_ports(storage: Storage, team: Team) -> CommandPorts:
    """What the chat commands work with."""
    db, audit_key = storage.db, storage.keys.derive("audit")
    choices = SqlChoices(db, audit_key)
    return CommandPorts(
        desk=SqlConversations(db),
        shares=SqlShares(db, audit_key),
        codes=SqlGate(db, audit_key),
        memberships=choices,
        preferences=choices,
        servers=storage.people,
        skills=team.skills,
        engines=team.engines,
        team_models=team.agents,
        model_notes=KnownModels(SystemClock()),
        clock=SystemClock(),
    )

"""Conversations of several turns around engines, as the core runs them.

A ``World`` has one fake provider, one gateway and one set of homes; a ``Talk`` is one
conversation in it. Its turns get what the core would give them: the history of committed
steps and replies, the last turn's id, and the native session only when it belongs to the
same engine, the same person and the last turn.
"""

from __future__ import annotations

import base64
import re
import tempfile
from collections.abc import AsyncIterator, Iterator, Sequence
from contextlib import asynccontextmanager, suppress
from dataclasses import dataclass, field
from itertools import count, groupby
from operator import itemgetter
from pathlib import Path
from typing import Any

import pytest

from core.engines.agent_engine import AgentEngine
from core.engines.agent_pool import PoolLimits
from core.engines.agent_tools import bare
from core.engines.claude_agent_sdk import claude_agent_sdk
from core.engines.claude_api import ClaudeApiEngine
from core.engines.claude_code_cli import claude_code_cli
from core.engines.cli_home import Home, Homes, HomesConfig
from core.engines.engine import Engine, EngineRequest, NativeSession
from core.engines.gateway import Gateway, GatewayConfig
from core.engines.runbook import RunbookEngine
from core.errors import EngineFailure
from core.events import EngineSession
from core.fleet.inventory import LocalInventory, Server, ServerKind
from core.messages import Attachment
from core.metering import Usage
from core.skills import FixedShelf, SkillLibrary
from core.steps import Exchange, ModelStep, SteerStep, Step, ToolStartedStep, ToolStep
from tests.contracts.engine_kit import KITS, RecordingMeter, Turn, claude_config
from tests.fakes.anthropic import FakeAnthropic, Seen
from tests.fakes.anthropic_rules import blocks_of

API, SDK, CLI, RUNBOOK = "claude_api", "claude_agent_sdk", "claude_code_cli", "runbook"
MODELS = tuple(name for name in (API, SDK, CLI) if name in {kit.name for kit in KITS})
"""The engines with a model that are built."""
AGENTS = tuple(name for name in MODELS if name != API)
"""Those on Claude Code."""
ALSO_CLI = tuple(
    pytest.param(name, marks=pytest.mark.slow) if name == CLI else name for name in MODELS
)
"""The same for what both engines on Claude Code share: in the fast suite one stands for both."""
AGENTS_ALSO_CLI = ALSO_CLI[1:]
MOST = PoolLimits(most=2)
"""Processes that may live: each holds 200 MB, and the tests run beside others."""

_JOINED = re.compile(
    r"The user sent a new message while you were working:\n(.*)\n\nThis is how Claude Code"
)
"""How the CLI (2.1.330) tells the model of a message that joined the running turn."""
Piece = tuple[str, str]
"""Who said it, and what: the unit in which conversations are compared."""


@dataclass(kw_only=True)
class World:
    """Engines that live as long as a test module, on one provider."""

    fake: FakeAnthropic
    gateway: Gateway
    homes: Homes
    root: Path
    stall_timeout_s: float
    _engines: dict[str, Engine] = field(default_factory=dict)
    _ids: Iterator[int] = field(default_factory=lambda: count(1))

    def engine(self, name: str) -> Engine:
        """The engine of this name; made when it is first asked for."""
        if name not in self._engines:
            self._engines[name] = self._made(name)
        return self._engines[name]

    def agent(self, name: str) -> AgentEngine:
        """The same, where it is one on Claude Code."""
        engine = self.engine(name)
        assert isinstance(engine, AgentEngine)
        return engine

    async def restart(self, name: str) -> None:
        """End it with its processes; the next turn makes it anew on the same homes."""
        engine = self._engines.pop(name, None)
        if isinstance(engine, AgentEngine | ClaudeApiEngine):
            await engine.aclose()

    async def aclose(self) -> None:
        """End every engine."""
        for name in list(self._engines):
            await self.restart(name)

    def talk(self, *, tenant_id: str = "ten_1", conversation_id: str = "") -> Talk:
        """A conversation; its id is a new one unless given."""
        name = conversation_id or f"conv_{next(self._ids)}"
        return Talk(world=self, tenant_id=tenant_id, conversation_id=name)

    def _made(self, name: str) -> Engine:
        match name:
            case "claude_api":
                return ClaudeApiEngine(
                    claude_config(self.fake.url, stall_timeout_s=self.stall_timeout_s)
                )
            case "claude_agent_sdk":
                return claude_agent_sdk(self.homes, self.gateway, limits=MOST)
            case "claude_code_cli":
                return claude_code_cli(self.homes, self.gateway, limits=MOST)
            case "runbook":
                local = Server(id="srv_1", tenant_id="ten_1", name="local", kind=ServerKind.LOCAL)
                skills = FixedShelf(SkillLibrary())
                return RunbookEngine(skills=skills, inventory=LocalInventory(server=local))
            case _:
                raise ValueError(name)


@asynccontextmanager
async def world_of(*, stall_timeout_s: float = 20) -> AsyncIterator[World]:
    """A world; ``stall_timeout_s`` is how long a silent provider is waited for."""
    with tempfile.TemporaryDirectory() as folder:
        root = Path(folder) / "agents"
        async with FakeAnthropic() as fake:
            config = GatewayConfig(
                api_key="sk-test",
                base_url=fake.url,
                stall_timeout_s=stall_timeout_s,
                backoff_s=0.01,
            )
            world = World(
                fake=fake,
                gateway=Gateway(config),
                homes=Homes(HomesConfig(root=root)),
                root=root,
                stall_timeout_s=stall_timeout_s,
            )
            try:
                yield world
            finally:
                await world.aclose()
                await world.gateway.aclose()


@dataclass(frozen=True, kw_only=True)
class _Session:
    native: NativeSession
    user_id: str
    turn_id: str


@dataclass(kw_only=True)
class Talk:
    """One conversation, with what the store would know of it."""

    world: World
    tenant_id: str
    conversation_id: str
    system: str = "You are IT0."
    past: list[Exchange] = field(default_factory=list)
    summary: str = ""
    seen: list[Seen] = field(default_factory=list)
    """What reached the provider during the last turn."""
    last_turn_id: str = ""
    session: _Session | None = None
    turns: int = 0

    def request(
        self,
        turn: Turn,
        text: str,
        *,
        engine: str,
        user_id: str = "usr_1",
        attachments: Sequence[Attachment] = (),
        **changes: object,
    ) -> EngineRequest:
        """What the core would give the engine for the next turn."""
        self.turns += 1
        session = self.session
        fits = session is not None and (session.user_id, session.turn_id) == (
            user_id,
            self.last_turn_id,
        )
        given: dict[str, object] = {
            "tenant_id": self.tenant_id,
            "conversation_id": self.conversation_id,
            "turn_id": f"turn_{self.conversation_id}_{self.turns}",
            "system": self.system,
            "summary": self.summary,
            "user_id": user_id,
            "session": session.native if session is not None and fits else None,
            "previous_turn_id": self.last_turn_id,
        }
        return turn.request(
            for_engine(text, engine),
            attachments=attachments,
            history=self.past,
            **(given | changes),
        )

    async def ask(
        self,
        text: str,
        *,
        engine: str,
        meter: RecordingMeter | None = None,
        steers: Sequence[str] = (),
        **changes: Any,
    ) -> Turn:
        """Run a turn to its end and keep it. One that fails is kept as such, and raises."""
        turn = Turn(meter=meter or RecordingMeter(), steers=list(steers))
        request = self.request(turn, text, engine=engine, **changes)
        mark = len(self.world.fake.seen)
        try:
            await turn.play(self.world.engine(engine), request)
        except EngineFailure as failure:
            reply = f"{turn.shown}\n\n{failure.sentence}".strip()
            self.keep(request, turn, reply=reply, engine="")
            raise
        finally:
            self.seen = self.world.fake.seen[mark:]
        self.keep(request, turn, reply=turn.shown, engine=engine)
        return turn

    def keep(self, request: EngineRequest, turn: Turn, *, reply: str, engine: str) -> None:
        """Commit a turn; its session only if this engine answered it."""
        self.past.append(
            Exchange(
                user_text=request.text,
                attachments=request.attachments,
                steps=tuple(turn.log),
                reply=reply,
            )
        )
        self.last_turn_id = request.turn_id
        tokens = [event.token for event in turn.of(EngineSession)]
        if engine and tokens:
            self.session = _Session(
                native=NativeSession(engine=engine, token=tokens[-1]),
                user_id=request.user_id,
                turn_id=request.turn_id,
            )

    def compact(self, summary: str) -> None:
        """Put a summary in the place of all turns so far."""
        self.summary, self.past = summary, []
        self.last_turn_id, self.session = "", None

    @property
    def home(self) -> Home:
        """The directories of its processes."""
        return self.world.homes.of(self.tenant_id, self.conversation_id)

    def processes(self) -> list[int]:
        """The processes that live in its directories, by their ids."""
        found: list[int] = []
        for entry in Path("/proc").iterdir():
            if entry.name.isdigit():
                with suppress(OSError):
                    if (entry / "cwd").readlink() == self.home.cwd:
                        found.append(int(entry.name))
        return found

    def should_hear(self, *, calls: int = 0) -> list[Piece]:
        """What a request of the last turn had to hold after so many calls, nothing twice."""
        pieces: list[Piece] = []
        if self.summary:
            pieces.append(("user", f"Summary of the conversation so far:\n{self.summary}"))
        for exchange in self.past[:-1]:
            pieces += _asked(exchange)
            pieces += _answered(exchange)
        return pieces + _asked(self.past[-1]) + _answered(self.past[-1], calls=calls)


def for_engine(text: str, engine: str) -> str:
    """A script for the fake provider, with the tools' names as this engine's model knows them."""
    return text.replace("[[tool ", "[[tool mcp__it0__") if engine in (SDK, CLI) else text


def heard(body: dict[str, Any]) -> list[Piece]:
    """What a request tells the model of the conversation, in order.

    Results of tools that ran at once belong to their calls by id: they are put in the calls'
    order, as the one in which they ended says nothing.
    """
    pieces: list[tuple[Piece, int]] = []
    calls: dict[str, int] = {}
    for message in body["messages"]:
        blocks = blocks_of(message)
        for block in blocks:
            if block["type"] == "tool_use":
                calls[block["id"]] = len(calls)
        if message["role"] != "system":
            pieces += [
                ((message["role"], _piece(block)), calls.get(block.get("tool_use_id", ""), -1))
                for block in blocks
            ]
        else:
            joined = [_JOINED.match(block["text"]) for block in blocks]
            pieces += [(("user", found[1]), -1) for found in joined if found]
    return _in_order_of_calls(pieces)


def _in_order_of_calls(pieces: Sequence[tuple[Piece, int]]) -> list[Piece]:
    ordered: list[Piece] = []
    for is_result, run in groupby(pieces, key=lambda piece: piece[1] >= 0):
        found = list(run)
        ordered += [
            piece for piece, _ in (sorted(found, key=itemgetter(1)) if is_result else found)
        ]
    return ordered


def system_of(body: dict[str, Any]) -> str:
    """The system prompt of a request."""
    system = body.get("system", "")
    return system if isinstance(system, str) else "\n".join(block["text"] for block in system)


def usages(seen: Sequence[Seen]) -> list[Usage]:
    """What the provider says each of these requests used."""
    return [request.usage for request in seen]


def _piece(block: dict[str, Any]) -> str:
    match block["type"]:
        case "text":
            return str(block["text"]).strip()
        case "tool_use":
            return f"{bare(block['name'])} {block['input']}"
        case "tool_result":
            content = block["content"]
            return content if isinstance(content, str) else "".join(c["text"] for c in content)
        case "image" | "document":
            return f"{block['type']} {block['source']['data']}"
        case kind:
            return str(kind)


def _asked(exchange: Exchange) -> list[Piece]:
    kinds = {"image/png": "image", "application/pdf": "document"}
    files = [
        ("user", f"{kinds[file.media_type]} {base64.b64encode(file.data).decode()}")
        for file in exchange.attachments
    ]
    return [*files, ("user", exchange.user_text)]


def _answered(exchange: Exchange, *, calls: int | None = None) -> list[Piece]:
    """What an exchange adds with its first ``calls`` model calls, or with all."""
    pieces: list[Piece] = []
    for step in _as_called(exchange.steps):
        if isinstance(step, ModelStep) and calls is not None:
            if not calls:
                return pieces
            calls -= 1
        pieces += _told(step)
    said = any(isinstance(step, ModelStep) for step in exchange.steps)
    return pieces if said or calls is not None else [("assistant", exchange.reply)]


def _as_called(steps: Sequence[Step]) -> list[Step]:
    """The steps, with the results of one answer in the order of its calls."""
    order = [call.id for step in steps if isinstance(step, ModelStep) for call in step.tool_calls]
    place = {call_id: number for number, call_id in enumerate(order)}
    arranged: list[Step] = []
    told = [step for step in steps if not isinstance(step, ToolStartedStep)]
    for is_result, run in groupby(told, key=lambda step: isinstance(step, ToolStep)):
        found = list(run)
        if is_result:
            found.sort(
                key=lambda step: place[step.tool_call_id] if isinstance(step, ToolStep) else 0
            )
        arranged += found
    return arranged


def _told(step: Step) -> list[Piece]:
    match step:
        case ModelStep(text=text, tool_calls=calls):
            said = [("assistant", text.strip())] if text.strip() else []
            return said + [("assistant", f"{call.name} {call.arguments}") for call in calls]
        case ToolStep(output=output):
            return [("user", output)]
        case SteerStep(text=text):
            return [("user", text)]
        case _:
            return []

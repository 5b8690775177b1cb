"""What an engine is told for a turn: history, skills, tools, account, all in one request."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from dataclasses import dataclass, field

from core import models
from core.agent_config import AgentConfig, AgentConfigs, Billing, UnusableAccount
from core.conversations import Conversations, Memory
from core.engine_choice import Engines
from core.engines.engine import Credentials, Engine, EngineRequest
from core.errors import EngineFailure
from core.events import TurnEvent
from core.service_levels import FullService, ServiceLevels
from core.tenants import Role
from core.toolrunner import ToolRunner, unheard
from core.turnlog import TurnLog
from core.turnmeter import TurnMeter
from core.turns import Turn
from core.words import Sentence, sentence


@dataclass(slots=True)
class TurnSteering:
    """``Steering`` of one turn."""

    log: TurnLog
    turn: Turn

    async def take(self) -> tuple[str, ...]:
        """Messages that joined."""
        return await self.log.absorb(self.turn)


@dataclass(frozen=True, slots=True, kw_only=True)
class Chosen:
    """Who answers a turn, and what the team wants of them."""

    engine: Engine
    config: AgentConfig
    why: str = ""
    """Why this engine, as a sentence for the user."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Briefing:
    """Makes the request of a turn from everything that is known for it."""

    log: TurnLog
    conversations: Conversations
    agents: AgentConfigs
    engines: Engines
    tools: ToolRunner
    system_prompt: Callable[[Turn, str], Awaitable[str]]
    """For a turn, with what its team adds."""
    max_output_tokens: int
    services: ServiceLevels = field(default_factory=FullService)
    """What an overdue invoice leaves to a team."""

    async def choose(self, turn: Turn) -> Chosen | str:
        """Who answers, or a sentence that says why nobody can.

        Raises ``StorageFailure``, and ``UnusableAccount`` unless the engine needs no account.
        """
        unusable: UnusableAccount | None = None
        try:
            config = await self.agents.of(turn.tenant_id)
        except UnusableAccount as failure:
            unusable, config = failure, failure.config
        own = config.billing is Billing.OWN_KEY
        if turn.model and not models.known(turn.model) and turn.user.role is not Role.ADMIN:
            return sentence(
                "IT0 does not know the model {model}, so what it costs is not known either: only "
                "an admin may ask for it.",
                model=repr(turn.model),
            )
        engine = self.engines.choose(turn.engine, named=turn.engine_named, own_key=own)
        if isinstance(engine, str):
            return engine
        if unusable is not None and engine.has_model:
            raise unusable
        why = self.engines.reason(turn.engine, named=turn.engine_named, own_key=own)
        return Chosen(engine=engine, config=config, why=why)

    async def request(
        self,
        turn: Turn,
        chosen: Chosen,
        meter: TurnMeter,
        tell: Callable[[TurnEvent], None] = unheard,
    ) -> EngineRequest:
        """Recall the conversation, shorten it if it must be, and put it all together.

        Raises ``StorageFailure``.
        """
        engine, config = chosen.engine, chosen.config
        model = models.api_name(turn.model or config.model or self.engines.model)
        own = config.billing is Billing.OWN_KEY
        meter.own_key = own
        account = Credentials(api_key=config.api_key if own else None, billing=config.billing)
        service = await self.services.of(turn.tenant_id)
        memory = await self.conversations.recall(turn)
        if engine.has_model:
            memory = await self.conversations.compact(turn, memory, engine, model, meter, account)
        last = memory.past[-1].turn_id if memory.past and not memory.compacted else ""
        return EngineRequest(
            tenant_id=turn.tenant_id,
            conversation_id=turn.conversation_id,
            turn_id=turn.id,
            attempt=turn.attempt,
            model=model,
            system=await self.system_prompt(turn, config.prompt_addition),
            summary=memory.summary,
            history=tuple(past.exchange for past in memory.past),
            text=turn.text,
            attachments=memory.attachments,
            steps=memory.steps,
            tools=self.tools.door(
                turn,
                memory.steps,
                config,
                service=service,
                tainted=self._tainted(memory),
                tell=tell,
            ),
            meter=meter,
            steering=TurnSteering(self.log, turn),
            max_output_tokens=self.max_output_tokens,
            user_id=turn.user.id,
            credentials=account,
            session=memory.session,
            previous_turn_id=last,
        )

    def _tainted(self, memory: Memory) -> bool:
        """Whether others wrote part of what the model will read; a summary may hold anything."""
        exchanges = [past.exchange for past in memory.past]
        return bool(memory.attachments or memory.summary) or self.tools.tainted(exchanges)


def said_of(failure: EngineFailure, turn: Turn, chosen: Chosen) -> str:
    """The failure's sentence, with the remedy of whoever can help: team, sender or operator."""
    if failure.reason == "bad_key" and chosen.config.billing is Billing.OWN_KEY:
        return _BAD_OWN_KEY
    wanted = turn.model or chosen.config.model
    if failure.reason not in {"unknown_model", "forbidden"} or wanted is None:
        return failure.sentence
    return sentence(
        "Anthropic does not offer the model {model} to this account. Leave the model out of the "
        "message, or have an admin choose another one for the team (`/engine model NAME`).",
        model=repr(wanted),
    )


_BAD_OWN_KEY: Sentence = sentence(
    "Anthropic refused your team's own API key. An admin of the team puts a valid one into "
    "/api/v1/agent-config."
)

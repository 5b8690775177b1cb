"""IT0's core in process with all its engines; a conversation of each on request.

Asked ``{"engine", "thread", "tag", "turns", "text"}``, it answers that many messages of one
conversation and tells each turn's times and CPU; ``{"forget": thread}`` ends the process that
waits for it; ``{"memory": true}`` weighs those that wait.
"""

from __future__ import annotations

import asyncio
import json
import sys
import time
from contextlib import aclosing
from dataclasses import dataclass, field
from typing import Any

import app
from bench import _processes
from bench._child import MAX_TOKENS
from core.engines.agent_engine import AgentEngine
from core.inbox import Accepted
from core.logs import configure_logs
from core.messages import Actor, ConversationAddress, InboundMessage
from settings import Settings

KEPT = "claude_agent_sdk"
_SETTLE_S = 10.0


@dataclass(slots=True)
class Stage:
    """The core, and the conversations that were begun."""

    core: app.Core
    user_id: str
    _conversations: dict[str, str] = field(default_factory=dict)

    async def play(self, question: dict[str, Any]) -> list[dict[str, Any]]:
        """Answer some messages of one conversation, one after another."""
        done: list[dict[str, Any]] = []
        for number in range(question["turns"]):
            tag = f"{question['tag']}-{number}"
            below, before = _processes.cpu_s(), time.process_time()
            timing = await self._turn(tag, question)
            await self._settled(question["engine"])
            cpu_s, below_s = time.process_time() - before, _processes.cpu_s() - below
            done.append(timing | {"tag": tag, "cpu_s": cpu_s, "children_s": below_s})
        return done

    async def forget(self, thread: str) -> None:
        """End the process that waits for a conversation."""
        await self._kept.forget(self._conversations[thread])

    @property
    def _kept(self) -> AgentEngine:
        engine = self.core.team.engines.engines[KEPT]
        assert isinstance(engine, AgentEngine)
        return engine

    async def _turn(self, tag: str, question: dict[str, Any]) -> dict[str, float]:
        start, first, thread = time.monotonic(), 0.0, question["thread"]
        accepted = await self.core.inbox.accept(
            InboundMessage(
                event_id=f"bench:{tag}",
                address=ConversationAddress(
                    platform="api", workspace="", channel="bench", thread=thread
                ),
                actor=Actor(platform="it0", workspace="", external_id=self.user_id),
                text=f"{tag} {question['text']}",
                engine=question["engine"],
            )
        )
        assert isinstance(accepted, Accepted)
        self._conversations[thread] = accepted.conversation_id
        events = self.core.streams.listen(accepted.tenant_id, accepted.turn_id)
        async with aclosing(events):
            async for event in events:
                if event.name == "text_delta":
                    first = first or time.monotonic()
        assert first, event.data
        return {"start": start, "first": first, "end": time.monotonic()}

    async def _settled(self, engine: str) -> None:
        """Wait until a process that serves one turn alone has ended: its CPU is the turn's."""
        agents = self.core.team.engines.engines[engine]
        if not isinstance(agents, AgentEngine) or engine == KEPT:
            return
        async with asyncio.timeout(_SETTLE_S):
            while agents.live:  # noqa: ASYNC110  # it tells nobody
                await asyncio.sleep(0.02)


async def _main(url: str, data_dir: str) -> None:
    configure_logs(json=True)
    settings = Settings.from_environment(
        {
            "IT0_DATA_DIR": data_dir,
            "IT0_BILLING": "off",
            "IT0_AGENT_DIR": f"{data_dir}-agents",
            "ANTHROPIC_API_KEY": "sk-bench",
            "ANTHROPIC_BASE_URL": url,
            "IT0_MAX_OUTPUT_TOKENS": str(MAX_TOKENS),
        }
    )
    async with app.open_storage(settings) as storage:
        admin = await storage.people.install(tenant_name="Bench", admin_email="a@example.com")
        async with app.open_core(settings, storage) as core:
            stage = Stage(core, admin.id)
            print("ready", flush=True)
            while line := await asyncio.to_thread(sys.stdin.readline):
                print(json.dumps(await _answer(stage, json.loads(line))), flush=True)


async def _answer(stage: Stage, question: dict[str, Any]) -> object:
    if "forget" in question:
        await stage.forget(question["forget"])
        return None
    if "memory" in question:
        return [_processes.memory_mb(pid) for pid in sorted(_processes.children())]
    if "idle_s" in question:
        before = time.process_time(), _processes.cpu_s()
        await asyncio.sleep(question["idle_s"])
        return [time.process_time() - before[0], _processes.cpu_s() - before[1]]
    return await stage.play(question)


if __name__ == "__main__":
    asyncio.run(_main(sys.argv[1], sys.argv[2]))

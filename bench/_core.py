"""IT0's core in process, on SQLite: a message into the inbox, the turn's stream out."""

from __future__ import annotations

import asyncio
import sys
import time
from contextlib import aclosing

import app
from bench._child import MAX_TOKENS, Timing, serve_rounds
from core.inbox import Accepted
from core.logs import configure_logs
from core.messages import Actor, ConversationAddress, InboundMessage
from settings import Settings


async def _main(url: str, data_dir: str) -> None:
    configure_logs(json=True)
    settings = Settings.from_environment(
        {
            "IT0_DATA_DIR": data_dir,
            "IT0_BILLING": "off",
            "ANTHROPIC_API_KEY": "sk-bench",
            "ANTHROPIC_BASE_URL": url,
            "IT0_MAX_OUTPUT_TOKENS": str(MAX_TOKENS),
        }
    )
    async with app.open_storage(settings) as storage:
        admin = await storage.people.install(tenant_name="Bench", admin_email="a@example.com")
        async with app.open_core(settings, storage) as core:

            async def turn(tag: str, text: str) -> Timing:
                """One message in a conversation of its own."""
                start, first = time.monotonic(), 0.0
                accepted = await core.inbox.accept(
                    InboundMessage(
                        event_id=f"bench:{tag}",
                        address=ConversationAddress(
                            platform="api", workspace="", channel="bench", thread=tag
                        ),
                        actor=Actor(platform="it0", workspace="", external_id=admin.id),
                        text=text,
                    )
                )
                assert isinstance(accepted, Accepted)
                events = core.streams.listen(accepted.tenant_id, accepted.turn_id)
                async with aclosing(events):
                    async for event in events:
                        if event.name == "text_delta":
                            first = first or time.monotonic()
                assert first, event.data
                return Timing(tag=tag, start=start, first=first, end=time.monotonic())

            await serve_rounds(turn)


if __name__ == "__main__":
    asyncio.run(_main(sys.argv[1], sys.argv[2]))

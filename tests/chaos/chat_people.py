"""The people of a chat run: each place writes its messages when their share of the run has come."""

from __future__ import annotations

import asyncio
import random
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field

from tests.chaos.chat_history import Said
from tests.chaos.chat_messages import Planned
from tests.chaos.chat_network import Network, Place, Sent

SHARE = 0.95
"""The last message is said when this much of the run is over."""


@dataclass(slots=True, kw_only=True)
class People:
    """Everybody. ``said`` is what they wrote."""

    rng: random.Random
    progress: Callable[[], float]
    said: list[Said] = field(default_factory=list)
    repeated: int = 0

    async def talk(self, network: Network, place: Place, messages: Sequence[Planned]) -> None:
        """Write the place's messages; what happens to them later goes on beside."""
        async with asyncio.TaskGroup() as later:
            at = 0
            while at < len(messages):
                if at == 0 or not messages[at - 1].burst:
                    await self._until((at + self.rng.random()) / len(messages) * SHARE)
                count = 2 if messages[at].turned_round and at + 1 < len(messages) else 1
                for planned, sent in self._say(network, place, messages[at : at + count]):
                    later.create_task(self._after(planned, sent))
                at += count

    async def _until(self, due: float) -> None:
        while self.progress() < due:  # noqa: ASYNC110  # progress moves with the clock
            await asyncio.sleep(0.05)

    def _say(
        self, network: Network, place: Place, messages: Sequence[Planned]
    ) -> list[tuple[Planned, Sent]]:
        """Say one, or two that arrive the wrong way round."""
        if len(messages) == 1:
            sent = [place.say(messages[0], self.rng)]
        else:
            with network.turned_round():
                sent = [place.say(planned, self.rng) for planned in messages]
        for planned, one in zip(messages, sent, strict=True):
            self.said.append(
                Said(
                    marker=planned.marker,
                    words=planned.words,
                    edited=planned.edited,
                    edited_words=planned.edited_words,
                    platform=network.name,
                    place=one.place,
                    kind=planned.kind,
                    at=time.monotonic(),
                    in_order=network.ordered and len(messages) == 1 and not planned.repeated,
                    files=int(planned.kind == "file"),
                )
            )
        return list(zip(messages, sent, strict=True))

    async def _after(self, planned: Planned, sent: Sent) -> None:
        """Its edit, and its second delivery."""
        if planned.edit:
            await asyncio.sleep(planned.edit_after_s)
            sent.edit(planned.edit)
        if planned.repeated:
            await asyncio.sleep(self.rng.uniform(0.0, 4.0))
            sent.redeliver()
            self.repeated += 1

"""Short sentences to one person that are no reply to a turn: refusals, what a button did.

They are sent in the background and never twice for one event: a mention arrives as two events.
Only so many wait at a time: where strangers send more than Slack takes, the oldest of what is said
to them is dropped, and counted as ``notice_dropped`` in ``it0_delivery_errors``.
"""

from __future__ import annotations

import asyncio
import re
from collections import OrderedDict
from collections.abc import AsyncGenerator, Coroutine
from contextlib import asynccontextmanager

import structlog

from bots.slack.controls import notice
from bots.slack.events import is_direct
from bots.slack.manifest import COMMAND
from bots.slack.pace import shrink
from bots.slack.render import blocks, fallback
from bots.slack.workspaces import Installation
from core import telemetry
from core.commands import HELP, HIDDEN
from core.messages import ConversationAddress
from core.sinks import DeliveryFailed

MOST_WAITING = 200
DROPPED = "notice_dropped"
_MOST_TOLD = 5_000
_COMMAND = re.compile(rf"`/(?=(?:{'|'.join([*HELP, *HIDDEN])})[ `])")

_log = structlog.get_logger()


def as_typed(text: str) -> str:
    """Text of ours that names commands, as they are typed in Slack: ``/it0 help``."""
    return _COMMAND.sub(f"`{COMMAND} ", text)


class Notices:
    """Tells people things; owns the tasks that do."""

    def __init__(self) -> None:
        """Nothing is told yet."""
        self._told: OrderedDict[str, None] = OrderedDict()
        self._tasks: dict[asyncio.Task[None], bool] = {}
        """Oldest first, and whether each is important."""

    @classmethod
    @asynccontextmanager
    async def open(cls) -> AsyncGenerator[Notices]:
        """What is still being said on leaving is dropped."""
        notices = cls()
        try:
            yield notices
        finally:
            for task in notices._tasks:
                task.cancel()
            await asyncio.gather(*notices._tasks, return_exceptions=True)

    def tell(
        self,
        installation: Installation,
        event_id: str,
        address: ConversationAddress,
        user: str,
        text: str,
        *,
        in_thread: bool = True,
        important: bool = True,
    ) -> None:
        """Tell a person something where they wrote, once an event."""
        if event_id in self._told:
            return
        self._told[event_id] = None
        shrink(self._told, _MOST_TOLD)
        thread = address.thread if in_thread else ""
        said = _tell(installation, address.channel, thread, user, as_typed(text))
        self.do(said, important=important)

    def do(self, work: Coroutine[object, object, object], *, important: bool = True) -> None:
        """Do something that nobody waits for; what Slack refuses is logged."""

        def done(task: asyncio.Task[None]) -> None:
            self._tasks.pop(task, None)
            work.close()  # one that was dropped before it began

        if len(self._tasks) >= MOST_WAITING:
            self._drop_one()
        task = asyncio.create_task(_quietly(work))
        self._tasks[task] = important
        task.add_done_callback(done)

    def _drop_one(self) -> None:
        """The oldest unimportant one, or else the oldest."""
        oldest = next(iter(self._tasks))
        unimportant = (task for task, important in self._tasks.items() if not important)
        chosen = next(unimportant, oldest)
        del self._tasks[chosen]
        chosen.cancel()
        telemetry.DELIVERY_ERRORS.labels(DROPPED).inc()


async def _quietly(work: Coroutine[object, object, object]) -> None:
    try:
        await work
    except DeliveryFailed as failure:
        _log.info("slack.notice_failed", code=failure.code, sentence=failure.sentence)
    except Exception:  # noqa: BLE001  # a task's boundary
        _log.exception("slack.notice_crashed")


async def _tell(
    installation: Installation, channel: str, thread: str, user: str, text: str
) -> None:
    """In direct messages a plain message, which stays; elsewhere one that only they see."""
    said = {"text": fallback(text), "blocks": blocks(text), "thread_ts": thread or None}
    if is_direct(channel):
        await installation.call("chat.postMessage", channel=channel, metadata=notice(), **said)
    else:
        await installation.call("chat.postEphemeral", channel=channel, user=user, **said)

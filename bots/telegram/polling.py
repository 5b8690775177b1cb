"""Long polling: an update is confirmed when it and all before it are stored."""

from __future__ import annotations

import asyncio
import time
from dataclasses import dataclass, field

import structlog
from telegram.error import Conflict, InvalidToken, TelegramError

from bots.telegram.client import Client, FloodWait, UnknownMethod
from bots.telegram.ingest import Ingest, Task

KINDS = ["message", "edited_message", "callback_query", "my_chat_member"]
POLL_S = 50
"""How long Telegram may hold a poll; its own limit."""
LOOK_S = 0.25
"""While something is not stored yet, look for more: another chat's is not held up."""
SHORT_S = 0.5
FIRST_PAUSE_S = 1.0
LONGEST_PAUSE_S = 30.0
STORAGE_PAUSE_S = 0.5
LONGEST_STORAGE_PAUSE_S = 5.0
CONFLICT_PAUSE_S = 10.0
TOKEN_PAUSE_S = 60.0

_log = structlog.get_logger()


@dataclass(slots=True)
class Backoff:
    """Says what is wrong, and waits longer each time."""

    pause_s: float = FIRST_PAUSE_S

    def good(self) -> None:
        """It works (again)."""
        self.pause_s = FIRST_PAUSE_S

    async def wait(self, error: TelegramError) -> None:
        """Wait before the next try."""
        match error:
            case InvalidToken() | UnknownMethod():
                _log.error(
                    "telegram.token_refused",
                    hint="Telegram does not know this token. Copy it anew from @BotFather into "
                    "TELEGRAM_BOT_TOKEN and restart.",
                )
                pause = TOKEN_PAUSE_S
            case Conflict():
                _log.error(
                    "telegram.conflict",
                    hint="Another process polls with this token, or has set a webhook. Stop it, "
                    "or give this installation a bot of its own (@BotFather).",
                )
                pause = CONFLICT_PAUSE_S
            case FloodWait():
                pause = error.seconds
            case _:
                _log.warning("telegram.unreachable", reason=error.message)
                pause, self.pause_s = self.pause_s, min(LONGEST_PAUSE_S, self.pause_s * 2)
        await asyncio.sleep(pause)


@dataclass(slots=True)
class Polling:
    """Asks for updates until it is cancelled."""

    client: Client
    ingest: Ingest
    _open: dict[int, Task] = field(default_factory=dict)
    _again: set[int] = field(default_factory=set)
    """Those that could not be stored, until Telegram has brought them again."""
    _highest: int = 0
    _storage_pause_s: float = STORAGE_PAUSE_S

    async def run(self) -> None:
        """Outlives every outage."""
        backoff = Backoff()
        while True:
            began = time.monotonic()
            try:
                raws = await self.client.updates(self._offset(), 0 if self._open else POLL_S, KINDS)
            except TelegramError as error:
                await backoff.wait(error)
                if isinstance(error, Conflict) and "webhook" in error.message.lower():
                    await self._take_over()
                continue
            backoff.good()
            if not raws and not self._open and time.monotonic() - began < SHORT_S:
                await asyncio.sleep(SHORT_S)  # a server that does not hold polls
            self._again.clear()
            self._highest = max((int(raw["update_id"]) for raw in raws), default=0)
            for raw in raws:
                task = self.ingest.take(raw)
                if task is not None:
                    self._open[int(raw["update_id"])] = task
            await self._settle()

    def _offset(self) -> int:
        """Confirms what was stored; 0 confirms nothing.

        It is sent once: Telegram may begin to count anew, from a smaller number, after a week
        of silence.
        """
        waiting = self._again | self._open.keys()
        if waiting:
            return min(waiting)
        return self._highest + 1 if self._highest else 0

    async def _settle(self) -> None:
        """Wait until all is stored, or it is time to look for more."""
        if not self._open:
            return
        await asyncio.wait(self._open.values(), timeout=LOOK_S)
        done = {number: task for number, task in self._open.items() if task.done()}
        failed = [
            number
            for number, task in done.items()
            if task.cancelled() or task.exception() is not None
        ]
        for number in done:
            del self._open[number]
        if not failed:
            self._storage_pause_s = STORAGE_PAUSE_S
            return
        # They stay unconfirmed: Telegram brings them, and what is behind them, again.
        self._again.update(failed)
        _log.warning("telegram.not_stored", updates=len(failed))
        await asyncio.sleep(self._storage_pause_s)
        self._storage_pause_s = min(LONGEST_STORAGE_PAUSE_S, self._storage_pause_s * 2)

    async def _take_over(self) -> None:
        """A webhook that somebody set meanwhile would keep all updates from us."""
        try:
            await self.client.bot.delete_webhook()
        except TelegramError as error:
            _log.info("telegram.webhook_not_deleted", reason=error.message)

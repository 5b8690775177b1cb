"""The queue of updates of the fake Bot API: long polling and webhook, in the real one's order.

An update waits until a poll confirms it by a higher offset or the webhook answers 2xx. The
webhook gets the updates of one chat one after another, several chats at once; a refused update
is sent again at once, then after pauses that double.
"""

from __future__ import annotations

import asyncio
import contextlib
import time
from collections import deque
from collections.abc import Callable
from dataclasses import dataclass, field
from itertools import islice

import aiohttp

from tests.fakes.telegram_errors import OTHER_POLLER, WEBHOOK_ACTIVE, WEBHOOK_SET, ApiError, Json

NOT_BY_DEFAULT = frozenset({"chat_member", "message_reaction", "message_reaction_count"})
FIRST_ID = 700_000_001


@dataclass(slots=True, kw_only=True)
class Webhook:
    """Where updates are posted, and how that went."""

    url: str
    secret: str
    max_connections: int
    last_error_date: int = 0
    last_error: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class Delivery:
    """One POST to the webhook; status 0 is no answer."""

    at: float
    update_id: int
    status: int


@dataclass(slots=True)
class Updates:
    """The queue."""

    changed: Callable[[], None]
    retry_s: float = 0.1
    """The first pause of the webhook after an update failed twice; each next one doubles."""
    retry_max_s: float = 5.0
    """The longest pause; the real one doubles up to minutes."""
    timeout_s: float = 10.0
    webhook: Webhook | None = None
    allowed: frozenset[str] | None = None
    """None: all but ``NOT_BY_DEFAULT``."""
    history: dict[int, Json] = field(default_factory=dict)
    pending: dict[int, Json] = field(default_factory=dict)
    deliveries: list[Delivery] = field(default_factory=list)
    _next_id: int = FIRST_ID
    _keys: dict[int, int] = field(default_factory=dict)
    _forced: deque[Json] = field(default_factory=deque)
    _held: list[tuple[str, Json, int]] | None = None
    _poller: asyncio.Future[None] | None = None
    _queues: dict[int, deque[Json]] = field(default_factory=dict)
    _tasks: set[asyncio.Task[None]] = field(default_factory=set)
    _session: aiohttp.ClientSession | None = None
    _slots: asyncio.Semaphore = field(default_factory=lambda: asyncio.Semaphore(40))

    def add(self, kind: str, body: Json, key: int) -> int | None:
        """Queue an update; ``key`` keeps the order inside a chat. None if it was not wanted."""
        wanted = kind not in NOT_BY_DEFAULT if self.allowed is None else kind in self.allowed
        if not wanted:
            return None
        if self._held is not None:
            self._held.append((kind, body, key))
            return None
        update = self._make(kind, body, key)
        self._offer(update, key)
        number: int = update["update_id"]
        return number

    def hold(self) -> None:
        """Keep new updates back until ``release``."""
        self._held = []

    def release(self, *, backwards: bool = False) -> list[int]:
        """Deliver what was held; return the ids in the order of their delivery.

        Backwards, the newest message comes first: polling then sees rising ids around older
        messages, a webhook sees the ids themselves fall, each sent without waiting for another.
        """
        held, self._held = self._held or [], None
        if backwards and self.webhook is None:
            held.reverse()
        updates = [(self._make(kind, body, key), key) for kind, body, key in held]
        if backwards and self.webhook is not None:
            updates.reverse()
            updates = [(update, -update["update_id"]) for update, _ in updates]
        for update, key in updates:
            self._offer(update, key)
        return [update["update_id"] for update, _ in updates]

    def redeliver(self, update_id: int) -> None:
        """Deliver an update a second time, confirmed or not."""
        update = self.history[update_id]
        if self.webhook is not None:
            self._post(update, -update_id)
        else:
            self._forced.append(update)
            self._wake()

    def _make(self, kind: str, body: Json, key: int) -> Json:
        update = {"update_id": self._next_id, kind: body}
        self.history[self._next_id] = update
        self._keys[self._next_id] = key
        self._next_id += 1
        return update

    def _offer(self, update: Json, key: int) -> None:
        self.pending[update["update_id"]] = update
        if self.webhook is not None:
            self._post(update, key)
        else:
            self._wake()
        self.changed()

    # -- polling ------------------------------------------------------------------------

    async def poll(self, offset: int, limit: int, timeout_s: float) -> list[Json]:
        """What waits from ``offset`` on; everything below it is confirmed. Raises ``ApiError``."""
        if self.webhook is not None:
            raise ApiError(409, WEBHOOK_ACTIVE)
        self._confirm(offset)
        ready = self._ready(limit)
        if ready or timeout_s <= 0:
            return ready
        self._abort_poll(OTHER_POLLER)
        poller: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        self._poller = poller
        self.changed()
        try:
            await asyncio.wait([poller], timeout=timeout_s)
            if poller.done():
                poller.result()
        finally:
            if self._poller is poller:
                self._poller = None
        return self._ready(limit)

    @property
    def polled(self) -> bool:
        """Whether a long poll waits right now."""
        return self._poller is not None

    def _confirm(self, offset: int) -> None:
        if offset < 0:
            for number in list(self.pending)[:offset]:
                del self.pending[number]
            return
        while self.pending and (first := next(iter(self.pending))) < offset:
            del self.pending[first]

    def _ready(self, limit: int) -> list[Json]:
        forced = [self._forced.popleft() for _ in range(min(limit, len(self._forced)))]
        return forced + list(islice(self.pending.values(), limit - len(forced)))

    def _wake(self) -> None:
        if self._poller is not None and not self._poller.done():
            self._poller.set_result(None)

    def _abort_poll(self, sentence: str) -> None:
        if self._poller is not None and not self._poller.done():
            self._poller.set_exception(ApiError(409, sentence))

    # -- webhook ------------------------------------------------------------------------

    async def set_webhook(self, webhook: Webhook) -> None:
        """Post updates from now on, those that wait first."""
        await self.close()
        self._abort_poll(WEBHOOK_SET)
        self._session = aiohttp.ClientSession(
            timeout=aiohttp.ClientTimeout(total=self.timeout_s),
            connector=aiohttp.TCPConnector(limit=0),
        )
        self._slots = asyncio.Semaphore(webhook.max_connections)
        self.webhook = webhook
        for number, update in self.pending.items():
            self._post(update, self._keys[number])

    async def close(self) -> None:
        """Post nothing any more; what was not accepted waits for polling."""
        self.webhook = None
        tasks, self._tasks = self._tasks, set()
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
        self._queues.clear()
        if self._session is not None:
            await self._session.close()
            self._session = None

    def _post(self, update: Json, key: int) -> None:
        queue = self._queues.get(key)
        if queue is not None:
            queue.append(update)
            return
        self._queues[key] = deque([update])
        task = asyncio.get_running_loop().create_task(self._drain(key))
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)

    async def _drain(self, key: int) -> None:
        queue = self._queues[key]
        while queue:
            fails = 0
            while not await self._deliver(queue[0]):
                pause_s = min(self.retry_max_s, self.retry_s * 2 ** (fails - 1))
                await asyncio.sleep(pause_s if fails else 0)
                fails += 1
            self.pending.pop(queue.popleft()["update_id"], None)
            self.changed()
        del self._queues[key]

    async def _deliver(self, update: Json) -> bool:
        webhook, session = self.webhook, self._session
        if webhook is None or session is None:
            return False
        headers = {"X-Telegram-Bot-Api-Secret-Token": webhook.secret} if webhook.secret else {}
        status = 0
        async with self._slots:
            with contextlib.suppress(aiohttp.ClientError, TimeoutError):
                async with session.post(webhook.url, json=update, headers=headers) as answer:
                    await answer.read()
                    status = answer.status
        self.deliveries.append(
            Delivery(at=time.monotonic(), update_id=update["update_id"], status=status)
        )
        if 200 <= status <= 299:
            return True
        webhook.last_error_date = int(time.time())
        webhook.last_error = (
            f"Wrong response from the webhook: {status}" if status else "Connection refused"
        )
        self.changed()
        return False

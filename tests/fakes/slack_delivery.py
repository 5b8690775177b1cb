"""How events leave Slack: signed HTTP with retries, or Socket Mode envelopes that want an ack."""

from __future__ import annotations

import asyncio
import hashlib
import hmac
import json
import random
import time
import urllib.parse
import uuid
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field

import aiohttp

from tests.fakes.slack_model import App, Json
from tests.fakes.slack_sockets import Sockets

EVENTS, INTERACTIVE, COMMANDS = "events_api", "interactive", "slash_commands"


@dataclass(frozen=True, slots=True, kw_only=True)
class Attempt:
    """One try. ``status`` is the HTTP status, 200 for an ack, 0 where no answer came."""

    at: float
    retry_num: int
    retry_reason: str
    status: int


@dataclass(slots=True, kw_only=True)
class Delivery:
    """One thing the app is told. ``answer`` is what its acknowledgement said."""

    kind: str
    payload: Json
    attempts: list[Attempt] = field(default_factory=list)
    accepted: bool = False
    answer: str = ""
    finished: asyncio.Event = field(default_factory=asyncio.Event)
    on_answer: Callable[[str], None] | None = None

    @property
    def event_type(self) -> str:
        """The inner event's type, "" for what is no event."""
        return str(self.payload.get("event", {}).get("type", ""))

    async def done(self) -> bool:
        """Wait until it was accepted or given up; say which."""
        await self.finished.wait()
        return self.accepted


class Outbox:
    """Sends everything. With ``url`` unset it uses the Socket Mode connections."""

    def __init__(self, app: App, *, seed: int) -> None:
        """``retry_delays_s`` are the pauses before the retries; the real ones: 0, 60, 300 s."""
        self.url: str | None = None
        self.retry_delays_s: tuple[float, ...] = (0.1, 0.5, 2.0)
        self.ack_timeout_s = 3.0
        """As the real Slack."""
        self.deliveries: list[Delivery] = []
        self.sockets = Sockets(app)
        self._app = app
        self._random = random.Random(seed)
        self._held: list[Delivery] | None = None
        self._tasks: set[asyncio.Task[None]] = set()
        self._session: aiohttp.ClientSession | None = None

    def send(
        self, kind: str, payload: Json, *, on_answer: Callable[[str], None] | None = None
    ) -> Delivery:
        """Start to deliver."""
        delivery = Delivery(kind=kind, payload=payload, on_answer=on_answer)
        self.deliveries.append(delivery)
        if self._held is not None:
            self._held.append(delivery)
        else:
            self._spawn(delivery)
        return delivery

    def redeliver(self, delivery: Delivery) -> Delivery:
        """Send the same payload once more, as if the answer to the first had been lost."""
        again = Delivery(kind=delivery.kind, payload=delivery.payload)
        self.deliveries.append(again)
        self._spawn(again, first=1)
        return again

    @contextmanager
    def backwards(self) -> Iterator[None]:
        """What happens inside is delivered afterwards, last first, one after the other."""
        held: list[Delivery] = []
        self._held = held
        try:
            yield
        finally:
            self._held = None
            self._spawn(*reversed(held))

    async def settled(self) -> None:
        """Wait until nothing is under way."""
        while self._tasks:
            await asyncio.wait(self._tasks)

    async def close(self) -> None:
        """Stop delivering."""
        for task in self._tasks:
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)
        await self.sockets.close()
        if self._session is not None:
            await self._session.close()

    async def verify_url(self) -> bool:
        """Challenge the request URL, as the app's settings page does."""
        challenge = uuid.uuid4().hex
        body = {
            "token": self._app.verification_token,
            "challenge": challenge,
            "type": "url_verification",
        }
        status, answer, _ = await self._post(EVENTS, body, 0, "")
        return status == 200 and challenge in answer

    def _spawn(self, *deliveries: Delivery, first: int = 0) -> None:
        async def run() -> None:
            for delivery in deliveries:
                await self._deliver(delivery, first)

        task = asyncio.get_running_loop().create_task(run())
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)

    async def _deliver(self, delivery: Delivery, first: int) -> None:
        weather = self._app.weather
        if weather.event_delay_s and delivery.kind == EVENTS:
            await asyncio.sleep(self._random.uniform(0, weather.event_delay_s))
        pauses = self.retry_delays_s if delivery.kind == EVENTS else ()
        reason = "http_timeout" if first else ""
        for number, pause in enumerate((0.0, *pauses), first):
            await asyncio.sleep(pause)
            status, reason, final = await self._try(delivery, number, reason)
            if 200 <= status < 300:
                delivery.accepted = True
                break
            if final:
                break
        if delivery.accepted and delivery.kind == EVENTS and weather.duplicates:
            weather.duplicates -= 1
            await self._try(delivery, 1, "http_timeout")
        delivery.finished.set()
        if delivery.accepted and delivery.answer and delivery.on_answer is not None:
            delivery.on_answer(delivery.answer)
        self._app.watch.changed()

    async def _try(self, delivery: Delivery, number: int, reason: str) -> tuple[int, str, bool]:
        at, final = time.monotonic(), False
        if self.url is not None:
            status, answer, final = await self._post(
                delivery.kind, delivery.payload, number, reason
            )
            failure = answer
        else:
            status, answer = await self.sockets.send(
                self._envelope(delivery, number, reason), self.ack_timeout_s
            )
            failure = "timeout"
        if status:
            delivery.answer = answer
        delivery.attempts.append(
            Attempt(at=at, retry_num=number, retry_reason=reason, status=status)
        )
        return status, failure if status == 0 else "http_error", final

    @staticmethod
    def _envelope(delivery: Delivery, number: int, reason: str) -> Json:
        envelope: Json = {
            "envelope_id": str(uuid.uuid4()),
            "payload": delivery.payload,
            "type": delivery.kind,
            "accepts_response_payload": delivery.kind != EVENTS,
        }
        if delivery.kind == EVENTS:
            envelope |= {"retry_attempt": number, "retry_reason": reason if number else ""}
        return envelope

    async def _post(
        self, kind: str, payload: Json, number: int, reason: str
    ) -> tuple[int, str, bool]:
        if self._session is None:
            self._session = aiohttp.ClientSession(connector=aiohttp.TCPConnector(limit=0))
        body, content_type = _body(kind, payload)
        headers = {"Content-Type": content_type, **self._signature(body)}
        if number:
            headers |= {"X-Slack-Retry-Num": str(number), "X-Slack-Retry-Reason": reason}
        try:
            async with self._session.post(
                self.url or "",
                data=body,
                headers=headers,
                timeout=aiohttp.ClientTimeout(total=self.ack_timeout_s),
                allow_redirects=False,
            ) as answer:
                final = answer.headers.get("X-Slack-No-Retry") == "1"
                return answer.status, await answer.text(), final
        except TimeoutError:
            return 0, "http_timeout", False
        except aiohttp.ClientError:
            return 0, "connection_failed", False

    def _signature(self, body: str) -> dict[str, str]:
        now = str(int(time.time()))
        digest = hmac.new(
            self._app.signing_secret.encode(), f"v0:{now}:{body}".encode(), hashlib.sha256
        )
        return {
            "X-Slack-Request-Timestamp": now,
            "X-Slack-Signature": f"v0={digest.hexdigest()}",
            "User-Agent": "Slackbot 1.0 (+https://api.slack.com/robots)",
        }


def _body(kind: str, payload: Json) -> tuple[str, str]:
    if kind == EVENTS:
        return json.dumps(payload), "application/json"
    form = {"payload": json.dumps(payload)} if kind == INTERACTIVE else payload
    return urllib.parse.urlencode(form), "application/x-www-form-urlencoded"

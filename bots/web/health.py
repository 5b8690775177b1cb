"""``/healthz``, ``/readyz`` and ``/metrics``."""

from __future__ import annotations

import re
from collections.abc import Callable
from http import HTTPStatus
from typing import Final, Protocol

from aiohttp import web
from prometheus_client import REGISTRY, generate_latest
from prometheus_client.exposition import CONTENT_TYPE_PLAIN_0_0_4

from bots.web.models import Health
from bots.web.openapi import operation
from bots.web.problems import Problem
from core import telemetry
from core.errors import StorageFailure


class QueueCounts(Protocol):
    """Counts over all tenants."""

    @property
    def queued(self) -> int:
        """Accepted, waiting for a worker."""

    @property
    def overdue(self) -> int:
        """Accepted and without a terminal state after 60 seconds."""

    @property
    def undelivered(self) -> int:
        """Finished, reply not on its platform."""


class Operations(Protocol):
    """The database, as health checks need it."""

    async def ping(self) -> None:
        """Raises ``StorageFailure`` when it does not answer."""

    async def queue_state(self) -> QueueCounts:
        """What waits, now."""


class Liveness(Protocol):
    """The scheduler, as health checks need it."""

    @property
    def healthy(self) -> bool:
        """Whether turns are being accepted and the heartbeat reaches the database."""


_NONCE: Final = re.compile(r"[0-9a-f]{32,128}")


class HealthRoutes:
    """Unauthenticated: they carry counts alone, no names and no text."""

    def __init__(
        self, operations: Operations, liveness: Liveness, identity: Callable[[str], str]
    ) -> None:
        """Wire the ports. ``identity`` answers a nonce as only this installation can."""
        self._operations = operations
        self._liveness = liveness
        self._identity = identity

    def routes(self) -> list[web.RouteDef]:
        """What the server mounts."""
        return [
            web.get("/healthz", self.healthz),
            web.get("/readyz", self.readyz),
            web.get("/metrics", self.metrics, allow_head=False),
        ]

    @operation(answer=Health, public=True)
    async def healthz(self, request: web.Request) -> web.Response:
        """The process lives and its loop turns; ``?nonce=HEX`` is answered with a proof.

        The proof tells the installation's own commands, before they send a token, that no
        stranger has taken the port.
        """
        answer = {"status": "ok"}
        nonce = request.query.get("nonce", "")
        if _NONCE.fullmatch(nonce):
            answer["proof"] = self._identity(nonce)
        return web.json_response(answer)

    @operation(answer=Health, errors=(503,), public=True)
    async def readyz(self, _request: web.Request) -> web.Response:
        """The database answers and turns are being taken; 503 otherwise."""
        if not self._liveness.healthy:
            raise Problem(
                HTTPStatus.SERVICE_UNAVAILABLE,
                "not_ready",
                "This process is shutting down or cannot reach its database.",
                retry_after_s=5,
            )
        await self._operations.ping()
        return web.json_response({"status": "ready"})

    @operation(public=True)
    async def metrics(self, _request: web.Request) -> web.Response:
        """Everything in Prometheus' text format; queue counts are read at each scrape."""
        try:
            state = await self._operations.queue_state()
        except StorageFailure:
            telemetry.LOOP_ERRORS.labels("metrics").inc()
        else:
            telemetry.QUEUED.set(state.queued)
            telemetry.OVERDUE.set(state.overdue)
            telemetry.UNDELIVERED.set(state.undelivered)
        return web.Response(
            body=generate_latest(REGISTRY), headers={"Content-Type": CONTENT_TYPE_PLAIN_0_0_4}
        )

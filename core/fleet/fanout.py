"""The same work on many servers: all at once within bounds, or one, then some, then all."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass
from itertools import pairwise
from typing import Generic, TypeVar

import structlog

from core.fleet.host import ConnectionLost, HostUnreachable
from core.fleet.inventory import Server
from core.words import sentence

_log = structlog.get_logger()

MOST_AT_ONCE = 32

T = TypeVar("T")


@dataclass(frozen=True, slots=True, kw_only=True)
class Reached(Generic[T]):
    """What became of the work on one server."""

    server: Server
    value: T | None = None
    """None if the server could not be reached."""
    problem: str = ""
    """The sentence why not."""
    unknown: bool = False
    """The connection broke in the middle: the work may have been done."""


@dataclass(frozen=True, slots=True, kw_only=True)
class RolledOut(Generic[T]):
    """What became of a rollout."""

    reached: tuple[Reached[T], ...]
    """The servers on which the work was begun, in their order."""
    left: tuple[Server, ...]
    """The servers that were left alone, because one before them failed."""


async def fan_out(
    servers: Sequence[Server],
    work: Callable[[Server], Awaitable[T]],
    *,
    most_at_once: int = MOST_AT_ONCE,
) -> tuple[Reached[T], ...]:
    """Do it on all of them, however many cannot be reached; the answers are in their order."""
    room = asyncio.Semaphore(most_at_once)

    async def one(server: Server) -> Reached[T]:
        async with room:
            return await _reach(server, work)

    async with asyncio.TaskGroup() as group:
        tasks = [group.create_task(one(server)) for server in servers]
    return tuple(task.result() for task in tasks)


async def roll_out(
    servers: Sequence[Server],
    work: Callable[[Server], Awaitable[T]],
    ok: Callable[[T], bool],
    *,
    most_at_once: int = MOST_AT_ONCE,
) -> RolledOut[T]:
    """Do it on one, then on a quarter, then on the rest.

    As soon as one cannot be reached or is not ``ok``, nothing more is begun; what runs at that
    moment is let finish.
    """
    failed = False

    async def careful(server: Server) -> Reached[T] | None:
        nonlocal failed
        if failed:
            return None
        answer = await _reach(server, work)
        if answer.value is None or not ok(answer.value):
            failed = True
        return answer

    answers: list[Reached[T] | None] = []
    for first, end in pairwise((0, *stages(len(servers)))):
        stage = await fan_out(servers[first:end], careful, most_at_once=most_at_once)
        answers += [each.value for each in stage]
    return RolledOut(
        reached=tuple(answer for answer in answers if answer is not None),
        left=tuple(
            server for server, answer in zip(servers, answers, strict=True) if answer is None
        ),
    )


def stages(count: int) -> tuple[int, ...]:
    """Where the stages of a rollout over so many servers end: 1, then a quarter more, then all."""
    return tuple(dict.fromkeys(min(end, count) for end in (1, 1 + -(-count // 4), count)))


async def _reach(server: Server, work: Callable[[Server], Awaitable[T]]) -> Reached[T]:
    try:
        return Reached(server=server, value=await work(server))
    except HostUnreachable as unreachable:
        return Reached(
            server=server,
            problem=unreachable.sentence,
            unknown=isinstance(unreachable, ConnectionLost),
        )
    except Exception:  # noqa: BLE001  # one server's trouble must not end what runs on the others
        _log.exception("fleet.failed", server=server.name)
        problem = sentence(
            "Something failed inside IT0 while it worked on {server}; the log has the details.",
            server=server.name,
        )
        return Reached(server=server, problem=problem, unknown=True)

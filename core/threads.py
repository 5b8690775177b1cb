"""Blocking work that must not hold the process: threads that nobody waits for at its end.

``asyncio.to_thread`` shares one executor, whose threads are joined when the loop ends: a
read from a dead network mount, or a hostile image in a decoder, would keep the process
alive after SIGTERM. These threads are daemons, few at a time, and end with the process.
"""

from __future__ import annotations

import asyncio
import contextvars
import threading
from collections import deque
from collections.abc import Callable
from concurrent.futures import Future
from typing import ParamSpec, TypeVar

_SHARED_LIMIT = 8
"""Calls of ``in_daemon_thread`` at once; a call that never returns keeps its place."""

P = ParamSpec("P")
T = TypeVar("T")


class DaemonThreads:
    """Runs calls in daemon threads, at most ``limit`` at once; the others wait in line.

    A call that has begun cannot be stopped: whoever is cancelled goes on at once, and the
    thread keeps its place until the call returns, so that impatience frees no capacity.
    """

    def __init__(self, *, name: str, limit: int) -> None:
        """``name`` is what the threads are called in a dump."""
        self._name = name
        self._limit = limit
        self._lock = threading.Lock()
        self._waiting: deque[Callable[[], None]] = deque()
        self._running = 0

    async def run(self, fn: Callable[P, T], /, *args: P.args, **kwargs: P.kwargs) -> T:
        """Return what ``fn`` returns, or raise what it raises. A cancelled wait is not begun."""
        future: Future[T] = Future()
        context = contextvars.copy_context()

        def job() -> None:
            if not future.set_running_or_notify_cancel():
                return
            try:
                result = context.run(fn, *args, **kwargs)
            except BaseException as error:  # noqa: BLE001  # belongs to whoever awaits it
                future.set_exception(error)
            else:
                future.set_result(result)

        self._submit(job)
        return await asyncio.wrap_future(future)

    def _submit(self, job: Callable[[], None]) -> None:
        with self._lock:
            self._waiting.append(job)
            if self._running >= self._limit:
                return
            self._running += 1
        threading.Thread(target=self._work, name=self._name, daemon=True).start()

    def _work(self) -> None:
        while True:
            with self._lock:
                if not self._waiting:
                    self._running -= 1
                    return
                job = self._waiting.popleft()
            job()


_SHARED = DaemonThreads(name="it0-blocking", limit=_SHARED_LIMIT)


async def in_daemon_thread(fn: Callable[P, T], /, *args: P.args, **kwargs: P.kwargs) -> T:
    """``asyncio.to_thread`` for calls that may hang: nothing joins the thread at exit."""
    return await _SHARED.run(fn, *args, **kwargs)

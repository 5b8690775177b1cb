"""Blocking calls hold up neither the loop nor the end of the process."""

from __future__ import annotations

import asyncio
import contextvars
import subprocess
import sys
import threading
from pathlib import Path

import pytest

from core.threads import DaemonThreads, in_daemon_thread

ROOT = Path(__file__).parents[2]
_STUCK = """
import asyncio, time
from core.threads import in_daemon_thread

async def main():
    try:
        async with asyncio.timeout(0.05):
            await in_daemon_thread(time.sleep, 3600)
    except TimeoutError:
        print("went on", flush=True)

asyncio.run(main())
"""


async def test_results_errors_and_context_come_through() -> None:
    """As with asyncio.to_thread."""
    variable = contextvars.ContextVar("variable", default="outside")
    variable.set("inside")
    assert await in_daemon_thread(int, "12", base=3) == 5
    assert await in_daemon_thread(variable.get) == "inside"
    with pytest.raises(ValueError, match="invalid literal"):
        await in_daemon_thread(int, "x")


def test_a_call_that_never_returns_does_not_hold_the_process() -> None:
    """The waiter goes on at once, and the process ends while the thread still sleeps."""
    done = subprocess.run(  # our own interpreter and script
        [sys.executable, "-c", _STUCK], cwd=ROOT, capture_output=True, timeout=60, check=True
    )
    assert done.stdout == b"went on\n"


async def test_few_at_once_and_the_others_in_line() -> None:
    """Never more than the limit; impatience frees no place; who left the line is not begun."""
    threads = DaemonThreads(name="test", limit=2)
    opened, begun, news = threading.Event(), list[int](), asyncio.Queue[int]()
    loop = asyncio.get_running_loop()

    def wait(number: int) -> int:
        begun.append(number)
        loop.call_soon_threadsafe(news.put_nowait, number)
        assert opened.wait(30)
        return number

    calls = [asyncio.create_task(threads.run(wait, number)) for number in range(5)]
    assert {await news.get(), await news.get()} == {0, 1}
    calls[0].cancel()
    calls[3].cancel()
    await asyncio.wait([calls[0], calls[3]])
    assert len(begun) == 2
    opened.set()
    assert [await calls[number] for number in (1, 2, 4)] == [1, 2, 4]
    assert sorted(begun) == [0, 1, 2, 4]

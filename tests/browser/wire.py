"""A wire between the browser and IT0 that can be cut: a TCP proxy on loopback."""

from __future__ import annotations

import asyncio
from contextlib import suppress
from typing import Self
from urllib.parse import urlsplit

_CHUNK = 64 * 1024


class Wire:
    """``async with Wire(url) as wire``: the same server at ``wire.url``, until it is cut."""

    def __init__(self, url: str) -> None:
        """Lead to the server at this URL."""
        target = urlsplit(url)
        self._target = (target.hostname or "127.0.0.1", target.port or 80)
        self._ends: set[asyncio.StreamWriter] = set()
        self._tasks: set[asyncio.Task[None]] = set()
        self._broken = False
        self._server: asyncio.Server | None = None
        self.url = ""
        self.opened = 0
        """Connections so far."""

    async def __aenter__(self) -> Self:
        """Listen on a free port."""
        self._server = await asyncio.start_server(self._serve, "127.0.0.1", 0)
        self.url = f"http://127.0.0.1:{self._server.sockets[0].getsockname()[1]}"
        return self

    async def __aexit__(self, *_: object) -> None:
        """Cut everything and stop listening."""
        self.cut()
        if self._server is not None:
            self._server.close()
        await asyncio.gather(*self._tasks, return_exceptions=True)

    def cut(self) -> None:
        """Reset every connection, as a dying access point or proxy does; new ones are taken."""
        for end in self._ends:
            end.transport.abort()

    def break_off(self) -> None:
        """Cut, and reset every new connection too, until ``mend``."""
        self._broken = True
        self.cut()

    def mend(self) -> None:
        """Take connections again."""
        self._broken = False

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        task = asyncio.current_task()
        assert task is not None
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)
        self.opened += 1
        if self._broken:
            writer.transport.abort()
            return
        there, back = await asyncio.open_connection(*self._target)
        self._ends |= {writer, back}
        try:
            await asyncio.gather(_pump(reader, back), _pump(there, writer))
        finally:
            self._ends -= {writer, back}
            writer.transport.abort()
            back.transport.abort()


async def _pump(source: asyncio.StreamReader, sink: asyncio.StreamWriter) -> None:
    """Carry bytes one way until either end has gone."""
    with suppress(ConnectionError):
        while data := await source.read(_CHUNK):
            sink.write(data)
            await sink.drain()
    with suppress(OSError):
        sink.close()

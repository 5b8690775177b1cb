"""Cheap API clients in a process of their own: raw sockets, one connection each.

A client stays in a conversation for ``keep`` turns (default 1), then begins a new one.
"""

from __future__ import annotations

import asyncio
import json
import re
import sys
import time
from dataclasses import dataclass

_CONVERSATION = re.compile(rb'"conversation_id": "(\w+)"')
_END = b"\r\n0\r\n\r\n"


@dataclass(frozen=True, slots=True, kw_only=True)
class Streamed:
    """One streamed turn, as its client saw it; times are ``time.monotonic`` seconds."""

    ok: bool
    start: float
    first: float
    end: float


async def _turn(
    reader: asyncio.StreamReader, writer: asyncio.StreamWriter, token: str, message: dict[str, str]
) -> tuple[Streamed, str]:
    """One turn, and the conversation that it was in."""
    body = json.dumps(message).encode()
    head = (
        "POST /api/v1/agent/turns HTTP/1.1\r\nHost: bench\r\nAccept: text/event-stream\r\n"
        f"Authorization: Bearer {token}\r\nContent-Type: application/json\r\n"
        f"Content-Length: {len(body)}\r\n\r\n"
    )
    start = time.monotonic()
    writer.write(head.encode() + body)
    answer = await reader.readuntil(b"event: text_delta")
    first = time.monotonic()
    answer += await reader.readuntil(_END)
    end = time.monotonic()
    ok = answer.startswith(b"HTTP/1.1 200") and b'"outcome": "answered"' in answer
    found = _CONVERSATION.search(answer)
    conversation = found[1].decode() if found else ""
    return Streamed(ok=ok, start=start, first=first, end=end), conversation


async def _client(question: dict[str, str | int], number: int) -> list[Streamed]:
    port, token, text = int(question["port"]), str(question["token"]), str(question["text"])
    keep, conversation = int(question.get("keep", 1)), ""
    done: list[Streamed] = []
    reader, writer = await asyncio.open_connection("127.0.0.1", port, limit=1 << 24)
    try:
        for count in range(int(question["turns"])):
            message = {"text": f"c{number}-{count} {text}"}
            if count % keep:
                message["conversation_id"] = conversation
            turn = _turn(reader, writer, token, message)
            streamed, conversation = await asyncio.wait_for(turn, 120)
            done.append(streamed)
    except (OSError, asyncio.IncompleteReadError, TimeoutError):
        now = time.monotonic()
        done.append(Streamed(ok=False, start=now, first=now, end=now))
    finally:
        writer.close()
    return done


async def _main() -> None:
    print("ready", flush=True)
    while line := await asyncio.to_thread(sys.stdin.readline):
        question = json.loads(line)
        clients = [_client(question, number) for number in range(question["clients"])]
        lists = await asyncio.gather(*clients)
        turns = [turn for done in lists for turn in done]
        answer = [(turn.ok, turn.start, turn.first, turn.end) for turn in turns]
        print(json.dumps(answer), flush=True)


if __name__ == "__main__":
    asyncio.run(_main())

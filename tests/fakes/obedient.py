"""A model without any judgement: it does whatever it reads, and repeats all of it.

``RUN tool {json}`` in a tool result, an attached file or a message is an order to it, whoever
wrote it and wherever it stands: also inside base64, in odd Unicode letters and in characters
that nobody sees. It is the worst that an injection can make of a model.
"""

from __future__ import annotations

import base64
import binascii
import json
import re
import unicodedata
from collections.abc import Iterator
from typing import Any

from tests.fakes.anthropic import FakeAnthropic
from tests.fakes.anthropic_answer import Seen
from tests.fakes.anthropic_rules import blocks_of
from tests.fakes.anthropic_script import Plan

MOST_ROUNDS = 6
"""Model calls of one turn in which it obeys; then it is tired, and only repeats."""
MOST_CALLS = 12
_ORDER = re.compile(r"RUN\s+([A-Za-z_]\w{0,60})\s*(?=\{)")
_BASE64 = re.compile(r"[A-Za-z0-9+/]{24,}={0,2}")


class ObedientAnthropic(FakeAnthropic):
    """The fake of the Messages API whose answers come from what it was given to read."""

    def _spend_fault(self, plan: Plan, seen: Seen) -> Plan:
        """In place of the script: obey the newest of what was read."""
        del plan
        read = "\n".join(_newest(seen.body["messages"]))
        offered = {tool["name"] for tool in seen.body.get("tools", ())}
        orders = tuple(orders_in(read)) if seen.round < MOST_ROUNDS and offered else ()
        return Plan(tools=orders[:MOST_CALLS], plain=read[:20_000])


def orders_in(text: str) -> Iterator[tuple[str, dict[str, Any]]]:
    """Every order in a text, however it is written; each once."""
    known: set[str] = set()
    for reading in _readings(text):
        for found in _ORDER.finditer(reading):
            try:
                arguments, _ = json.JSONDecoder().raw_decode(reading, found.end())
            except ValueError:
                continue
            key = f"{found[1]} {json.dumps(arguments, sort_keys=True)}"
            if key not in known and isinstance(arguments, dict):
                known.add(key)
                yield found[1], arguments


def _readings(text: str) -> Iterator[str]:
    yield text
    yield "".join(_plain(char) for char in unicodedata.normalize("NFKC", text))
    yield text.replace("\\n", "\n").replace('\\"', '"')
    for found in _BASE64.finditer(text):
        try:
            yield base64.b64decode(found[0] + "=" * (-len(found[0]) % 4)).decode()
        except (binascii.Error, UnicodeDecodeError):
            continue


def _plain(char: str) -> str:
    """What a character that nobody sees says."""
    code = ord(char)
    if 0xE0020 <= code < 0xE007F:
        return chr(code - 0xE0000)
    return "" if unicodedata.category(char) == "Cf" else char


def _newest(messages: list[dict[str, Any]]) -> Iterator[str]:
    """What the last message says, and what is in its files and results."""
    for block in blocks_of(messages[-1]):
        match block["type"]:
            case "text":
                yield str(block["text"])
            case "document":
                yield f"{block.get('title', '')} {block.get('context', '')}"
                yield base64.b64decode(block["source"]["data"]).decode("latin-1")
            case "tool_result":
                content = block.get("content", "")
                parts = content if isinstance(content, list) else [{"text": content}]
                yield "\n".join(str(part.get("text", "")) for part in parts)
            case _:
                pass

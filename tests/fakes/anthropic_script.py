"""The script of a fake answer: directives in the user's text, parsed into a Plan.

========================== =====================================================
``[[text N]]``             answer with N words
``[[word W]]``             what these words begin with; ``w`` without it
``[[tool NAME {json}]]``   ask for a tool (several: all in one answer)
``[[then]]``               what follows is for the answer after the tool results
``[[thinking]]``           think first
``[[empty]]``              an answer without any block
``[[max_tokens]]`` ``[[refusal]]`` ``[[pause]]``  the stop reason
``[[delay MS]]``           wait before the first byte
``[[chunk MS]]``           wait between deltas
``[[linger MS]]``          keep the connection open after the last event
``[[status S retry-after=N]]`` HTTP error S
``[[hang]]``               accept and never answer
``[[drop K]]`` ``[[eof K]]`` ``[[overload K]]`` ``[[stall K]]`` ``[[malformed K]]``
                           break after K deltas: connection cut, clean early end, error
                           event, silence, a chunk that is no JSON
``[[times K]]``            the fault hits only the first K requests of this text
========================== =====================================================
"""

from __future__ import annotations

import json
import re
from dataclasses import dataclass
from functools import lru_cache
from typing import Any

_DIRECTIVE = re.compile(r"\[\[(\w+)(?: (.*?))?\]\](?!\])", re.DOTALL)
_BREAKS = ("drop", "eof", "overload", "stall", "malformed")
_STOPS = {"max_tokens": "max_tokens", "refusal": "refusal", "pause": "pause_turn"}


@dataclass(frozen=True, kw_only=True)
class Plan:
    """What one answer does."""

    words: int | None = None
    word: str = "w"
    tools: tuple[tuple[str, dict[str, Any]], ...] = ()
    thinking: bool = False
    empty: bool = False
    stop: str = "end_turn"
    delay_s: float = 0.0
    chunk_s: float | None = None
    linger_s: float = 0.0
    status: int | None = None
    retry_after: str | None = None
    hang: bool = False
    breaks: str | None = None
    break_after: int = 0
    times: int | None = None
    plain: str = ""

    @property
    def faulty(self) -> bool:
        """Whether this answer ends badly."""
        return self.status is not None or self.hang or self.breaks is not None


@lru_cache(maxsize=256)
def plan_for(prompt: str, round_number: int) -> Plan:
    """Return the plan for the given round (0 before any tool result) of a prompt."""
    segments = prompt.split("[[then]]")
    if round_number >= len(segments):
        return Plan(plain=_DIRECTIVE.sub("", prompt).strip())
    return _parse(segments[round_number])


def _parse(segment: str) -> Plan:
    found: dict[str, Any] = {"plain": " ".join(_DIRECTIVE.sub("", segment).split())}
    tools: list[tuple[str, dict[str, Any]]] = []
    for name, raw in _DIRECTIVE.findall(segment):
        if name == "tool":
            tool, _, arguments = raw.partition(" ")
            tools.append((tool, json.loads(arguments or "{}")))
        elif name in _BREAKS:
            found |= {"breaks": name, "break_after": int(raw or 0)}
        elif name in _STOPS:
            found["stop"] = _STOPS[name]
        elif name == "status":
            code, _, rest = raw.partition(" ")
            found |= {"status": int(code)}
            if rest:
                found["retry_after"] = rest.removeprefix("retry-after=")
        else:
            found |= _simple(name, raw)
    return Plan(**found, tools=tuple(tools))


def _simple(name: str, raw: str) -> dict[str, Any]:
    match name:
        case "text":
            return {"words": int(raw)}
        case "word":
            return {"word": raw}
        case "delay":
            return {"delay_s": int(raw) / 1000}
        case "chunk":
            return {"chunk_s": int(raw) / 1000}
        case "linger":
            return {"linger_s": int(raw) / 1000}
        case "times":
            return {"times": int(raw)}
        case "thinking" | "hang" | "empty":
            return {name: True}
        case _:
            return {}

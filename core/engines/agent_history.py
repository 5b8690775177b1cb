"""Our steps as a session file of Claude Code, so that a new process goes on from them.

Native resume is an optimisation; our steps are the truth. When the native session is gone,
belongs to another engine's turns, or the turn is run again after a crash, the conversation
is written as the CLI writes it (one JSON object a line under the project's directory) and
resumed. The lines hold what CLI 2.1.330 needs to resume; it ignores what is missing.
"""

from __future__ import annotations

import json
import os
import secrets
import uuid
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path

from core.engines.agent_process import Block
from core.engines.agent_tools import PREFIX
from core.engines.claude_messages import Transcript
from core.engines.cli_home import Home
from core.engines.engine import EngineRequest
from core.messages import clean_text
from core.steps import ModelStep

NOTE = f"(IT0 note {secrets.token_hex(8)}: "
"""What our own notes in a session begin with: the gateway leaves them out. Nobody can write
one, as nobody knows the number, which each process of IT0 makes anew."""
_CUT = f"{NOTE}the work was interrupted here.)"
_GO_ON = f"{NOTE}what is above was done and is recorded. Go on from there; do not repeat it.)"
_VERSION = "2.1.330"
_WHEN = "2026-01-01T00:00:00.000Z"
"""The same for every line: the order is told by the chain of ids."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Told:
    """A conversation, split into what a session file holds and what is asked now."""

    past: tuple[Block, ...]
    """Messages of the API, user and assistant in turn."""
    prompt: tuple[Block, ...]
    """Content blocks of the message to send."""


def told(request: EngineRequest) -> Told:
    """The whole conversation, rebuilt from the request."""
    messages = list(Transcript(request, request.steps).messages)
    if request.steps:
        # The CLI takes no results as a message, also not beside one that joined, and ends a
        # session that waits for an answer with words of its own. So ours stand there; the
        # gateway leaves them out again, and the model is asked exactly what it would have been.
        if messages[-1]["role"] == "user":
            messages.append({"role": "assistant", "content": [{"type": "text", "text": _CUT}]})
        return Told(past=tuple(_prefixed(messages)), prompt=({"type": "text", "text": _GO_ON},))
    last = messages.pop()
    return Told(past=tuple(_prefixed(messages)), prompt=tuple(last["content"]))


def asked(request: EngineRequest) -> tuple[Block, ...]:
    """Only the message of this turn: what was before it is in the process's own memory."""
    alone = Transcript(replace(request, history=(), summary="", steps=()), ())
    return tuple(alone.messages[-1]["content"])


def write_session(home: Home, session_id: str, past: Sequence[Block], model: str) -> None:
    """Write a session file into the home. Blocking; raises OSError."""
    parent: str | None = None
    lines: list[str] = []
    for message in past:
        entry = _entry(message, parent, session_id, home.cwd, model)
        parent = str(entry["uuid"])
        lines.append(json.dumps(entry))
    home.write_transcript(session_id, "\n".join(lines) + "\n")


def _entry(
    message: Block, parent: str | None, session_id: str, cwd: Path, model: str
) -> dict[str, object]:
    role, content = message["role"], message["content"]
    told_as: Block = {"role": role, "content": content}
    if role == "assistant":
        called = any(block["type"] == "tool_use" for block in content)
        told_as |= {
            "id": f"msg_{uuid.uuid4().hex}",
            "type": "message",
            "model": model,
            "stop_reason": "tool_use" if called else "end_turn",
            "stop_sequence": None,
            "usage": {"input_tokens": 0, "output_tokens": 0},
        }
    return {
        "parentUuid": parent,
        "isSidechain": False,
        "type": role,
        "message": told_as,
        "uuid": str(uuid.uuid4()),
        "timestamp": _WHEN,
        "userType": "external",
        "cwd": str(cwd),
        "sessionId": session_id,
        "version": _VERSION,
    }


def _prefixed(messages: Sequence[Block]) -> list[Block]:
    """The messages with the tools' names as Claude Code knows them."""
    return [
        {**message, "content": [_renamed(block) for block in message["content"]]}
        for message in messages
    ]


def _renamed(block: Block) -> Block:
    if block["type"] != "tool_use":
        return block
    return {**block, "name": f"{PREFIX}{block['name']}"}


_TAIL_BYTES = 512 * 1024
_TAIL_CHARS = 200


def holds_last_answer(path: Path, request: EngineRequest) -> bool:
    """Whether a session file reaches to the last answer of the history. Blocking.

    The CLI does not force its file to the disk: after a power loss it may end earlier than
    what is committed, and a conversation resumed from it would have forgotten the end.
    """
    steps = request.history[-1].steps if request.history else ()
    texts = [step.text.strip() for step in steps if isinstance(step, ModelStep)]
    wanted = next((text for text in reversed(texts) if text), "")[-_TAIL_CHARS:]
    try:
        # The directory is the child's: what stands there need not be a file.
        descriptor = os.open(path, os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK)
        with os.fdopen(descriptor, "rb") as file:
            file.seek(max(0, os.fstat(descriptor).st_size - _TAIL_BYTES))
            lines = file.read(_TAIL_BYTES).splitlines()
    except OSError:
        return False
    return not wanted or any(wanted in _answer_in(line) for line in reversed(lines))


def _answer_in(line: bytes) -> str:
    """The text of an assistant's line; empty for any other, and for half a line."""
    if b'"assistant"' not in line:
        return ""
    try:
        entry = json.loads(line)
        blocks = entry["message"]["content"]
        return "".join(clean_text(b.get("text", "")) for b in blocks if b["type"] == "text")
    except (ValueError, KeyError, TypeError, AttributeError):
        return ""

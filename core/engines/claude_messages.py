"""From an ``EngineRequest`` to the body of a Messages API call.

The API's rules that this module keeps: roles alternate, beginning with the user; every
``tool_use`` has its ``tool_result`` at the start of the next message; no empty text; at
most four cache breakpoints (two are used: after the system prompt, which covers the tools,
and on the newest block, which moves along).
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterable, Sequence
from typing import Any

from core.engines.claude_files import blocks_of_file
from core.engines.engine import EngineRequest, ToolDoor
from core.engines.replies import joined_text
from core.messages import Attachment
from core.steps import Exchange, ModelStep, SteerStep, Step, ToolCall, ToolStep
from core.untrusted import as_data

ENGINE = "claude_api"
_CLAUDE = frozenset({ENGINE, "claude_agent_sdk", "claude_code_cli"})
"""Engines whose ``ModelStep.native`` is content of the Messages API."""
_CACHE = {"type": "ephemeral"}
_MAX_OLD_OUTPUT = 8_000
"""Characters of a tool's output that later turns still see; this turn sees all of it."""
_BYTES_PER_TOKEN = 3
_SUMMARY = "Summary of the conversation so far:"
_NO_OUTPUT = "(no output)"
_NO_RESULT = "No result is on record: the turn was interrupted before the tool finished."
_NOT_IN_ID = re.compile("[^a-zA-Z0-9_-]")

Block = dict[str, Any]


class Transcript:
    """The growing body of one turn's model calls. Steps are appended, never rebuilt."""

    def __init__(self, request: EngineRequest, steps: Sequence[Step]) -> None:
        """Build what is known at the start: history, the message, this turn's steps so far."""
        self._messages: list[Block] = []
        self._marked: Block | None = None
        self._size = len(request.system) + 200
        self._media_tokens = 0
        self._media_bytes = 0
        self._model = request.model
        self._door = request.tools
        self._system: list[Block] = []
        if request.system.strip():
            self._system = [{"type": "text", "text": request.system, "cache_control": _CACHE}]
        self._tools = self._describe(request)
        if request.summary.strip():
            self._user([_text(f"{_SUMMARY}\n{request.summary}")])
        for exchange in request.history:
            self._exchange(exchange)
        self._user(self._message(request.text, request.attachments))
        self.add(steps)

    @property
    def estimated_input(self) -> int:
        """Tokens of the next call's input, counted generously."""
        return self._size // _BYTES_PER_TOKEN + self._media_tokens + 50

    @property
    def bytes(self) -> int:
        """About how many bytes the next call sends."""
        return self._size + self._media_bytes

    @property
    def messages(self) -> Sequence[Block]:
        """Every message, without cache breakpoints; the last one is the user's."""
        return [
            {**message, "content": [_unmarked(block) for block in message["content"]]}
            for message in self._messages
        ]

    def body(self, *, model: str, max_tokens: int) -> dict[str, object]:
        """The body of the next call. It shares its lists with this transcript."""
        self._mark_newest()
        body: dict[str, object] = {
            "model": model,
            "max_tokens": max_tokens,
            "stream": True,
            "messages": self._messages,
        }
        if self._system:
            body["system"] = self._system
        if self._tools:
            body["tools"] = self._tools
        return body

    def add(self, steps: Sequence[Step], *, limit: int | None = None) -> None:
        """Append steps in the order in which they were committed."""
        for index, step in enumerate(steps):
            match step:
                case ModelStep():
                    self._answer(step, _until_next_model(steps[index + 1 :]), limit)
                case SteerStep():
                    self._user([_text(step.text)] if step.text.strip() else [])
                case _:
                    pass  # results were appended with their model step

    def _describe(self, request: EngineRequest) -> list[Block]:
        tools: list[Block] = []
        for spec in request.tools.specs():
            schema = spec.json_schema()
            tools.append(
                {"name": spec.name, "description": spec.description, "input_schema": schema}
            )
            self._size += len(spec.description) + 120 * (len(spec.params) + 1)
        if tools and not self._system:
            tools[-1]["cache_control"] = _CACHE
        return tools

    def _exchange(self, exchange: Exchange) -> None:
        self._user(self._message(exchange.user_text, exchange.attachments))
        self.add(exchange.steps, limit=_MAX_OLD_OUTPUT)
        told = joined_text(exchange.steps)
        rest = exchange.reply.removeprefix(told) if told else exchange.reply
        if rest.strip() and exchange.reply != told and not _ended_by_itself(exchange.steps):
            self._assistant([_text(rest.strip())])
            self._size += len(rest)

    def _message(self, text: str, attachments: Iterable[Attachment]) -> list[Block]:
        blocks: list[Block] = []
        for attachment in attachments:
            file = blocks_of_file(attachment)
            blocks.append(file.block)
            self._media_tokens += file.media_tokens
            self._media_bytes += file.media_bytes
        if text.strip():
            blocks.append(_text(text))
        return blocks or [_text("(an empty message)")]

    def _answer(self, step: ModelStep, after: Iterable[Step], limit: int | None) -> None:
        """Append a model step and the results of its tool calls."""
        results = {item.tool_call_id: item for item in after if isinstance(item, ToolStep)}
        if step.native is not None and step.engine in _CLAUDE and step.model == self._model:
            blocks: list[Block] = json.loads(step.native)
            self._size += len(step.native)
        else:
            blocks = [_text(step.text)] if step.text.strip() else []
            blocks += [_tool_use(call) for call in step.tool_calls]
            self._size += _bytes_of(step.text) + 40
            self._size += sum(100 + len(str(call.arguments)) for call in step.tool_calls)
        self._assistant(blocks)
        if step.tool_calls:
            self._user(
                [self._result(call, results.get(call.id), limit) for call in step.tool_calls]
            )

    def _result(self, call: ToolCall, result: ToolStep | None, limit: int | None) -> Block:
        output = _NO_RESULT if result is None else result.output
        if limit is not None and len(output) > limit:
            cut = len(output) - limit
            output = f"{output[: limit // 2]}\n[{cut} characters cut]\n{output[-limit // 2 :]}"
        if result is not None:
            output = output_for_model(self._door, call, output)
        self._size += _bytes_of(output) + 100
        block: Block = {
            "type": "tool_result",
            "tool_use_id": _safe_id(call.id),
            "content": output,
        }
        if result is None or result.is_error:
            block["is_error"] = True
        return block

    def _user(self, blocks: list[Block]) -> None:
        self._append("user", blocks)
        self._size += sum(_bytes_of(block["text"]) for block in blocks if "text" in block)

    def _assistant(self, blocks: list[Block]) -> None:
        self._append("assistant", blocks)

    def _append(self, role: str, blocks: list[Block]) -> None:
        if not blocks:
            return
        if self._messages and self._messages[-1]["role"] == role:
            self._messages[-1]["content"].extend(blocks)
        else:
            self._messages.append({"role": role, "content": blocks})

    def _mark_newest(self) -> None:
        """Move the cache breakpoint to the newest user block (thinking cannot carry one)."""
        if self._marked is not None:
            self._marked.pop("cache_control", None)
        newest = next(m for m in reversed(self._messages) if m["role"] == "user")
        self._marked = newest["content"][-1]
        self._marked["cache_control"] = _CACHE


def output_for_model(door: ToolDoor, call: ToolCall, output: str) -> str:
    """A tool's output as a model gets it, whichever way it comes there."""
    output = output if output.strip() else _NO_OUTPUT
    return as_data(call.name, output, key=call.id) if door.untrusted(call.name) else output


def _unmarked(block: Block) -> Block:
    return {key: value for key, value in block.items() if key != "cache_control"}


def _until_next_model(steps: Sequence[Step]) -> Iterable[Step]:
    for step in steps:
        if isinstance(step, ModelStep):
            return
        yield step


def _ended_by_itself(steps: Sequence[Step]) -> bool:
    """Whether the last model call was an answer, so that the reply has nothing to add."""
    last = steps[-1] if steps else None
    return isinstance(last, ModelStep) and not last.tool_calls and bool(last.text.strip())


def _text(text: str) -> Block:
    return {"type": "text", "text": text}


def _tool_use(call: ToolCall) -> Block:
    return {
        "type": "tool_use",
        "id": _safe_id(call.id),
        "name": _NOT_IN_ID.sub("_", call.name)[:128],
        "input": call.arguments,
    }


def _safe_id(tool_call_id: str) -> str:
    """Ids that other engines made may hold characters that the API refuses."""
    return _NOT_IN_ID.sub("_", tool_call_id)


def _bytes_of(text: str) -> int:
    return len(text) if text.isascii() else len(text.encode("utf-8", "replace"))

"""Steps: the committed checkpoints of a turn, in a form that every engine understands.

A re-run of a turn gets its committed steps and continues after the last one. Finished
turns are shown to later turns as an ``Exchange``.
"""

from __future__ import annotations

import json
from dataclasses import dataclass, field
from typing import cast

from core.messages import Attachment
from core.metering import Usage


@dataclass(frozen=True, slots=True, kw_only=True)
class ToolCall:
    """A tool the model asked for. ``arguments`` is the model's JSON object, unchecked."""

    id: str
    name: str
    arguments: dict[str, object] = field(default_factory=dict)


@dataclass(frozen=True, slots=True, kw_only=True)
class ModelStep:
    """One finished model call."""

    call_id: str
    engine: str
    model: str
    text: str
    tool_calls: tuple[ToolCall, ...] = ()
    stop_reason: str = "end_turn"
    usage: Usage = field(default_factory=Usage)
    native: str | None = None
    """The engine's own content as JSON (thinking signatures and the like): it replays a
    turn of the same engine exactly; other engines use ``text`` and ``tool_calls``."""


@dataclass(frozen=True, slots=True, kw_only=True)
class ToolStartedStep:
    """A mutating tool is about to run. Without a ``ToolStep`` its outcome is unknown."""

    tool_call_id: str
    name: str
    approval_id: str = ""
    """The approval that is used up by it; empty where none was needed."""


@dataclass(frozen=True, slots=True, kw_only=True)
class ToolStep:
    """A tool's result, as the model gets it."""

    tool_call_id: str
    name: str
    output: str
    is_error: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class SteerStep:
    """A message that joined the running turn."""

    text: str


Step = ModelStep | ToolStartedStep | ToolStep | SteerStep


@dataclass(frozen=True, slots=True, kw_only=True)
class Exchange:
    """A finished turn, as history for the next ones."""

    user_text: str
    attachments: tuple[Attachment, ...] = ()
    steps: tuple[Step, ...] = ()
    reply: str = ""


def dump_step(step: Step) -> tuple[str, str]:
    """Return the step's kind and its JSON payload."""
    match step:
        case ModelStep():
            return "model", json.dumps(
                {
                    "call_id": step.call_id,
                    "engine": step.engine,
                    "model": step.model,
                    "text": step.text,
                    "tool_calls": [
                        {"id": call.id, "name": call.name, "arguments": call.arguments}
                        for call in step.tool_calls
                    ],
                    "stop_reason": step.stop_reason,
                    "usage": dump_usage(step.usage),
                    "native": step.native,
                }
            )
        case ToolStartedStep():
            return "tool_started", json.dumps(
                {"id": step.tool_call_id, "name": step.name, "approval_id": step.approval_id}
            )
        case ToolStep():
            return "tool", json.dumps(
                {
                    "id": step.tool_call_id,
                    "name": step.name,
                    "output": step.output,
                    "is_error": step.is_error,
                }
            )
        case SteerStep():
            return "steer", json.dumps({"text": step.text})


def load_step(kind: str, payload: str) -> Step:
    """Rebuild a step from what ``dump_step`` returned. Raises ValueError on another kind."""
    data = json.loads(payload)
    match kind:
        case "model":
            return ModelStep(
                call_id=data["call_id"],
                engine=data["engine"],
                model=data["model"],
                text=data["text"],
                tool_calls=tuple(ToolCall(**call) for call in data["tool_calls"]),
                stop_reason=data["stop_reason"],
                usage=load_usage(data["usage"]),
                native=data["native"],
            )
        case "tool_started":
            return ToolStartedStep(
                tool_call_id=data["id"],
                name=data["name"],
                approval_id=data.get("approval_id", ""),
            )
        case "tool":
            return ToolStep(
                tool_call_id=data["id"],
                name=data["name"],
                output=data["output"],
                is_error=data["is_error"],
            )
        case "steer":
            return SteerStep(text=data["text"])
        case _:
            message = f"unknown step kind {kind!r}"
            raise ValueError(message)


def dump_usage(usage: Usage) -> dict[str, int]:
    """The buckets as a JSON object."""
    return {
        "input_tokens": usage.input_tokens,
        "output_tokens": usage.output_tokens,
        "cache_read_tokens": usage.cache_read_tokens,
        "cache_write_5m_tokens": usage.cache_write_5m_tokens,
        "cache_write_1h_tokens": usage.cache_write_1h_tokens,
    }


def load_usage(data: object) -> Usage:
    """The buckets from a JSON object that ``dump_usage`` made."""
    return Usage(**cast("dict[str, int]", data))

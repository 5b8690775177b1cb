"""Tools: what the agent can do, described once for every engine.

The door that every call goes through is ``core.toolrunner``.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass, field
from typing import Literal

from core.risk import Assessment, Level
from core.tenants import Role


@dataclass(frozen=True, slots=True, kw_only=True)
class Param:
    """One argument of a tool; checked by us, whatever the model was told."""

    name: str
    kind: Literal["string", "integer"]
    description: str
    required: bool = False
    minimum: int | None = None
    maximum: int | None = None
    """Bounds of an integer, or of a string's length."""
    choices: tuple[str, ...] = ()
    multiline: bool = False
    """Line feeds and tabs are allowed: a command, the text of a file."""


@dataclass(frozen=True, slots=True, kw_only=True)
class ToolSpec:
    """What a model is told about a tool."""

    name: str
    description: str
    params: tuple[Param, ...] = ()

    def json_schema(self) -> dict[str, object]:
        """The arguments as a JSON Schema object (draft 2020-12)."""
        properties: dict[str, object] = {}
        for param in self.params:
            entry: dict[str, object] = {"type": param.kind, "description": param.description}
            low, high = (
                ("minimum", "maximum") if param.kind == "integer" else ("minLength", "maxLength")
            )
            if param.minimum is not None:
                entry[low] = param.minimum
            if param.maximum is not None:
                entry[high] = param.maximum
            if param.choices:
                entry["enum"] = list(param.choices)
            properties[param.name] = entry
        return {
            "type": "object",
            "properties": properties,
            "required": [param.name for param in self.params if param.required],
            "additionalProperties": False,
        }


Arguments = Mapping[str, str | int]
"""Arguments after ``check_arguments``: declared names, right types, inside their bounds."""


def silent(_line: str) -> None:
    """Nobody watches."""


@dataclass(frozen=True, slots=True, kw_only=True)
class ToolContext:
    """Whose call it is."""

    tenant_id: str
    user_id: str
    turn_id: str
    role: Role = Role.VIEWER
    conversation_id: str = ""
    call_id: str = ""
    language: str = ""
    order_id: str = ""
    """The standing order that asks; empty: a person does."""
    raised: Mapping[str, Level] = field(default_factory=dict)
    """Tools and programs that the team wants judged at least so."""
    progress: Callable[[str], None] = silent
    """Shows a line of what is going on, while the call runs."""


@dataclass(frozen=True, slots=True, kw_only=True)
class ToolResult:
    """What the model and the user see of a call."""

    output: str
    is_error: bool = False
    servers: tuple[str, ...] = ()
    """The names of those that it ran on."""
    exit_status: int | None = None
    """Of the command, where one was run on one server."""
    artifact: str = ""
    """The id of the whole output, where this is a part of it."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Tool:
    """A tool: its description, its risk and its function."""

    spec: ToolSpec
    assess: Callable[[ToolContext, Arguments], Awaitable[Assessment]]
    """What this very call would do. It may look at the servers, and changes nothing."""
    run: Callable[[ToolContext, Arguments], Awaitable[ToolResult]]
    mutates: bool
    """Whether a call above level L0 run twice differs from one run once."""
    timeout_s: float = 30.0
    untrusted: bool = False
    """Its output is text that others wrote (logs, files, what a command prints)."""


def check_arguments(spec: ToolSpec, raw: Mapping[str, object]) -> dict[str, str | int] | str:
    """Return the checked arguments, or a sentence that says what is wrong with them."""
    known = {param.name: param for param in spec.params}
    unknown = [name for name in raw if name not in known]
    if unknown:
        return f"{spec.name} has no argument {unknown[0]!r}; it takes {', '.join(known) or 'none'}."
    checked: dict[str, str | int] = {}
    for param in spec.params:
        value = raw.get(param.name)
        if value is None:
            if param.required:
                return f"{spec.name} needs the argument {param.name!r}: {param.description}"
            continue
        problem = _problem(param, value)
        if problem:
            return f"{spec.name}: {param.name} {problem}."
        checked[param.name] = value  # type: ignore[assignment]  # _problem proved the type
    return checked


def _problem(param: Param, value: object) -> str | None:
    if param.kind == "integer":
        if not isinstance(value, int) or isinstance(value, bool):
            return "must be a whole number"
        size = value
    else:
        if not isinstance(value, str):
            return "must be text"
        allowed = "\n\t" if param.multiline else ""
        if any(ord(char) < 0x20 and char not in allowed for char in value):  # noqa: PLR2004  # C0 controls end at 0x1F
            return "must not contain control characters"
        size = len(value)
    unit = "" if param.kind == "integer" else " characters"
    if param.minimum is not None and size < param.minimum:
        return f"must be at least {param.minimum}{unit}"
    if param.maximum is not None and size > param.maximum:
        return f"must be at most {param.maximum}{unit}"
    if param.choices and value not in param.choices:
        return f"must be one of {', '.join(param.choices)}"
    return None

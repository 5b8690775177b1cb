"""Typed reading of the JSON that Slack sends: what is missing or of another type is empty."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TypeAlias

Json: TypeAlias = Mapping[str, object]

_NOTHING: Json = {}


def node(value: object, *path: str) -> Json:
    """The object at a path."""
    for name in path:
        value = value.get(name) if isinstance(value, Mapping) else None
    return value if isinstance(value, Mapping) else _NOTHING


def text(value: object, *path: str) -> str:
    """The string at a path."""
    found = node(value, *path[:-1]).get(path[-1])
    return found if isinstance(found, str) else ""


def number(value: object, *path: str) -> int:
    """The whole number at a path."""
    found = node(value, *path[:-1]).get(path[-1])
    return found if isinstance(found, int) else 0


def nodes(value: object, *path: str) -> Sequence[Json]:
    """The objects of the list at a path."""
    found = node(value, *path[:-1]).get(path[-1])
    return [item for item in found if isinstance(item, Mapping)] if isinstance(found, list) else []

"""Columns to values: the databases promise types that the type checker cannot see."""

from __future__ import annotations


def text(value: object) -> str:
    """A TEXT column that is never null."""
    if not isinstance(value, str):
        message = f"expected text, got {type(value).__name__}"
        raise TypeError(message)
    return value


def optional_text(value: object) -> str | None:
    """A TEXT column that may be null."""
    return None if value is None else text(value)


def integer(value: object) -> int:
    """A BIGINT column that is never null."""
    if not isinstance(value, int):
        message = f"expected an integer, got {type(value).__name__}"
        raise TypeError(message)
    return value


def blob(value: object) -> bytes:
    """A binary column that is never null."""
    if not isinstance(value, bytes | memoryview):
        message = f"expected bytes, got {type(value).__name__}"
        raise TypeError(message)
    return bytes(value)

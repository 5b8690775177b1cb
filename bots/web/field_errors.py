"""What is wrong with a body or a query, in a sentence that names the field.

Pydantic's own messages speak of its types ("constrained-str"), in English alone; ours say what
to send instead.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Final

from pydantic import ValidationError

from core.words import Sentence, sentence

_MAX_FIELD_CHARS: Final = 80
_FIELD: Final = re.compile(r"[A-Za-z_][A-Za-z0-9_]*(?: [A-Za-z0-9_.+-]+)?")
"""A field's name, or a key of an object: a word, or a program and its subcommand."""
_TYPES: Final = frozenset({"str", "int", "float", "bool", "none", "date", "datetime", "url"})
"""How pydantic calls the branches of a union; no field of ours is called so."""

_KINDS: Final[Mapping[str, str]] = {
    "int_type": "whole",
    "int_parsing": "whole",
    "int_parsing_size": "whole",
    "int_from_float": "whole",
    "string_type": "text",
    "string_sub_type": "text",
    "string_unicode": "text",
    "bool_type": "bool",
    "bool_parsing": "bool",
    "list_type": "list",
    "dict_type": "object",
    "model_type": "object",
    "model_attributes_type": "object",
}
"""What should have been sent, by pydantic's type of error."""


@dataclass(frozen=True, slots=True, kw_only=True)
class _Wrong:
    """One error."""

    kind: str
    """Pydantic's type of it."""
    place: tuple[int | str, ...]
    limits: Mapping[str, object] = field(default_factory=dict)
    """What it was compared with."""


def sentence_of(error: ValidationError) -> str:
    """What is wrong first, and what to send instead."""
    found = error.errors(include_url=False, include_input=False)[0]
    wrong = _Wrong(kind=found["type"], place=found["loc"], limits=found.get("ctx", {}))
    own = _own(wrong)
    if own is not None:
        return own
    if wrong.kind == "json_invalid":
        return sentence("The body is not valid JSON in UTF-8.")
    name = _field(wrong)
    if not name:
        return sentence("The body has to be a JSON object as /openapi.json describes it.")
    return (
        _presence(wrong, name)
        or _size(wrong, name)
        or _kind(wrong, name)
        or _choice(wrong, name)
        or sentence("The field '{field}' has a value that is not accepted.", field=name)
    )


def _own(wrong: _Wrong) -> str | None:
    """The sentence that a validator of ours raised its ``ValueError`` with."""
    raised = wrong.limits.get("error")
    said = raised.args[0] if isinstance(raised, ValueError) and raised.args else None
    return said if isinstance(said, str) else None


def _field(wrong: _Wrong) -> str:
    """Where it is, such as ``attachments.0.name``; empty for the body itself."""
    place = wrong.place
    if wrong.kind == "extra_forbidden":  # the name is whatever was sent
        return ".".join(str(part) for part in place)[:_MAX_FIELD_CHARS]
    parts = (str(part) for part in place if isinstance(part, int) or _named(part))
    return ".".join(parts)[:_MAX_FIELD_CHARS]


def _named(part: str) -> bool:
    return part not in _TYPES and _FIELD.fullmatch(part) is not None


def _presence(wrong: _Wrong, name: str) -> Sentence | None:
    match wrong.kind:
        case "missing":
            return sentence("The field '{field}' is missing.", field=name)
        case "extra_forbidden":
            return sentence("There is no field '{field}' here. Leave it out.", field=name)
        case _:
            return None


def _size(wrong: _Wrong, name: str) -> Sentence | None:
    limits = wrong.limits
    match wrong.kind:
        case "string_too_short" | "too_short" if limits.get("min_length") == 1:
            return sentence("The field '{field}' is empty.", field=name)
        case "string_too_short":
            least = limits["min_length"]
            return sentence(
                "The field '{field}' is too short; it needs {least} characters at least.",
                field=name,
                least=least,
            )
        case "string_too_long":
            most = limits["max_length"]
            return sentence(
                "The field '{field}' is too long; at most {most:,} characters are accepted.",
                field=name,
                most=most,
            )
        case "too_long":
            most = limits["max_length"]
            return sentence(
                "The field '{field}' has too many entries; at most {most:,} are accepted.",
                field=name,
                most=most,
            )
        case "greater_than_equal":
            least = limits["ge"]
            return sentence(
                "The field '{field}' has to be {least} or more.", field=name, least=least
            )
        case "less_than_equal":
            most = limits["le"]
            return sentence("The field '{field}' has to be {most} or less.", field=name, most=most)
        case _:
            return None


def _kind(wrong: _Wrong, name: str) -> Sentence | None:
    if wrong.kind.startswith(("datetime", "timezone")):
        return sentence(
            "The field '{field}' has to be a time with its zone, such as 2026-03-05T09:00:00Z.",
            field=name,
        )
    if wrong.kind.startswith("date_"):
        return sentence("The field '{field}' has to be a date, such as 2026-03-05.", field=name)
    match _KINDS.get(wrong.kind):
        case "whole":
            return sentence("The field '{field}' has to be a whole number.", field=name)
        case "text":
            return sentence("The field '{field}' has to be text.", field=name)
        case "bool":
            return sentence("The field '{field}' has to be true or false.", field=name)
        case "list":
            return sentence("The field '{field}' has to be a list.", field=name)
        case "object":
            return sentence("The field '{field}' has to be an object.", field=name)
        case _:
            return None


def _choice(wrong: _Wrong, name: str) -> Sentence | None:
    limits = wrong.limits
    match wrong.kind:
        case "literal_error" | "enum":
            # "'link' or 'invite'", "'a', 'b' or 'c'"
            choices = str(limits["expected"]).replace("' or '", "', '").replace("'", "")
            return sentence(
                "The field '{field}' has to be one of these: {choices}.",
                field=name,
                choices=choices,
            )
        case "string_pattern_mismatch":
            return sentence(
                "The field '{field}' has characters or a form that is not accepted.", field=name
            )
        case _:
            return None

"""What is wrong with a body or a query, in a sentence that names the field.

Pydantic's own messages speak of its types ("constrained-str"), in English alone; ours say what
to send instead.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Final

from pydantic import ValidationError
from pydantic_core import ErrorDetails

from core.words import Sentence, sentence

_MAX_FIELD_CHARS: Final = 80
_FIELD: Final = re.compile(r"[A-Za-z_][A-Za-z0-9_]*(?: [A-Za-z0-9_.+-]+)?")
"""A field's name, or a key of an object: a word, or a program and its subcommand."""
_TYPES: Final = frozenset({"str", "int", "float", "bool", "none", "date", "datetime", "url"})
"""How pydantic calls the branches of a union; no field of ours is called so."""

_WHOLE_NUMBER: Final = "whole"
_KINDS: Final[Mapping[str, str]] = {
    "int_type": _WHOLE_NUMBER,
    "int_parsing": _WHOLE_NUMBER,
    "int_parsing_size": _WHOLE_NUMBER,
    "int_from_float": _WHOLE_NUMBER,
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


def sentence_of(error: ValidationError) -> str:
    """What is wrong first, and what to send instead."""
    found = error.errors(include_url=False, include_input=False)[0]
    if found["type"] == "value_error":
        said = _own(found)
        if said is not None:
            return said
    if found["type"] == "json_invalid":
        return sentence("The body is not valid JSON in UTF-8.")
    field = _field(found)
    if not field:
        return sentence("The body has to be a JSON object as /openapi.json describes it.")
    return (
        _presence(found, field)
        or _size(found, field)
        or _kind(found, field)
        or _choice(found, field)
        or sentence("The field '{field}' has a value that is not accepted.", field=field)
    )


def _own(found: ErrorDetails) -> str | None:
    """The sentence that a validator of ours raised its ``ValueError`` with."""
    raised = found.get("ctx", {}).get("error")
    said = raised.args[0] if isinstance(raised, ValueError) and raised.args else None
    return said if isinstance(said, str) else None


def _field(found: ErrorDetails) -> str:
    """Where it is, such as ``attachments.0.name``; empty for the body itself."""
    place = found["loc"]
    if found["type"] == "extra_forbidden":  # the name is whatever was sent
        return ".".join(str(part) for part in place)[:_MAX_FIELD_CHARS]
    parts = (str(part) for part in place if isinstance(part, int) or _named(part))
    return ".".join(parts)[:_MAX_FIELD_CHARS]


def _named(part: str) -> bool:
    return part not in _TYPES and _FIELD.fullmatch(part) is not None


def _presence(found: ErrorDetails, field: str) -> Sentence | None:
    match found["type"]:
        case "missing":
            return sentence("The field '{field}' is missing.", field=field)
        case "extra_forbidden":
            return sentence("There is no field '{field}' here. Leave it out.", field=field)
        case _:
            return None


def _size(found: ErrorDetails, field: str) -> Sentence | None:
    context = found.get("ctx", {})
    match found["type"]:
        case "string_too_short" | "too_short" if context.get("min_length") == 1:
            return sentence("The field '{field}' is empty.", field=field)
        case "string_too_short":
            least = context["min_length"]
            return sentence(
                "The field '{field}' is too short; it needs {least} characters at least.",
                field=field,
                least=least,
            )
        case "string_too_long":
            most = context["max_length"]
            return sentence(
                "The field '{field}' is too long; at most {most:,} characters are accepted.",
                field=field,
                most=most,
            )
        case "too_long":
            most = context["max_length"]
            return sentence(
                "The field '{field}' has too many entries; at most {most:,} are accepted.",
                field=field,
                most=most,
            )
        case "greater_than_equal":
            least = context["ge"]
            return sentence(
                "The field '{field}' has to be {least} or more.", field=field, least=least
            )
        case "less_than_equal":
            most = context["le"]
            return sentence("The field '{field}' has to be {most} or less.", field=field, most=most)
        case _:
            return None


def _kind(found: ErrorDetails, field: str) -> Sentence | None:
    problem = found["type"]
    if problem.startswith(("datetime", "timezone")):
        return sentence(
            "The field '{field}' has to be a time with its zone, such as 2026-03-05T09:00:00Z.",
            field=field,
        )
    if problem.startswith("date_"):
        return sentence("The field '{field}' has to be a date, such as 2026-03-05.", field=field)
    match _KINDS.get(problem):
        case "whole":
            return sentence("The field '{field}' has to be a whole number.", field=field)
        case "text":
            return sentence("The field '{field}' has to be text.", field=field)
        case "bool":
            return sentence("The field '{field}' has to be true or false.", field=field)
        case "list":
            return sentence("The field '{field}' has to be a list.", field=field)
        case "object":
            return sentence("The field '{field}' has to be an object.", field=field)
        case _:
            return None


def _choice(found: ErrorDetails, field: str) -> Sentence | None:
    context = found.get("ctx", {})
    match found["type"]:
        case "literal_error" | "enum":
            # "'link' or 'invite'", "'a', 'b' or 'c'"
            choices = str(context["expected"]).replace("' or '", "', '").replace("'", "")
            return sentence(
                "The field '{field}' has to be one of these: {choices}.",
                field=field,
                choices=choices,
            )
        case "string_pattern_mismatch":
            return sentence(
                "The field '{field}' has characters or a form that is not accepted.", field=field
            )
        case _:
            return None

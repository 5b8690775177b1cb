"""What the bodies of requests share: exact JSON types, and no field that nobody asked for."""

from __future__ import annotations

from typing import Annotated

from pydantic import BaseModel, BeforeValidator, ConfigDict


def _whole(value: object) -> object:
    return int(value) if isinstance(value, float) and value.is_integer() else value


Integer = Annotated[int, BeforeValidator(_whole)]
"""JSON Schema calls 2.0 an integer (draft 2020-12, section 6.1.1); ``true`` is none."""


class Body(BaseModel):
    """The body of a request. Strict: ``true`` is no number, and "12" is none either."""

    model_config = ConfigDict(extra="forbid", strict=True)


class Query(BaseModel):
    """The parameters of a request's address: all of them arrive as text."""

    model_config = ConfigDict(extra="forbid")

"""``/openapi.json``: the description of the API, made from the routes and the models."""

from __future__ import annotations

import re
from collections.abc import Awaitable, Callable, Iterable
from dataclasses import dataclass
from typing import Final, TypeVar

from aiohttp import web
from pydantic import BaseModel
from pydantic.json_schema import models_json_schema

from bots.web.models import ProblemDocument

_F = TypeVar("_F", bound=Callable[..., Awaitable[web.StreamResponse]])
_REFERENCE: Final = "#/components/schemas/{model}"
_PATH_NAME: Final = re.compile(r"\{(\w+)\}")

EVENTS: Final = "text/event-stream"


@dataclass(frozen=True, slots=True, kw_only=True)
class Operation:
    """What a handler takes and answers."""

    body: type[BaseModel] | None
    status: int
    answer: type[BaseModel] | None
    streams: bool
    errors: tuple[int, ...]
    public: bool


def operation(  # one keyword for each thing a reader of the document asks
    *,
    body: type[BaseModel] | None = None,
    status: int = 200,
    answer: type[BaseModel] | None = None,
    streams: bool = False,
    errors: tuple[int, ...] = (),
    public: bool = False,
) -> Callable[[_F], _F]:
    """Document a handler. 401 and 503 go without saying where a token is needed."""

    def mark(handler: _F) -> _F:
        usual = () if public else (401, 503)
        described = Operation(
            body=body,
            status=status,
            answer=answer,
            streams=streams,
            errors=(*errors, *usual),
            public=public,
        )
        handler.__operation__ = described  # type: ignore[attr-defined]  # read by ``document``
        return handler

    return mark


def document(routes: Iterable[web.RouteDef], *, version: str) -> dict[str, object]:
    """The OpenAPI 3.1 document of the described routes."""
    paths: dict[str, dict[str, object]] = {}
    models: set[type[BaseModel]] = {ProblemDocument}
    for route in routes:
        described: Operation | None = getattr(route.handler, "__operation__", None)
        if described is None:
            continue
        models |= {model for model in (described.body, described.answer) if model}
        summary = " ".join((route.handler.__doc__ or "").split("\n\n")[0].split())
        paths.setdefault(route.path, {})[route.method.lower()] = _entry(route, described, summary)
    schemas = models_json_schema(
        [(model, "validation") for model in sorted(models, key=lambda model: model.__name__)],
        ref_template=_REFERENCE,
    )[1].get("$defs", {})
    return {
        "openapi": "3.1.0",
        "info": {"title": "IT0", "version": version},
        "paths": paths,
        "components": {
            "schemas": schemas,
            "securitySchemes": {"token": {"type": "http", "scheme": "bearer"}},
        },
    }


def _entry(route: web.RouteDef, described: Operation, summary: str) -> dict[str, object]:
    handler_name = getattr(route.handler, "__name__", "handler")
    entry: dict[str, object] = {
        "operationId": handler_name,
        "summary": summary,
        "responses": _responses(described),
    }
    names = _PATH_NAME.findall(route.path)
    if names:
        entry["parameters"] = [
            {"name": name, "in": "path", "required": True, "schema": {"type": "string"}}
            for name in names
        ]
    if described.body is not None:
        entry["requestBody"] = {"required": True, "content": _content(described.body)}
    if not described.public:
        entry["security"] = [{"token": []}]
    return entry


def _responses(described: Operation) -> dict[str, object]:
    answer: dict[str, object] = {"description": "Done."}
    content: dict[str, object] = {}
    if described.answer is not None:
        content |= _content(described.answer)
    if described.streams:
        content[EVENTS] = {"schema": {"type": "string"}}
    if content:
        answer["content"] = content
    responses: dict[str, object] = {str(described.status): answer}
    problem = {"schema": {"$ref": _REFERENCE.format(model="ProblemDocument")}}
    for status in sorted(set(described.errors)):
        responses[str(status)] = {
            "description": "A problem.",
            "content": {"application/problem+json": problem},
        }
    return responses


def _content(model: type[BaseModel]) -> dict[str, object]:
    return {"application/json": {"schema": {"$ref": _REFERENCE.format(model=model.__name__)}}}

"""``/openapi.json``: the description of the API, made from the routes and the models."""

from __future__ import annotations

import re
from collections.abc import Awaitable, Callable, Iterable, Mapping
from dataclasses import dataclass
from typing import Any, Final, TypeVar

from aiohttp import web
from pydantic import BaseModel
from pydantic.json_schema import models_json_schema

from bots.web.models import ProblemDocument

_F = TypeVar("_F", bound=Callable[..., Awaitable[web.StreamResponse]])
_REFERENCE: Final = "#/components/schemas/{model}"
_Names = dict[type[BaseModel], str]
_PATH_NAME: Final = re.compile(r"\{(\w+)\}")

EVENTS: Final = "text/event-stream"
_RETRY_STATUSES: Final = frozenset({409, 429, 503})
"""Problems that may say when to try again."""

_EVENT: Final[Mapping[str, object]] = {
    "type": "object",
    "description": "One event of the stream (HTML standard, server-sent events).",
    "properties": {
        "id": {"type": "string"},
        "event": {"type": "string"},
        "data": {"type": "string", "contentMediaType": "application/json"},
    },
    "required": ["data"],
}
_SCHEMES: Final[Mapping[str, object]] = {
    "token": {"type": "http", "scheme": "bearer"},
    "session": {
        "type": "apiKey",
        "in": "cookie",
        "name": "it0",
        "description": (
            "The page's session, `__Host-it0` over TLS. It counts for requests of the page itself "
            "alone: `Sec-Fetch-Site: same-origin`, or else an `Origin` that is IT0's own."
        ),
    },
}
"""Either is enough. A request with both is judged by its token."""
MAX_NUMBER: Final = 999_999_999
"""No number in an address is larger."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Header:
    """A header that a request may have."""

    name: str
    description: str
    max_length: int | None = None
    """None: whatever it says is taken."""


IDEMPOTENCY_KEY: Final = Header(
    name="Idempotency-Key",
    description="Makes the same request again answer as the first one did, for 24 hours.",
    max_length=200,
)
LAST_EVENT_ID: Final = Header(
    name="Last-Event-ID",
    description="The last event that was seen: the stream goes on after it.",
)


@dataclass(frozen=True, slots=True, kw_only=True)
class Reads:
    """What a handler reads besides a body in JSON."""

    query: type[BaseModel] | None = None
    """The model that reads the query."""
    numbers: frozenset[str] = frozenset()
    """Names of the path that are whole numbers from 1 on; the others are text."""
    headers: tuple[Header, ...] = ()
    raw: str = ""
    """The media type of a body that is taken as it is."""


NOTHING: Final = Reads()


@dataclass(frozen=True, slots=True, kw_only=True)
class Operation:
    """What a handler takes and answers."""

    body: type[BaseModel] | None
    status: int
    answer: type[BaseModel] | None
    streams: bool
    errors: tuple[int, ...]
    public: bool
    reads: Reads
    gives: str


def operation(  # one keyword for each thing a reader of the document asks
    *,
    body: type[BaseModel] | None = None,
    status: int = 200,
    answer: type[BaseModel] | None = None,
    streams: bool = False,
    errors: tuple[int, ...] = (),
    public: bool = False,
    reads: Reads = NOTHING,
    gives: str = "",
) -> Callable[[_F], _F]:
    """Document a handler. 401, 403 and 503 go without saying where a token is needed.

    ``gives``: the media type of an answer that is not JSON.
    """

    def mark(handler: _F) -> _F:
        usual = () if public else (401, 403, 503)
        described = Operation(
            body=body,
            status=status,
            answer=answer,
            streams=streams,
            errors=(*errors, *usual),
            public=public,
            reads=reads,
            gives=gives,
        )
        handler.__operation__ = described  # type: ignore[attr-defined]  # read by ``document``
        return handler

    return mark


def document(routes: Iterable[web.RouteDef], *, version: str) -> dict[str, object]:
    """The OpenAPI 3.1 document of the described routes."""
    known = [
        (route, described)
        for route in routes
        if isinstance(described := getattr(route.handler, "__operation__", None), Operation)
    ]
    schemas, names = _schemas([described for _, described in known])
    queries = {
        model: _query_parameters(schemas.pop(names[model]))
        for model in {described.reads.query for _, described in known}
        if model is not None
    }
    paths: dict[str, dict[str, object]] = {}
    ids: set[str] = set()
    for route, described in known:
        entry = {"operationId": _unused(route, ids), **_entry(described, names)}
        entry["summary"] = " ".join((route.handler.__doc__ or "").split("\n\n")[0].split())
        listed = [*_path_parameters(route, described), *_header_parameters(described)]
        if described.reads.query is not None:
            listed += queries[described.reads.query]
        if listed:
            entry["parameters"] = listed
        paths.setdefault(route.path, {})[route.method.lower()] = entry
    return {
        "openapi": "3.1.0",
        "info": {"title": "IT0", "version": version},
        "paths": paths,
        "components": {
            "schemas": schemas,
            "securitySchemes": _SCHEMES,
        },
    }


def _schemas(operations: list[Operation]) -> tuple[dict[str, Any], _Names]:
    """The schemas of all models, and the name of each: two rooms may use one word."""
    models: set[type[BaseModel]] = {ProblemDocument}
    for one in operations:
        models |= {model for model in (one.body, one.answer, one.reads.query) if model}
    named = sorted(models, key=lambda model: (model.__name__, model.__module__))
    references, schemas = models_json_schema(
        [(model, "validation") for model in named], ref_template=_REFERENCE
    )
    names = {model: str(references[model, "validation"]["$ref"]) for model in named}
    return schemas.get("$defs", {}), {
        model: reference.rpartition("/")[2] for model, reference in names.items()
    }


def _unused(route: web.RouteDef, ids: set[str]) -> str:
    """The handler's name; where two rooms use one name, the second is its class's as well."""
    name = getattr(route.handler, "__name__", "handler")
    if name in ids:
        name = getattr(route.handler, "__qualname__", name).replace(".", "_")
    ids.add(name)
    return name


def _entry(described: Operation, names: _Names) -> dict[str, object]:
    entry: dict[str, object] = {"responses": _responses(described, names)}
    if described.body is not None:
        entry["requestBody"] = {"required": True, "content": _json(names[described.body])}
    elif described.reads.raw:
        entry["requestBody"] = {"required": False, "content": {described.reads.raw: {}}}
    if not described.public:
        entry["security"] = [{name: []} for name in _SCHEMES]
    return entry


def _path_parameters(route: web.RouteDef, described: Operation) -> list[dict[str, object]]:
    text: dict[str, object] = {"type": "string", "minLength": 1}
    number: dict[str, object] = {"type": "integer", "minimum": 1, "maximum": MAX_NUMBER}
    return [
        {
            "name": name,
            "in": "path",
            "required": True,
            "schema": number if name in described.reads.numbers else text,
        }
        for name in _PATH_NAME.findall(route.path)
    ]


def _header_parameters(described: Operation) -> list[dict[str, object]]:
    return [
        {
            "name": header.name,
            "in": "header",
            "required": False,
            "description": header.description,
            "schema": {"type": "string"}
            if header.max_length is None
            else {"type": "string", "minLength": 1, "maxLength": header.max_length},
        }
        for header in described.reads.headers
    ]


def _query_parameters(schema: Mapping[str, Any]) -> list[dict[str, object]]:
    """Parameters instead of properties; what may be left out is not ``null`` in a query."""
    listed: list[dict[str, object]] = []
    for name, written in schema.get("properties", {}).items():
        kinds = [kind for kind in written.get("anyOf", ()) if kind != {"type": "null"}]
        inner = kinds[0] if len(kinds) == 1 else written
        shown = {key: inner[key] for key in inner if key not in {"title", "description"}}
        if shown.get("default", "") is None:
            del shown["default"]
        listed.append(
            {
                "name": name,
                "in": "query",
                "required": name in schema.get("required", ()),
                "description": written.get("description", ""),
                "schema": shown,
            }
        )
    return listed


def _responses(described: Operation, names: _Names) -> dict[str, object]:
    answer: dict[str, object] = {"description": "Done."}
    content: dict[str, object] = {}
    if described.answer is not None:
        content |= _json(names[described.answer])
    if described.gives:
        content[described.gives] = {}
    if described.streams:
        content[EVENTS] = {"schema": _EVENT}
    if content:
        answer["content"] = content
    responses: dict[str, object] = {str(described.status): answer}
    problem = {"schema": {"$ref": _REFERENCE.format(model=names[ProblemDocument])}}
    for status in sorted(set(described.errors)):
        said: dict[str, object] = {
            "description": "A problem.",
            "content": {"application/problem+json": problem},
        }
        if status in _RETRY_STATUSES:
            said["headers"] = {
                "Retry-After": {
                    "description": "Seconds after which to try again, where that is known.",
                    "schema": {"type": "integer", "minimum": 0},
                }
            }
        responses[str(status)] = said
    return responses


def _json(name: str) -> dict[str, object]:
    return {"application/json": {"schema": {"$ref": _REFERENCE.format(model=name)}}}

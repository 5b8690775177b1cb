"""The API describes itself."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from aiohttp import web
from openapi_spec_validator import validate
from pydantic import BaseModel, create_model

from bots.web.openapi import document as describe
from bots.web.openapi import operation
from tests.bots.api_kit import open_api


async def test_the_document_is_valid_and_names_every_api_route(data_dir: Path) -> None:
    """``/openapi.json`` is a valid OpenAPI document with every route under /api/v1."""
    async with open_api(data_dir, {"IT0_BILLING": "on"}) as api:
        _, document = await api.call("GET", "/openapi.json")
    validate(document)
    assert {
        "/api/v1/agent/turns",
        "/api/v1/agent/turns/{turn_id}/events",
        "/api/v1/conversations",
        "/api/v1/conversations/{conversation_id}",
        "/api/v1/conversations/{conversation_id}/messages",
        "/api/v1/agent-config",
        "/api/v1/skills",
        "/api/v1/skills/{name}",
        "/api/v1/users",
        "/api/v1/users/{user_id}",
        "/api/v1/servers",
        "/api/v1/codes",
        "/api/v1/tokens",
        "/api/v1/tokens/{token_id}",
        "/api/v1/billing/plans",
        "/api/v1/billing/subscription",
        "/api/v1/billing/subscription/upgrade",
        "/api/v1/billing/subscription/downgrade",
        "/api/v1/billing/subscription/cancel",
        "/api/v1/billing/subscription/reactivate",
        "/api/v1/billing/invoices",
        "/api/v1/billing/invoices/{invoice_id}",
        "/api/v1/billing/invoices/{invoice_id}/pay",
        "/api/v1/billing/invoices/{invoice_id}/pdf",
        "/api/v1/billing/invoices/{invoice_id}/lines/{line}/explanation",
        "/api/v1/billing/payment-methods",
        "/api/v1/billing/usage/current",
        "/api/v1/billing/usage/history",
        "/api/v1/billing/usage/budgets",
        "/api/v1/billing/webhooks/{provider}",
        "/healthz",
        "/readyz",
    } <= set(document["paths"])
    for path, methods in document["paths"].items():
        for method, described in methods.items():
            assert described["summary"], f"{method} {path} says nothing"


async def test_parameters_say_what_they_take(data_dir: Path) -> None:
    """Queries, paths and headers have types and bounds; what may be left out is not null."""
    async with open_api(data_dir, {"IT0_BILLING": "on"}) as api:
        _, document = await api.call("GET", "/openapi.json")
    paths = document["paths"]
    invoices = _parameters(paths["/api/v1/billing/invoices"]["get"])
    assert invoices["limit"]["schema"] == {
        "default": 20,
        "maximum": 100,
        "minimum": 1,
        "type": "integer",
    }
    assert invoices["status"]["schema"] == {"$ref": "#/components/schemas/InvoiceStatus"}
    assert invoices["cursor"]["schema"]["type"] == "string"
    history = _parameters(paths["/api/v1/billing/usage/history"]["get"])
    assert history["from"]["schema"] == {"format": "date", "type": "string"}
    explained = paths["/api/v1/billing/invoices/{invoice_id}/lines/{line}/explanation"]["get"]
    line = _parameters(explained)["line"]
    assert (line["in"], line["required"], line["schema"]["type"]) == ("path", True, "integer")
    for path in ("/api/v1/billing/subscription/upgrade", "/api/v1/agent/turns"):
        assert _parameters(paths[path]["post"])["Idempotency-Key"]["in"] == "header"
    printed = paths["/api/v1/billing/invoices/{invoice_id}/pdf"]["get"]["responses"]["200"]
    assert list(printed["content"]) == ["application/pdf"]


def _parameters(described: dict[str, Any]) -> dict[str, dict[str, Any]]:
    return {parameter["name"]: parameter for parameter in described["parameters"]}


async def test_other_methods_are_refused_as_described(data_dir: Path) -> None:
    """What a path does not describe is 405 with what it allows, as a problem document."""
    async with open_api(data_dir, {"IT0_BILLING": "on"}) as api:
        _, document = await api.call("GET", "/openapi.json")
        for path, described in document["paths"].items():
            address = api.url + path.replace("{", "").replace("}", "")
            for method in {"get", "post", "put", "patch", "delete"} - set(described):
                async with api.session.request(method, address, headers=api.auth()) as response:
                    problem = await response.json(content_type="application/problem+json")
                assert (response.status, problem["code"]) == (405, "method_not_allowed"), path
                allowed = {one.casefold() for one in response.headers["Allow"].split(",")}
                assert set(described) <= allowed


def test_models_of_one_name_are_told_apart() -> None:
    """Two rooms may use one word: each operation refers to its own model."""
    first: type[BaseModel] = create_model("Row", __module__="first", a=(int, ...))
    second: type[BaseModel] = create_model("Row", __module__="second", b=(int, ...))

    @operation(answer=first, public=True)
    async def one(_request: web.Request) -> web.Response:
        """One."""
        return web.Response()

    @operation(answer=second, public=True)
    async def two(_request: web.Request) -> web.Response:
        """Two."""
        return web.Response()

    made: Any = describe([web.get("/1", one), web.get("/2", two)], version="1")
    validate(made)
    for path, expected in (("/1", "a"), ("/2", "b")):
        answer = made["paths"][path]["get"]["responses"]["200"]["content"]["application/json"]
        name = answer["schema"]["$ref"].rpartition("/")[2]
        assert list(made["components"]["schemas"][name]["properties"]) == [expected]

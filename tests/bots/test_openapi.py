"""The API describes itself."""

from __future__ import annotations

from pathlib import Path

from openapi_spec_validator import validate

from tests.bots.api_kit import open_api


async def test_the_document_is_valid_and_names_every_api_route(data_dir: Path) -> None:
    """``/openapi.json`` is a valid OpenAPI document with every route under /api/v1."""
    async with open_api(data_dir) as api:
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
        "/healthz",
        "/readyz",
    } <= set(document["paths"])
    for path, methods in document["paths"].items():
        for method, operation in methods.items():
            assert operation["summary"], f"{method} {path} says nothing"

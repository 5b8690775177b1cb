"""The API describes itself."""

import json

import aiohttp
from openapi_spec_validator import validate

from app import Role, running
from settings import Settings


async def test_the_document_is_valid_and_names_every_api_route(data_dir):
    """``/openapi.json`` is a valid OpenAPI document with every route under /api/v1."""
    settings = Settings.from_environment({"IT0_DATA_DIR": str(data_dir)})
    async with running(settings, Role.UP, port=0) as process, aiohttp.ClientSession() as session:
        async with session.get(f"{process.url}/openapi.json") as response:
            document = json.loads(await response.text())
    validate(document)
    assert {
        "/api/v1/agent/turns",
        "/api/v1/agent/turns/{turn_id}/events",
        "/api/v1/conversations",
        "/api/v1/conversations/{conversation_id}",
        "/api/v1/conversations/{conversation_id}/messages",
        "/api/v1/users",
        "/api/v1/servers",
        "/api/v1/tokens",
        "/api/v1/tokens/{token_id}",
        "/healthz",
        "/readyz",
    } <= set(document["paths"])
    for path, methods in document["paths"].items():
        for method, operation in methods.items():
            assert operation["summary"], f"{method} {path} says nothing"

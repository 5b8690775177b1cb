"""Handovers over HTTP."""

from __future__ import annotations

from collections.abc import AsyncIterator
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest

from bots.web.handovers import HandoverInfo, HandoverList
from core.tenants import Role
from tests.bots.web.test_audit import Server, served


@pytest.fixture
async def server(tmp_path: Path) -> AsyncIterator[Server]:
    """A server."""
    async with served(tmp_path) as made:
        yield made


async def test_a_handover_is_written_read_and_accepted(server: Server) -> None:
    """By whom it is for, again without harm; nobody else sees it."""
    bob = await server.person("bob", Role.OPERATOR)
    eve = await server.person("eve", Role.OPERATOR)
    since = (datetime.now(UTC) - timedelta(hours=2)).isoformat()
    body = {"since": since, "to": "bob@example.org"}
    status, _, text = await server.call("POST", "handovers", body=body)
    assert status == 201
    made = HandoverInfo.model_validate_json(text)
    assert (made.to_user, made.accepted_at) == (bob.id, None)
    assert made.body.startswith("**Handover**")
    one = f"handovers/{made.id}"
    assert (await server.call("GET", one, bob))[2] == text
    assert (await server.call("POST", f"{one}/accept"))[0] == 403
    accepted = await server.call("POST", f"{one}/accept", bob)
    assert accepted[0] == 200
    assert await server.call("POST", f"{one}/accept", bob) == accepted
    assert HandoverInfo.model_validate_json(accepted[2]).accepted_at is not None
    for path in (("GET", one), ("POST", f"{one}/accept")):
        assert (await server.call(*path, eve))[0] == 404
    listed = HandoverList.model_validate_json((await server.call("GET", "handovers", bob))[2])
    assert [found.id for found in listed.handovers] == [made.id]
    assert (await server.call("GET", "handovers", eve))[2] == '{"handovers":[]}'


async def test_what_is_refused(server: Server) -> None:
    """Times out of range, both a time and a conversation, others' conversations, null."""
    old = (datetime.now(UTC) - timedelta(days=40)).isoformat()
    for body, expected in (
        ({"since": old}, 422),
        ({"since": "2999-01-01T00:00:00Z"}, 422),
        ({"since": "2026-11-22T10:00:00"}, 422),
        ({"since": None}, 422),
        ({"since": 1_700_000_000}, 422),
        ({"to": "nobody@example.org"}, 422),
        ({"to": "a@example.org"}, 403),
        ({"conversation_id": "conv_none"}, 404),
        ({"conversation_id": "conv_none", "since": old}, 422),
        ({"colour": "red"}, 422),
    ):
        assert (await server.call("POST", "handovers", body=body))[0] == expected, body
    assert (await server.call("POST", "handovers", body={}))[0] == 201

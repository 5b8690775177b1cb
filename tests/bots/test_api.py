"""The HTTP API as its users meet it, at its best and with everything wrong."""

from __future__ import annotations

import asyncio
import io
import json
from collections.abc import AsyncIterator
from contextlib import aclosing
from pathlib import Path

import jwt
import pytest
from PIL import Image

from tests.bots.api_kit import Api, attached, open_api
from tests.fakes.anthropic import FakeAnthropic


@pytest.fixture
async def fake() -> AsyncIterator[FakeAnthropic]:
    """The provider."""
    async with FakeAnthropic() as server:
        yield server


@pytest.fixture
async def api(data_dir: Path, fake: FakeAnthropic) -> AsyncIterator[Api]:
    """The product with Claude configured."""
    environ = {
        "ANTHROPIC_API_KEY": "sk-ant-test",
        "ANTHROPIC_BASE_URL": fake.url,
        "IT0_MODEL_TIMEOUT_S": "1",
    }
    async with open_api(data_dir, environ) as api:
        yield api


def png() -> bytes:
    """A small real image."""
    buffer = io.BytesIO()
    Image.new("RGB", (8, 8), "red").save(buffer, "PNG")
    return buffer.getvalue()


# -- a message and its answer ---------------------------------------------------------------


async def test_a_message_streams_its_events_in_order(api: Api) -> None:
    """``turn`` comes first, the deltas make up the reply, ``completed`` comes last."""
    events = [event async for event in api.stream("[[text 30]]")]
    assert events[0].event == "turn"
    assert events[-1].event == "completed"
    text = "".join(json.loads(e.data)["text"] for e in events if e.event == "text_delta")
    final = json.loads(events[-1].data)
    assert final["reply"] == text
    assert final["outcome"] == "answered"
    assert final["usage"]["output_tokens"] > 0
    assert [event.id for event in events[:-1]] == [f"1-{n}" for n in range(1, len(events))]


async def test_w5_the_same_idempotency_key_answers_with_the_same_turn(
    api: Api, fake: FakeAnthropic
) -> None:
    """A repeated request runs nothing again, also when the two overlap."""

    async def turn_id() -> str:
        events = [event async for event in api.stream("hello", key="k1")]
        return str(json.loads(events[0].data)["turn_id"])

    ids = set(await asyncio.gather(*(turn_id() for _ in range(5)))) | {await turn_id()}
    assert len(ids) == 1
    assert fake.count == 1


async def test_w4_two_quick_messages_are_both_answered_in_order(api: Api) -> None:
    """The second message of a conversation waits for the first, and remembers it."""
    first = await api.ask("my server is called zeus-7")
    conversation = first["conversation_id"]
    slow = asyncio.create_task(api.ask("[[delay 300]] one", conversation_id=conversation))
    await asyncio.sleep(0.1)
    quick = asyncio.create_task(api.ask("two", conversation_id=conversation))
    assert (await slow)["outcome"] == (await quick)["outcome"] == "answered"
    _, listed = await api.call("GET", f"/api/v1/conversations/{conversation}/messages")
    asked = [m["text"] for m in listed["messages"] if m["role"] == "user"]
    assert asked == ["my server is called zeus-7", "[[delay 300]] one", "two"]


async def test_history_reaches_the_model(api: Api, fake: FakeAnthropic) -> None:
    """The second request of a conversation carries the first exchange."""
    first = await api.ask("my server is called zeus-7")
    await api.ask("what is it called?", conversation_id=first["conversation_id"])
    assert "zeus-7" in json.dumps(fake.seen[-1].body["messages"][0])


async def test_a_stream_resumes_at_every_position(api: Api) -> None:
    """After any event, the rest of the stream is the rest of the stream."""
    events = [event async for event in api.stream("[[tool system_load {}]] [[text 25]]")]
    turn_id = json.loads(events[0].data)["turn_id"]
    for index, event in enumerate(events[:-1]):
        rest = await api.resume(turn_id, event.id)
        assert [e.event for e in rest] == [e.event for e in events[index + 1 :]]
        assert [e.data for e in rest] == [e.data for e in events[index + 1 :]]


async def test_a_client_that_goes_away_loses_nothing(api: Api) -> None:
    """The turn goes on without its listener and can be read afterwards."""
    async with aclosing(api.stream("[[chunk 10]] [[text 40]]")) as events:
        async for event in events:
            turn_id = json.loads(event.data)["turn_id"]
            break
    events_later = await api.resume(turn_id)
    assert json.loads(events_later[-1].data)["outcome"] == "answered"


async def test_stop_is_answered_at_once_and_keeps_what_was_said(api: Api) -> None:
    """``/stop`` ends the running turn as cancelled, metered, with its partial text."""
    first = await api.ask("hi")
    conversation = first["conversation_id"]
    running = api.stream("[[chunk 20]] [[text 400]]", conversation_id=conversation)
    seen = ""
    async with aclosing(running):
        async for event in running:
            if event.event == "text_delta":
                seen += json.loads(event.data)["text"]
                if len(seen) < 200:
                    stopped = await api.ask("/stop", conversation_id=conversation)
                    assert stopped["reply"] == "Stopped."
                    break
        final = [event async for event in running][-1]
    data = json.loads(final.data)
    assert data["outcome"] == "cancelled"
    assert data["reply"].startswith(seen)
    assert data["notice"] == "Stopped."
    assert data["usage"]["input_tokens"] > 0


async def test_an_image_and_a_log_reach_the_model(api: Api, fake: FakeAnthropic) -> None:
    """Images become image blocks; text files are inlined with their name."""
    files = [attached("screen.png", png()), attached("app.log", b"disk full at 03:12")]
    assert (await api.ask("what is this?", attachments=files))["outcome"] == "answered"
    content = fake.seen[-1].body["messages"][-1]["content"]
    assert [block["type"] for block in content].count("image") == 1
    assert "app.log" in json.dumps(content)
    assert "disk full at 03:12" in json.dumps(content)


async def test_new_moves_on_and_resume_comes_back(api: Api) -> None:
    """``/new`` names a fresh conversation; ``/resume`` names the old one again."""
    old = (await api.ask("remember the alamo server"))["conversation_id"]
    new = (await api.ask("/new", conversation_id=old))["conversation_id"]
    assert new != old
    await api.ask("something else", conversation_id=new)
    back = await api.ask(f"/resume {old[-8:]}", conversation_id=new)
    assert back["conversation_id"] == old


# -- everything wrong -----------------------------------------------------------------------


@pytest.mark.parametrize(
    ("body", "status", "code"),
    [
        (b'{"text": ""}', 422, "empty_message"),
        (b'{"text": " \\u0000\\u0007\\n "}', 422, "empty_message"),
        (b"{}", 422, "empty_message"),
        (b"", 422, "bad_request"),
        (b"not json", 422, "bad_request"),
        (b'{"text": "\xff\xfe"}', 422, "bad_request"),
        (b'{"text": 7}', 422, "bad_request"),
        (b'{"text": "x", "colour": "red"}', 422, "bad_request"),
        (b'{"text": "x", "overlap": "later"}', 422, "bad_request"),
        (b'{"text": "x", "conversation_id": "conv_of_nobody"}', 404, "not_found"),
        (b'["text"]', 422, "bad_request"),
        (json.dumps({"text": "x" * 1_048_576}).encode(), 413, "message_too_long"),
        (b'{"text": "' + b"x" * 16_000_000 + b'"}', 413, "content_too_large"),
        (
            json.dumps({"text": "x", "attachments": [{"name": "a", "data": "%%%"}]}).encode(),
            422,
            "bad_attachment",
        ),
        (
            json.dumps({"text": "x", "attachments": [attached("a.txt", b"a")] * 6}).encode(),
            422,
            "too_many_attachments",
        ),
        (
            json.dumps({"attachments": [attached("a.log", b"a" * 10_500_000)]}).encode(),
            413,
            "attachments_too_large",
        ),
        (
            json.dumps({"attachments": [attached("a.png", png()[:40])]}).encode(),
            422,
            "bad_attachment",
        ),
        (
            json.dumps({"attachments": [attached("a.png", b"MZ\x90\x00" * 20)]}).encode(),
            422,
            "bad_attachment",
        ),
        (json.dumps({"attachments": [attached("a.txt", b"")]}).encode(), 422, "bad_attachment"),
    ],
    ids=lambda value: str(value)[:40] if isinstance(value, str | int) else None,
)
async def test_bad_input_gets_one_sentence_and_a_stable_code(
    api: Api, fake: FakeAnthropic, body: bytes, status: int, code: str
) -> None:
    """Whatever is sent, the answer is a problem document; nothing reaches the model."""
    got, problem = await api.raw(body)
    assert (got, problem["code"]) == (status, code)
    assert problem["status"] == status
    assert problem["detail"].endswith((".", ")", "."))
    assert "Traceback" not in problem["detail"]
    assert fake.count == 0


async def test_a_wrong_content_type_is_415(api: Api) -> None:
    """The API takes JSON alone."""
    status, problem = await api.raw(b"text=hello", "application/x-www-form-urlencoded")
    assert (status, problem["code"]) == (415, "unsupported_media_type")


async def test_control_characters_are_cleaned(api: Api, fake: FakeAnthropic) -> None:
    """NUL, escapes and C1 controls are neither stored nor sent; line feeds and tabs are."""
    status, _ = await api.raw(b'{"text": "a\\u0000b\\u001b[31mc\\u0085d\\te\\r\\nf"}')
    assert status == 200
    assert "ab[31mcd\\te\\nf" in json.dumps(fake.seen[-1].body["messages"][-1])


async def test_half_a_surrogate_pair_is_refused(api: Api) -> None:
    """JSON that spells no text gets a sentence."""
    status, problem = await api.raw(b'{"text": "a\\ud800"}')
    assert (status, problem["code"]) == (422, "bad_request")


async def test_an_unknown_engine_is_refused_by_name(api: Api) -> None:
    """The answer says which engines there are."""
    final = await api.ask("hello", engine="gpt")
    assert final["outcome"] == "refused"
    assert "runbook" in final["reply"]


@pytest.mark.parametrize(
    ("fault", "phrase"),
    [
        ("[[status 401]]", "ANTHROPIC_API_KEY"),
        ("[[status 429 retry-after=120]]", "again"),
        ("[[stall 1]]", "."),
        ("[[drop 3]]", "."),
        ("[[status 529]]", "."),
    ],
)
async def test_w20_a_failing_provider_gives_an_honest_sentence(
    api: Api, fault: str, phrase: str
) -> None:
    """An engine that was named answers alone: it failed, says what to do, in our own words."""
    final = await api.ask(fault, engine="claude_api")
    assert final["outcome"] == "failed"
    assert phrase in final["notice"]
    assert "127.0.0.1" not in final["notice"]
    again = await api.ask("and now?", conversation_id=final["conversation_id"])
    assert again["outcome"] == "answered"


@pytest.mark.parametrize("fault", ["[[status 401]]", "[[status 529]]", "[[stall 1]]"])
async def test_w20_in_an_outage_the_offline_engine_answers_and_says_why(
    api: Api, fault: str
) -> None:
    """Nobody named an engine: the next one answers, named, with the reason under its answer."""
    final = await api.ask(f"disk {fault}")
    assert (final["outcome"], final["engine"]) == ("answered", "runbook")
    assert final["notice"].endswith("; the offline engine (runbook) answers.")
    assert "127.0.0.1" not in final["notice"]


# -- who may do what ------------------------------------------------------------------------


@pytest.mark.parametrize("header", ["", "Bearer", "Bearer nonsense", "Basic abc"])
async def test_without_a_valid_token_nothing_is_told(api: Api, header: str) -> None:
    """401 with a hint, whatever the address."""
    for method, path in (
        ("POST", "/api/v1/agent/turns"),
        ("GET", "/api/v1/conversations"),
        ("GET", "/api/v1/users"),
        ("POST", "/api/v1/tokens"),
    ):
        async with api.session.request(
            method, f"{api.url}{path}", headers={"Authorization": header}
        ) as response:
            assert response.status == 401
            assert (await response.json())["code"] == "unauthorized"


async def test_forged_expired_and_revoked_tokens_are_refused(api: Api) -> None:
    """A token needs our key, a live row and time left."""
    claims = jwt.decode(api.token, options={"verify_signature": False})
    key = api.core.storage.keys.derive("tokens")
    forged = [
        jwt.encode(claims, b"x" * 32, "HS256"),
        jwt.encode(claims | {"exp": 1}, key, "HS256"),
        jwt.encode(claims | {"jti": "tok_other"}, key, "HS256"),
        jwt.encode(claims, "", "none"),
        jwt.encode({"aud": "it0-operator", "exp": claims["exp"]}, b"y" * 32, "HS256"),
    ]
    good = api.token
    for token in forged:
        api.token = token
        assert (await api.call("GET", "/api/v1/conversations"))[0] == 401
    api.token = good
    assert (await api.call("DELETE", f"/api/v1/tokens/{claims['jti']}"))[0] == 204
    assert (await api.call("GET", "/api/v1/conversations"))[0] == 401


async def test_roles_are_read_at_each_request(api: Api) -> None:
    """A viewer cannot manage people, and cannot see another's conversation or stream."""
    status, viewer = await api.call(
        "POST", "/api/v1/users", {"email": "v@example.com", "role": "viewer"}
    )
    assert status == 201
    _, made = await api.call("POST", "/api/v1/tokens", {"email": viewer["email"]})
    mine = [event async for event in api.stream("secret of the admin")]
    turn = json.loads(mine[0].data)
    api.token = made["token"]
    assert (await api.call("GET", "/api/v1/users"))[0] == 403
    assert (await api.call("POST", "/api/v1/tokens", {"email": "admin@localhost"}))[0] == 403
    conversation = turn["conversation_id"]
    for method, path in (
        ("GET", f"/api/v1/conversations/{conversation}/messages"),
        ("DELETE", f"/api/v1/conversations/{conversation}"),
        ("GET", f"/api/v1/agent/turns/{turn['turn_id']}/events"),
    ):
        assert (await api.call(method, path))[0] == 404
    body = {"text": "x", "conversation_id": conversation}
    assert (await api.call("POST", "/api/v1/agent/turns", body))[0] == 404
    assert (await api.call("GET", "/api/v1/conversations"))[1] == {
        "conversations": [],
        "next": None,
    }


async def test_deleting_a_conversation_erases_it(api: Api) -> None:
    """After DELETE nothing of it is listed or served."""
    final = await api.ask("delete me please")
    conversation = final["conversation_id"]
    assert (await api.call("DELETE", f"/api/v1/conversations/{conversation}"))[0] == 204
    assert (await api.call("GET", f"/api/v1/conversations/{conversation}/messages"))[0] == 404
    assert (await api.call("GET", "/api/v1/conversations"))[1] == {
        "conversations": [],
        "next": None,
    }


async def test_a_redelivery_after_deletion_is_still_a_duplicate(
    api: Api, fake: FakeAnthropic
) -> None:
    """The event id of an erased message is remembered: nothing runs again."""
    events = [event async for event in api.stream("forget this", key="k9")]
    turn = json.loads(events[0].data)
    await api.call("DELETE", f"/api/v1/conversations/{turn['conversation_id']}")
    again = [event async for event in api.stream("forget this", key="k9")]
    assert again[-1].event == "completed"
    assert "forget" not in again[-1].data
    assert fake.count == 1


async def test_health_ready_and_metrics_need_no_token(api: Api) -> None:
    """Probes and scrapes carry no credentials, and no text."""
    await api.ask("a canary in the metrics")
    for path in ("/healthz", "/readyz"):
        async with api.session.get(f"{api.url}{path}") as response:
            assert response.status == 200
    async with api.session.get(f"{api.url}/metrics") as response:
        text = await response.text()
    assert "it0_overdue_turns 0.0" in text
    assert 'it0_turns_total{outcome="answered"}' in text
    assert "canary" not in text


async def test_unknown_addresses_and_methods_are_problems(api: Api) -> None:
    """404 and 405 are problem documents; 405 names what is allowed."""
    assert (await api.call("GET", "/api/v1/nothing"))[1]["code"] == "not_found"
    async with api.session.put(f"{api.url}/api/v1/users", headers=api.auth()) as response:
        assert response.status == 405
        assert "POST" in response.headers["Allow"]

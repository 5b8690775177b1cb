"""The gateway's doors: who gets in, what is passed on, and what is kept apart."""

from __future__ import annotations

import asyncio
import json
from pathlib import Path

import aiohttp
import pytest
from aiohttp import web

from core.engines.gateway import CallFailed, Gateway
from core.errors import EngineFailure
from tests.core.engines.gateway_kit import (
    KEY,
    MODEL,
    body_of,
    child_of,
    child_to,
    config_of,
    gateway_to,
    provider,
)
from tests.core.engines.test_claude_wire import write_authority
from tests.fakes.anthropic import FakeAnthropic


async def test_the_provider_gets_the_key_and_the_child_only_its_secret() -> None:
    """The installation's key is put in upstream; the child's secret goes no further."""
    async with FakeAnthropic() as fake, child_to(fake.url) as child:
        answer = await child.ask("hello")
        (seen,) = fake.seen
    assert answer.ended
    assert seen.headers["x-api-key"] == KEY
    assert "Authorization" not in seen.headers
    assert child.route.secret not in str(seen.headers)
    assert KEY not in str(answer)
    assert KEY not in repr(child.told)


async def test_connections_to_the_provider_are_used_again() -> None:
    """One handshake serves many calls, of all children."""
    async with FakeAnthropic() as fake, child_to(fake.url) as child:
        for _ in range(3):
            assert (await child.ask("[[text 5]] [[chunk 1]]")).ended
        assert len({seen.peer for seen in fake.seen}) == 1


async def test_a_tenants_own_key_goes_before_the_installations() -> None:
    """A turn on the tenant's account is paid by the tenant."""
    async with FakeAnthropic() as fake, gateway_to(fake.url) as gateway, child_of(gateway) as child:
        child.begin(api_key="sk-of-the-tenant")
        await child.ask("hello")
        (seen,) = fake.seen
    assert seen.headers["x-api-key"] == "sk-of-the-tenant"


async def test_without_any_key_the_turn_is_over_and_nothing_is_reserved() -> None:
    """No key: the engine is told, the child gets the error of a bad key, nobody is asked."""
    async with FakeAnthropic() as fake, child_to(fake.url, api_key=None) as child:
        answer = await child.ask("hello")
        assert fake.count == 0
    assert answer.status == 401
    assert child.faults == [("bad_key", True)]
    assert not child.meter.reserved


async def test_only_the_apis_own_headers_are_passed_on() -> None:
    """Version, beta, content type and accept go through, with the query; nothing else."""
    async with FakeAnthropic() as fake, child_to(fake.url) as child:
        await child.ask("hello")
        (seen,) = fake.seen
    assert seen.headers["anthropic-version"] == "2023-06-01"
    assert seen.headers["anthropic-beta"] == "effort-2025-11-24"
    assert "x-app" not in seen.headers
    assert seen.query == {"beta": "true"}


@pytest.mark.parametrize("secret", ["", "sk-ant-it0-", "sk-ant-it0-0000000000000000-x", "\u00e4"])
async def test_a_wrong_secret_gets_nothing(secret: str) -> None:
    """Whoever else finds the port may not use it."""
    async with FakeAnthropic() as fake, child_to(fake.url) as child:
        answer = await child.ask("hello", secret=secret)
        assert fake.count == 0
    assert answer.status == 401
    assert answer.headers["x-should-retry"] == "false"


async def test_the_secrets_beginning_is_not_enough() -> None:
    """The public part of a secret names the route; the rest is compared as well."""
    async with FakeAnthropic() as fake, child_to(fake.url) as child:
        answer = await child.ask("hello", secret=child.route.secret[:-1])
        assert answer.status == 401
    assert child.route.secret not in repr(child.route)


async def test_the_secret_also_works_as_a_bearer_token() -> None:
    """Some clients send ``Authorization: Bearer``."""
    async with FakeAnthropic() as fake, child_to(fake.url) as child:
        headers = {
            "authorization": f"Bearer {child.route.secret}",
            "anthropic-version": "2023-06-01",
        }
        url = f"{child.route.url}/v1/messages"
        async with child.http.post(url, data=body_of("hello"), headers=headers) as answer:
            assert answer.status == 200


async def test_without_a_turn_nothing_is_passed_on() -> None:
    """Before its turn, after it, and with a secret that is void, a child gets nothing."""
    async with FakeAnthropic() as fake, gateway_to(fake.url) as gateway, child_of(gateway) as child:
        assert (await child.ask("early")).status == 403
        child.begin()
        assert (await child.ask("in time")).status == 200
        await child.route.end()
        late = await child.ask("late")
        child.route.close()
        assert (await child.ask("closed")).status == 401
        assert fake.count == 1
    assert late.status == 403
    assert late.headers["x-should-retry"] == "false"


async def test_another_model_is_refused() -> None:
    """A child cannot spend on a model that its turn was not given, nor on other terms."""
    async with FakeAnthropic() as fake, child_to(fake.url) as child:
        answer = await child.ask("hello", model="claude-opus-5-5")
        fast = await child.ask("hello", speed="fast")
        assert fake.count == 0
    assert answer.status == fast.status == 400
    assert MODEL in json.loads(answer.raw)["error"]["message"]
    assert not child.meter.reserved


async def test_output_is_kept_within_the_turn_and_the_grant() -> None:
    """``max_tokens`` is the least of what the child, the turn and the meter allow."""
    async with FakeAnthropic() as fake, gateway_to(fake.url) as gateway, child_of(gateway) as child:
        child.begin(max_output_tokens=400)
        child.meter._max_output = 300
        await child.ask("hello", max_tokens=128_000)
        await child.ask("hello", max_tokens=200)
        asked = [seen.body["max_tokens"] for seen in fake.seen]
    assert asked == [300, 200]


async def test_other_paths_do_not_exist_and_the_greeting_is_local() -> None:
    """The CLI's greeting is answered here; no other path of the provider is within reach."""
    async with FakeAnthropic() as fake, child_to(fake.url) as child:
        headers = {"x-api-key": child.route.secret}
        url = child.route.url
        async with child.http.head(f"{url}/api/hello") as answer:
            assert answer.status == 200
        for path in ("/v1/models", "/v1/messages/batches", "/v1/files", "/"):
            async with child.http.post(url + path, data=b"{}", headers=headers) as answer:
                assert answer.status == 404
        assert fake.count == 0


async def test_counting_tokens_is_passed_on_and_not_metered() -> None:
    """``count_tokens`` costs nothing; its model is checked all the same."""

    async def count(request: web.Request) -> web.Response:
        assert request.path == "/prefix/v1/messages/count_tokens"
        assert request.headers["x-api-key"] == KEY
        return web.json_response({"input_tokens": 42})

    path = "/v1/messages/count_tokens"
    async with provider(count) as url, child_to(f"{url}/prefix/") as child:
        answer = await child.ask("hello", path=path)
        wrong = await child.ask("hello", path=path, model="claude-opus-5-5")
    assert json.loads(answer.raw) == {"input_tokens": 42}
    assert wrong.status == 400
    assert not child.meter.reserved


async def test_counting_tokens_that_fails_tells_the_child_neutrally() -> None:
    """A failed count ends nothing, and the provider's own text stays here."""

    async def refuse(_request: web.Request) -> web.Response:
        return web.json_response({"error": {"type": "x", "message": "secret-host"}}, status=500)

    async with provider(refuse) as url, child_to(url) as child:
        answer = await child.ask("hello", path="/v1/messages/count_tokens")
    assert answer.status == 500
    assert b"secret-host" not in answer.raw
    assert child.told == []


async def test_two_children_do_not_mix() -> None:
    """Each call is admitted by, and told to, the turn of the child that made it."""
    async with (
        FakeAnthropic() as fake,
        gateway_to(fake.url) as gateway,
        child_of(gateway) as one,
        child_of(gateway) as two,
    ):
        one.begin()
        two.begin()
        answers = await asyncio.gather(
            one.ask("[[text 20]] [[chunk 2]] [[word one]]"),
            two.ask("[[text 30]] [[chunk 2]] [[word two]]"),
        )
        await one.route.end()
        assert (await two.ask("still there")).ended
    assert b"two" not in answers[0].raw
    assert b"one" not in answers[1].raw
    assert one.meter.seen["call-1"].output_tokens == 23
    assert two.meter.seen["call-1"].output_tokens == 33
    assert len(one.told) == 2
    assert len(two.told) == 4
    assert one.route.secret != two.route.secret


async def test_a_route_serves_one_turn_at_a_time() -> None:
    """Beginning a turn before the last one ended is a mistake of the engine."""
    async with FakeAnthropic() as fake, child_to(fake.url) as child:
        with pytest.raises(RuntimeError, match="not ended"):
            child.begin()


async def test_starting_twice_and_at_once_makes_one_server() -> None:
    """Engines start the gateway when they need it, without asking each other."""
    async with FakeAnthropic() as fake:
        gateway = Gateway(config_of(fake.url))
        with pytest.raises(RuntimeError, match="not started"):
            gateway.open()
        await asyncio.gather(gateway.start(), gateway.start())
        await gateway.start()
        assert gateway.open().url == gateway.open().url
        await gateway.aclose()
        await gateway.aclose()


async def test_closing_ends_what_is_in_flight() -> None:
    """A shutdown does not wait for answers; what was seen of them is metered."""
    async with FakeAnthropic() as fake, gateway_to(fake.url) as gateway, child_of(gateway) as child:
        child.begin()
        async with child.post("[[text 500]] [[chunk 10]]") as answer:
            await answer.content.readany()
            await gateway.aclose()
            with pytest.raises(aiohttp.ClientPayloadError):
                await answer.read()
        assert child.meter.seen["call-1"].input_tokens > 0
        with pytest.raises(aiohttp.ClientConnectorError):
            await child.ask("hello")


async def test_a_bad_ca_file_is_explained_at_the_start(tmp_path: Path) -> None:
    """An unusable IT0_ANTHROPIC_CA_FILE stops the gateway with a sentence for the operator."""
    gateway = Gateway(config_of("https://127.0.0.1:9", ca_file=tmp_path / "none.pem"))
    with pytest.raises(EngineFailure) as failure:
        await gateway.start()
    await gateway.aclose()
    assert failure.value.reason == "bad_ca_file"


async def test_a_provider_with_an_unknown_certificate_gets_nothing(tmp_path: Path) -> None:
    """Verification is never off; with the authority's file the same provider answers."""
    ca_file, tls = write_authority(tmp_path)
    async with FakeAnthropic(tls=tls) as fake:
        async with child_to(fake.url) as child:
            assert (await child.ask("hello")).status == 500
            assert child.faults == [("untrusted_certificate", True)]
            assert fake.count == 0
        async with child_to(fake.url, ca_file=ca_file) as child:
            assert (await child.ask("hello")).ended


async def test_the_proxy_of_the_environment_is_used(monkeypatch: pytest.MonkeyPatch) -> None:
    """As the other engines do: the standard variables name the way out, and exceptions."""

    async def proxy(request: web.Request) -> web.Response:
        asked.append(str(request.url))
        return web.json_response({"input_tokens": 1})

    asked: list[str] = []
    for name in ("NO_PROXY", "no_proxy", "http_proxy", "all_proxy"):
        monkeypatch.delenv(name, raising=False)
    async with provider(proxy) as url:
        monkeypatch.setenv("HTTP_PROXY", url)
        async with child_to("http://provider.invalid") as child:
            answer = await child.ask("hello", path="/v1/messages/count_tokens")
            assert answer.status == 200
        monkeypatch.setenv("NO_PROXY", "127.0.0.1")
        async with FakeAnthropic() as fake, child_to(fake.url) as child:
            assert (await child.ask("direct")).ended
    assert asked == ["http://provider.invalid/v1/messages/count_tokens"]
    assert not any(isinstance(event, CallFailed) for event in child.told)

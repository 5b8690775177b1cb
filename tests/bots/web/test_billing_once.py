"""``Idempotency-Key``: one request, one effect, one answer."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from dataclasses import replace

import pytest

from billing.invoices import LineKind
from core.errors import StorageFailure
from core.idempotency import KEPT_MS, TAKEN_OVER_MS
from core.refusals import Rejected
from tests.bots.web.billing_kit import Counter, open_counter
from tests.support.core_kit import eventually
from tests.support.invoices import line

PAY = "invoices/inv_1/pay"


@pytest.fixture
async def counter() -> AsyncIterator[Counter]:
    """Billing, served, with an invoice to pay."""
    async with open_counter() as counter:
        counter.desk.bill([line(LineKind.BASE, "pro-1", 1, 4999, 4999)])
        yield counter


async def test_the_same_request_is_answered_as_before(counter: Counter) -> None:
    """Byte for byte, and done once; without a key each one is done."""
    first = await counter.call("POST", PAY, {}, key="k")
    status, again, headers = await counter.full("POST", PAY, {}, key="k")
    assert (status, again) == first
    assert headers["Idempotent-Replayed"] == "true"
    assert len(counter.desk.attempts) == 1
    await counter.call("POST", PAY, {})
    assert len(counter.desk.attempts) == 2


async def test_a_refusal_is_an_answer_too(counter: Counter) -> None:
    """It is told again as the problem document that it was."""
    counter.desk.fails = Rejected(code="already_paid", sentence="It is paid.")
    first = await counter.full("POST", PAY, {}, key="k")
    again = await counter.full("POST", PAY, {}, key="k")
    assert (first[0], first[1]["code"]) == (409, "already_paid")
    assert again[:2] == first[:2]
    assert again[2]["Content-Type"] == first[2]["Content-Type"]


@pytest.mark.parametrize(
    ("path", "body"), [(PAY, {"method": "manual"}), ("subscription/cancel", {})]
)
async def test_a_key_stands_for_one_request(counter: Counter, path: str, body: object) -> None:
    """Another body or another address under it is 422, and is not done."""
    await counter.call("POST", PAY, {}, key="k")
    status, problem = await counter.call("POST", path, body, key="k")
    assert (status, problem["code"]) == (422, "idempotency_key_reused")
    assert len(counter.desk.attempts) == 1
    assert counter.desk.cancelled is False


async def test_a_request_in_flight_is_waited_for(counter: Counter) -> None:
    """The second one gets 409 with Retry-After, and afterwards the answer of the first."""
    counter.desk.hold = asyncio.Event()
    first = asyncio.create_task(counter.call("POST", PAY, {}, key="k"))
    await eventually(lambda: len(counter.keys.rows) == 1)
    status, problem, headers = await counter.full("POST", PAY, {}, key="k")
    assert (status, problem["code"], headers["Retry-After"]) == (409, "request_in_flight", "2")
    counter.desk.hold.set()
    answer = await first
    assert answer[0] == 200
    assert await counter.call("POST", PAY, {}, key="k") == answer
    assert len(counter.desk.attempts) == 1


async def test_a_process_that_died_blocks_nobody_for_long(counter: Counter) -> None:
    """After a minute the request is carried out again; the late first one keeps no answer."""
    counter.desk.hold = asyncio.Event()
    late = asyncio.create_task(counter.call("POST", PAY, {}, key="k"))
    await eventually(lambda: len(counter.keys.rows) == 1)
    counter.desk.clock.at_ms += TAKEN_OVER_MS
    taken = asyncio.create_task(counter.call("POST", PAY, {}, key="k"))
    claimed_at = counter.desk.clock.at_ms
    await eventually(lambda: [c.at_ms for c, _ in counter.keys.rows.values()] == [claimed_at])
    counter.desk.hold.set()
    await asyncio.gather(late, taken)
    assert await counter.call("POST", PAY, {}, key="k") == await taken


@pytest.mark.parametrize(
    "failure",
    [
        Rejected(code="provider_unreachable", sentence="Later."),
        StorageFailure("Later."),
        ValueError("a bug"),
    ],
)
async def test_our_own_failures_are_not_kept(
    counter: Counter, failure: Exception | Rejected
) -> None:
    """After a 5xx the same key is tried again and succeeds."""
    counter.desk.fails = failure
    assert (await counter.call("POST", PAY, {}, key="k"))[0] in {500, 503}
    assert (await counter.call("POST", PAY, {}, key="k"))[0] == 200


async def test_keys_are_a_persons_own_and_last_a_day(counter: Counter) -> None:
    """Another person's key is another key; after 24 hours it is a new one."""
    await counter.call("POST", PAY, {}, key="k")
    counter.people["other"] = replace(counter.people["admin"], id="u_other")
    counter.auth.store.users.append(counter.people["other"])  # type: ignore[attr-defined]
    await counter.call("POST", PAY, {}, key="k", who="other")
    assert len(counter.desk.attempts) == 2
    counter.desk.clock.at_ms += KEPT_MS - 1
    await counter.call("POST", PAY, {}, key="k")
    assert len(counter.desk.attempts) == 2
    counter.desk.clock.at_ms += 1
    await counter.call("POST", PAY, {}, key="k")
    assert len(counter.desk.attempts) == 3


@pytest.mark.parametrize(
    ("key", "code"),
    [("k" * 201, "idempotency_key_too_long"), ("", "idempotency_key_empty")],
)
async def test_a_key_that_is_none_is_refused(counter: Counter, key: str, code: str) -> None:
    """One that could not be kept whole, or would be every request's."""
    status, problem, _ = await counter.full("POST", PAY, {}, **{"Idempotency-Key": key})
    assert (status, problem["code"]) == (422, code)
    assert counter.desk.attempts == []

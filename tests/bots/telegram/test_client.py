"""The connection: what each kind of trouble becomes, and that none of it tells the token."""

from __future__ import annotations

import socket

import pytest
from telegram.error import BadRequest, Forbidden, InvalidToken, NetworkError, TelegramError

from bots.telegram.account import Account
from bots.telegram.client import FloodWait, NotConnected, UnknownMethod, open_client
from bots.telegram.errors import TOKEN_REFUSED_S, failure
from tests.fakes.telegram import TelegramFake


@pytest.mark.parametrize(
    ("error", "retry_after_s", "permanent"),
    [
        (FloodWait(7), 7, False),
        (Forbidden("Forbidden: bot was blocked by the user"), None, True),
        (BadRequest("Bad Request: chat not found"), None, True),
        (InvalidToken(), TOKEN_REFUSED_S, False),
        (UnknownMethod("Not Found"), TOKEN_REFUSED_S, False),
        (NotConnected("no"), 2.0, False),
        (NetworkError("broke"), None, False),
        (TelegramError("Invalid server response"), None, False),
    ],
)
def test_what_a_refusal_means(
    error: TelegramError, retry_after_s: float | None, permanent: bool
) -> None:
    """Whether trying again can help, when, and whether it may have taken effect."""
    meant = failure(error)
    assert (meant.retry_after_s, meant.permanent) == (retry_after_s, permanent)


async def test_a_server_that_is_not_there() -> None:
    """No connection means no effect; the error does not repeat the address."""
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        url = f"http://127.0.0.1:{free.getsockname()[1]}"
    async with open_client("123:SECRET", url, None) as client:
        with pytest.raises(NotConnected) as lost:
            await client.bot.get_me()
    assert "SECRET" not in str(lost.value)


async def test_an_outage_and_a_wrong_token_are_told_apart() -> None:
    """A page of the proxy in front is an outage, whatever it says."""
    async with TelegramFake() as fake, open_client(fake.token, fake.url, None) as client:
        fake.weather.down = True
        with pytest.raises(NetworkError) as lost:
            await client.bot.get_me()
        assert fake.token not in str(lost.value)
        fake.weather.down = False
        fake.token = "123456:OTHER"
        with pytest.raises(InvalidToken):
            await client.bot.get_me()


async def test_the_account_is_asked_once() -> None:
    """Its id and name do not change."""
    async with TelegramFake() as fake, open_client(fake.token, fake.url, None) as client:
        account = Account(client)
        assert [(await account.me()).username for _ in range(3)] == ["it0_bot"] * 3
        assert len(fake.calls_of("getMe")) == 1
        assert client.bot_id == str(fake.bot.id)

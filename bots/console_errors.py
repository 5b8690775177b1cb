"""What a client of the API can meet, as sentences for the person at the terminal."""

from __future__ import annotations

import aiohttp

_DATED_S = 3600
"""A wait of so long is told by the sentence itself, as a date."""


class ConsoleError(Exception):
    """The tree of what a client can meet; ``sentence`` is shown to the person as it is.

    ::

        ConsoleError
        +-- Unreachable   no server, or it went away and did not come back
        +-- Refused       the server answered with a problem document
    """

    def __init__(self, sentence: str) -> None:
        """Keep the sentence."""
        super().__init__(sentence)
        self.sentence = sentence


class Unreachable(ConsoleError):
    """There is no server at the address, or it did not come back."""


class Refused(ConsoleError):
    """The server refused; ``code`` is its stable name for the reason."""

    def __init__(
        self, sentence: str, *, status: int, code: str, retry_after_s: float | None
    ) -> None:
        """``status`` is the HTTP status; ``retry_after_s`` is what the server asks for."""
        super().__init__(sentence)
        self.status = status
        self.code = code
        self.retry_after_s = retry_after_s


async def raise_problem(response: aiohttp.ClientResponse) -> None:
    """Turn a problem document (RFC 9457) into Refused."""
    if response.status < 300:  # noqa: PLR2004  # a redirect is no answer either: it gets a token
        return
    try:
        body = await response.json(content_type=None)
    except (ValueError, aiohttp.ClientError):
        body = None
    problem = body if isinstance(body, dict) else {}
    detail = (
        problem.get("detail")
        or problem.get("title")
        or (f"The server answered with HTTP status {response.status}; is it an IT0 server?")
    )
    after = response.headers.get("Retry-After", "")
    raise Refused(
        _sentence(response.status, str(detail), after),
        status=response.status,
        code=str(problem.get("code") or f"http_{response.status}"),
        retry_after_s=float(after) if after.isdecimal() else None,
    )


def _sentence(status: int, detail: str, retry_after: str) -> str:
    detail = detail.strip()
    if detail and detail[-1] not in ".!?":
        detail += "."
    if status == 401:  # noqa: PLR2004  # unauthorised
        return f"The server does not accept the token. {detail}"
    if retry_after.isdecimal() and int(retry_after) < _DATED_S:
        return f"{detail} Try again in {retry_after} s."
    return detail

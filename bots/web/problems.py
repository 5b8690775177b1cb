"""Errors as RFC 9457 problem documents with a stable ``code``, in the reader's language."""

from __future__ import annotations

import json
from collections.abc import Awaitable, Callable
from http import HTTPStatus
from typing import Final

import structlog
from aiohttp import web
from pydantic import ValidationError

from bots.web.field_errors import sentence_of
from bots.web.languages import asked_language, language_for
from core.errors import BadAttachment, It0Error, NotFound, StorageFailure
from core.words import Sentence, Words, language_of, sentence

_log = structlog.get_logger()
Handler = Callable[[web.Request], Awaitable[web.StreamResponse]]
_TAGS: Final = {"en": "en", "zh": "zh-Hans"}
"""What ``Content-Language`` says of our languages (RFC 5646)."""
_VARY: Final = "Accept-Language, Authorization, Cookie"
"""The last two say who reads, and people choose a language."""
NOWHERE: Final = sentence("There is nothing at this address.")
CRASHED: Final = sentence("IT0 failed to handle this request. The log has the details; try again.")


class Problem(Exception):
    """Ends a request with a problem document."""

    def __init__(
        self, status: HTTPStatus, code: str, detail: str, *, retry_after_s: int | None = None
    ) -> None:
        """``detail`` is the sentence for the user."""
        super().__init__(detail)
        self.status = status
        self.code = code
        self.detail = detail
        self.retry_after_s = retry_after_s

    def response(self, language: str = "") -> web.Response:
        """The document, its sentence in the language of that tag if we have the words."""
        headers = {"Cache-Control": "no-store", "Vary": _VARY}
        detail = Words(language).of(self.detail)
        if isinstance(self.detail, Sentence):  # of other texts nobody knows the language
            spoken = "en" if detail == self.detail else language_of(language)
            headers["Content-Language"] = _TAGS[spoken]
        if self.retry_after_s is not None:
            headers["Retry-After"] = str(self.retry_after_s)
        if self.status is HTTPStatus.UNAUTHORIZED:
            headers["WWW-Authenticate"] = "Bearer"
        document = {
            "type": f"urn:it0:problem:{self.code}",
            "title": self.status.phrase,
            "status": int(self.status),
            "code": self.code,
            "detail": detail,
        }
        return web.Response(
            status=self.status,
            text=json.dumps(document, ensure_ascii=False),
            content_type="application/problem+json",
            headers=headers,
        )


@web.middleware
async def problems(request: web.Request, handler: Handler) -> web.StreamResponse:
    """Turn every error of a handler into a problem document."""
    if "\0" in request.path:  # no name has one, and PostgreSQL takes none
        return _of_http(web.HTTPNotFound()).response(asked_language(request))
    try:
        return await handler(request)
    except Problem as problem:
        return await told(request, problem)
    except ValidationError as error:
        status = HTTPStatus.UNPROCESSABLE_ENTITY
        return await told(request, Problem(status, "bad_request", sentence_of(error)))
    except StorageFailure as failure:  # that database is not asked who speaks what
        return _of(failure).response(asked_language(request))
    except It0Error as error:
        return await told(request, _of(error))
    except web.HTTPException as error:
        response = await told(request, _of_http(error))
        if "Allow" in error.headers:
            response.headers["Allow"] = error.headers["Allow"]
        return response
    except ConnectionResetError:
        raise  # the client has gone: nobody reads an answer
    except Exception:  # noqa: BLE001  # the process boundary of a request
        _log.exception("request.crashed", path=request.match_info.route.name)
        crashed = Problem(HTTPStatus.INTERNAL_SERVER_ERROR, "internal", CRASHED)
        return crashed.response(asked_language(request))


async def told(request: web.Request, problem: Problem) -> web.Response:
    """The document as the one reads it who made the request."""
    if not isinstance(problem.detail, Sentence):
        return problem.response()
    return problem.response(await language_for(request))


def _of(error: It0Error) -> Problem:
    match error:
        case NotFound():
            return Problem(HTTPStatus.NOT_FOUND, error.code, error.sentence)
        case BadAttachment():
            return Problem(HTTPStatus.UNPROCESSABLE_ENTITY, error.code, error.sentence)
        case StorageFailure():
            status = HTTPStatus.SERVICE_UNAVAILABLE
            return Problem(status, error.code, error.sentence, retry_after_s=5)
        case _:
            return Problem(HTTPStatus.INTERNAL_SERVER_ERROR, error.code, error.sentence)


# Codes are written down: the standard library's phrases change between Python versions.
_HTTP: Final = {
    404: ("not_found", NOWHERE),
    405: ("method_not_allowed", sentence("This address does not take this method.")),
    413: (
        "content_too_large",
        sentence(
            "The request is too large: at most 10 MB of attachments and 100,000 characters of "
            "text are accepted in one message."
        ),
    ),
}
_OTHER: Final = ("bad_request", sentence("The request cannot be handled."))


def _of_http(error: web.HTTPException) -> Problem:
    code, detail = _HTTP.get(error.status, _OTHER)
    return Problem(HTTPStatus(error.status), code, detail)

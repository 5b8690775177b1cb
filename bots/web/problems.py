"""Errors as RFC 9457 problem documents with a stable ``code``."""

from __future__ import annotations

import json
from collections.abc import Awaitable, Callable
from http import HTTPStatus
from typing import Final

import structlog
from aiohttp import web
from pydantic import ValidationError

from core.errors import BadAttachment, It0Error, NotFound, StorageFailure

_log = structlog.get_logger()
Handler = Callable[[web.Request], Awaitable[web.StreamResponse]]


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

    def response(self) -> web.Response:
        """The document."""
        headers = {"Cache-Control": "no-store"}
        if self.retry_after_s is not None:
            headers["Retry-After"] = str(self.retry_after_s)
        if self.status is HTTPStatus.UNAUTHORIZED:
            headers["WWW-Authenticate"] = "Bearer"
        document = {
            "type": f"urn:it0:problem:{self.code}",
            "title": self.status.phrase,
            "status": int(self.status),
            "code": self.code,
            "detail": self.detail,
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
        return _of_http(web.HTTPNotFound())
    try:
        return await handler(request)
    except Problem as problem:
        return problem.response()
    except ValidationError as error:
        return Problem(HTTPStatus.UNPROCESSABLE_ENTITY, "bad_request", _first(error)).response()
    except It0Error as error:
        return _of(error).response()
    except web.HTTPException as error:
        return _of_http(error)
    except ConnectionResetError:
        raise  # the client has gone: nobody reads an answer
    except Exception:  # noqa: BLE001  # the process boundary of a request
        _log.exception("request.crashed", path=request.match_info.route.name)
        return Problem(
            HTTPStatus.INTERNAL_SERVER_ERROR,
            "internal",
            "IT0 failed to handle this request. The log has the details; try again.",
        ).response()


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
    404: ("not_found", "There is nothing at this address."),
    405: ("method_not_allowed", "This address does not take this method."),
    413: (
        "content_too_large",
        (
            "The request is too large: at most 10 MB of attachments and 100,000 characters of "
            "text are accepted in one message."
        ),
    ),
}


def _of_http(error: web.HTTPException) -> web.Response:
    code, detail = _HTTP.get(error.status, ("bad_request", "The request cannot be handled."))
    response = Problem(HTTPStatus(error.status), code, detail).response()
    if "Allow" in error.headers:
        response.headers["Allow"] = error.headers["Allow"]
    return response


def _first(error: ValidationError) -> str:
    found = error.errors(include_url=False, include_input=False)[0]
    where = ".".join(str(part) for part in found["loc"])
    if found["type"] == "value_error":
        return str(found["ctx"]["error"])  # our own sentence
    if found["type"] == "json_invalid":
        return f"The body is not valid JSON in UTF-8 ({found['msg']})."
    return f"The field {where!r} is wrong: {found['msg']}." if where else f"{found['msg']}."

"""What the fake Bot API refuses with: the real server's codes and sentences."""

from __future__ import annotations

from typing import Any

Json = dict[str, Any]

NOT_MODIFIED = (
    "message is not modified: specified new message content and reply markup are exactly the "
    "same as a current content and reply markup of the message"
)
OLD_QUERY = "query is too old and response timeout expired or query ID is invalid"
OTHER_POLLER = (
    "Conflict: terminated by other getUpdates request; make sure that only one bot instance "
    "is running"
)
WEBHOOK_ACTIVE = (
    "Conflict: can't use getUpdates method while webhook is active; use deleteWebhook to delete "
    "the webhook first"
)
WEBHOOK_SET = "Conflict: terminated by setWebhook request"


class ApiError(Exception):
    """A refusal as the Bot API words it; ``parameters`` is its ResponseParameters."""

    def __init__(self, code: int, description: str, parameters: Json | None = None) -> None:
        """Keep what the answer says."""
        super().__init__(description)
        self.code = code
        self.description = description
        self.parameters = parameters

    def body(self) -> Json:
        """The answer's JSON."""
        body: Json = {"ok": False, "error_code": self.code, "description": self.description}
        return body if self.parameters is None else body | {"parameters": self.parameters}


def bad(description: str, parameters: Json | None = None) -> ApiError:
    """A 400."""
    return ApiError(400, f"Bad Request: {description}", parameters)


def unparsable(description: str) -> ApiError:
    """A 400 about markup or entities."""
    return bad(f"can't parse entities: {description}")


def forbidden(description: str) -> ApiError:
    """A 403."""
    return ApiError(403, f"Forbidden: {description}")


def too_many(retry_after: int) -> ApiError:
    """A 429."""
    return ApiError(
        429, f"Too Many Requests: retry after {retry_after}", {"retry_after": retry_after}
    )


def not_found() -> ApiError:
    """What the cloud answers to an unknown method, an old server to a new one."""
    return ApiError(404, "Not Found")

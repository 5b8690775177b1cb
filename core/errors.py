"""The exception tree of the core.

::

    It0Error                      code, sentence for the user, retryable?
    +-- Fenced                    another process holds the conversation now: drop the work
    +-- EngineFailure             the model provider failed; the sentence says how
    +-- StorageFailure            the database refused; nothing was acknowledged
    |   +-- StorageBusy           locked by another process
    |   +-- StorageFull           no space left
    |   +-- StorageUnreachable    no connection
    +-- NotFound                  no such conversation, turn or user for this tenant
    +-- BadAttachment             a file that cannot be taken, and why

Refusals (over a limit, not allowed) are values, not exceptions: the user did something
expected. An HTTP status exists only in the HTTP edge.
"""

from __future__ import annotations

from typing import ClassVar


class It0Error(Exception):
    """A fault with a stable code and a sentence that says what happened and what to do."""

    code: ClassVar[str] = "internal"
    retryable: ClassVar[bool] = False

    def __init__(self, sentence: str) -> None:
        """Keep the sentence; it is shown to the user as it stands."""
        super().__init__(sentence)
        self.sentence = sentence


class Fenced(It0Error):
    """The lease epoch moved on: somebody else has the conversation. Drop the work."""

    code = "fenced"


class EngineFailure(It0Error):
    """The engine could not answer. ``sentence`` never repeats the provider's own text."""

    code = "engine_failed"

    def __init__(self, sentence: str, *, reason: str) -> None:
        """``reason`` is a static label for metrics and logs, such as ``rate_limited``."""
        super().__init__(sentence)
        self.reason = reason


class StorageFailure(It0Error):
    """The database refused; whatever was not acknowledged was not stored."""

    code = "storage_failed"
    retryable = True


class StorageBusy(StorageFailure):
    """Another process holds the database lock for too long."""

    code = "storage_busy"


class StorageFull(StorageFailure):
    """The disk or the database is full."""

    code = "storage_full"


class StorageUnreachable(StorageFailure):
    """The database server cannot be reached."""

    code = "storage_unreachable"


class NotFound(It0Error):
    """There is no such thing, or it belongs to somebody else: the two look alike."""

    code = "not_found"


class BadAttachment(It0Error):
    """A file that cannot be taken; the sentence names it and says why."""

    code = "bad_attachment"

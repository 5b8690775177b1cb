"""The inbox: an inbound message becomes a stored turn, once, before anything is acknowledged.

Control commands (``/stop``) are carried out here, at ingest; they never wait in the queue
of the conversation that they are meant to stop.
"""

from __future__ import annotations

import asyncio
from dataclasses import dataclass, replace
from typing import Protocol

from core.commands import CONTROL_COMMANDS, parse_command
from core.markdown import title_of
from core.messages import MAX_TEXT_CHARS, InboundMessage, clean_text
from core.turns import Turn, TurnKind


@dataclass(frozen=True, slots=True, kw_only=True)
class Accepted:
    """Stored, or stored before: a second delivery of an event answers with the first turn."""

    turn_id: str
    tenant_id: str
    conversation_id: str
    duplicate: bool = False
    leased: Turn | None = None
    """Set when this process took the conversation's lease in the same transaction."""
    stopped: tuple[str, ...] = ()
    """Turns of the conversation that this message asked to stop (INTERRUPT)."""


@dataclass(frozen=True, slots=True, kw_only=True)
class ControlDone:
    """A control command, carried out."""

    conversation_id: str
    reply: str
    stopped: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class Rejected:
    """Not stored. ``code`` is stable; the sentence says what to do."""

    code: str
    sentence: str


Acceptance = Accepted | ControlDone | Rejected


class InboxStore(Protocol):
    """One transaction each; raises ``StorageFailure`` when nothing was stored."""

    async def accept(
        self,
        message: InboundMessage,
        *,
        kind: TurnKind,
        title: str,
        worker: str | None,
        tenant_limit: int,
    ) -> Accepted | Rejected:
        """Resolve user and conversation, store the turn, perhaps lease it to ``worker``.

        It is not leased when the tenant holds ``tenant_limit`` leases of this worker.
        """

    async def stop(self, message: InboundMessage) -> ControlDone | Rejected:
        """Ask every unfinished turn of the conversation to stop."""


class Slots(Protocol):
    """The scheduler, as the inbox needs it."""

    def reserve(self) -> str | None:
        """Hold a turn slot and return this worker's id, or None when all are taken."""

    @property
    def tenant_slots(self) -> int:
        """How many slots one tenant may hold here while others wait."""

    def start(self, turn: Turn | None) -> None:
        """Run the leased turn in the held slot, or free the slot."""

    def stop(self, turn_ids: tuple[str, ...]) -> None:
        """Stop those of the turns that run in this process."""

    def wake(self) -> None:
        """Look for work now."""


class Inbox:
    """Accepts messages; the only way into the core."""

    def __init__(self, store: InboxStore, slots: Slots) -> None:
        """Wire the store and the scheduler."""
        self._store = store
        self._slots = slots
        self._tasks: set[asyncio.Task[Acceptance]] = set()

    async def accept(self, message: InboundMessage) -> Acceptance:
        """Store the message and start it if a slot is free.

        A caller that is cancelled does not take the transaction with it: the turn is stored
        and started, or neither. Raises ``StorageFailure`` when nothing was stored.
        """
        task = asyncio.create_task(self._accept(message))
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)
        return await asyncio.shield(task)

    async def drain(self) -> None:
        """Wait for transactions whose callers have gone."""
        await asyncio.gather(*self._tasks, return_exceptions=True)

    async def _accept(self, message: InboundMessage) -> Acceptance:
        message = replace(
            message,
            event_id=_printable(message.event_id),
            text=clean_text(message.text).strip(),
            engine=message.engine and _printable(message.engine),
        )
        problem = _problem(message)
        if problem:
            return problem
        command = parse_command(message.text)
        if command is not None and command.word in CONTROL_COMMANDS:
            done = await self._store.stop(message)
            if isinstance(done, ControlDone):
                self._slots.stop(done.stopped)
            return done
        kind = TurnKind.MESSAGE if command is None else TurnKind.COMMAND
        return await self._store_turn(message, kind)

    async def _store_turn(self, message: InboundMessage, kind: TurnKind) -> Acceptance:
        worker = self._slots.reserve()
        leased: Turn | None = None
        try:
            accepted = await self._store.accept(
                message,
                kind=kind,
                title=title_of(message.text) or "Attachments",
                worker=worker,
                tenant_limit=self._slots.tenant_slots,
            )
            if isinstance(accepted, Accepted):
                leased = accepted.leased
                self._slots.stop(accepted.stopped)
        finally:
            if worker is not None:
                self._slots.start(leased)
        if leased is None:
            self._slots.wake()
        return accepted


def _printable(name: str) -> str:
    """A name from outside that every database can store; different names stay different."""
    return name.encode("unicode_escape").decode("ascii") if not name.isprintable() else name


def _problem(message: InboundMessage) -> Rejected | None:
    named = message.conversation_id
    if named is not None and not named.isprintable():
        return Rejected(code="not_found", sentence="There is no such conversation.")
    if not message.text and not message.attachments:
        return Rejected(
            code="empty_message",
            sentence="The message is empty. Write a question, or attach a file.",
        )
    if len(message.text) > MAX_TEXT_CHARS:
        return Rejected(
            code="message_too_long",
            sentence=(
                f"The message has {len(message.text):,} characters; at most "
                f"{MAX_TEXT_CHARS:,} are accepted. Attach the text as a file instead."
            ),
        )
    return None

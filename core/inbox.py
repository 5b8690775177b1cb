"""The inbox: an inbound message becomes a stored turn, once, before anything is acknowledged.

Control commands (``/stop``), buttons, edits and codes of strangers are carried out here, at
ingest; they never wait in the queue of the conversation that they are about.
"""

from __future__ import annotations

import asyncio
import hashlib
from collections.abc import Coroutine
from dataclasses import dataclass, replace
from enum import StrEnum
from typing import Protocol, TypeVar

from core.access import Doorman, parse_code, split_confirmation
from core.buttons import Press
from core.commands import CONTROL_COMMANDS, Command, parse_command
from core.markdown import title_of
from core.messages import (
    MAX_ATTACHMENTS,
    MAX_TEXT_CHARS,
    ConversationAddress,
    InboundMessage,
    Overlap,
    clean_text,
)
from core.refusals import BAD_CODE, NOT_LINKED, STRANGER_CODES, Rejected
from core.turns import Turn, TurnKind
from core.words import sentence

T = TypeVar("T")

_DOOR = frozenset({"link", "start"})
"""Commands by which strangers come in."""


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
    """A control command or a button, carried out."""

    conversation_id: str
    reply: str
    stopped: tuple[str, ...] = ()


Acceptance = Accepted | ControlDone | Rejected


class Edited(StrEnum):
    """What became of the edit of a message."""

    REPLACED = "replaced"
    """It waits; now with the new text."""
    TOO_LATE = "too_late"
    """It is being answered."""
    OVER = "over"
    """It was answered, or never was ours."""


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

        A conversation without a title gets this one.

        It is not leased when the tenant holds ``tenant_limit`` leases of this worker.
        """

    async def stop(self, message: InboundMessage) -> ControlDone | Rejected:
        """Ask every unfinished turn of the conversation to stop."""

    async def decide(
        self, message: InboundMessage, rest: str, *, approve: bool
    ) -> ControlDone | Rejected:
        """Carry ``/approve`` or ``/deny`` out; ``rest`` is what follows the word."""

    async def press(self, press: Press) -> ControlDone | InboundMessage | Rejected:
        """Carry a button out, once a person and turn; an offer's is the message it stands for."""

    async def edit(self, message: InboundMessage) -> Edited:
        """Give a message that nobody began to answer its new text."""

    async def retract(self, event_id: str) -> tuple[str, ...]:
        """Stop the turn of a message that its writer deleted; the ids of what stops."""

    async def move(self, old: ConversationAddress, new: ConversationAddress) -> None:
        """A channel got another id: links, places and open turns follow."""


class GateStore(Protocol):
    """Who may come in; one transaction each."""

    async def redeem(
        self, message: InboundMessage, code: str, *, confirmed: bool
    ) -> Rejected | None:
        """Use a one-time code for the message's sender and place; None when it was good.

        Somebody who is known already becomes another person only when they ``confirmed`` it.
        """

    async def link_group(self, message: InboundMessage) -> Rejected | None:
        """Link the message's group to the tenant of its sender, who must be an admin."""

    async def ask_in(self, message: InboundMessage) -> str:
        """Note that a stranger wants to be let in; return the code to show to an admin."""


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

    def __init__(self, store: InboxStore, gate: GateStore, slots: Slots) -> None:
        """Wire the stores and the scheduler."""
        self._store = store
        self._gate = gate
        self._slots = slots
        self._doorman = Doorman()
        self._tasks: set[asyncio.Task[object]] = set()

    async def accept(self, message: InboundMessage) -> Acceptance:
        """Store the message and start it if a slot is free.

        A caller that is cancelled does not take the transaction with it: the turn is stored
        and started, or neither. Raises ``StorageFailure`` when nothing was stored.
        """
        return await self._shielded(self._accept(message))

    async def edit(self, message: InboundMessage) -> Acceptance | None:
        """A message was edited, as ``accept``; None when there is nothing to do about it.

        One that waits gets the new text; of one that is being answered the new text joins the
        turn; one that was answered stays answered.
        """
        return await self._shielded(self._edit(message))

    async def retract(self, event_id: str) -> None:
        """A message was deleted by its writer: what is not answered yet is not answered."""
        self._slots.stop(await self._shielded(self._store.retract(_printable(event_id))))
        self._slots.wake()

    async def press(self, press: Press) -> Acceptance:
        """A button was pressed; its data has been checked by the edge (``core.buttons``).

        The press of an offer becomes a command turn, written by whoever pressed: the same
        event id, however often it comes, is one turn.
        """
        return await self._shielded(self._press(press))

    async def move(self, old: ConversationAddress, new: ConversationAddress) -> None:
        """A channel got another id, as a Telegram group that becomes a supergroup."""
        await self._shielded(self._store.move(old, new))

    async def drain(self) -> None:
        """Wait for transactions whose callers have gone."""
        await asyncio.gather(*self._tasks, return_exceptions=True)

    async def _shielded(self, work: Coroutine[object, object, T]) -> T:
        task = asyncio.create_task(work)
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)
        return await asyncio.shield(task)

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
        if command is not None and command.word in _DOOR and command.rest:
            return await self._redeem(message, command.word, command.rest)
        if command is not None and command.word == "start":
            message, command = replace(message, text="/help"), Command("help")
        accepted = await self._let_in(message, command)
        if not isinstance(accepted, Rejected) or accepted.code not in STRANGER_CODES:
            return accepted
        wants_link = command is not None and command.word == "link"
        if accepted.code == NOT_LINKED and wants_link:
            problem = await self._gate.link_group(message)
            if problem is None:
                return await self._welcome(message)
        return await self._doorman.answer(message, accepted, self._gate.ask_in)

    async def _redeem(self, message: InboundMessage, word: str, code: str) -> Acceptance:
        """``/link CODE``: works for strangers, too. ``/start CODE`` comes of a press on a link."""
        if message.actor.platform == "it0":
            return Rejected(
                code="wrong_place",
                sentence=sentence(
                    "You are known here already. Send the code in Slack or Telegram, to be known "
                    "there."
                ),
            )
        problem = self._doorman.try_code(message.actor)
        if problem is not None:
            return problem
        code, confirmed = split_confirmation(code)
        wrong = False
        try:
            problem = await self._gate.redeem(
                message, parse_code(code), confirmed=confirmed and word == "link"
            )
            wrong = problem is not None and problem.code == BAD_CODE
        finally:
            if not wrong:
                self._doorman.take_back(message.actor)
        return problem or await self._welcome(message)

    async def _welcome(self, message: InboundMessage) -> Acceptance:
        """Answered as a turn, so that the answer is not lost; the code is not stored."""
        return await self._let_in(replace(message, text="/welcome"), Command("welcome"))

    async def _let_in(self, message: InboundMessage, command: Command | None) -> Acceptance:
        if command is not None and command.word in CONTROL_COMMANDS:
            return await self._control(message, command)
        kind = TurnKind.MESSAGE if command is None else TurnKind.COMMAND
        return await self._store_turn(message, kind)

    async def _control(self, message: InboundMessage, command: Command) -> Acceptance:
        if command.word == "stop":
            done = await self._store.stop(message)
        else:
            approve = command.word == "approve"
            done = await self._store.decide(message, command.rest, approve=approve)
        if isinstance(done, ControlDone):
            self._slots.stop(done.stopped)
            self._slots.wake()
        return done

    async def _press(self, press: Press) -> Acceptance:
        done = await self._store.press(press)
        if isinstance(done, InboundMessage):
            return await self._let_in(done, parse_command(done.text))
        if isinstance(done, ControlDone):
            self._slots.stop(done.stopped)
            self._slots.wake()
        return done

    async def _edit(self, message: InboundMessage) -> Acceptance | None:
        text = clean_text(message.text).strip()
        message = replace(message, event_id=_printable(message.event_id), text=text)
        if not text or _problem(message) or parse_command(text):
            return None
        if await self._store.edit(message) is not Edited.TOO_LATE:
            return None
        digest = hashlib.sha256(f"{message.edit}\0{text}".encode()).hexdigest()[:12]
        joining = replace(
            message,
            event_id=f"{message.event_id}:edit:{digest}",
            text=f"(I edited my message. It now reads:)\n{text}",
            overlap=Overlap.STEER,
            files=(),
            attachments=(),
        )
        return await self._store_turn(joining, TurnKind.MESSAGE)

    async def _store_turn(self, message: InboundMessage, kind: TurnKind) -> Acceptance:
        worker = None if message.album else self._slots.reserve()
        leased: Turn | None = None
        try:
            accepted = await self._store.accept(
                message,
                kind=kind,
                title=_title(message, kind),
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


def _title(message: InboundMessage, kind: TurnKind) -> str:
    """A conversation is named after its first question; a command is none."""
    if kind is TurnKind.COMMAND:
        return ""
    return title_of(message.text) or "Attachments"


def _printable(name: str) -> str:
    """A name from outside that every database can store; different names stay different."""
    return name.encode("unicode_escape").decode("ascii") if not name.isprintable() else name


def _problem(message: InboundMessage) -> Rejected | None:
    named = message.conversation_id
    if named is not None and not named.isprintable():
        return Rejected(code="not_found", sentence=sentence("There is no such conversation."))
    if len(message.attachments) + len(message.files) > MAX_ATTACHMENTS:
        return Rejected(
            code="too_many_files",
            sentence=sentence(
                "At most {most} files fit one message. Send the others in another one.",
                most=MAX_ATTACHMENTS,
            ),
        )
    if not message.text and not message.attachments and not message.files:
        return Rejected(
            code="empty_message",
            sentence=sentence("The message is empty. Write a question, or attach a file."),
        )
    if len(message.text) > MAX_TEXT_CHARS:
        return Rejected(
            code="message_too_long",
            sentence=sentence(
                "The message has {length:,} characters; at most {most:,} are accepted. "
                "Attach the text as a file instead.",
                length=len(message.text),
                most=MAX_TEXT_CHARS,
            ),
        )
    return None

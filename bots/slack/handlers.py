"""What happens on each thing that Slack tells: it is in the inbox before Slack is answered."""

from __future__ import annotations

from dataclasses import dataclass, field, replace

import structlog

from bots.slack import home
from bots.slack.errors import Refused
from bots.slack.events import (
    Bot,
    Changed,
    Deleted,
    Opened,
    Pressed,
    Removed,
    Said,
    StopPressed,
    read_command,
    read_event,
    read_press,
    workspace_of,
)
from bots.slack.fields import Json, text
from bots.slack.notices import Notices, as_typed
from bots.slack.order import Order, channel_of
from bots.slack.people import People
from bots.slack.ports import Recent, Summary
from bots.slack.seldom import Seldom
from bots.slack.sink import DirectMessages
from bots.slack.workspaces import Installation, Workspaces
from core.buttons import Action, BadButton, Buttons, Press
from core.inbox import Acceptance, Accepted, ControlDone, Inbox
from core.messages import InboundMessage
from core.refusals import STRANGER_CODES, Rejected
from core.words import Words, sentence

BAD_BUTTONS = 5
"""A person is told so often in an hour that a button no longer works."""

_DONE_ALREADY = sentence(
    "This was done already. To do it again, type the command that is in the message."
)

_log = structlog.get_logger()


@dataclass(frozen=True, slots=True, kw_only=True)
class Handlers:
    """Shared by HTTP and Socket Mode. What is raised here must not be acknowledged."""

    inbox: Inbox
    workspaces: Workspaces
    people: People
    direct: DirectMessages
    buttons: Buttons
    recent: Recent
    summary: Summary
    notices: Notices
    seldom: Seldom
    order: Order = field(default_factory=Order)

    async def event(self, body: Json) -> None:
        """An event, after those of its channel before. Raises as ``_event``."""
        async with self.order.of(channel_of(body)):
            await self._event(body)

    async def _event(self, body: Json) -> None:
        """Raises ``StorageFailure`` and ``DeliveryFailed``."""
        workspace = workspace_of(body)
        if text(body, "event", "type") in {"app_uninstalled", "tokens_revoked"}:
            await self._removed(body, workspace)
            return
        installation = await self._installation(workspace)
        if installation is None:
            return
        bot = Bot(workspace=workspace, user=installation.bot_user)
        match read_event(body, bot, self.people.names(workspace)):
            case Said(message=message):
                await self._accept(installation, message)
            case Changed(message=message):
                message = await self._described(installation, message)
                accepted = await self.inbox.edit(message)
                if accepted is not None:
                    self._answer(installation, message, accepted)
            case Deleted(event_id=event_id):
                await self.inbox.retract(event_id)
            case StopPressed(message=message):
                await self.inbox.accept(message)
            case Opened() as opened:
                shown = home.show(
                    opened, installation, self.recent, self.people, self.seldom, self.summary
                )
                self.notices.do(shown, important=False)
            case _:
                pass

    async def command(self, body: Json) -> str:
        """``/it0``; what to show its writer. Raises ``StorageFailure`` and ``DeliveryFailed``."""
        workspace = workspace_of(body)
        installation = await self._installation(workspace)
        if installation is None:
            return "IT0 is not installed in this workspace."
        try:
            channel = await self.direct.of(installation, text(body, "user_id"))
        except Refused as refusal:
            return refusal.sentence
        bot = Bot(workspace=workspace, user=installation.bot_user)
        names = self.people.names(workspace)
        message = await self._described(installation, read_command(body, bot, channel, names))
        words = Words(message.actor.language)
        match await self.inbox.accept(message):
            case Rejected() as rejected:
                return "" if rejected.quiet else as_typed(words.of(rejected.sentence))
            case ControlDone(reply=reply):
                return as_typed(reply)
            case Accepted() if text(body, "channel_id") == channel:
                return ""
            case Accepted():
                return words("I answer you in our direct messages.")

    async def press(self, body: Json) -> None:
        """A button. Raises ``StorageFailure`` and ``DeliveryFailed``."""
        workspace = workspace_of(body)
        installation = await self._installation(workspace)
        pressed = read_press(body, workspace)
        if installation is None or pressed is None:
            return
        user = pressed.actor.external_id
        actor = await self.people.describe(installation, pressed.actor)
        words = Words(actor.language)
        try:
            action, subject = self.buttons.unseal(pressed.value, pressed.address)
        except BadButton:
            if not self.seldom.allows("button", workspace, user, an_hour=BAD_BUTTONS):
                return
            _log.warning("slack.bad_button", workspace=workspace)
            self._say(installation, pressed, words("This button no longer works."))
            return
        event_id = pressed.event_id
        if action is Action.OFFER:  # pressed twice it is still one command
            event_id = f"slack:{workspace}:{pressed.address.channel}:offer:{subject}:{user}"
        done = await self.inbox.press(
            Press(
                event_id=event_id,
                actor=actor,
                address=pressed.address,
                group=workspace,
                action=action,
                subject=subject,
            )
        )
        if isinstance(done, Accepted):  # the turn answers, where this press made it
            if done.duplicate:
                self._say(installation, pressed, words.of(_DONE_ALREADY))
            return
        if isinstance(done, ControlDone):
            self._say(installation, pressed, done.reply)
        elif done.code not in STRANGER_CODES:
            self._say(installation, pressed, words.of(done.sentence))
        elif self.seldom.allows("press", workspace, user):
            self._say(installation, pressed, words.of(done.sentence), important=False)

    async def _installation(self, workspace: str) -> Installation | None:
        found = await self.workspaces.of(workspace) if workspace else None
        if found is None:
            _log.warning("slack.unknown_workspace", workspace=workspace)
        return found

    async def _removed(self, body: Json, workspace: str) -> None:
        happened = read_event(body, Bot(workspace=workspace, user=""), lambda _user: "")
        if isinstance(happened, Removed):
            await self.workspaces.remove(workspace)
            _log.info("slack.removed", workspace=workspace)

    async def _accept(self, installation: Installation, message: InboundMessage) -> None:
        message = await self._described(installation, message)
        self._answer(installation, message, await self.inbox.accept(message))

    async def _described(
        self, installation: Installation, message: InboundMessage
    ) -> InboundMessage:
        return replace(message, actor=await self.people.describe(installation, message.actor))

    def _answer(
        self, installation: Installation, message: InboundMessage, accepted: Acceptance
    ) -> None:
        """Say what the sink will not: it speaks for accepted turns alone."""
        words = Words(message.actor.language)
        important = not (isinstance(accepted, Rejected) and accepted.code in STRANGER_CODES)
        match accepted:
            case Accepted():
                return
            case ControlDone(reply=reply):
                said = reply
            case Rejected(quiet=True):
                return
            case Rejected(sentence=problem):
                said = words.of(problem)
        self.notices.tell(
            installation,
            message.event_id,
            message.address,
            message.actor.external_id,
            said,
            in_thread=message.address.thread != message.source_ref,
            important=important,
        )

    def _say(
        self, installation: Installation, pressed: Pressed, said: str, *, important: bool = True
    ) -> None:
        user = pressed.actor.external_id
        event, address = pressed.event_id, pressed.address
        self.notices.tell(installation, event, address, user, said, important=important)

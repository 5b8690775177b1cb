"""What the contract of translate-in runs against: a reader for each way in, and what it reads.

``Reading`` is what all platforms have in common. To add a platform: recorded payloads under
``tests/payloads``, a reader from a payload to a ``Reading``, and a table of what each payload
becomes; the suite checks that the table is complete.
"""

from __future__ import annotations

import asyncio
import json
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, cast

from pydantic import ValidationError

from bots.slack import events as slack
from bots.telegram import events as telegram
from bots.telegram.events_text import Me
from bots.telegram.ingest import Ingest
from bots.telegram.reception import Reception
from bots.web.auth import Caller
from bots.web.models import TurnBody
from bots.web.problems import Problem
from bots.web.turns import _message
from core.errors import BadAttachment
from core.messages import Actor, ConversationAddress, InboundMessage
from core.tenants import Role, User

PAYLOADS = Path(__file__).parents[1] / "payloads"
Payload = dict[str, Any]


@dataclass(frozen=True, slots=True, kw_only=True)
class Reading:
    """What a payload becomes."""

    kind: str
    event_id: str = ""
    actor: tuple[str, str] = ("", "")
    """The person's workspace and id; empty where nobody acts."""
    place: tuple[str, str, str] = ("", "", "")
    """Workspace, channel, thread."""
    group: str | None = None
    text: str = ""
    files: tuple[str, ...] = ()
    """Media types."""


@dataclass(frozen=True, slots=True, kw_only=True)
class InKit:
    """One way in."""

    name: str
    read: Callable[[Payload], Reading | None]
    """None: nothing is to be done. Must not raise, whatever the payload."""
    expected: Mapping[str, Reading | None]
    twins: tuple[tuple[str, str], ...] = ()
    """Payloads that say the same thing: they have one event id."""

    def payload(self, name: str) -> Payload:
        """A recorded payload."""
        loaded: Payload = json.loads((PAYLOADS / self.name / f"{name}.json").read_text("utf-8"))
        return loaded

    def recorded(self) -> set[str]:
        """The names of all of them."""
        return {path.stem for path in (PAYLOADS / self.name).glob("*.json")}


def _of(kind: str, message: InboundMessage) -> Reading:
    return Reading(
        kind=kind,
        event_id=message.event_id,
        actor=_person(message.actor),
        place=_place(message.address),
        group=message.group,
        text=message.text,
        files=(
            *(file.media_type for file in message.files),
            *(file.media_type for file in message.attachments),
        ),
    )


def _person(actor: Actor) -> tuple[str, str]:
    return actor.workspace, actor.external_id


def _place(address: ConversationAddress) -> tuple[str, str, str]:
    return address.workspace, address.channel, address.thread


# -- Telegram -------------------------------------------------------------------------------

ME = Me(id=123456, username="it0_bot")


@dataclass
class _Heard:
    """Takes the place of the reception: it only notes."""

    readings: list[Reading] = field(default_factory=list)

    async def said(self, said: telegram.Said) -> None:
        if said.addressed:
            self.readings.append(_of("message", said.message))

    async def handle(self, happening: telegram.Happening) -> None:
        self.readings.append(_telegram_reading(happening))


def _telegram_reading(happening: telegram.Happening) -> Reading:
    match happening:
        case telegram.Said(message=message):
            return _of("message", message)
        case telegram.Edit(message=message):
            return _of("edit", message)
        case telegram.Pressed():
            return Reading(
                kind="press",
                actor=_person(happening.actor),
                place=_place(happening.address),
                group=happening.group,
                text=happening.data,
            )
        case telegram.Moved(old=old, new=new):
            return Reading(kind="move", place=_place(old), text=new.channel)
        case telegram.Added():
            return Reading(
                kind="added",
                event_id=happening.event_id,
                actor=_person(happening.actor),
                place=_place(happening.address),
                group=happening.group,
            )
        case telegram.Shut(address=address):
            return Reading(kind="shut out", place=_place(address))
    return Reading(kind="refused", place=_place(happening.address))


def read_telegram(update: Payload) -> Reading | None:
    """Through the real entrance, which also survives what cannot be read at all."""
    heard = _Heard()

    async def take() -> None:
        task = Ingest(cast("Reception", heard), ME).take({**update, "update_id": 1})
        if task is not None:
            await task

    asyncio.run(take())
    return heard.readings[0] if heard.readings else None


ANN, LI = "52817743", "6120033981"
FORUM, SUPER, BASIC = "-1001987654321", "-1002044112358", "-4189930217"


def _tg(number: int, text: str = "", *files: str, who: str = ANN, **more: Any) -> Reading:
    chat = more.pop("chat", who)
    return Reading(
        kind=more.pop("kind", "message"),
        event_id=f"telegram:123456:{chat}:{number}",
        actor=("", who),
        place=("123456", chat, more.pop("thread", "")),
        group=None if chat == who else chat,
        text=text,
        files=files,
        **more,
    )


def _tg_at(kind: str, chat: str, text: str = "") -> Reading:
    return Reading(kind=kind, place=("123456", chat, ""), text=text)


TELEGRAM: Mapping[str, Reading | None] = {
    "album_first": _tg(1204, "Before and after", "image/jpeg"),
    "album_second": _tg(1205, "", "image/jpeg"),
    "anonymous_admin": _tg_at("refused", SUPER),
    "callback_query": Reading(
        kind="press", actor=("", ANN), place=("123456", ANN, ""), text="s:3fA9cQ:k1"
    ),
    "callback_query_inaccessible_message": Reading(
        kind="press", actor=("", LI), place=("123456", SUPER, ""), group=SUPER, text="s:00aa:k0"
    ),
    "channel_post": None,
    "document_log": _tg(1206, "Since 03:00", "text/x-log"),
    "document_pdf": _tg(1207, "", "application/pdf"),
    "document_without_name": _tg(1208, "", "application/octet-stream", who=LI),
    "edited_message": _tg(1201, "Why is db-2 slow?", kind="edit"),
    "forum_general_message": _tg(215, "which disk is full?", chat=FORUM),
    "forum_topic_message": _tg(214, "which disk is full?", chat=FORUM, thread="17"),
    "forwarded_message": _tg(1217, "Forwarded from Pat:\n> the site is down again"),
    "from_another_bot": None,
    "group_command_for_other_bot": None,
    "group_command_with_botname": _tg(93, "/servers all", chat=SUPER),
    "group_mention": _tg(1310, "👩‍🔧 is web-2 up?", chat=BASIC),
    "group_reply_to_bot": _tg(91, "为什么昨晚重启了?", who=LI, chat=SUPER),
    "linked_channel_post": None,
    "location": _tg_at("refused", ANN),
    "migrate_from_chat_id": _tg_at("move", BASIC, "-1002155009871"),
    "migrate_to_chat_id": _tg_at("move", BASIC, "-1002155009871"),
    "my_chat_member_added": Reading(
        kind="added",
        event_id=f"telegram:123456:{BASIC}:added:1795000165",
        actor=("", ANN),
        place=("123456", BASIC, ""),
        group=BASIC,
    ),
    "my_chat_member_blocked": _tg_at("shut out", ANN),
    "new_chat_members_bot": None,
    "photo_with_caption": _tg(1203, "What does this panel say? #grafana", "image/jpeg"),
    "private_rich_text": _tg(1218, "Check:\nfor i in 1 2; do ls; done\nand 😀 this word", who=LI),
    "private_start_payload": _tg(1199, "/start link_7Kq2"),
    "private_text": _tg(1201, "Why is db-1 slow? 😀 see https://status.example.org/db-1"),
    "reply_from_other_chat": _tg(1215, "> tonight 01:00 UTC\n\nDoes that touch db-1?"),
    "reply_with_quote": _tg(1214, "> disk 91 %\n\nSince when?"),
    "sticker": _tg_at("refused", ANN),
    "via_bot": None,
    "voice": _tg(1209, "", "audio/ogg"),
}


# -- Slack ----------------------------------------------------------------------------------

TEAM, CHANNEL, DIRECT = "T061EG9R6", "C0LAN2Q65", "D0PNCRP9N"
BOT = slack.Bot(workspace=TEAM, user="U0LAN0Z89")


def read_slack(body: Payload) -> Reading | None:
    """As the handlers dispatch."""
    if "command" in body:
        return _of("message", slack.read_command(body, BOT, DIRECT, lambda _user: ""))
    if body.get("type") == "block_actions":
        pressed = slack.read_press(body, TEAM)
        if pressed is None:
            return None
        return Reading(
            kind="press",
            event_id=pressed.event_id,
            actor=_person(pressed.actor),
            place=_place(pressed.address),
            text=pressed.value,
        )
    match slack.read_event(body, BOT, lambda _user: ""):
        case slack.Said(message=message):
            return _of("message", message)
        case slack.Changed(message=message):
            return _of("edit", message)
        case slack.Deleted(event_id=event_id):
            return Reading(kind="retract", event_id=event_id)
        case slack.StopPressed(message=message):
            return _of("stop", message)
        case slack.Opened(actor=actor, channel=channel, thread=thread):
            return Reading(kind="opened", actor=_person(actor), place=(TEAM, channel, thread))
        case slack.Removed():
            return Reading(kind="removed")
        case _:
            return None


def _sl(ts: str, text: str = "", *files: str, **more: Any) -> Reading:
    """``ts`` without the seconds that all payloads have in common."""
    channel, ts = more.pop("channel", DIRECT), f"1795364263.{ts}"
    return Reading(
        kind=more.pop("kind", "message"),
        event_id=f"slack:{TEAM}:{channel}:{ts}",
        actor=more.pop("who", (TEAM, "U061F7AUR")),
        place=(TEAM, channel, "" if channel == DIRECT else ts),
        group=TEAM,
        text=text,
        files=files,
    )


def _pressed(at: str, value: str) -> Reading:
    return Reading(
        kind="press",
        event_id=f"slack:{TEAM}:{CHANNEL}:press:U061F7AUR:1795364263.{at}",
        actor=(TEAM, "U061F7AUR"),
        place=(TEAM, CHANNEL, "1795364263.212936"),
        text=value,
    )


def _opened(thread: str = "") -> Reading:
    return Reading(kind="opened", actor=(TEAM, "U061F7AUR"), place=(TEAM, DIRECT, thread))


_QUESTION = _sl("212936", "how full is the disk on web-3?", channel=CHANNEL)
_FILES = _sl("222115", "compare these", "application/pdf", "text/plain", channel=CHANNEL)
_SHARED = _sl("239366", "status?", channel="C07JNT4WX", who=("T0GLX7Q2M", "U07GLX3KP"))

SLACK: Mapping[str, Reading | None] = {
    "agent_session_stopped": Reading(
        kind="stop",
        event_id=f"slack:{TEAM}:{CHANNEL}:stopped:1795364263.241459",
        actor=(TEAM, "U061F7AUR"),
        place=(TEAM, CHANNEL, "1795364263.212936"),
        group=TEAM,
        text="/stop",
    ),
    "app_home_opened": _opened(),
    "app_home_opened_messages": _opened(),
    "app_mention": _QUESTION,
    "app_mention_pdf_and_log": _FILES,
    "app_mention_shared_channel": _SHARED,
    "app_uninstalled": Reading(kind="removed"),
    "assistant_thread_started": _opened("1795364263.241131"),
    "block_actions_feedback": _pressed("237277", "turn_01:bad"),
    "block_actions_stop": _pressed("236566", "turn_01"),
    "bot_message": None,
    "message_changed_edit": _sl("219914", "restart nginx on web-5 & tell me", kind="edit"),
    "message_changed_unfurl": None,
    "message_channel_join": None,
    "message_deleted": Reading(kind="retract", event_id=f"slack:{TEAM}:{DIRECT}:1795364263.219914"),
    "message_file_share_without_text": None,
    "message_from_own_bot": None,
    "message_im": _sl("219914", "restart nginx on web-3.example.com & tell me"),
    "message_image_file": _sl("221404", "what is wrong here?", "image/png"),
    "message_pdf_and_log": _FILES,
    "message_shared_channel": _SHARED,
    "message_thread_broadcast": None,
    "message_thread_reply": None,
    "message_voice_clip": _sl("241787", "", "audio/webm"),
    "message_with_mention": _QUESTION,
    "slash_command": Reading(
        kind="message",
        event_id=(
            f"slack:{TEAM}:{DIRECT}:command:47.1795364263240.acd7d32e66e832d472492dab3f78d86d"
        ),
        actor=(TEAM, "U061F7AUR"),
        place=(TEAM, DIRECT, ""),
        group=TEAM,
        text="/engine runbook",
    ),
    "tokens_revoked": Reading(kind="removed"),
    "url_verification": None,
}


# -- the API, which the terminal and the browser use, too ---------------------------------------

CALLER = Caller(
    user=User(id="user_1", tenant_id="ten_1", email="a@example.org", name="Ann", role=Role.VIEWER),
    operator=False,
    token_id="tok_1",
)


def read_api(body: Payload) -> Reading | None:
    """As the route does, for a caller whose token was checked."""
    try:
        read = TurnBody.model_validate_json(json.dumps(body))
        message = asyncio.run(_message(read, CALLER, "key-1", ""))
    except (ValidationError, Problem, BadAttachment):
        return Reading(kind="refused")
    return _of("message", message)


def _api(text: str, *files: str, thread: str = "place") -> Reading:
    return Reading(
        kind="message",
        event_id="api:user_1:key-1",
        actor=("", "user_1"),
        place=("", "user_1", thread),
        text=text,
        files=files,
    )


API: Mapping[str, Reading | None] = {
    "text": _api("How full are the disks?"),
    "conversation": _api("And on web-4?", thread="conv_01J9ZK3"),
    "file": _api("What does it say?", "text/plain"),
    "unknown_field": Reading(kind="refused"),
    "too_many_files": Reading(kind="refused"),
}

KITS = (
    InKit(name="telegram", read=read_telegram, expected=TELEGRAM),
    InKit(
        name="slack",
        read=read_slack,
        expected=SLACK,
        twins=(
            ("app_mention", "message_with_mention"),
            ("app_mention_pdf_and_log", "message_pdf_and_log"),
            ("app_mention_shared_channel", "message_shared_channel"),
        ),
    ),
    InKit(name="api", read=read_api, expected=API),
)

"""``/new``, ``/sessions``, ``/resume``, ``/share``, ``/delete``: one's own conversations."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from enum import StrEnum
from typing import Protocol

from core.clock import Clock
from core.commands_text import Handler, answered, code, escape, is_shared, place_name, refused
from core.emails import email_of
from core.turns import Ending, Turn
from core.words import Words

_LISTED = 30
_LEAST_ID = 6
"""Fewer characters of an id would name too many."""


@dataclass(frozen=True, slots=True, kw_only=True)
class ConversationInfo:
    """A conversation as its owner, or somebody it is shared with, sees it in a list."""

    id: str
    title: str
    platform: str
    """Where it began."""
    updated_at_ms: int
    turns: int
    channel: str = ""
    owner: str = ""
    """The owner's name, when it is somebody else's."""


class Desk(Protocol):
    """What the conversation commands need of the store."""

    async def list_conversations(
        self, tenant_id: str, user_id: str, *, limit: int
    ) -> tuple[ConversationInfo, ...]:
        """The user's own conversations, the most recently used first."""

    async def new_conversation(self, turn: Turn) -> str:
        """Point the turn's place to a new conversation; return its id."""

    async def resume_conversation(self, turn: Turn, conversation_id: str) -> Resumed:
        """Point the turn's place to the user's own, or in a private chat one shared with them.

        Where others read along, here or at another place that pointed to it, the other place
        loses it: what is written at one must not be read at the other.
        """

    async def delete_conversation(self, turn: Turn, conversation_id: str) -> str | None:
        """Erase one of the user's own, once a turn; a sentence when that cannot be done."""


class Resumed(StrEnum):
    """How ``/resume`` ended."""

    DONE = "done"
    MOVED = "moved"
    """Done; another place lost it."""
    GONE = "gone"
    """Or it is nobody's that the user may resume here."""


class Shared(StrEnum):
    """How ``/share`` ended."""

    DONE = "done"
    NOT_YOURS = "not_yours"
    """Or it does not exist, or is gone."""
    NOBODY = "nobody"
    """No colleague in the team has that address."""


class Shares(Protocol):
    """Consent: whom an owner lets resume a conversation."""

    async def share(self, turn: Turn, conversation_id: str, email: str) -> Shared:
        """Let a colleague of the turn's user resume one of the user's own conversations."""

    async def unshare(self, turn: Turn, conversation_id: str, email: str) -> Shared:
        """Take that back: the colleague's places begin conversations of their own."""

    async def shared_with(
        self, tenant_id: str, user_id: str, *, limit: int
    ) -> tuple[ConversationInfo, ...]:
        """What others let this user resume, the most recently used first."""


class ConversationCommands:
    """Answers them. Nobody else's conversation is named, whether it exists or not."""

    def __init__(self, desk: Desk, shares: Shares, clock: Clock) -> None:
        """Wire the ports."""
        self._desk = desk
        self._shares = shares
        self._clock = clock

    def handlers(self) -> Mapping[str, Handler]:
        """By word."""
        return {
            "new": self._new,
            "sessions": self._sessions,
            "resume": self._resume,
            "share": self._share,
            "delete": self._delete,
        }

    async def _new(self, turn: Turn, _rest: str) -> Ending:
        words = Words(turn.language)
        conversation_id = await self._desk.new_conversation(turn)
        return answered(
            words("This is a new conversation. The one before is kept: `/sessions` lists it."),
            continue_in=conversation_id,
        )

    async def _sessions(self, turn: Turn, _rest: str) -> Ending:
        words = Words(turn.language)
        listed = await self._listed(turn)
        if not listed:
            return answered(words("You have no conversations yet besides this one."))
        now = datetime.fromtimestamp(self._clock.now_ms() / 1000, UTC)
        lines: list[str] = []
        heading = ""
        for number, info in enumerate(listed, start=1):
            at = datetime.fromtimestamp(info.updated_at_ms / 1000, UTC)
            if (group := date_group(at, now, words)) != heading:
                heading = group
                lines.append(f"\n**{heading}**\n")
            lines.append(f"{number}. {_line(info, at, turn, words)}")
        hint = words("`/resume NUMBER` goes on with one here.")
        return answered("\n".join(lines).strip() + f"\n\n{hint}")

    async def _resume(self, turn: Turn, rest: str) -> Ending:
        words = Words(turn.language)
        chosen = _find(await self._listed(turn), rest)
        if chosen is None:
            return refused(_not_found(rest, words))
        if chosen.owner and is_shared(turn.address):
            return refused(
                words(
                    "{owner} let you alone go on with it, not everyone here. Resume it in a "
                    "private chat with me.",
                    owner=escape(chosen.owner),
                )
            )
        resumed = await self._desk.resume_conversation(turn, chosen.id)
        if resumed is Resumed.GONE:
            return refused(words("That conversation is gone. `/sessions` lists yours."))
        said = words(
            "We go on with *{title}*. Messages so far: {count}.",
            title=escape(chosen.title),
            count=chosen.turns,
        )
        if is_shared(turn.address):
            warning = words(
                "**Everyone here can now ask about it**, and sees what I answer. `/new` here "
                "ends that."
            )
            said = f"{said}\n\n{warning}"
        if resumed is Resumed.MOVED:
            moved = words(
                "It goes on here only: at the other place the next message begins a new "
                "conversation, so that nobody there reads what is written here."
            )
            said = f"{said}\n\n{moved}"
        return answered(said, continue_in=chosen.id)

    async def _share(self, turn: Turn, rest: str) -> Ending:
        words = Words(turn.language)
        which, email, ends = _sharing(rest)
        if email is None:
            return refused(
                words(
                    "Say which conversation and with whom: `/share NUMBER EMAIL` or "
                    "`/share ID EMAIL`; `off` behind it takes it back. `/sessions` lists yours "
                    "with numbers."
                )
            )
        chosen = _find(await self._listed(turn), which)
        if chosen is None or chosen.owner:
            return refused(words("You have no such conversation. `/sessions` lists yours."))
        change = self._shares.unshare if ends else self._shares.share
        match await change(turn, chosen.id, email):
            case Shared.NOT_YOURS:
                return refused(words("That conversation is gone. `/sessions` lists yours."))
            case Shared.NOBODY:
                return refused(
                    words("You have no colleague {email} in this team.", email=escape(email))
                )
            case Shared.DONE if ends:
                return answered(
                    words("{email} cannot go on with it any more.", email=escape(email))
                )
            case Shared.DONE:
                return answered(
                    words(
                        "{email} can go on with it now: `/resume {id}`. They see what was "
                        "written in it so far. `/share {id} EMAIL off` takes it back.",
                        email=escape(email),
                        id=chosen.id[-8:],
                    )
                )

    async def _delete(self, turn: Turn, rest: str) -> Ending:
        words = Words(turn.language)
        conversation_id = turn.conversation_id
        if rest:
            chosen = _find(await self._listed(turn), rest)
            if chosen is None or chosen.owner:
                return refused(
                    words("You have no such conversation. `/sessions` lists yours with numbers.")
                )
            conversation_id = chosen.id
        problem = await self._desk.delete_conversation(turn, conversation_id)
        if problem is not None:
            return refused(words.of(problem))
        here = None
        if conversation_id == turn.conversation_id:
            here = await self._desk.new_conversation(turn)
        # Not its title: that is a text of the conversation, and this reply stays.
        return answered(
            words(
                "The conversation is deleted and its messages are erased; the audit log and the "
                "token counts stay."
            ),
            continue_in=here,
        )

    async def _listed(self, turn: Turn) -> tuple[ConversationInfo, ...]:
        """The user's own and those shared with them, in the order of the list's numbers."""
        who = (turn.tenant_id, turn.user.id)
        own = await self._desk.list_conversations(*who, limit=_LISTED)
        others = await self._shares.shared_with(*who, limit=_LISTED)
        both = sorted((*own, *others), key=lambda info: (-info.updated_at_ms, info.id))
        return tuple(both[:_LISTED]) if others else own


def _sharing(rest: str) -> tuple[str, str | None, bool]:
    """Which conversation, with whom (None where that is no address), and whether it ends."""
    parts = rest.split()
    ends = len(parts) == 3 and parts[2].casefold() == "off"  # noqa: PLR2004  # NUMBER EMAIL off
    if len(parts) != 2 and not ends:  # noqa: PLR2004  # NUMBER EMAIL
        return "", None, False
    return parts[0], email_of(parts[1]), ends


def _line(info: ConversationInfo, at: datetime, turn: Turn, words: Words) -> str:
    here = words(" (this one)") if info.id == turn.conversation_id else ""
    whose = words(" (from {owner})", owner=escape(info.owner)) if info.owner else ""
    place = place_name(info.platform, info.channel, words)
    when = f"{words.day(at)} {at:%H:%M} UTC"
    return f"{escape(info.title)}{here}{whose} `{info.id[-8:]}` · {place} · {when}"


def _find(listed: tuple[ConversationInfo, ...], rest: str) -> ConversationInfo | None:
    """What a number of the list, or the end of an id, names."""
    wanted = rest.strip().strip("`")
    if wanted.isascii() and wanted.isdigit() and 1 <= int(wanted[:6]) <= len(listed):
        return listed[int(wanted[:6]) - 1]
    found = [info for info in listed if len(wanted) >= _LEAST_ID and info.id.endswith(wanted)]
    return found[0] if len(found) == 1 else None


def _not_found(rest: str, words: Words) -> str:
    """The same for a colleague's, another team's and none: it tells nothing about any."""
    wanted = rest.strip().strip("`")
    if not wanted:
        return words("Which one? `/sessions` lists yours with numbers.")
    return words(
        "You have no conversation {wanted}: `/sessions` lists yours with numbers. If it is a "
        "colleague's, ask its owner; they allow it with `/share ID EMAIL`.",
        wanted=code(wanted),
    )


def date_group(at: datetime, now: datetime, words: Words) -> str:
    """The heading a conversation is listed under, by its last use."""
    days = (now.date() - at.date()).days
    if days <= 0:
        return words("Today")
    if days == 1:
        return words("Yesterday")
    if at.date() > now.date() - timedelta(days=7):
        return words("Previous 7 days")
    if at.date() > now.date() - timedelta(days=30):
        return words("Previous 30 days")
    return words.month(at)

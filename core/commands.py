"""The chat commands, platform-free: turns that are answered without a model."""

from __future__ import annotations

import difflib
from collections.abc import Awaitable, Callable, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Protocol

from core.clock import Clock
from core.turns import Ending, Outcome, Turn


@dataclass(frozen=True, slots=True)
class Command:
    """``/word rest``."""

    word: str
    rest: str = ""


HIDDEN = frozenset({"start", "welcome"})
"""Commands that platforms send by themselves, or that follow a code."""

HELP: Mapping[str, str] = {
    "help": "what I can do",
    "new": "start a new conversation here",
    "sessions": "list your conversations",
    "resume": "`/resume NUMBER` or `/resume ID`: go on with one of them here",
    "delete": "`/delete NUMBER` or `/delete ID`: erase one for good; without a number, this one",
    "stop": "stop what I am doing in this conversation",
    "servers": "list the servers that I can look at",
    "whoami": "show who you are to me, and what you may do",
}
"""Every command of this installation, with its line in ``/help``."""

CONTROL_COMMANDS = frozenset({"stop"})
"""Carried out at ingest: they never wait behind the turn they are about."""

_NEAR = 0.62
"""How alike a word must be to count as a typo; ``/home`` and ``/srv`` stay paths."""


def parse_command(text: str) -> Command | None:
    """Read ``/word rest``; None for ordinary text, such as a path or an unknown word.

    An unknown word that is close to a command is one (it will be corrected), so that a typo
    never costs a model call; anything else that begins with a slash is a message.
    """
    if not text.startswith("/"):
        return None
    first, _, rest = text[1:].partition(" ")
    word = first.partition("\n")[0].casefold()
    if not word.isalpha():
        return None
    if word in HELP or word in HIDDEN or difflib.get_close_matches(word, HELP, n=1, cutoff=_NEAR):
        return Command(word=word, rest=rest.strip())
    return None


@dataclass(frozen=True, slots=True, kw_only=True)
class ConversationInfo:
    """A conversation as its owner sees it in a list."""

    id: str
    title: str
    platform: str
    updated_at_ms: int
    turns: int


class Desk(Protocol):
    """What the conversation commands need of the store. All of it is the user's own only."""

    async def list_conversations(
        self, tenant_id: str, user_id: str, *, limit: int
    ) -> tuple[ConversationInfo, ...]:
        """The user's conversations, the most recently used first."""

    async def new_conversation(self, turn: Turn) -> str:
        """Point the turn's place to a new conversation; return its id."""

    async def resume_conversation(self, turn: Turn, conversation_id: str) -> bool:
        """Point the turn's place to one of the user's own; False when it is not theirs."""

    async def delete_conversation(self, turn: Turn, conversation_id: str) -> str | None:
        """Erase one of the user's own, once a turn; a sentence when that cannot be done."""


ServerNames = Callable[[str], Awaitable[Sequence[str]]]
"""The names of a tenant's servers."""

_LISTED = 30


class Commands:
    """Answers command turns."""

    def __init__(self, desk: Desk, servers: ServerNames, clock: Clock) -> None:
        """Wire the store, the fleet's names and the clock."""
        self._desk = desk
        self._servers = servers
        self._clock = clock
        self._handlers: dict[str, Callable[[Turn, str], Awaitable[Ending]]] = {
            "help": self._help,
            "new": self._new,
            "sessions": self._sessions,
            "resume": self._resume,
            "delete": self._delete,
            "servers": self._list_servers,
            "whoami": self._whoami,
        }

    async def run(self, turn: Turn) -> Ending:
        """Answer a turn whose text ``parse_command`` takes for a command."""
        command = parse_command(turn.text)
        if command is None or command.word not in self._handlers:
            word = turn.text[1:].split(maxsplit=1)[0]
            near = difflib.get_close_matches(word.casefold(), HELP, n=1, cutoff=_NEAR)
            hint = f" Did you mean `/{near[0]}`?" if near else ""
            return _refused(f"There is no command `/{word}`.{hint} `/help` lists them all.")
        return await self._handlers[command.word](turn, command.rest)

    async def _help(self, _turn: Turn, _rest: str) -> Ending:
        lines = "\n".join(f"- `/{word}`: {text}" for word, text in HELP.items())
        return _answered(
            "Ask me about your servers in plain words, for example *how full are the disks?* "
            f"or *is nginx running?* You can attach screenshots, PDFs and logs.\n\n{lines}"
        )

    async def _new(self, turn: Turn, _rest: str) -> Ending:
        conversation_id = await self._desk.new_conversation(turn)
        return _answered(
            "This is a new conversation. The one before is kept: `/sessions` lists it.",
            continue_in=conversation_id,
        )

    async def _sessions(self, turn: Turn, _rest: str) -> Ending:
        listed = await self._listed(turn)
        if not listed:
            return _answered("You have no conversations yet besides this one.")
        now = datetime.fromtimestamp(self._clock.now_ms() / 1000, UTC)
        lines: list[str] = []
        heading = ""
        for number, info in enumerate(listed, start=1):
            at = datetime.fromtimestamp(info.updated_at_ms / 1000, UTC)
            if (group := date_group(at, now)) != heading:
                heading = group
                lines.append(f"\n**{heading}**\n")
            here = " (this one)" if info.id == turn.conversation_id else ""
            lines.append(
                f"{number}. {_escape(info.title)}{here} `{info.id[-8:]}` · "
                f"{info.platform} · {at:%d %b %H:%M} UTC"
            )
        return _answered("\n".join(lines).strip() + "\n\n`/resume NUMBER` goes on with one.")

    async def _resume(self, turn: Turn, rest: str) -> Ending:
        chosen = await self._choose(turn, rest)
        if isinstance(chosen, Ending):
            return chosen
        if not await self._desk.resume_conversation(turn, chosen.id):
            return _refused("That conversation is gone. `/sessions` lists yours.")
        return _answered(
            f"We go on with *{_escape(chosen.title)}* ({chosen.turns} messages so far).",
            continue_in=chosen.id,
        )

    async def _delete(self, turn: Turn, rest: str) -> Ending:
        if rest:
            chosen = await self._choose(turn, rest)
            if isinstance(chosen, Ending):
                return chosen
            conversation_id = chosen.id
        else:
            conversation_id = turn.conversation_id
        problem = await self._desk.delete_conversation(turn, conversation_id)
        if problem is not None:
            return _refused(problem)
        here = None
        if conversation_id == turn.conversation_id:
            here = await self._desk.new_conversation(turn)
        # Not its title: that is a text of the conversation, and this reply stays.
        return _answered(
            "The conversation is deleted and its messages are erased; the audit log and the "
            "token counts stay.",
            continue_in=here,
        )

    async def _list_servers(self, turn: Turn, _rest: str) -> Ending:
        names = await self._servers(turn.tenant_id)
        if not names:
            return _answered("No servers are known yet. An admin adds one with `it0 server add`.")
        return _answered("\n".join(f"- `{name}`" for name in names))

    async def _whoami(self, turn: Turn, _rest: str) -> Ending:
        user = turn.user
        return _answered(
            f"You are **{_escape(user.name)}** ({_escape(user.email)}), role **{user.role}**.\n\n"
            f"Team `{user.tenant_id}`, conversation `{turn.conversation_id}`."
        )

    async def _listed(self, turn: Turn) -> tuple[ConversationInfo, ...]:
        return await self._desk.list_conversations(turn.tenant_id, turn.user.id, limit=_LISTED)

    async def _choose(self, turn: Turn, rest: str) -> ConversationInfo | Ending:
        """Find the conversation that a number of the list or the end of an id names."""
        listed = await self._listed(turn)
        wanted = rest.strip().strip("`")
        if wanted.isascii() and wanted.isdigit() and 1 <= int(wanted[:6]) <= len(listed):
            return listed[int(wanted[:6]) - 1]
        least = 6
        found = [info for info in listed if len(wanted) >= least and info.id.endswith(wanted)]
        if len(found) == 1:
            return found[0]
        asked = f"You have no conversation {_escape(wanted)!r}." if wanted else "Which one?"
        return _refused(f"{asked} `/sessions` lists yours with numbers.")


def date_group(at: datetime, now: datetime) -> str:
    """The heading a conversation is listed under, by its last use."""
    days = (now.date() - at.date()).days
    if days <= 0:
        return "Today"
    if days == 1:
        return "Yesterday"
    if at.date() > now.date() - timedelta(days=7):
        return "Previous 7 days"
    if at.date() > now.date() - timedelta(days=30):
        return "Previous 30 days"
    return f"{at:%B %Y}"


def _escape(text: str) -> str:
    return "".join(f"\\{char}" if char in "\\`*_[]<>|~#" else char for char in text)


def _answered(text: str, *, continue_in: str | None = None) -> Ending:
    return Ending(outcome=Outcome.ANSWERED, reply=text, continue_in=continue_in)


def _refused(text: str) -> Ending:
    return Ending(outcome=Outcome.REFUSED, reply=text)

"""The chat commands, platform-free: turns that are answered without a model.

This is the registry and the parser; what the commands do is in ``core/commands_*.py``, one
module a topic.
"""

from __future__ import annotations

import difflib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Protocol

from core.agent_config import ModelNotes
from core.clock import Clock
from core.commands_conversations import ConversationCommands, ConversationInfo, Desk, Shares
from core.commands_engine import EngineCommand, TeamModels
from core.commands_people import Codes, Memberships, PeopleCommands
from core.commands_servers import ServerCommands
from core.commands_skills import SkillCommands, SkillDesk
from core.commands_team import Preferences, TeamCommands
from core.commands_text import Handler, refused
from core.engine_choice import Engines
from core.fleet.inventory import Inventory
from core.turns import Ending, Turn
from core.words import Words, sentence

__all__ = [
    "BILLING_COMMANDS",
    "CONTROL_COMMANDS",
    "HELP",
    "HIDDEN",
    "Command",
    "CommandPorts",
    "Commands",
    "ConversationInfo",
    "Topic",
    "make_commands",
    "parse_command",
]


@dataclass(frozen=True, slots=True)
class Command:
    """``/word rest``."""

    word: str
    rest: str = ""


HIDDEN = frozenset({"start", "welcome", "notice"})
"""Commands that platforms send by themselves, or that follow a code."""

HELP: Mapping[str, str] = {
    "help": sentence("what I can do"),
    "new": sentence("start a new conversation here"),
    "sessions": sentence("list your conversations, wherever you had them"),
    "resume": sentence("`/resume NUMBER` or `/resume ID`: go on with one of them here"),
    "share": sentence("`/share NUMBER EMAIL`: let a colleague resume one of them"),
    "delete": sentence(
        "`/delete NUMBER` or `/delete ID`: erase one for good; without a number, this one"
    ),
    "stop": sentence("stop what I am doing in this conversation"),
    "approve": sentence(
        "`/approve ID`: let a change run that waits for a human; without an id, the one that "
        "waits here (operators)"
    ),
    "deny": sentence("`/deny ID REASON`: do not let it run, and tell me why (operators)"),
    "servers": sentence(
        "list the servers that I can look at; `/servers NAME` or `/servers tag:edge`: only those"
    ),
    "orders": sentence(
        "list the standing orders; `/orders add`: make one, `/orders ID`: show one and its runs"
    ),
    "handover": sentence(
        "what happened, for whoever goes on: `/handover since 12h`, `/handover this`; with `to "
        "EMAIL` at the end somebody takes over"
    ),
    "skills": sentence(
        "list the routines that I know; `/skills on NAME`, `/skills off NAME`: switch one (admins)"
    ),
    "engine": sentence(
        "show what answers; `/engine NAME` or `/engine model MODEL`: change it for the "
        "team (admins)"
    ),
    "whoami": sentence("show who you are to me, and what you may do"),
    "language": sentence("`/language en` or `/language zh`: choose the language of my words"),
    "login": sentence("a link that opens IT0 in your browser"),
    "link": sentence("a code that links your other platforms; `/link CODE`: use one"),
    "unlink": sentence(
        "forget this account of yours; in a group or channel: unlink the place (admins)"
    ),
    "tenant": sentence("your teams; `/tenant NUMBER`: choose the one that you work for here"),
    "invite": sentence("`/invite EMAIL ROLE` or `/invite CODE ROLE`: let somebody in (admins)"),
    "plan": sentence("show your team's plan, its limits and what is scheduled"),
    "usage": sentence("show this month's tokens; `/usage budget`: your team's own limits (admins)"),
    "upgrade": sentence("`/upgrade PLAN`: what a larger plan costs; it asks first (admins)"),
    "downgrade": sentence(
        "`/downgrade PLAN`: a smaller plan from the next period on; it asks first (admins)"
    ),
    "cancel": sentence(
        "end the plan with its period; it asks first; `/cancel back`: take it back (admins)"
    ),
    "invoices": sentence(
        "list the invoices; `/invoices NUMBER`: show one, `/invoices NUMBER LINE`: explain a "
        "line (admins)"
    ),
    "pay": sentence("`/pay NUMBER`: how to pay an invoice (admins)"),
}
"""Every command of this installation, with its line in ``/help``. One that takes an argument
shows it as ```/word ARGUMENT```."""

CONTROL_COMMANDS = frozenset({"stop", "approve", "deny"})
"""Carried out at ingest: they never wait behind the turn they are about."""

BILLING_COMMANDS = frozenset({"plan", "usage", "upgrade", "downgrade", "cancel", "invoices", "pay"})
"""What an installation without plans cannot answer."""

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


class Commands:
    """Answers command turns."""

    def __init__(self, handlers: Mapping[str, Handler]) -> None:
        """By word; ``make_commands`` has them all."""
        self._handlers = handlers

    async def run(self, turn: Turn) -> Ending:
        """Answer a turn whose text ``parse_command`` takes for a command."""
        command = parse_command(turn.text)
        if command is not None and command.word in self._handlers:
            return await self._handlers[command.word](turn, command.rest)
        words = Words(turn.language)
        if command is not None and command.word in BILLING_COMMANDS:
            return refused(words("This installation has no plans: nothing is billed here."))
        word = turn.text[1:].split(maxsplit=1)[0]
        near = difflib.get_close_matches(word.casefold(), HELP, n=1, cutoff=_NEAR)
        if not near:
            return refused(
                words("There is no command `/{word}`. `/help` lists them all.", word=word)
            )
        return refused(
            words(
                "There is no command `/{word}`. Did you mean `/{near}`? `/help` lists them all.",
                word=word,
                near=near[0],
            )
        )


@dataclass(frozen=True, slots=True, kw_only=True)
class CommandPorts:
    """What the commands need of the rest."""

    desk: Desk
    shares: Shares
    codes: Codes
    memberships: Memberships
    preferences: Preferences
    servers: Inventory
    skills: SkillDesk
    engines: Engines
    team_models: TeamModels
    model_notes: ModelNotes
    clock: Clock


class Topic(Protocol):
    """Commands of one subject, wherever they are defined."""

    def handlers(self) -> Mapping[str, Handler]:
        """By word; each has its line in ``HELP``."""


def make_commands(ports: CommandPorts, extra: Sequence[Topic] = ()) -> Commands:
    """Every command, on these ports; ``extra`` are topics from outside the core (billing)."""
    answered = {word for topic in extra for word in topic.handlers()}
    listed = {
        word: line
        for word, line in HELP.items()
        if word not in BILLING_COMMANDS or word in answered
    }
    conversations = ConversationCommands(ports.desk, ports.shares, ports.clock)
    people = PeopleCommands(ports.codes, ports.memberships, ports.preferences)
    team = TeamCommands(listed)
    servers = ServerCommands(ports.servers)
    engine = EngineCommand(ports.engines, ports.preferences, ports.team_models, ports.model_notes)
    skills = SkillCommands(ports.skills)
    topics: tuple[Topic, ...] = (conversations, people, team, engine, skills, servers, *extra)
    return Commands({word: it for topic in topics for word, it in topic.handlers().items()})

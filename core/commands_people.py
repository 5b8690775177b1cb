"""``/link``, ``/unlink``, ``/invite``, ``/whoami``, ``/language``, ``/tenant``: who one is."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Protocol

from core.commands_text import (
    Handler,
    answered,
    code,
    escape,
    is_shared,
    place_name,
    platform_name,
    refused,
)
from core.emails import email_of
from core.refusals import Rejected
from core.tenants import Role, User
from core.turns import Ending, Turn
from core.words import LANGUAGES, Words, language_of, sentence

AUTO = "auto"
"""``/language auto``: what the platform says."""
_SPOKEN = {"english": "en", "chinese": "zh", "中文": "zh", "简体中文": "zh"}
_LINKED = frozenset({"slack", "telegram"})
"""Where people and places are known by links."""
EXAMPLES = (
    sentence("How full are the disks?"),
    sentence("Is nginx running?"),
    sentence("Which processes use the most memory?"),
)
"""What a newcomer may ask at once; each is read-only."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Standing:
    """The turn's user, in their team and at the turn's place."""

    team: str
    engine: str | None
    """The team's choice."""
    language: str | None
    """The user's choice."""
    linked: bool
    """Whether the place belongs to the team, for everybody who writes there."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Membership:
    """A team of the person who wrote."""

    tenant_id: str
    team: str
    role: str


@dataclass(frozen=True, slots=True, kw_only=True)
class LetIn:
    """A stranger who is a user now."""

    name: str
    platform: str
    person: str
    """The platform's id: names can be anything."""
    role: Role


class Codes(Protocol):
    """One-time codes."""

    async def link_code(self, user: User) -> str:
        """A code that makes its sender this user; the older ones of theirs die."""

    async def invite_code(self, by: User, *, email: str, role: Role) -> str | Rejected:
        """A code that makes its sender a new user of the inviter's team, or why there is none."""

    async def let_in(self, turn: Turn, code: str, role: Role) -> LetIn | Rejected | None:
        """Make the stranger who was shown the code a user of the turn's team, once.

        Rejected when the team is full; None for a code that nobody waits with.
        """


class Memberships(Protocol):
    """Teams of the person who wrote, and of nobody else."""

    async def standing(self, turn: Turn) -> Standing:
        """Who they are in the turn's team."""

    async def memberships(self, turn: Turn) -> tuple[Membership, ...]:
        """The teams that know this very account of theirs, by name."""

    async def choose_team(self, turn: Turn, tenant_id: str) -> bool:
        """Work for this team in private chats from now on; False when it does not know them."""

    async def unlink(self, turn: Turn) -> bool:
        """Take the turn's shared place from the team; in a private chat, the account from its user.

        False when it was not linked.
        """


class Languages(Protocol):
    """The language that a user chose."""

    async def set_language(self, turn: Turn, language: str | None) -> None:
        """Remember it; None forgets it."""


class PeopleCommands:
    """Answers them, for the sender's eyes only (``core.private``)."""

    def __init__(self, codes: Codes, memberships: Memberships, languages: Languages) -> None:
        """Wire the ports."""
        self._codes = codes
        self._memberships = memberships
        self._languages = languages

    def handlers(self) -> Mapping[str, Handler]:
        """By word."""
        return {
            "link": self._link,
            "unlink": self._unlink,
            "invite": self._invite,
            "welcome": self._welcome,
            "whoami": self._whoami,
            "language": self._language,
            "tenant": self._tenant,
        }

    async def _link(self, turn: Turn, _rest: str) -> Ending:
        """A code of one's own; ``/link CODE`` was carried out at ingest."""
        words = Words(turn.language)
        made = await self._codes.link_code(turn.user)
        parts = [
            words("Your code, good for 15 minutes and one use:"),
            f"`{made}`",
            words(
                "Whoever sends it to me **is you** from then on, with your role and your "
                "conversations. So send it only from your own accounts:"
            ),
            how_to_send(made, words),
        ]
        if turn.user.role is Role.ADMIN:
            parts.append(
                words(
                    "To link a workspace or group where I know you already, send `/link` there, "
                    "alone. Where I do not know you yet, the code does that, too; who else reads "
                    "it there cannot use it any more."
                )
            )
        return answered("\n\n".join(parts))

    async def _unlink(self, turn: Turn, _rest: str) -> Ending:
        """A place for everybody, or an account of one's own."""
        words = Words(turn.language)
        if turn.address.platform not in _LINKED:
            return refused(
                words(
                    "Send `/unlink` in the Slack or Telegram chat that I am to forget: in a "
                    "private chat it is your account, in a group or channel the place."
                )
            )
        shared = is_shared(turn.address)
        if shared and turn.user.role is not Role.ADMIN:
            return refused(
                words(
                    "Only an admin of the team can unlink this place. `/unlink` in a private chat "
                    "with me makes me forget your own account."
                )
            )
        team = (await self._memberships.standing(turn)).team
        if not await self._memberships.unlink(turn):
            return refused(words("Nothing is linked here."))
        if shared:
            return answered(
                words(
                    "This place does not belong to the team **{team}** any more, and I answer "
                    "nobody here. An admin links it again with `/link`.",
                    team=escape(team),
                )
            )
        return answered(
            words(
                "This account is not **{name}** of the team **{team}** any more. A code links it "
                "again: `/link` from another account of yours, or `it0 link` on the server.",
                name=escape(turn.user.name),
                team=escape(team),
            )
        )

    async def _invite(self, turn: Turn, rest: str) -> Ending:
        words = Words(turn.language)
        if turn.user.role is not Role.ADMIN:
            return refused(
                words("Only an admin of the team can let somebody in. Ask one of your admins.")
            )
        whom, _, named = rest.partition(" ")
        try:
            role = Role(named.strip().casefold() or Role.VIEWER)
        except ValueError:
            return refused(words("The roles are `viewer`, `operator` and `admin`."))
        if not whom:
            return refused(
                words(
                    "Say whom: `/invite EMAIL`, or `/invite CODE` with the code that I showed "
                    "them; then `viewer` (the default), `operator` or `admin`."
                )
            )
        if "@" in whom:
            return await self._invite_address(turn, whom, role, words)
        joined = await self._codes.let_in(turn, whom, role)
        if isinstance(joined, Rejected):
            return refused(words.of(joined.sentence))
        if joined is None:
            return refused(
                words(
                    "Nobody waits with the code {code}; perhaps it is older than a day. Whoever "
                    "wants to come in writes to me again and gets a new one.",
                    code=code(whom),
                )
            )
        return answered(
            words(
                "**{name}** ({platform} {person}) is in the team now as **{role}**, and can "
                "write to me at once.",
                name=escape(joined.name),
                platform=platform_name(joined.platform),
                person=escape(joined.person),
                role=joined.role,
            )
        )

    async def _invite_address(self, turn: Turn, whom: str, role: Role, words: Words) -> Ending:
        email = email_of(whom)
        if email is None:
            return refused(
                words(
                    "An address looks like ada@example.com, without spaces and special characters."
                )
            )
        made = await self._codes.invite_code(turn.user, email=email, role=role)
        if isinstance(made, Rejected):
            return refused(words.of(made.sentence))
        parts = [
            words(
                "With this code {email} joins the team as **{role}**. It is good for 7 days and "
                "one use.",
                email=escape(email),
                role=role,
            ),
            f"`{made}`",
            words("Whoever has the code gets in, so pass it on privately. They send it to me:"),
            how_to_send(made, words),
        ]
        return answered("\n\n".join(parts))

    async def _welcome(self, turn: Turn, _rest: str) -> Ending:
        words = Words(turn.language)
        standing = await self._memberships.standing(turn)
        parts = [
            words(
                "Welcome, **{name}**. You are in the team **{team}** as **{role}**.",
                name=escape(turn.user.name),
                team=escape(standing.team),
                role=turn.user.role,
            )
        ]
        if standing.linked:
            parts.append(words("This place is linked to the team: its members can ask me here."))
        elif len(await self._memberships.memberships(turn)) > 1:
            parts.append(words("You are in other teams, too: `/tenant` lists them and switches."))
        parts.append(words("Ask me about your servers in plain words, for example:"))
        parts.append("\n".join(f"- *{words.of(example)}*" for example in EXAMPLES))
        parts.append(words("`/help` lists what else I can do."))
        return answered("\n\n".join(parts))

    async def _whoami(self, turn: Turn, _rest: str) -> Ending:
        words, user = Words(turn.language), turn.user
        standing = await self._memberships.standing(turn)
        if standing.language is None:
            language = words("{language}, as your platform says", language=_name(turn.language))
        else:
            language = words("{language}, your choice", language=_name(turn.language))
        lines = (
            words("Team: {team} `{id}`", team=escape(standing.team), id=user.tenant_id),
            words(
                "Platform: {platform}",
                platform=place_name(turn.address.platform, turn.address.channel, words),
            ),
            words("Language: {language}", language=language),
            words("Conversation: `{id}`", id=turn.conversation_id),
        )
        said = words(
            "You are **{name}** ({email}), role **{role}**.",
            name=escape(user.name),
            email=escape(user.email),
            role=user.role,
        )
        return answered("\n".join((f"{said}\n", *(f"- {line}" for line in lines))))

    async def _language(self, turn: Turn, rest: str) -> Ending:
        words = Words(turn.language)
        wanted = rest.casefold()
        if wanted == AUTO:
            await self._languages.set_language(turn, None)
            return answered(words("From the next message on I use the language of your platform."))
        primary = _SPOKEN.get(wanted, wanted.replace("_", "-").partition("-")[0])
        if primary in LANGUAGES:
            await self._languages.set_language(turn, primary)
            words = Words(primary)
            return answered(words("My own words are in {language} now.", language=_name(primary)))
        offered = "\n".join(f"- `/language {tag}`: {name}" for tag, name in LANGUAGES.items())
        auto = words("the language of your platform")
        said = words("My own words are in {language} now.", language=_name(turn.language))
        said = f"{said}\n\n{offered}\n- `/language {AUTO}`: {auto}"
        return refused(said) if rest else answered(said)

    async def _tenant(self, turn: Turn, rest: str) -> Ending:
        words = Words(turn.language)
        standing = await self._memberships.standing(turn)
        if standing.linked:
            said = words(
                "This place belongs to the team **{team}**: who writes here works for it, and no "
                "other team can be chosen here.",
                team=escape(standing.team),
            )
            return refused(said) if rest else answered(said)
        teams = await self._memberships.memberships(turn)
        if not teams:
            said = words(
                "You work for the team **{team}** here. No other team can be chosen here.",
                team=escape(standing.team),
            )
            return refused(said) if rest else answered(said)
        if not rest:
            return answered(_teams(teams, turn, words))
        chosen = _choose(teams, rest)
        if chosen is None or not await self._memberships.choose_team(turn, chosen.tenant_id):
            none = words("You have no such team.")
            return refused(f"{none}\n\n{_teams(teams, turn, words)}")
        return answered(
            words(
                "From the next message on you work for the team **{team}** in private chats "
                "with me.",
                team=escape(chosen.team),
            )
        )


def _teams(teams: tuple[Membership, ...], turn: Turn, words: Words) -> str:
    lines = [words("Your teams:"), ""]
    for number, team in enumerate(teams, start=1):
        here = words(" (the one you work for now)") if team.tenant_id == turn.tenant_id else ""
        lines.append(f"{number}. {escape(team.team)}, {team.role}{here}")
    return "\n".join([*lines, "", words("`/tenant NUMBER` or `/tenant NAME` chooses one.")])


def _choose(teams: tuple[Membership, ...], rest: str) -> Membership | None:
    """By number, or by a name that only one of them has."""
    if rest.isascii() and rest.isdigit() and 1 <= int(rest[:6]) <= len(teams):
        return teams[int(rest[:6]) - 1]
    named = [team for team in teams if team.team.casefold() == rest.casefold()]
    return named[0] if len(named) == 1 else None


def _name(language: str) -> str:
    return LANGUAGES[language_of(language)]


def how_to_send(made: str, words: Words) -> str:
    """What somebody does with a code, a line for each platform."""
    return "\n".join(
        (
            "- " + words("Telegram, in a private chat with the bot: `/link {code}`", code=made),
            "- " + words("Slack, anywhere: `/it0 link {code}`", code=made),
        )
    )

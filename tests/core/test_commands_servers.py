"""``/servers``: the list, a selection of it, one in detail."""

from __future__ import annotations

from core.commands_servers import MOST_LISTED, ServerCommands
from core.fleet.key_texts import fingerprint
from core.turns import Outcome
from tests.core.fleet.fleet_kit import HOST_KEY, Listed, server
from tests.core.test_prompts import turn_of


async def servers(rest: str = "", listed: Listed | None = None) -> tuple[Outcome, list[str]]:
    """The outcome and the lines of the answer."""
    command = ServerCommands(listed or Listed()).handlers()["servers"]
    ending = await command(turn_of(), rest)
    return ending.outcome, ending.reply.splitlines()


async def test_every_server_has_a_line_with_what_matters() -> None:
    """What nobody confirmed stands out."""
    assert await servers() == (
        Outcome.ANSWERED,
        [
            "- `bastion`: staging, `edge`, **host key not confirmed**",
            "- `local`: production, the machine I run on",
            "- `web-1`: production, critical, `edge`, `eu`",
        ],
    )


async def test_a_selection_is_listed() -> None:
    """A tag, an environment, words."""
    for rest in ("tag:edge", "all edge servers", "web-1, bastion"):
        outcome, lines = await servers(rest)
        assert outcome is Outcome.ANSWERED
        assert [line.split("`")[1] for line in lines] == ["bastion", "web-1"]


async def test_one_is_shown_in_detail() -> None:
    """Where it is, how IT0 gets in, and what it may do there; a part of the name is enough."""
    assert await servers("web") == (
        Outcome.ANSWERED,
        [
            "**`web-1`**",
            "- Address: `deploy@192.0.2.7:2222`, reached through `bastion`",
            "- Environment: production, critical",
            "- Tags: `edge`, `eu`",
            "- Becoming root: never",
            "- I get in with: a key that I keep",
            f"- Host key: `{fingerprint(HOST_KEY)}`, confirmed",
        ],
    )
    _, lines = await servers("bastion")
    assert "- Address: `[2001:db8::7]`" in lines
    assert "`it0 server test bastion`" in lines[-1]
    _, lines = await servers("here")
    assert lines[:2] == ["**`local`**", "- Address: the machine I run on"]
    assert not any("Host key" in line for line in lines)


async def test_what_is_not_clear_is_a_question() -> None:
    """Candidates and near misses are named."""
    several = Listed((server("web-1"), server("web-2")))
    outcome, (line,) = await servers("web", several)
    assert (outcome, line) == (Outcome.REFUSED, "Several servers could be meant: `web-1`, `web-2`.")
    outcome, (line,) = await servers("bastoin")
    assert outcome is Outcome.REFUSED
    assert "Did you mean `bastion`?" in line
    _, (line,) = await servers("qqqqqq")
    assert "`/servers` lists them." in line


async def test_a_team_without_servers_hears_how_to_add_one() -> None:
    """And a large one is not listed without end."""
    assert "it0 server add" in (await servers("x", Listed(())))[1][0]
    many = Listed(tuple(server(f"n{number}") for number in range(MOST_LISTED + 7)))
    lines = (await servers("", many))[1]
    assert len(lines) == MOST_LISTED + 1
    assert "7 more" in lines[-1]

"""``/link``, ``/invite``, ``/welcome``, ``/whoami``, ``/language``, ``/tenant``, ``/engine``."""

from __future__ import annotations

import re

import pytest

from core.commands import HELP, parse_command
from core.private import PRIVATE_WORDS
from core.tenants import Role
from tests.support.chat_people import Person, chats, gate_of
from tests.support.core_kit import Site


def code_in(text: str) -> str:
    """The one-time code that a reply shows."""
    found = re.search(r"^`([0-9A-Z]{4}(?:-[0-9A-Z]{4}){2})`$", text, re.MULTILINE)
    assert found is not None, text
    return found[1]


@pytest.mark.parametrize(
    "path",
    "bin boot dev etc home lib media mnt opt proc root run sbin srv sys tmp usr var data".split(),  # noqa: SIM905  # shorter to read
)
def test_directories_are_no_commands(path: str) -> None:
    """``/home is full`` is a question, however many commands there are."""
    assert parse_command(f"/{path} is full") is None


def test_whose_answers_are_private() -> None:
    """Codes, titles and addresses are shown to nobody else; what is private is a command."""
    assert {"link", "invite", "resume", "sessions", "share", "whoami", "tenant"} <= PRIVATE_WORDS
    assert set(HELP) | {"welcome"} >= PRIVATE_WORDS


async def test_one_person_links_their_platforms(site: Site) -> None:
    """``/link`` gives a code; sent from another account it makes that one the same user, once."""
    async with site.open(sinks=chats()) as house:
        reply = (await house.ask("/link")).reply
        assert "15 minutes" in reply
        assert "send `/link` there" in reply
        code = code_in(reply)
        ann, eve = Person(house, "A1"), Person(house, "E1")
        welcome = await ann.ask(f"/link {code.lower()}")
        assert "**admin**" in welcome.reply
        assert "**My team**" in welcome.reply
        assert welcome.reply.count("\n- *") == 3
        assert house.admin.email in (await ann.ask("/whoami")).reply
        assert (await eve.refused(f"/link {code}")).code == "bad_code"
        assert code not in str(await house.rows("SELECT text FROM turns"))


async def test_a_code_is_guessed_five_times_at_most(site: Site) -> None:
    """Then even the right one is refused, for a while, without a look at the database."""
    async with site.open(sinks=chats()) as house:
        eve = Person(house, "E1")
        for _ in range(5):
            assert (await eve.refused("/link AAAA-AAAA-AAAA")).code == "bad_code"
        code = await gate_of(house).link_code(house.admin)
        assert (await eve.refused(f"/link {code}")).code == "too_many_codes"
        assert "**admin**" in (await Person(house, "A1").ask(f"/start {code}")).reply


async def test_an_invited_person_comes_in_with_their_role(site: Site) -> None:
    """``/invite EMAIL ROLE`` makes a code that says how it is used; its sender joins the team."""
    async with site.open(sinks=chats()) as house:
        reply = (await house.ask("/invite New@Example.com operator")).reply
        assert "new@example.com" in reply
        assert f"`/it0 link {code_in(reply)}`" in reply
        welcome = await Person(house, "N1").ask(f"/link {code_in(reply)}")
        assert "**operator**" in welcome.reply
        default = (await house.ask("/invite other@example.com")).reply
        assert "**viewer**" in (await Person(house, "N2").ask(f"/link {code_in(default)}")).reply
        await house.settled()


async def test_a_stranger_is_let_in_by_an_admin(site: Site) -> None:
    """They are shown a code once; an admin types it; their next message is answered."""
    async with site.open(sinks=chats()) as house:
        bob = Person(house, "12345")
        told = await bob.refused("hello?")
        code = re.search(r"`/invite ([-0-9A-Z]{9})`", told.sentence)
        assert code is not None
        assert (await bob.refused("hello??")).quiet
        done = (await house.ask(f"/invite {code[1].lower()} operator")).reply
        assert "Name of 12345" in done
        assert "Telegram 12345" in done
        assert "**operator**" in done
        assert (await bob.ask("hello!")).reply == "Fine."
        assert "telegram-12345@invited.invalid" in (await bob.ask("/whoami")).reply.replace(
            "\\", ""
        )
        again = await house.ask(f"/invite {code[1]}")
        assert again.outcome == "refused"
        assert await house.rows("SELECT COUNT(*) FROM users") == [(2,)]
        await house.settled()


@pytest.mark.parametrize("role", [Role.VIEWER, Role.OPERATOR])
async def test_only_admins_let_people_in(site: Site, role: Role) -> None:
    """Others get a clear sentence; no code is made, nobody waits less."""
    async with site.open(sinks=chats()) as house:
        user = await house.user(house.admin.tenant_id, "u@example.com", role)
        waiting = await Person(house, "12345").refused("hello?")
        code = re.search(r"`/invite ([-0-9A-Z]{9})`", waiting.sentence)
        assert code is not None
        for rest in ("eve@example.com", "eve@example.com admin", code[1], ""):
            final = await house.ask(f"/invite {rest}", user)
            assert final.outcome == "refused"
            assert "Only an admin" in final.reply
        assert await house.rows("SELECT COUNT(*) FROM codes") == [(0,)]
        assert await house.rows("SELECT COUNT(*) FROM pairings") == [(1,)]


async def test_an_invitation_that_is_not_one_is_explained(site: Site) -> None:
    """Wrong roles, addresses and codes change nothing."""
    async with site.open(sinks=chats()) as house:
        for rest in ("", "eve@example.com owner", "eve@", "@", "AAAA-AAAA", "a b c d"):
            assert (await house.ask(f"/invite {rest}")).outcome == "refused", rest
        assert await house.rows("SELECT COUNT(*) FROM codes") == [(0,)]


async def test_the_language_is_ones_own_choice(site: Site) -> None:
    """The platform's counts until one chooses; ``auto`` takes the choice back."""
    async with site.open(sinks=chats()) as house:
        ann = Person(house, "A1", language="zh-hans")
        assert "欢迎" in (await ann.link(house.admin)).reply
        assert "新会话" in (await ann.ask("/new")).reply
        assert "English" in (await ann.ask("/language en")).reply
        assert "new conversation" in (await ann.ask("/new")).reply
        assert "简体中文" in (await ann.ask("/language 中文")).reply
        assert await house.rows("SELECT language FROM users") == [("zh",)]
        wrong = await ann.ask("/language klingon")
        assert (wrong.outcome, "/language en" in wrong.reply) == ("refused", True)
        await ann.ask("/language auto")
        assert await house.rows("SELECT language FROM users") == [(None,)]
        for word in HELP:
            if word not in {"approve", "deny", "stop", "delete", "servers", "unlink"}:
                assert re.search("[一-鿿]", (await ann.ask(f"/{word}")).reply), word


async def test_a_member_of_two_teams_chooses(site: Site) -> None:
    """By number or name, for private chats; in a linked group the group decides."""
    async with site.open(sinks=chats()) as house:
        other = await house.tenant("Other")
        ann = Person(house, "A1")
        await ann.link(house.admin, "-100")
        await ann.link(other)
        listed = (await ann.ask("/tenant")).reply
        assert "1. My team, admin (the one you work for now)" in listed
        assert "2. Other, admin" in listed
        assert "**My team**" in (await ann.ask("/tenant my TEAM")).reply
        assert house.admin.tenant_id in (await ann.ask("/whoami")).reply
        assert "**Other**" in (await ann.ask("/tenant 2")).reply
        assert other.tenant_id in (await ann.ask("/whoami")).reply
        here = await ann.ask("/tenant", "-100")
        assert "**My team**" in here.reply
        assert (await ann.ask("/tenant 2", "-100")).outcome == "refused"
        assert other.tenant_id in (await ann.ask("/whoami")).reply
        await house.settled()


async def test_nobody_chooses_a_team_that_is_not_theirs(site: Site) -> None:
    """W15: names, ids and numbers of other teams lead nowhere, and none is named."""
    async with site.open(sinks=chats()) as house:
        victim = await house.tenant("xcanaryx")
        await Person(house, "V1").link(victim)
        ann = Person(house, "A1")
        await ann.link(house.admin)
        for rest in ("", "xcanaryx", victim.tenant_id, "2", "0", "-1", "%", "V1", "' OR 1=1 --"):
            for final in (await ann.ask(f"/tenant {rest}"), await house.ask(f"/tenant {rest}")):
                assert "xcanaryx" not in final.reply
        assert house.admin.tenant_id in (await ann.ask("/whoami")).reply


async def test_an_admin_chooses_the_teams_engine(site: Site) -> None:
    """One of the installation's; everybody sees it, only an admin changes it, on the record."""
    async with site.open(sinks=chats()) as house:
        viewer = await house.user(house.admin.tenant_id, "v@example.com", Role.VIEWER)
        assert "`runbook`" in (await house.ask("/engine", viewer)).reply
        assert (await house.ask("/engine runbook", viewer)).outcome == "refused"
        assert (await house.ask("/engine nonsense")).outcome == "refused"
        assert await house.rows("SELECT engine FROM tenants") == [(None,)]
        assert "**scripted**" in (await house.ask("/engine scripted")).reply
        assert "**scripted**" in (await house.ask("/engine", viewer)).reply
        assert (await house.ask("hello", viewer, engine=None)).engine == "scripted"
        await house.ask("/engine scripted")
        assert "again" in (await house.ask("/engine default")).reply
        assert await house.rows("SELECT engine FROM tenants") == [(None,)]
        log = await house.rows("SELECT detail FROM audit_log WHERE action = 'tenant.engine'")
        assert len(log) == 2
        await house.settled()


async def test_the_skills_are_listed(site: Site) -> None:
    """Each with its line, without a model."""
    async with site.open(sinks=chats()) as house:
        reply = (await house.ask("/skills")).reply
        for skill in house.core.team.installed.skills:
            assert f"- **{skill.name}**: " in reply
        assert house.engine.requests == []


async def test_whoami_says_where_and_how(site: Site) -> None:
    """Team, platform, language and conversation, for the place where it is asked."""
    async with site.open(sinks=chats()) as house:
        ann = Person(house, "A1", platform="slack", workspace="T1")
        await ann.link(house.admin, "T1")
        said = await ann.ask("/whoami", "T1", channel="D7")
        assert "Platform: Slack, direct message" in said.reply
        assert "Language: English, as your platform says" in said.reply
        assert said.conversation_id in said.reply
        assert "Slack, in a channel" in (await ann.ask("/whoami", "T1", channel="C7")).reply
        assert house.admin.email in said.reply

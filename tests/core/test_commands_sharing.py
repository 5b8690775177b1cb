"""Conversations go with a person from platform to platform, and to colleagues by consent."""

from __future__ import annotations

from core.refusals import Rejected
from core.tenants import Role
from tests.support.chat_people import Person, chats
from tests.support.core_kit import Site


async def test_a_conversation_goes_on_on_another_platform(site: Site) -> None:
    """Begun in Slack, resumed in Telegram: the same history; the list says where it was."""
    async with site.open(sinks=chats()) as house:
        slack = Person(house, "U1", platform="slack", workspace="T1")
        phone = Person(house, "77")
        await slack.link(house.admin, "T1")
        await phone.link(house.admin)
        begun = await slack.ask("about disks", "T1", channel="C5")
        listed = (await phone.ask("/sessions")).reply
        assert f"about disks `{begun.conversation_id[-8:]}` · Slack, in a channel · " in listed
        assert "Telegram, private chat" in listed
        resumed = await phone.ask(f"/resume {begun.conversation_id[-8:]}")
        assert resumed.conversation_id == begun.conversation_id
        assert "Everyone here" not in resumed.reply
        assert "It goes on here only" in resumed.reply
        went_on = await phone.ask("and now?")
        assert went_on.conversation_id == begun.conversation_id
        assert [past.user_text for past in house.engine.requests[-1].history] == ["about disks"]
        await house.settled()


async def test_resuming_among_others_warns(site: Site) -> None:
    """In a group or channel everyone can ask about it from then on; a direct message is private."""
    async with site.open(sinks=chats()) as house:
        slack = Person(house, "U1", platform="slack", workspace="T1")
        phone = Person(house, "77")
        await slack.link(house.admin, "T1")
        await phone.link(house.admin, "-100")
        mine = (await phone.ask("private matters")).conversation_id
        assert "Everyone here" in (await phone.ask(f"/resume {mine}", "-100")).reply
        assert "Everyone here" in (await slack.ask(f"/resume {mine}", "T1", channel="C1")).reply
        assert "Everyone here" not in (await slack.ask(f"/resume {mine}", "T1", "D1")).reply


async def test_an_owner_lets_a_colleague_resume(site: Site) -> None:
    """Refused without consent, in words that tell nothing; allowed with it; gone when deleted."""
    async with site.open(sinks=chats()) as house:
        owner = house.admin
        friend = await house.user(owner.tenant_id, "friend@example.com", Role.VIEWER)
        third = await house.user(owner.tenant_id, "third@example.com", Role.ADMIN)
        secret = (await house.ask("xcanaryx plans", place="a")).conversation_id
        refused = await house.ask(f"/resume {secret[-8:]}", friend)
        nothing = await house.ask("/resume ffffffff", friend)
        assert refused.outcome == nothing.outcome == "refused"
        assert refused.reply.replace(secret[-8:], "") == nothing.reply.replace("ffffffff", "")
        assert "`/share ID EMAIL`" in refused.reply
        shared = await house.ask(f"/share {secret[-8:]} Friend@example.com")
        assert shared.outcome == "answered"
        assert "xcanaryx" not in shared.reply
        listed = (await house.ask("/sessions", friend)).reply
        assert "xcanaryx plans (from admin)" in listed
        resumed = await house.ask(f"/resume {secret[-8:]}", friend)
        assert resumed.conversation_id == secret
        await house.ask("what was it about?", friend)
        assert house.engine.requests[-1].history[0].user_text.endswith("xcanaryx plans")
        named = await house.ask("and by its id?", friend, place="c", conversation=secret)
        assert named.conversation_id == secret
        assert isinstance(await house.say("and I?", third, conversation=secret), Rejected)
        assert (await house.ask(f"/resume {secret}", third)).outcome == "refused"
        assert (await house.ask(f"/delete {secret}", friend)).outcome == "refused"
        assert (await house.ask(f"/share {secret} third@example.com", friend)).outcome == "refused"
        log = await house.rows("SELECT actor FROM audit_log WHERE action = 'conversation.shared'")
        assert log == [(owner.id,)]
        assert (await house.ask(f"/delete {secret}", place="b")).outcome == "answered"
        assert await house.rows("SELECT COUNT(*) FROM shares") == [(0,)]
        assert "xcanaryx" not in await house.dump()
        assert (await house.ask(f"/resume {secret}", friend)).outcome == "refused"
        await house.settled()


async def test_sharing_needs_an_own_conversation_and_a_colleague(site: Site) -> None:
    """W15: neither another team's people nor another person's conversations can be named."""
    async with site.open(sinks=chats()) as house:
        outsider = await house.tenant("outsider")
        colleague = await house.user(house.admin.tenant_id, "b@example.com", Role.ADMIN)
        mine = (await house.ask("xcanaryx", place="a")).conversation_id
        for rest in (
            f"{mine} {outsider.email}",
            f"{mine} {house.admin.email}",
            f"{mine} nobody@example.com",
            f"{mine}",
            "b@example.com",
            "99 b@example.com",
            f"{mine} b@example.com on",
            f"{mine} b@example.com off off",
            "",
        ):
            assert (await house.ask(f"/share {rest}")).outcome == "refused", rest
        for thief in (outsider, colleague):
            for which in (mine, mine[-8:], "1", "%"):
                for whom in (outsider.email, colleague.email, house.admin.email):
                    final = await house.ask(f"/share {which} {whom}", thief)
                    assert "xcanaryx" not in final.reply
        held = await house.rows("SELECT COUNT(*) FROM shares WHERE conversation_id = :id", id=mine)
        assert held == [(0,)]
        for thief in (outsider, colleague):
            assert "xcanaryx" not in (await house.ask("/sessions", thief)).reply
            assert (await house.ask(f"/resume {mine}", thief)).conversation_id != mine
        await house.settled()


async def test_a_share_does_not_outlive_the_colleague(site: Site) -> None:
    """Who was shut out neither lists nor resumes it; the owner's other conversations never."""
    async with site.open(sinks=chats()) as house:
        friend = await house.user(house.admin.tenant_id, "friend@example.com")
        first = (await house.ask("one", place="a")).conversation_id
        second = (await house.ask("two", place="b")).conversation_id
        await house.ask(f"/share {first} {friend.email}")
        assert (await house.ask(f"/resume {second}", friend)).outcome == "refused"
        listed = (await house.ask("/sessions", friend)).reply
        assert first[-8:] in listed
        assert second[-8:] not in listed
        await house.write("UPDATE users SET disabled_at = 1 WHERE id = :id", id=friend.id)
        await house.say("/sessions", friend)
        await house.settled()
        turns = await house.rows(
            "SELECT COUNT(*) FROM turns WHERE user_id = :id AND text = '/sessions'", id=friend.id
        )
        assert turns == [(1,)]


async def test_consent_can_be_taken_back(site: Site) -> None:
    """From then on the colleague's place begins a new conversation; the owner's stays theirs."""
    async with site.open(sinks=chats()) as house:
        friend = await house.user(house.admin.tenant_id, "friend@example.com")
        mine = (await house.ask("xcanaryx", place="a")).conversation_id
        await house.ask(f"/share {mine} {friend.email}")
        await house.ask(f"/resume {mine}", friend)
        assert (await house.ask("and?", friend)).conversation_id == mine
        ended = await house.ask(f"/share {mine} {friend.email} off")
        assert ended.outcome == "answered"
        after = await house.ask("and now?", friend)
        assert after.conversation_id != mine
        assert not house.engine.requests[-1].history
        assert (await house.ask(f"/resume {mine}", friend)).outcome == "refused"
        assert isinstance(await house.say("x", friend, conversation=mine), Rejected)
        assert (await house.ask("still here", place="a")).conversation_id == mine
        log = await house.rows(
            "SELECT action FROM audit_log WHERE action LIKE 'conversation.%' ORDER BY seq"
        )
        assert log == [("conversation.shared",), ("conversation.unshared",)]
        await house.settled()

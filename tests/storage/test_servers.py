"""The servers of teams, on both databases."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator
from dataclasses import dataclass

import pytest

import app
from billing.invoices import Party
from core.fleet.inventory import (
    Criticality,
    Environment,
    Identity,
    Server,
    ServerKind,
    SudoPolicy,
)
from core.fleet.registry import NewServer, ServerChanges
from core.refusals import Rejected
from core.sealing import CannotUnseal
from core.tenants import Role, User
from storage.audit import SqlAudit
from storage.database import Database, execute
from storage.people import SqlPeople
from storage.plan_limits import switch
from storage.plans import SqlPlans
from storage.servers import SqlServers
from storage.team import SqlTeam
from tests.bots.web.servers_kit import PEM, SECRET, host_key
from tests.storage.kit import install
from tests.storage.payment_kit import Hands
from tests.storage.racing import rows
from tests.support.core_fixtures import migrated_postgres, postgres_place, site, sqlite_template
from tests.support.core_kit import Site

__all__ = ["migrated_postgres", "postgres_place", "site", "sqlite_template"]

SEAL, AUDIT = b"s" * 32, b"a" * 32


@dataclass
class Fleet:
    """A team's servers, changed by its admin."""

    db: Database
    admin: User
    store: SqlServers

    async def add(self, name: str, address: str = "192.0.2.1", **more: object) -> Server:
        """One that is taken."""
        added = await self.tried(name, address, **more)
        assert isinstance(added, Server), added
        return added

    async def tried(
        self, name: str, address: str = "192.0.2.1", **more: object
    ) -> Server | Rejected:
        """What comes of adding one."""
        new = NewServer(name=name, address=address, **more)  # type: ignore[arg-type]  # named by the test
        return await self.store.add(self.admin, new)

    async def change(self, server: Server, **changes: object) -> Server | Rejected:
        """What comes of changing one."""
        made = ServerChanges(**changes)  # type: ignore[arg-type]  # named by the test
        return await self.store.change(self.admin, server.id, made)

    async def all(self) -> dict[str, Server]:
        """By name."""
        return {one.name: one for one in await self.store.servers(self.admin.tenant_id)}

    async def log(self) -> list[tuple[str, dict[str, object]]]:
        """The audit rows of servers."""
        found = await rows(
            self.db,
            "SELECT action, detail FROM audit_log WHERE action LIKE 'server.%' ORDER BY seq",
        )
        return [(str(action), json.loads(str(detail))) for action, detail in found]


@pytest.fixture
async def fleet(site: Site) -> AsyncIterator[Fleet]:
    """The operator's team, without limits."""
    async with app.open_storage(site.settings()) as storage:
        admin = await install(storage.db)
        await storage.db.transaction(switch, on=False)
        yield Fleet(storage.db, admin, SqlServers(storage.db, SEAL, AUDIT))


async def guest(fleet: Fleet) -> Fleet:
    """Another team of the installation."""
    people = SqlPeople(fleet.db)
    tenant = await people.add_tenant("guests")
    admin = await people.add_user(tenant.id, email="g@example.org", name="", role=Role.ADMIN)
    assert isinstance(admin, User)
    return Fleet(fleet.db, admin, fleet.store)


def code(answer: object) -> str:
    """The code of a refusal."""
    assert isinstance(answer, Rejected), answer
    return answer.code


async def test_every_field_is_read_back(fleet: Fleet) -> None:
    """In its stored form; the chain of audit rows holds."""
    bastion = await fleet.add("bastion", "2001:DB8::7")
    web = await fleet.add(
        "Web-1",
        "Web.Example.org",
        port=2222,
        user="deploy",
        tags=("EU", "edge", "eu"),
        environment=Environment.STAGING,
        criticality=Criticality.CRITICAL,
        jump="BASTION",
        private_key=PEM,
        host_key=f"web.example.org {host_key()} a comment",
        sudo=SudoPolicy.NEVER,
    )
    assert web == Server(
        id=web.id,
        tenant_id=fleet.admin.tenant_id,
        name="Web-1",
        kind=ServerKind.SSH,
        address="web.example.org",
        port=2222,
        user="deploy",
        tags=("edge", "eu"),
        environment=Environment.STAGING,
        criticality=Criticality.CRITICAL,
        jump=bastion.id,
        identity=Identity.STORED,
        host_key=host_key(),
        sudo=SudoPolicy.NEVER,
    )
    assert (await fleet.all())["Web-1"] == web
    assert await fleet.store.server(fleet.admin.tenant_id, web.id) == web
    assert set(await fleet.all()) == {"Web-1", "bastion", "local"}
    assert [action for action, _ in await fleet.log()] == ["server.added"] * 2
    assert await SqlAudit(fleet.db, AUDIT).verify() == {}


async def test_a_private_key_is_sealed_and_opens_for_its_server_alone(fleet: Fleet) -> None:
    """The database and the log hold its fingerprint; another row's key does not open."""
    web = await fleet.add("web-1", private_key=PEM)
    other = await fleet.add("web-2", private_key=PEM)
    assert await fleet.store.private_key(web) == PEM.encode()
    hints = await fleet.store.key_hints(fleet.admin.tenant_id)
    assert set(hints) == {web.id, other.id}
    assert hints[web.id].startswith("SHA256:")
    for table in ("servers", "audit_log"):
        assert SECRET not in repr(await rows(fleet.db, f"SELECT * FROM {table}"))
    assert SECRET not in repr(NewServer(name="a", address="b", private_key=PEM))
    await fleet.db.transaction(
        lambda conn: execute(
            conn,
            "UPDATE servers SET sealed_key = (SELECT sealed_key FROM servers WHERE id = :web)"
            " WHERE id = :other",
            web=web.id,
            other=other.id,
        )
    )
    with pytest.raises(CannotUnseal):
        await fleet.store.private_key(other)
    changed = await fleet.change(web, identity=Identity.AGENT)
    assert isinstance(changed, Server)
    assert await fleet.store.private_key(changed) is None
    assert code(await fleet.change(web, identity=Identity.STORED)) == "bad_server"
    assert await fleet.store.private_key((await fleet.all())["local"]) is None


async def test_a_change_touches_what_it_names_and_grows_the_revision(fleet: Fleet) -> None:
    """The same again changes nothing; a lost update is refused."""
    web = await fleet.add("web-1", private_key=PEM, host_key=host_key())
    changed = await fleet.change(web, tags=("a",), user="root")
    assert isinstance(changed, Server)
    assert (changed.tags, changed.user, changed.revision) == (("a",), "root", 1)
    assert (changed.host_key, changed.identity) == (host_key(), Identity.STORED)
    assert await fleet.store.private_key(changed) == PEM.encode()
    assert await fleet.change(web, tags=("A", "a")) == changed
    moved = await fleet.change(web, address="192.0.2.2")
    assert isinstance(moved, Server)
    assert (moved.host_key, moved.revision) == ("", 2)
    late = await fleet.store.change(
        fleet.admin, web.id, ServerChanges(name="x"), revision=changed.revision
    )
    assert code(late) == "changed_meanwhile"
    assert (await fleet.log())[1:] == [
        (
            "server.changed",
            {
                "server": web.id,
                "name": "web-1",
                "address": "192.0.2.1:22",
                "fields": "user,tags",
                "user": "root",
                "tags": "a",
            },
        ),
        (
            "server.changed",
            {
                "server": web.id,
                "name": "web-1",
                "address": "192.0.2.2:22",
                "fields": "address,host_key",
            },
        ),
    ]


async def test_names_are_unique_whatever_their_case(fleet: Fleet) -> None:
    """Also when one is renamed, and when two are added at once."""
    await fleet.add("web-1")
    assert code(await fleet.tried("WEB-1")) == "server_exists"
    other = await fleet.add("web-2")
    assert code(await fleet.change(other, name="Web-1")) == "server_exists"
    assert isinstance(await fleet.change(other, name="WEB-2"), Server)
    results = await asyncio.gather(*(fleet.tried(name) for name in ("new", "NEW", "New")))
    assert sum(isinstance(result, Server) for result in results) == 1


async def test_what_is_no_server_is_refused(fleet: Fleet) -> None:
    """Nothing is stored, nothing is on the record."""
    for wrong in (
        {"address": "-oProxyCommand=x"},
        {"tags": ("a b",)},
        {"jump": "nobody"},
        {"jump": "local"},
        {"identity": Identity.STORED},
        {"host_key": "ssh-ed25519 AAAA"},
    ):
        assert code(await fleet.tried("web-1", **wrong)) == "bad_server"
    assert set(await fleet.all()) == {"local"}
    assert await fleet.log() == []


async def test_only_the_operators_team_uses_what_its_machine_has(fleet: Fleet) -> None:
    """Its agent, its files, its loopback; other teams bring a key, and go elsewhere."""
    assert isinstance(await fleet.tried("loop", "127.0.0.1"), Server)
    other = await guest(fleet)
    for more in (
        {},
        {"identity": Identity.FILE, "identity_file": "/x"},
        {"address": "127.0.0.1", "private_key": PEM},
        {"address": "localhost", "private_key": PEM},
        {"address": "169.254.169.254", "private_key": PEM},
        {"address": "::ffff:127.0.0.1", "private_key": PEM},
    ):
        assert code(await other.tried("web-1", **more)) == "bad_server"
    web = await other.add("web-1", private_key=PEM)
    assert code(await other.change(web, identity=Identity.AGENT)) == "bad_server"
    assert code(await other.change(web, address="::1")) == "bad_server"
    assert await fleet.store.owns_installation(fleet.admin.tenant_id)
    assert not await fleet.store.owns_installation(other.admin.tenant_id)


async def test_jump_hosts_end_somewhere_and_stay_while_they_are_needed(fleet: Fleet) -> None:
    """No circle, no endless chain; the refusal names who is behind."""
    first = await fleet.add("h0")
    for number in range(1, 6):
        await fleet.add(f"h{number}", jump=f"h{number - 1}")
    assert code(await fleet.tried("h6", jump="h5")) == "bad_server"
    assert code(await fleet.change(first, jump="h2")) == "bad_server"
    assert code(await fleet.change(first, jump="h0")) == "bad_server"
    refused = await fleet.store.remove(fleet.admin, first.id)
    assert isinstance(refused, Rejected)
    assert "h1" in refused.sentence
    last = (await fleet.all())["h5"]
    assert isinstance(await fleet.change(last, jump=""), Server)
    assert isinstance(await fleet.store.remove(fleet.admin, last.id), Server)
    assert (await fleet.log())[-1][0] == "server.removed"


async def test_another_host_key_needs_a_word(fleet: Fleet) -> None:
    """The first one is pinned, the same one again is no change, a second one is refused loudly."""
    web, admin = await fleet.add("web-1"), fleet.admin
    pinned = await fleet.store.confirm_host_key(admin, web.id, host_key())
    assert isinstance(pinned, Server)
    assert (pinned.host_key, pinned.revision) == (host_key(), 1)
    assert await fleet.store.confirm_host_key(admin, web.id, host_key()) == pinned
    other = host_key(2)
    assert code(await fleet.store.confirm_host_key(admin, web.id, other)) == "host_key_changed"
    replaced = await fleet.store.confirm_host_key(admin, web.id, other, replace=True)
    assert isinstance(replaced, Server)
    assert replaced.host_key == other
    action, detail = (await fleet.log())[-1]
    assert action == "server.host_key"
    assert str(detail["replaced"]).startswith("SHA256:")
    local = (await fleet.all())["local"]
    assert code(await fleet.store.confirm_host_key(admin, local.id, other)) == "bad_server"
    assert code(await fleet.store.confirm_host_key(admin, web.id, "rubbish")) == "bad_server"


async def test_the_machine_it0_runs_on_keeps_its_place(fleet: Fleet) -> None:
    """Its tags, weight and sudo policy are the team's to choose; it is not removed."""
    local = (await fleet.all())["local"]
    changed = await fleet.change(
        local,
        tags=("Home",),
        environment=Environment.DEVELOPMENT,
        criticality=Criticality.LOW,
        sudo=SudoPolicy.NEVER,
    )
    assert isinstance(changed, Server)
    assert (changed.tags, changed.kind, changed.revision) == (("home",), ServerKind.LOCAL, 1)
    assert (changed.environment, changed.sudo) == (Environment.DEVELOPMENT, SudoPolicy.NEVER)
    for changes in ({"address": "192.0.2.1"}, {"name": "x"}, {"tags": ("a b",)}):
        assert code(await fleet.change(local, **changes)) == "bad_server"
    assert code(await fleet.store.remove(fleet.admin, local.id)) == "server_needed"


async def test_admins_alone_change_servers_and_only_their_own(fleet: Fleet) -> None:
    """By the role of this moment; another team's server looks like none."""
    web, other = await fleet.add("web-1"), await guest(fleet)
    for by, expected in ((other.admin, "not_found"), (await demoted(fleet), "forbidden")):
        answers = (
            await fleet.store.change(by, web.id, ServerChanges(tags=("x",))),
            await fleet.store.confirm_host_key(by, web.id, host_key()),
            await fleet.store.remove(by, web.id),
        )
        assert [code(answer) for answer in answers] == [expected] * 3
    refused = await other.tried("b", private_key=PEM, jump=web.id)
    assert code(refused) == "bad_server"
    assert await fleet.store.servers(other.admin.tenant_id) == ()
    assert await fleet.store.server(other.admin.tenant_id, web.id) is None
    assert (await fleet.all())["web-1"] == web


async def demoted(fleet: Fleet) -> User:
    """Somebody who was an admin when they logged in."""
    team = SqlTeam(fleet.db, AUDIT)
    user = await team.add_user(
        fleet.admin.tenant_id, email="d@example.org", name="", role=Role.ADMIN, actor="usr_x"
    )
    assert isinstance(user, User)
    await team.set_role(user.tenant_id, user.id, Role.OPERATOR, actor="usr_x")
    return user


async def test_the_plan_limits_the_servers(fleet: Fleet) -> None:
    """Of many at the limit one wins; the machine IT0 runs on counts; others' servers do not."""
    await SqlPlans(fleet.db, Hands(), "USD", Party(name="IT0")).seed()
    await fleet.db.transaction(switch, on=True)
    await fleet.add("web-1")
    results = await asyncio.gather(*(fleet.tried(f"n{number}") for number in range(5)))
    assert sum(isinstance(result, Server) for result in results) == 1
    full = await fleet.tried("late")
    assert code(full) == "limit_reached"
    assert isinstance(full, Rejected)
    assert "Free plan allows 3 servers" in full.sentence
    assert "/upgrade" in full.sentence
    assert isinstance(await (await guest(fleet)).tried("b", private_key=PEM), Server)
    await fleet.db.transaction(switch, on=False)
    assert isinstance(await fleet.tried("late"), Server)

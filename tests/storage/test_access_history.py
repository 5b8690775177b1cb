"""Any history of codes, people and places ends as the rules say, whoever does what in which order."""

from __future__ import annotations

import asyncio
import shutil
from dataclasses import dataclass, field
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from core.access import hash_code
from core.clock import SystemClock
from core.messages import Actor, ConversationAddress, InboundMessage
from core.tenants import Role, User
from storage.access import SqlGate
from storage.audit import SqlAudit
from storage.database import Database, execute
from storage.migrate import migrate_sqlite
from storage.people import SqlPeople
from storage.sqlite import SqliteDatabase

KEY = b"k" * 32
PEOPLE, USERS, NOBODY = 3, 4, -1
GROUPS = (None, "-1", "-2")

numbers = st.integers(0, 5)
sure = st.sampled_from(["sure", "unsure"])
steps = st.lists(
    st.one_of(
        st.tuples(st.just("link"), numbers),
        *[st.tuples(st.just("redeem"), numbers, numbers, st.sampled_from(GROUPS), sure)] * 4,
        st.tuples(st.just("expire"), numbers),
        st.tuples(st.just("disable"), numbers),
    ),
    min_size=8,
    max_size=30,
)


@dataclass
class Code:
    """A code, as the rules see it."""

    text: str
    user: User
    live: bool = True
    used_by: int | None = None


@dataclass
class Model:
    """What must be so."""

    codes: list[Code] = field(default_factory=list)
    disabled: set[str] = field(default_factory=set)
    selves: dict[tuple[int, str], str] = field(default_factory=dict)
    """Person and tenant to user."""
    links: dict[str, str] = field(default_factory=dict)

    def link(self, user: User, text: str) -> None:
        """A new code; the unused ones of the user before it die."""
        for code in self.codes:
            if code.user.id == user.id and code.used_by is None:
                code.live = False
        self.codes.append(Code(text, user))

    def redeem(self, code: Code, person: int, group: str | None, *, sure: bool) -> str | None:
        """The refusal's code, or None."""
        if not code.live or code.used_by not in (None, person):
            return "bad_code"
        if code.used_by == person:
            return None
        tenant = code.user.tenant_id
        if group is not None and self.links.get(group, tenant) != tenant:
            code.used_by = NOBODY
            return "linked_elsewhere"
        if code.user.id in self.disabled:
            return "bad_code"
        known = {user for (who, _), user in self.selves.items() if who == person}
        known -= self.disabled
        if known and code.user.id not in known and (group is not None or not sure):
            code.used_by = NOBODY if group is not None else None
            return "known_already"
        code.used_by = person
        self.selves[person, tenant] = code.user.id
        if group is not None and code.user.role is Role.ADMIN:
            self.links.setdefault(group, tenant)
        return None


def said(person: int, group: str | None) -> InboundMessage:
    """A message."""
    actor = Actor(platform="telegram", workspace="", external_id=str(person))
    address = ConversationAddress(
        platform="telegram", workspace="", channel=group or str(person), thread=""
    )
    return InboundMessage(event_id="e", address=address, actor=actor, text="", group=group)


async def _users(db: Database) -> list[User]:
    """An admin and a viewer in each of two teams."""
    people = SqlPeople(db)
    users: list[User] = []
    for team in ("a", "b"):
        tenant = await people.add_tenant(team)
        for role in (Role.ADMIN, Role.VIEWER):
            email = f"{role}@{team}.example"
            added = await people.add_user(tenant.id, email=email, name=role, role=role)
            assert isinstance(added, User)
            users.append(added)
    return users


async def _change(db: Database, sql: str, **values: str) -> None:
    await db.transaction(lambda conn: execute(conn, f"{sql} RETURNING 1", **values).all())


async def _step(db: Database, model: Model, users: list[User], step: tuple[object, ...]) -> None:
    gate = SqlGate(db, KEY)
    numbers = [part for part in step[1:] if isinstance(part, int)]
    user = users[numbers[0] % USERS]
    if step[0] == "link":
        model.link(user, await gate.link_code(user))
        return
    if step[0] == "disable":
        model.disabled.add(user.id)
        await _change(db, "UPDATE users SET disabled_at = {now} WHERE id = :id", id=user.id)
        return
    if not model.codes:
        return
    code = model.codes[numbers[0] % len(model.codes)]
    if step[0] == "expire":
        code.live = False
        expire = "UPDATE codes SET expires_at = {now} - 1 WHERE hash = :hash"
        await _change(db, expire, hash=hash_code(code.text))
        return
    person, group = numbers[1] % PEOPLE, step[3]
    assert group is None or isinstance(group, str)
    confirmed = step[4] == "sure"
    answer = await gate.redeem(said(person, group), code.text, confirmed=confirmed)
    assert (answer and answer.code) == model.redeem(code, person, group, sure=confirmed)


async def _history(path: Path, history: list[tuple[object, ...]]) -> None:
    db = SqliteDatabase(path, SystemClock())
    try:
        model, users = Model(), await _users(db)
        for step in (*(("link", number) for number in range(USERS)), *history):
            await _step(db, model, users, step)
            assert await _selves(db) == model.selves
            assert await _links(db) == model.links
        assert await SqlAudit(db, KEY).verify() == {}
    finally:
        await db.close()


async def _selves(db: Database) -> dict[tuple[int, str], str]:
    rows = await db.read(
        lambda conn: execute(
            conn,
            "SELECT external_id, tenant_id, user_id FROM identities WHERE platform = 'telegram'",
        ).all()
    )
    return {(int(str(row[0])), str(row[1])): str(row[2]) for row in rows}


async def _links(db: Database) -> dict[str, str]:
    rows = await db.read(lambda conn: execute(conn, "SELECT group_id, tenant_id FROM links").all())
    return {str(row[0]): str(row[1]) for row in rows}


@pytest.fixture(scope="module")
def template(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A migrated database without anybody."""
    path = tmp_path_factory.mktemp("template") / "it0.db"
    migrate_sqlite(path)
    return path


@settings(suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(history=steps)
def test_any_history_of_codes(
    template: Path, tmp_path: Path, history: list[tuple[object, ...]]
) -> None:
    """Who somebody is, and whose a place is, follows the model after every single step."""
    path = tmp_path / "it0.db"
    for old in tmp_path.glob("it0.db*"):
        old.unlink()
    shutil.copy(template, path)
    asyncio.run(_history(path, history))

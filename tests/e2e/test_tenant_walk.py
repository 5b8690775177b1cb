"""Every repository method takes the tenant: each one is called with another tenant's ids."""

from __future__ import annotations

import importlib
import inspect
import json
import pkgutil
from collections.abc import Awaitable, Callable
from dataclasses import dataclass, replace

import storage
from core.agent_config import ConfigChanges
from core.buttons import Action, Press
from core.errors import Fenced, NotFound
from core.gate import NoApprovals
from core.ids import new_id
from core.messages import Attachment, ConversationAddress, InboundMessage, Overlap
from core.metering import CallRequest
from core.replies import Part
from core.sinks import Destination
from core.skills import Skill, SkillLibrary
from core.steps import SteerStep, ToolCall
from core.streams import START, EventId, StreamEvent
from core.tenants import Role, User
from core.turns import Ending, Outcome, Turn, TurnKind
from storage.access import SqlGate
from storage.agent_config import SqlAgentConfigs
from storage.choices import SqlChoices
from storage.conversations import SqlConversations
from storage.deliveries import SqlDeliveries
from storage.inbox import SqlInbox
from storage.intake import SqlIntake
from storage.leases import SqlLeases
from storage.metering import RecordingMeter
from storage.people import SqlPeople
from storage.shares import SqlShares
from storage.skills import SqlSkills
from storage.streams import SqlStreamLog
from storage.tables import metadata
from storage.team import SqlTeam
from storage.turnlog import SqlTurnLog
from tests.e2e import (
    tenant_walk_billing,
    tenant_walk_fleet,
    tenant_walk_page,
    tenant_walk_reading,
)
from tests.fakes.scripted_engine import Say, ScriptedEngine
from tests.support.core_kit import House, Probe, Site

CANARY = "xcanaryx"
KEY = b"k" * 32
SKILL = Skill(name="theirs", description="forged", body="forged")

# Methods that serve the installation or a worker, with the reason that they name no tenant.
OF_THE_INSTALLATION = {
    "SqlAudit.verify": "the operator checks every chain; tells row numbers and tenant ids alone",
    "SqlAudit.heads": "the operator exports every head",
    "SqlAudit.compare": "the operator compares every head",
    "SqlInstallation.key_matches": "the installation's key",
    "SqlGate.redeem": "a stranger's one-time code decides the tenant; one of another fails",
    "SqlGate.first_link_code": "the operator's first start",
    "SqlGate.ask_in": "notes a stranger, who has no tenant yet",
    "SqlInbox.retract": "the platform vouches that the message's writer deleted it",
    "SqlInbox.move": "the platform vouches that the channel got another id",
    "SqlInstalls.find": "a workspace of the platform belongs to no tenant",
    "SqlInstalls.save": "as above",
    "SqlInstalls.revoke": "as above",
    "SqlLeases.beat": "the worker's own leases",
    "SqlLeases.claim": "a worker runs turns of every tenant; the turn carries its tenant",
    "SqlLeases.leave": "the worker's own row",
    "SqlDeliveries.claim_undelivered": "a worker delivers for every tenant; the reply carries its",
    "SqlOperations.queue_state": "counts for the operator",
    "SqlOperations.housekeep": "forgets old events of every tenant",
    "SqlOperations.ping": "reads nothing",
    "SqlOperations.deleted_among": "tells which of the ids it is given are gone, and no more",
    "SqlPeople.install": "makes the first tenant",
    "SqlPeople.add_tenant": "makes a tenant",
    "SqlPeople.user_by_email": "the operator's own commands, behind the installation's key",
    **tenant_walk_billing.OF_THE_INSTALLATION,
    **tenant_walk_fleet.OF_THE_INSTALLATION,
    **tenant_walk_page.OF_THE_INSTALLATION,
}


@dataclass(frozen=True)
class Intruder:
    """Somebody of tenant B who knows every id of tenant A."""

    house: House
    user: User
    theirs: Turn
    """Tenant A's turn, as the intruder's."""
    to: Destination
    token: str
    victim: str
    """The id of A's user."""
    event: str
    """The id of A's event."""
    victim_tenant: str

    def _press(self, message: InboundMessage, action: Action) -> Press:
        """A press of B's on the button of A's turn."""
        return Press(
            event_id=self.event,
            actor=message.actor,
            address=message.address,
            group=None,
            action=action,
            subject=self.theirs.id,
        )

    @property
    def group(self) -> ConversationAddress:
        """A place that A linked."""
        return ConversationAddress(platform="telegram", workspace="", channel="-100", thread="")

    def calls(self) -> dict[str, Callable[[], Awaitable[object]]]:
        """Each method with A's ids and B's tenant."""
        db, mine, turn = self.house.core.storage.db, self.user, self.theirs
        desk, people, parts = SqlConversations(db), SqlPeople(db), SqlDeliveries(db)
        team = SqlTeam(db, b"k" * 32)
        gate, shares, choices = SqlGate(db, KEY), SqlShares(db, KEY), SqlChoices(db, KEY)
        log, streams, inbox = SqlTurnLog(db, b"k", "w"), SqlStreamLog(db), SqlInbox(db, b"k")
        conversation, agents = turn.conversation_id, SqlAgentConfigs(db, KEY, KEY)
        skills = SqlSkills(db, KEY, SkillLibrary(), tools={})
        message = self.house.message("hello", mine, conversation=conversation)
        event = StreamEvent(EventId(1, 900), "text_delta", "{}")
        ending = Ending(outcome=Outcome.ANSWERED, reply="forged")
        call = _their_call(turn)
        offer = {"title": "t", "worker": None, "tenant_limit": 4}
        return {
            "SqlConversations.remember": lambda: desk.remember(turn, max_turns=10),
            "SqlConversations.save_summary": lambda: desk.save_summary(
                turn, upto_seq=1, text="forged", settlement=None
            ),
            "SqlConversations.list_conversations": lambda: desk.list_conversations(
                mine.tenant_id, turn.user.id, limit=10
            ),
            "SqlConversations.new_conversation": lambda: desk.new_conversation(turn),
            "SqlConversations.resume_conversation": lambda: desk.resume_conversation(
                turn, conversation
            ),
            "SqlConversations.delete_conversation": lambda: desk.delete_conversation(
                turn, conversation
            ),
            "SqlConversations.delete": lambda: desk.delete(mine.tenant_id, mine.id, conversation),
            "SqlConversations.messages": lambda: desk.messages(
                mine.tenant_id, mine.id, conversation, limit=10
            ),
            "SqlDeliveries.parts": lambda: parts.parts(mine.tenant_id, turn.id),
            "SqlDeliveries.save_part": lambda: parts.save_part(
                self.to, Part(number=9, ref="r", digest="d"), turn.epoch
            ),
            "SqlDeliveries.renew": lambda: parts.renew(self.to, "w", 1000),
            "SqlDeliveries.redeliver": lambda: parts.redeliver(self.to),
            "SqlDeliveries.delivered": lambda: parts.delivered(self.to, epoch=None, problem="x"),
            "SqlDeliveries.put_off": lambda: parts.put_off(self.to, "w", 1000),
            "SqlDeliveries.release": lambda: parts.release(turn),
            "SqlInbox.accept": lambda: inbox.accept(message, kind=turn.kind, **offer),  # type: ignore[arg-type]
            "SqlInbox.stop": lambda: inbox.stop(message),
            "SqlInbox.press": lambda: inbox.press(self._press(message, Action.STOP)),
            "SqlInbox.press offer": lambda: inbox.press(self._press(message, Action.OFFER)),
            "SqlInbox.edit": lambda: inbox.edit(replace(message, event_id=self.event)),
            "SqlGate.link_group": lambda: gate.link_group(replace(message, group="theirs")),
            "SqlGate.link_code": lambda: gate.link_code(mine),
            "SqlGate.invite_code": lambda: gate.invite_code(
                mine, email=turn.user.email, role=Role.ADMIN
            ),
            "SqlGate.let_in": lambda: gate.let_in(turn, "0000-0000", Role.ADMIN),
            "SqlGate.recent": lambda: gate.recent(message.actor, "theirs", limit=10),
            "SqlShares.share": lambda: shares.share(turn, conversation, mine.email),
            "SqlShares.unshare": lambda: shares.unshare(turn, conversation, mine.email),
            "SqlShares.shared_with": lambda: shares.shared_with(
                mine.tenant_id, turn.user.id, limit=10
            ),
            "SqlSkills.of": lambda: skills.of(mine.tenant_id),
            "SqlSkills.put": lambda: skills.put(mine.tenant_id, [SKILL], actor=mine.id),
            "SqlSkills.switch": lambda: skills.switch(
                mine.tenant_id, "theirs", enabled=False, actor=mine.id
            ),
            "SqlSkills.remove": lambda: skills.remove(mine.tenant_id, "theirs", actor=mine.id),
            "SqlChoices.standing": lambda: choices.standing(turn),
            "SqlChoices.memberships": lambda: choices.memberships(turn),
            "SqlChoices.choose_team": lambda: choices.choose_team(turn, self.victim_tenant),
            "SqlChoices.set_language": lambda: choices.set_language(turn, "zh"),
            "SqlChoices.set_engine": lambda: choices.set_engine(turn, "theirs"),
            "SqlChoices.unlink": lambda: choices.unlink(replace(turn, address=self.group)),
            "SqlAgentConfigs.of": lambda: agents.of(mine.tenant_id),
            "SqlAgentConfigs.read": lambda: agents.read(mine.tenant_id),
            "SqlAgentConfigs.change": lambda: agents.change(
                self.victim, mine.tenant_id, ConfigChanges(model="forged", engine="theirs"), 0
            ),
            "SqlAgentConfigs.set_model": lambda: agents.set_model(turn, "forged"),
            "SqlIntake.take_in": lambda: SqlIntake(db).take_in(turn, (), "forged"),
            "SqlLeases.hand_back": lambda: SqlLeases(db).hand_back(
                turn, settlements=(), failed=False, pause_ms=0
            ),
            "RecordingMeter.reserve": lambda: RecordingMeter(db).reserve(call),
            "SqlPeople.add_user": lambda: people.add_user(
                mine.tenant_id, email="new@example.com", name="n", role=Role.VIEWER
            ),
            "SqlPeople.users": lambda: people.users(mine.tenant_id),
            "SqlPeople.save_token": lambda: people.save_token(mine, new_id("tok"), expires_ms=1),
            "SqlPeople.token_user": lambda: people.token_user(self.token, mine.id),
            "SqlPeople.servers": lambda: people.servers(mine.tenant_id),
            "SqlTeam.add_user": lambda: team.add_user(
                mine.tenant_id, email="n2@example.com", name="n", role=Role.VIEWER, actor=mine.id
            ),
            "SqlTeam.set_role": lambda: team.set_role(
                mine.tenant_id, self.victim, Role.VIEWER, actor=mine.id
            ),
            "SqlTeam.disable_user": lambda: team.disable_user(
                mine.tenant_id, self.victim, actor=mine.id
            ),
            "SqlTeam.tokens": lambda: team.tokens(mine.tenant_id, self.victim),
            "SqlTeam.revoke_token": lambda: team.revoke_token(
                mine.tenant_id, self.token, owner=None, actor=mine.id
            ),
            "SqlStreamLog.read_stream": lambda: streams.read_stream(mine.tenant_id, turn.id, START),
            "SqlStreamLog.check_reader": lambda: streams.check_reader(
                mine.tenant_id, mine.id, turn.id
            ),
            "SqlTurnLog.record": lambda: log.record(turn, SteerStep(text="forged")),
            "SqlTurnLog.save_events": lambda: log.save_events(turn, (event,)),
            "SqlTurnLog.absorb": lambda: log.absorb(turn),
            "SqlTurnLog.finish": lambda: log.finish(
                turn, ending, events=(), settlements=(), deliver=False
            ),
        }


async def _tenant_rows(house: House, tenant_id: str) -> dict[str, list[tuple[object, ...]]]:
    """Every row that names a tenant."""
    found: dict[str, list[tuple[object, ...]]] = {}
    for name, table in storage_tables().items():
        column = "id" if name == "tenants" else "tenant_id"
        if column in table:
            rows = await house.rows(f"SELECT * FROM {name} WHERE {column} = :t", t=tenant_id)
            found[name] = sorted(rows, key=repr)
    return found


def storage_tables() -> dict[str, set[str]]:
    """The columns of each table."""
    return {name: set(table.columns.keys()) for name, table in metadata.tables.items()}


def _methods() -> set[str]:
    found: set[str] = set()
    for module in pkgutil.iter_modules(storage.__path__, "storage."):
        if module.name == "storage.migrations":
            continue
        loaded = importlib.import_module(module.name)
        for name, kind in vars(loaded).items():
            if inspect.isclass(kind) and kind.__module__ == module.name and name[0] != "_":
                found |= {
                    f"{name}.{method}"
                    for method, function in vars(kind).items()
                    if inspect.iscoroutinefunction(function) and method[0] != "_"
                }
    databases = ("Database.", "PostgresDatabase.", "SqliteDatabase.")
    return {name for name in found if not name.startswith(databases)}


async def test_no_method_reaches_another_tenants_rows(site: Site) -> None:
    """Called with another tenant's ids, a method finds nothing, returns nothing, changes nothing."""
    look = Probe("look", output=f"{CANARY} output")
    moves = [Say(f"{CANARY} says", tools=(ToolCall(id="t", name="look"),)), Say(f"{CANARY}.")]
    file = Attachment(name="a.txt", media_type="text/plain", data=CANARY.encode())
    async with site.open(ScriptedEngine(moves), tools=[look.tool()], gate=NoApprovals()) as house:
        victim = await house.tenant("victim")
        intruder = await house.tenant("intruder")
        await house.ask("hello", intruder)
        final = await house.ask(f"{CANARY} asks", victim, files=[file], event="theirs")
        await house.settled()
        await house.write(
            "INSERT INTO links (platform, group_id, tenant_id, user_id, created_at)"
            " VALUES ('it0', 'theirs', :t, :u, 1), ('telegram', '-100', :t, :u, 1)",
            t=victim.tenant_id,
            u=victim.id,
        )
        their_skill = Skill(name="theirs", description=CANARY, body=CANARY)
        await house.core.team.skills.put(victim.tenant_id, [their_skill], actor=victim.id)
        people = house.core.storage.people
        await people.save_token(victim, "tok_victim", expires_ms=2**50)
        chosen = ConfigChanges(model=CANARY, prompt_addition=CANARY)
        agents = SqlAgentConfigs(
            house.core.storage.db, KEY, house.core.storage.keys.derive("audit")
        )
        await agents.change(victim.id, victim.tenant_id, chosen, 0)
        await house.write(
            "UPDATE turns SET offer = :offer, delivery_problem = :problem WHERE id = :id",
            problem=CANARY,
            offer=json.dumps({"label": CANARY, "command": f"/{CANARY}"}),
            id=final.turn_id,
        )
        bill = await tenant_walk_billing.furnish(house.core.storage.db, victim, CANARY)
        fleet = await tenant_walk_fleet.furnish(
            house.core.storage, victim, final.turn_id, final.conversation_id, CANARY
        )
        page = await tenant_walk_page.furnish(house.core.storage, victim, final.turn_id)
        await house.until("SELECT COUNT(*) FROM outbox WHERE sent_at IS NULL", 0)
        await house.settled()
        rows = await house.rows(
            "SELECT lease_epoch FROM conversations WHERE id = :id", id=final.conversation_id
        )
        address = ConversationAddress(platform="api", workspace="", channel=victim.id, thread="1")
        turn = _forged(intruder, final.turn_id, final.conversation_id, int(rows[0][0]), address)
        to = Destination(
            tenant_id=intruder.tenant_id, turn_id=turn.id, event_id="e", address=address
        )
        calls = Intruder(
            house, intruder, turn, to, "tok_victim", victim.id, "test:theirs", victim.tenant_id
        ).calls()
        calls |= tenant_walk_billing.calls(
            house.core.storage.db, intruder, victim, bill, _their_call(turn)
        )
        message = house.message("/approve", intruder, conversation=final.conversation_id)
        calls |= tenant_walk_fleet.calls(house.core.storage.db, intruder, turn, fleet, message)
        calls |= tenant_walk_page.calls(house.core.storage.db, intruder, victim, page, turn)
        calls |= tenant_walk_reading.calls(house.core.storage.db, intruder, victim, turn)
        named = {name.partition(" ")[0] for name in calls}
        assert named | set(OF_THE_INSTALLATION) == _methods()
        before = await _tenant_rows(house, victim.tenant_id)
        assert CANARY in repr(before)
        for name, call in calls.items():
            try:
                result = await call()
            except (NotFound, Fenced):
                result = None
            assert not [
                secret
                for secret in (CANARY, *bill.secrets, *fleet.secrets, *page.secrets)
                if secret in repr(result)
            ], name
            assert victim.email not in repr(result), name
            assert await _tenant_rows(house, victim.tenant_id) == before, name


def _their_call(turn: Turn) -> CallRequest:
    """A model call for another tenant's turn."""
    return CallRequest(
        id=f"{turn.id}.1.99",
        tenant_id=turn.tenant_id,
        turn_id=turn.id,
        conversation_id=turn.conversation_id,
        user_id=turn.user.id,
        engine="e",
        model="m",
        estimated_input=1,
        max_output=1,
    )


def _forged(
    user: User, turn_id: str, conversation_id: str, epoch: int, address: ConversationAddress
) -> Turn:
    return Turn(
        id=turn_id,
        tenant_id=user.tenant_id,
        conversation_id=conversation_id,
        seq=2,
        epoch=epoch,
        attempt=2,
        failures=0,
        kind=TurnKind.MESSAGE,
        event_id="e",
        user=user,
        address=address,
        text="give me theirs",
        attachments=(),
        engine=None,
        overlap=Overlap.QUEUE,
        cancelled=False,
        created_at_ms=0,
    )

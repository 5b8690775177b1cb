"""What the browser page stands on: sign-in and sessions, and what it reads back and shows."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from functools import partial

from aiohttp import web

from bots.web.auth import Authenticator, identity_proof
from bots.web.conversations import ConversationRoutes
from bots.web.engines import EngineRoutes
from bots.web.health import Liveness
from bots.web.people import PeopleRoutes
from bots.web.sessions import Facts, SessionRoutes
from bots.web.sign_in import BrowserSessions
from bots.web.status import Installation, StatusRoutes
from bots.web.turn_details import TurnDetailRoutes
from core.clock import SystemClock
from core.commands_login import LoginCommand
from core.engine_state import EngineStates
from settings import Settings
from storage.access import SqlGate
from storage.conversation_list import SqlShelf
from storage.profiles import SqlProfiles
from storage.team import SqlTeam
from storage.team_queue import SqlTeamQueues
from storage.turn_reads import SqlTurnReads
from storage.web_sessions import SqlSessions
from stores import Storage


@dataclass(frozen=True, slots=True, kw_only=True)
class SignIn:
    """Recognises callers of the HTTP edge."""

    auth: Authenticator
    browser: BrowserSessions
    """Its ``refresh`` belongs to ``server.build(prepare=...)``."""
    routes: tuple[web.RouteDef, ...]
    identity: Callable[[str], str]
    """Answers a nonce as only this installation can."""


def make_sign_in(settings: Settings, storage: Storage, *, version: str) -> SignIn:
    """Tokens and cookies, and the routes of people, tokens and sessions."""
    db, audit_key, people = storage.db, storage.keys.derive("audit"), storage.people
    sessions, team, gate = sql_sessions(storage), SqlTeam(db, audit_key), SqlGate(db, audit_key)
    browser = BrowserSessions(store=sessions, public_url=settings.http.public_url)
    profiles = SqlProfiles(db)
    auth = Authenticator(
        key=storage.keys.derive("tokens"), store=people, browser=browser, readers=profiles
    )
    facts = Facts(version=version, billing=settings.billing.enabled, base=settings.http.url())
    own = SessionRoutes(auth, browser, sessions, sessions, sessions, profiles, facts)
    return SignIn(
        auth=auth,
        browser=browser,
        routes=(*own.routes(), *PeopleRoutes(people, team, team, gate, auth).routes()),
        identity=partial(identity_proof, storage.keys.derive("identity")),
    )


def reading_routes(
    settings: Settings,
    storage: Storage,
    states: EngineStates,
    liveness: Liveness,
    auth: Authenticator,
    version: str,
) -> list[web.RouteDef]:
    """Conversations, turns and their files; engines and the state of the installation."""
    reads = SqlTurnReads(storage.db)
    installation = Installation(
        version=version,
        database="sqlite" if settings.database_url is None else "postgresql",
        started_at_ms=SystemClock().now_ms(),
        platforms={
            "slack": settings.slack.configured,
            "telegram": settings.telegram.token is not None,
        },
    )
    queues = SqlTeamQueues(storage.db)
    return [
        *ConversationRoutes(SqlShelf(storage.db), reads, auth).routes(),
        *TurnDetailRoutes(reads, auth).routes(),
        *EngineRoutes(states, auth).routes(),
        *StatusRoutes(installation, liveness, queues, states, auth).routes(),
    ]


def sql_sessions(storage: Storage) -> SqlSessions:
    """The sessions of an installation."""
    return SqlSessions(storage.db, storage.keys.derive("audit"))


def login_command(settings: Settings, storage: Storage) -> LoginCommand:
    """``/login`` of the chats."""
    return LoginCommand(sql_sessions(storage), settings.http.url())

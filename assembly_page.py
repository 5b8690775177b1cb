"""Who comes in: tokens, sessions and links, and the routes and the command that make them."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from functools import partial

from aiohttp import web

from bots.web.auth import Authenticator, identity_proof
from bots.web.people import PeopleRoutes
from bots.web.sessions import Facts, SessionRoutes
from bots.web.sign_in import BrowserSessions
from core.commands_login import LoginCommand
from settings import Settings
from storage.access import SqlGate
from storage.profiles import SqlProfiles
from storage.team import SqlTeam
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
    auth = Authenticator(key=storage.keys.derive("tokens"), store=people, browser=browser)
    facts = Facts(version=version, billing=settings.billing.enabled, base=settings.http.url())
    own = SessionRoutes(auth, browser, sessions, sessions, sessions, SqlProfiles(db), facts)
    return SignIn(
        auth=auth,
        browser=browser,
        routes=(*own.routes(), *PeopleRoutes(people, team, team, gate, auth).routes()),
        identity=partial(identity_proof, storage.keys.derive("identity")),
    )


def sql_sessions(storage: Storage) -> SqlSessions:
    """The sessions of an installation."""
    return SqlSessions(storage.db, storage.keys.derive("audit"))


def login_command(settings: Settings, storage: Storage) -> LoginCommand:
    """``/login`` of the chats."""
    return LoginCommand(sql_sessions(storage), settings.http.url())

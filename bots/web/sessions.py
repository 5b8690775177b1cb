"""``/api/v1/session``: signing in with a link, out, and who one is; ``/sign-in-links``."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import UTC, datetime
from http import HTTPStatus
from typing import Final, Protocol

from aiohttp import web
from pydantic import BaseModel

from bots.web import models
from bots.web import session_models as answers
from bots.web.auth import Authenticator, Caller, require_admin
from bots.web.cookies import browser_name, own_origin
from bots.web.openapi import operation
from bots.web.problems import Problem
from bots.web.requests import read_body
from bots.web.sign_in import BrowserSessions
from core.messages import MAX_ATTACHMENT_BYTES, MAX_ATTACHMENTS, MAX_TEXT_CHARS
from core.sign_in import LOGIN_TTL_MS, Maker, Opened, Profile, Session, SignInLinks, sign_in_url
from core.tenants import User
from core.words import sentence

MOST_SIGN_IN: Final = 4_096
"""Bytes of a body that strangers may send."""
_BODY: Final = (400, 408, 413, 415, 422)
INVALID: Final = sentence(
    "This sign-in link does not work: it was used before, is older than 30 minutes, or was not "
    "copied whole. Get a new one: `/login` in a chat with IT0, `it0 login` on its server, or from "
    "an admin of your team."
)
NO_SESSION: Final = sentence("There is no such session of yours; perhaps it has ended already.")
_GONE: Final = sentence("What this link was to be made with has ended. Sign in again.")
_LIMITS: Final = answers.Limits(
    files=MAX_ATTACHMENTS, bytes=MAX_ATTACHMENT_BYTES, chars=MAX_TEXT_CHARS
)
_NOBODY: Final = answers.Me(
    user=None,
    team=None,
    operator_team=False,
    language="",
    version=None,
    features=None,
    limits=None,
    session=None,
)
"""A stranger needs no more than the sign-in page, and that one knows its own language."""


class Doors(Protocol):
    """Where sessions begin."""

    async def open(self, code: str, browser: str, attempt: str) -> Opened | None:
        """Use a code up: a new session, or None for a code that opens nothing (any more).

        The same ``attempt`` may ask again for a minute, where the answer was lost.
        """


class SessionDesk(Protocol):
    """A person's own sessions."""

    async def of_user(self, tenant_id: str, user_id: str) -> tuple[Session, ...]:
        """The live ones, the most recently used first."""

    async def succeed(self, user: User, session_id: str, heir: str) -> None:
        """End a session whose browser has another one now, which keeps what was made in it."""

    async def sign_out(self, user: User, session_id: str) -> bool:
        """End the one that they are in, with the tokens that were made in it."""

    async def revoke(self, user: User, session_id: str, current: str | None) -> bool:
        """End one, with all that was made in it; ``current`` goes on. False: there is none."""

    async def revoke_others(self, user: User, current: str | None) -> int:
        """End all but ``current``; returns how many."""


class Profiles(Protocol):
    """What the page knows of its reader."""

    async def profile(self, user: User) -> Profile:
        """Their team and their choices."""

    async def choose_language(self, user: User, language: str | None) -> None:
        """Remember the language of our words; None forgets it."""

    async def member(self, tenant_id: str, email: str) -> User | None:
        """A person of the team by address."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Facts:
    """What the page is told of the installation."""

    version: str
    billing: bool
    base: str
    """Where people reach the page, when a request does not tell."""


class SessionRoutes:
    """Signs browsers in and out."""

    def __init__(
        self,
        auth: Authenticator,
        browser: BrowserSessions,
        doors: Doors,
        desk: SessionDesk,
        links: SignInLinks,
        profiles: Profiles,
        facts: Facts,
    ) -> None:
        """Wire the ports."""
        self._auth = auth
        self._browser = browser
        self._doors = doors
        self._desk = desk
        self._links = links
        self._profiles = profiles
        self._facts = facts

    def routes(self) -> list[web.RouteDef]:
        """What the server mounts."""
        return [
            web.get("/api/v1/session", self.who_am_i, allow_head=False),
            web.post("/api/v1/session", self.sign_in),
            web.patch("/api/v1/session", self.change_session),
            web.delete("/api/v1/session", self.sign_out),
            web.get("/api/v1/sessions", self.list_sessions, allow_head=False),
            web.delete("/api/v1/sessions", self.revoke_other_sessions),
            web.delete("/api/v1/sessions/{session_id}", self.revoke_session),
            web.post("/api/v1/sign-in-links", self.add_sign_in_link),
        ]

    @operation(answer=answers.Me, errors=(401, 403, 503), public=True)
    async def who_am_i(self, request: web.Request) -> web.Response:
        """Who is signed in; ``user`` is null for nobody, so that a page can ask in peace.

        Where a token is sent, it has to be good: whoever has one expects to be somebody.
        """
        if "Authorization" not in request.headers:
            found = await self._browser.signed_in(request)
            if found is None:
                return _json(_NOBODY)
            return await self._about(found.user, found.session)
        caller = await self._auth.caller(request)
        return await self._about(caller.user, None)

    @operation(
        body=answers.SignInBody,
        status=201,
        answer=answers.Me,
        errors=(*_BODY, 401, 403, 503),
        public=True,
    )
    async def sign_in(self, request: web.Request) -> web.Response:
        """Use the code of a sign-in link: this browser gets a new session, and its old one ends.

        Our own page alone may do so: nobody is signed in as somebody else by another site.
        """
        self._browser.require_own(request, proof=True)
        body = answers.SignInBody.model_validate_json(await read_body(request, MOST_SIGN_IN))
        before = await self._browser.signed_in(request)
        browser = browser_name(request.headers.get("User-Agent", ""))
        opened = await self._doors.open(body.code, browser, body.attempt)
        if opened is None:
            raise Problem(HTTPStatus.UNAUTHORIZED, "sign_in_code_invalid", INVALID)
        user, session = opened.signed_in.user, opened.signed_in.session
        if before is not None and before.user == user:
            await self._desk.succeed(user, before.session.id, session.id)
        elif before is not None:
            await self._desk.sign_out(before.user, before.session.id)
        response = await self._about(user, session, HTTPStatus.CREATED)
        self._browser.place(request, response, opened.cookie, session)
        return response

    @operation(body=answers.LanguageBody, answer=answers.Me, errors=_BODY)
    async def change_session(self, request: web.Request) -> web.Response:
        """Choose the language of IT0's own words, here and in chats."""
        caller = await self._auth.caller(request)
        body = answers.LanguageBody.model_validate_json(await read_body(request))
        await self._profiles.choose_language(caller.user, body.language or None)
        session = None
        if caller.session_id is not None:
            found = await self._browser.signed_in(request)
            session = None if found is None else found.session
        return await self._about(caller.user, session)

    @operation(status=204, errors=(404,))
    async def sign_out(self, request: web.Request) -> web.Response:
        """End the session of this browser, and the tokens that were made in it."""
        if "Authorization" in request.headers or self._browser.cookie(request) is None:
            await self._auth.caller(request)
            raise Problem(HTTPStatus.NOT_FOUND, "no_session", NO_SESSION)
        found = await self._browser.signed_in(request)
        if found is not None:
            await self._desk.sign_out(found.user, found.session.id)
        response = web.Response(status=HTTPStatus.NO_CONTENT)
        self._browser.remove(request, response)
        return response

    @operation(answer=answers.Sessions)
    async def list_sessions(self, request: web.Request) -> web.Response:
        """The browsers that are signed in as the caller."""
        caller = await self._auth.caller(request)
        sessions = await self._desk.of_user(caller.user.tenant_id, caller.user.id)
        listed = [_info(session, caller) for session in sessions]
        return _json(answers.Sessions(sessions=listed))

    @operation(status=204)
    async def revoke_other_sessions(self, request: web.Request) -> web.Response:
        """Sign every other browser of the caller's out, and kill the links that wait for them."""
        caller = await self._auth.caller(request)
        await self._desk.revoke_others(caller.user, caller.session_id)
        return web.Response(status=HTTPStatus.NO_CONTENT)

    @operation(status=204, errors=(404,))
    async def revoke_session(self, request: web.Request) -> web.Response:
        """Sign a browser of the caller's out, with all that was made in it."""
        caller = await self._auth.caller(request)
        session_id = request.match_info["session_id"]
        if not await self._desk.revoke(caller.user, session_id, caller.session_id):
            raise Problem(HTTPStatus.NOT_FOUND, "no_session", NO_SESSION)
        response = web.Response(status=HTTPStatus.NO_CONTENT)
        if session_id == caller.session_id:
            self._browser.remove(request, response)
        return response

    @operation(
        body=answers.SignInLinkBody,
        status=201,
        answer=answers.SignInLink,
        errors=(*_BODY, 404, 409),
    )
    async def add_sign_in_link(self, request: web.Request) -> web.Response:
        """A link that signs its bearer in once: oneself, or as an admin somebody of the team.

        What it opens ends with the token that it was made with.
        """
        caller = await self._auth.caller(request)
        body = answers.SignInLinkBody.model_validate_json(await read_body(request))
        user = caller.user
        if body.email is not None and body.email != user.email:
            require_admin(caller)
            user = await self._member(caller, body.email)
        code = await self._links.new_link(user, _maker(caller, user))
        if code is None:
            raise Problem(HTTPStatus.CONFLICT, "maker_ended", _GONE)
        base = self._browser.public_url or own_origin(request.scheme, request.host)
        link = answers.SignInLink(
            url=sign_in_url(base or self._facts.base, code),
            email=user.email,
            expires_in_s=LOGIN_TTL_MS // 1000,
        )
        return _json(link, HTTPStatus.CREATED)

    async def _member(self, caller: Caller, email: str) -> User:
        user = await self._profiles.member(caller.user.tenant_id, email)
        if user is None:
            detail = sentence("There is no user {email} in this team.", email=email)
            raise Problem(HTTPStatus.NOT_FOUND, "unknown_user", detail)
        return user

    async def _about(
        self, user: User, session: Session | None, status: HTTPStatus = HTTPStatus.OK
    ) -> web.Response:
        profile = await self._profiles.profile(user)
        return _json(self._me(user, profile, session), status)

    def _me(self, user: User, profile: Profile, session: Session | None) -> answers.Me:
        current = None
        if session is not None:
            current = answers.Current(id=session.id, expires_at=_time(session.expires_at_ms))
        return answers.Me(
            user=models.User(id=user.id, email=user.email, name=user.name, role=user.role),
            team=answers.TeamName(id=user.tenant_id, name=profile.team),
            operator_team=profile.operator_team,
            language=profile.language,
            version=self._facts.version,
            features=answers.Features(billing=self._facts.billing),
            limits=_LIMITS,
            session=current,
        )


def _maker(caller: Caller, user: User) -> Maker:
    """What the link's session ends with.

    What a session lets in for its own person ends when it does, so that no stolen cookie renews
    itself; the same goes for everything that is made with a token.
    """
    own = caller.token_id is not None or user.id == caller.user.id
    ends = caller.expires if own else None
    return Maker(
        user_id=caller.user.id,
        parent=caller.maker,
        ends_ms=None if ends is None else ends * 1000,
    )


def _info(session: Session, caller: Caller) -> answers.SessionInfo:
    return answers.SessionInfo(
        id=session.id,
        current=session.id == caller.session_id,
        created_at=_time(session.created_at_ms),
        seen_at=_time(session.seen_at_ms),
        expires_at=_time(session.expires_at_ms),
        browser=session.browser,
    )


def _time(at_ms: int) -> datetime:
    return datetime.fromtimestamp(at_ms / 1000, UTC)


def _json(answer: BaseModel, status: HTTPStatus = HTTPStatus.OK) -> web.Response:
    return web.json_response(
        text=answer.model_dump_json(), status=status, headers={"Cache-Control": "no-store"}
    )

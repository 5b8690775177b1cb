"""The team's servers over HTTP: everybody reads them, admins change them, operators try them."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass
from http import HTTPStatus
from typing import Final, Protocol, TypeVar

from aiohttp import web
from pydantic import BaseModel

from bots.web.auth import Authenticator, Caller, needs, require_admin
from bots.web.idempotency import Keys, once
from bots.web.openapi import IDEMPOTENCY_KEY, Reads, operation
from bots.web.problems import Problem
from bots.web.requests import read_body
from bots.web.servers_models import (
    HostKeyBody,
    NewServerBody,
    ServerInfo,
    ServerList,
    ServerPatchBody,
    ServersQuery,
    TrialInfo,
)
from core.fleet.inventory import (
    Ambiguous,
    Criticality,
    Environment,
    Identity,
    Inventory,
    Server,
    SudoPolicy,
    Unknown,
)
from core.fleet.key_texts import fingerprint
from core.fleet.registry import (
    KEEP,
    UNKNOWN_SERVER,
    HostProbe,
    KeyCupboard,
    NewServer,
    ServerChanges,
    ServerDesk,
)
from core.fleet.selection import select
from core.fleet.trial import try_out
from core.refusals import Rejected
from core.tenants import Role
from core.words import sentence

_T = TypeVar("_T")
_STATUSES: Final = {
    "not_found": HTTPStatus.NOT_FOUND,
    "forbidden": HTTPStatus.FORBIDDEN,
    "bad_server": HTTPStatus.UNPROCESSABLE_ENTITY,
    "limit_reached": HTTPStatus.TOO_MANY_REQUESTS,
}
"""What the state of things does not allow now is a 409."""
_BODY_ERRORS: Final = (400, 403, 404, 408, 409, 413, 415, 422)
_ONCE: Final = Reads(headers=(IDEMPOTENCY_KEY,))
_PATH: Final = "/api/v1/servers"


class ServerStore(Inventory, ServerDesk, KeyCupboard, Protocol):
    """The servers, what changes them, and the keys' fingerprints."""


@dataclass(frozen=True, slots=True, kw_only=True)
class ServerRoutes:
    """The team's servers."""

    store: ServerStore
    probe: HostProbe
    auth: Authenticator
    keys: Keys

    def routes(self) -> list[web.RouteDef]:
        """What the server mounts."""
        one = f"{_PATH}/{{server}}"
        return [
            web.get(_PATH, self.list_servers, allow_head=False),
            web.post(_PATH, self.add_server),
            web.get(one, self.show_server, allow_head=False),
            web.patch(one, self.change_server),
            web.delete(one, self.remove_server),
            web.post(f"{one}/host-key", self.confirm_host_key),
            web.post(f"{one}/test", self.test_server),
        ]

    @operation(answer=ServerList, errors=(404, 409, 422), reads=Reads(query=ServersQuery))
    async def list_servers(self, request: web.Request) -> web.Response:
        """The team's servers, or those that ``select`` means."""
        caller = await self.auth.caller(request)
        wanted = ServersQuery.model_validate(dict(request.query)).select
        fleet = await self.store.servers(caller.user.tenant_id)
        chosen = _chosen(wanted, fleet) if wanted.strip() else fleet
        hints = await self.store.key_hints(caller.user.tenant_id)
        return _json(ServerList(servers=[_info(server, fleet, hints) for server in chosen]))

    @operation(
        body=NewServerBody, status=201, answer=ServerInfo, errors=(*_BODY_ERRORS, 429), reads=_ONCE
    )
    async def add_server(self, request: web.Request) -> web.Response:
        """Register a server, as an admin; a 429 when the plan allows no more."""
        caller = await self.auth.caller(request)
        require_admin(caller)
        data = await read_body(request)

        async def work() -> web.Response:
            body = NewServerBody.model_validate_json(data)
            made = _kept(await self.store.add(caller.user, _new(body)))
            return await self._shown(made, HTTPStatus.CREATED)

        return await self._once(request, caller, data, work)

    @operation(answer=ServerInfo, errors=(404,))
    async def show_server(self, request: web.Request) -> web.Response:
        """One server, by its id or name."""
        caller = await self.auth.caller(request)
        return await self._shown(await self._found(caller, request))

    @operation(body=ServerPatchBody, answer=ServerInfo, errors=_BODY_ERRORS)
    async def change_server(self, request: web.Request) -> web.Response:
        """Change a server, as an admin; another address or port unpins its host key."""
        caller = await self.auth.caller(request)
        require_admin(caller)
        body = ServerPatchBody.model_validate_json(await read_body(request))
        before = await self._found(caller, request)
        changed = await self.store.change(
            caller.user, before.id, _changes(body), revision=body.revision
        )
        return await self._shown(_kept(changed))

    @operation(status=204, errors=(403, 404, 409))
    async def remove_server(self, request: web.Request) -> web.Response:
        """Forget a server and its key, as an admin; not while it is another one's jump host."""
        caller = await self.auth.caller(request)
        require_admin(caller)
        before = await self._found(caller, request)
        _kept(await self.store.remove(caller.user, before.id))
        return web.Response(status=HTTPStatus.NO_CONTENT)

    @operation(body=HostKeyBody, answer=ServerInfo, errors=_BODY_ERRORS, reads=_ONCE)
    async def confirm_host_key(self, request: web.Request) -> web.Response:
        """Pin the host key that somebody compared, as an admin."""
        caller = await self.auth.caller(request)
        require_admin(caller)
        data = await read_body(request)

        async def work() -> web.Response:
            body = HostKeyBody.model_validate_json(data)
            before = await self._found(caller, request)
            pinned = await self.store.confirm_host_key(
                caller.user, before.id, body.host_key, replace=body.replace
            )
            return await self._shown(_kept(pinned))

        return await self._once(request, caller, data, work)

    @operation(answer=TrialInfo, errors=(403, 404))
    async def test_server(self, request: web.Request) -> web.Response:
        """Try a server out, as an operator: its host key, and whether IT0 gets in."""
        caller = await self.auth.caller(request)
        if not (caller.operator or caller.user.role.includes(Role.OPERATOR)):
            detail = needs(Role.OPERATOR, caller.user)
            raise Problem(HTTPStatus.FORBIDDEN, "not_allowed", detail)
        tried = await try_out(await self._found(caller, request), self.probe)
        return _json(
            TrialInfo(
                host_key=tried.host_key,
                fingerprint=tried.fingerprint,
                confirmed=tried.confirmed,
                changed=tried.changed,
                reached=tried.reached,
                latency_ms=tried.latency_ms,
                user=tried.user,
                sudo=tried.sudo,
                problem=tried.problem,
            )
        )

    async def _once(
        self,
        request: web.Request,
        caller: Caller,
        body: bytes,
        work: Callable[[], Awaitable[web.Response]],
    ) -> web.Response:
        return await once(self.keys, request, caller, body, work)

    async def _found(self, caller: Caller, request: web.Request) -> Server:
        """The server of the path: an id, or a name whatever its case."""
        named = request.match_info["server"]
        fleet = await self.store.servers(caller.user.tenant_id)
        folded = named.casefold()
        for server in fleet:
            if named == server.id or folded == server.name.casefold():
                return server
        raise _problem(UNKNOWN_SERVER)

    async def _shown(self, server: Server, status: HTTPStatus = HTTPStatus.OK) -> web.Response:
        fleet = await self.store.servers(server.tenant_id)
        hints = await self.store.key_hints(server.tenant_id)
        return _json(_info(server, fleet, hints), status)


def _chosen(wanted: str, fleet: Sequence[Server]) -> Sequence[Server]:
    match select(wanted, fleet, exact=False):
        case Ambiguous(candidates=names):
            meant = ", ".join(names[:10])
            detail = sentence("Several servers could be meant: {names}.", names=meant)
            raise Problem(HTTPStatus.CONFLICT, "ambiguous", detail)
        case Unknown(nearest=names):
            detail = sentence("No server is called that, and no tag.")
            if names:
                detail = sentence(
                    "No server is called that, and no tag. Did you mean one of these: {names}?",
                    names=", ".join(names),
                )
            raise Problem(HTTPStatus.NOT_FOUND, "not_found", detail)
        case servers:
            return servers


def _new(body: NewServerBody) -> NewServer:
    return NewServer(
        name=body.name,
        address=body.address,
        port=body.port,
        user=body.user,
        tags=tuple(body.tags),
        environment=Environment(body.environment),
        criticality=Criticality(body.criticality),
        jump=body.jump,
        identity=None if body.identity is None else Identity(body.identity),
        identity_file=body.identity_file,
        private_key=body.private_key or "",
        host_key=body.host_key or "",
        sudo=SudoPolicy(body.sudo),
    )


def _changes(body: ServerPatchBody) -> ServerChanges:
    """What was named; null is not among it."""
    return ServerChanges(
        name=KEEP if body.name is None else body.name,
        address=KEEP if body.address is None else body.address,
        port=KEEP if body.port is None else body.port,
        user=KEEP if body.user is None else body.user,
        tags=KEEP if body.tags is None else tuple(body.tags),
        environment=KEEP if body.environment is None else Environment(body.environment),
        criticality=KEEP if body.criticality is None else Criticality(body.criticality),
        jump=KEEP if body.jump is None else body.jump,
        identity=KEEP if body.identity is None else Identity(body.identity),
        identity_file=KEEP if body.identity_file is None else body.identity_file,
        private_key=KEEP if body.private_key is None else body.private_key,
        sudo=KEEP if body.sudo is None else SudoPolicy(body.sudo),
    )


def _info(server: Server, fleet: Sequence[Server], hints: dict[str, str]) -> ServerInfo:
    jump = next((other.name for other in fleet if other.id == server.jump), "")
    return ServerInfo(
        id=server.id,
        name=server.name,
        kind=server.kind.value,
        address=server.address,
        port=server.port,
        user=server.user,
        tags=list(server.tags),
        environment=server.environment.value,
        criticality=server.criticality.value,
        jump=jump,
        identity=server.identity.value,
        identity_file=server.identity_file,
        key_fingerprint=hints.get(server.id),
        host_key=server.host_key,
        host_key_fingerprint=fingerprint(server.host_key) or None,
        sudo=server.sudo.value,
        revision=server.revision,
    )


def _kept(found: _T | Rejected) -> _T:
    if isinstance(found, Rejected):
        raise _problem(found)
    return found


def _problem(rejected: Rejected) -> Problem:
    status = _STATUSES.get(rejected.code, HTTPStatus.CONFLICT)
    return Problem(status, rejected.code, rejected.sentence)


def _json(answer: BaseModel, status: HTTPStatus = HTTPStatus.OK) -> web.Response:
    return web.json_response(text=answer.model_dump_json(), status=status)

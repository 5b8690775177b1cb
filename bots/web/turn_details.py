"""What a turn used and what its tools gave, over HTTP; asked for when somebody looks."""

from __future__ import annotations

from dataclasses import asdict
from datetime import UTC, datetime

from aiohttp import web

from bots.web.auth import Authenticator
from bots.web.conversation_models import CallInfo, ToolOutputInfo, TurnUsage
from bots.web.models import Usage
from bots.web.openapi import operation
from core import metering
from core.reading import TurnReader

_NONE = metering.Usage()


class TurnDetailRoutes:
    """Details of the turns that the caller may read."""

    def __init__(self, reader: TurnReader, auth: Authenticator) -> None:
        """Wire the port."""
        self._reader = reader
        self._auth = auth

    def routes(self) -> list[web.RouteDef]:
        """What the server mounts."""
        one = "/api/v1/agent/turns/{turn_id}"
        return [
            web.get(one, self.show_turn, allow_head=False),
            web.get(f"{one}/tools/{{call_id}}", self.show_tool, allow_head=False),
        ]

    @operation(answer=TurnUsage, errors=(404,))
    async def show_turn(self, request: web.Request) -> web.Response:
        """The model calls of a turn and their tokens."""
        user = (await self._auth.caller(request)).user
        turn_id = request.match_info["turn_id"]
        conversation, status, found = await self._reader.calls(user.tenant_id, user.id, turn_id)
        calls = [
            CallInfo(
                engine=call.engine,
                model=call.model,
                state=call.state,
                at=datetime.fromtimestamp(call.at_ms / 1000, UTC),
                **asdict(call.usage),
                own_key=call.own_key,
                estimated=call.state == "estimated",
            )
            for call in found
        ]
        used = [asdict(call.usage) for call in found]
        usage = Usage(**{bucket: sum(each[bucket] for each in used) for bucket in asdict(_NONE)})
        answer = TurnUsage(
            id=turn_id,
            conversation_id=conversation,
            status=status,
            calls=calls,
            usage=usage,
        )
        return web.json_response(text=answer.model_dump_json())

    @operation(answer=ToolOutputInfo, errors=(404,))
    async def show_tool(self, request: web.Request) -> web.Response:
        """What a tool call of a turn was asked, and what it gave."""
        user = (await self._auth.caller(request)).user
        output = await self._reader.output(
            user.tenant_id, user.id, request.match_info["turn_id"], request.match_info["call_id"]
        )
        answer = ToolOutputInfo(**asdict(output))
        return web.json_response(text=answer.model_dump_json())

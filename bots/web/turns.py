"""``POST /api/v1/agent/turns``: a message in, the turn's events out, resumable."""

from __future__ import annotations

import base64
import binascii
import json
from collections.abc import AsyncGenerator
from http import HTTPStatus
from typing import Final

from aiohttp import web

from bots.web.auth import Authenticator, Caller
from bots.web.languages import asked_language
from bots.web.models import AttachmentBody, Completed, TurnBody
from bots.web.openapi import IDEMPOTENCY_KEY, LAST_EVENT_ID, Reads, operation
from bots.web.problems import Problem
from bots.web.requests import idempotency_key, prefers_json, read_body
from bots.web.streaming import HOLD_S, final_answer, stream
from core.attachments import check_in_background
from core.clock import Clock, SystemClock
from core.ids import new_id
from core.inbox import Accepted, ControlDone, Inbox
from core.messages import (
    MAX_ATTACHMENT_BYTES,
    MAX_ATTACHMENTS,
    Actor,
    Attachment,
    ConversationAddress,
    InboundMessage,
)
from core.refusals import Rejected
from core.streams import START, EventId, StreamEvent, Streams
from core.words import sentence

_STATUSES: Final = {
    "empty_message": HTTPStatus.UNPROCESSABLE_ENTITY,
    "message_too_long": HTTPStatus.REQUEST_ENTITY_TOO_LARGE,
    "unknown_person": HTTPStatus.FORBIDDEN,
    "not_found": HTTPStatus.NOT_FOUND,
    "event_taken": HTTPStatus.CONFLICT,
    "idempotency_key_reused": HTTPStatus.CONFLICT,
}


class TurnRoutes:
    """Accepts messages over HTTP and serves the streams of turns."""

    def __init__(
        self, inbox: Inbox, streams: Streams, auth: Authenticator, clock: Clock | None = None
    ) -> None:
        """Wire the core's entrance and its streams; the clock tells ``Retry-After``."""
        self._clock = clock or SystemClock()
        self._inbox = inbox
        self._streams = streams
        self._auth = auth

    def routes(self) -> list[web.RouteDef]:
        """What the server mounts."""
        return [
            web.post("/api/v1/agent/turns", self.create_turn),
            web.get("/api/v1/agent/turns/{turn_id}/events", self.turn_events, allow_head=False),
        ]

    @operation(
        body=TurnBody,
        answer=Completed,
        streams=True,
        errors=(400, 403, 404, 408, 409, 413, 415, 422, 429),
        reads=Reads(headers=(IDEMPOTENCY_KEY, LAST_EVENT_ID)),
    )
    async def create_turn(self, request: web.Request) -> web.StreamResponse:
        """Accept a message and stream its turn.

        ``Idempotency-Key`` makes a repeated request answer with the first one's turn;
        ``Last-Event-ID`` then continues its stream; with another message the key is refused.
        When ``Accept`` prefers ``application/json``, the answer is the final event alone.
        A turn whose first model call is over the quota or a budget is a 429.
        """
        caller = await self._auth.caller(request)
        if request.content_type != "application/json":
            raise Problem(
                HTTPStatus.UNSUPPORTED_MEDIA_TYPE,
                "unsupported_media_type",
                sentence("Send the message as application/json."),
            )
        body = TurnBody.model_validate_json(await read_body(request))
        language = asked_language(request)
        message = await _message(body, caller, idempotency_key(request), language)
        accepted = await self._inbox.accept(message)
        match accepted:
            case Rejected(code=code, sentence=said):
                raise Problem(_STATUSES[code], code, said)
            case ControlDone():
                events, after = _control_events(accepted), START
            case Accepted(tenant_id=tenant_id, turn_id=turn_id):
                after = _last_event_id(request) if accepted.duplicate else START
                events = self._streams.listen(tenant_id, turn_id, after)
        if prefers_json(request.headers.get("Accept", "")):
            return await final_answer(request, events, self._clock)
        # Who goes on in a stream has seen its beginning: that was no 429.
        hold_s = HOLD_S if after == START else 0.0
        return await stream(request, events, self._clock, hold_s=hold_s)

    @operation(streams=True, errors=(404,), reads=Reads(headers=(LAST_EVENT_ID,)))
    async def turn_events(self, request: web.Request) -> web.StreamResponse:
        """Stream a turn from ``Last-Event-ID`` on, live or from the log."""
        caller = await self._auth.caller(request)
        turn_id = request.match_info["turn_id"]
        after = _last_event_id(request)
        await self._streams.check(caller.user.tenant_id, caller.user.id, turn_id)
        events = self._streams.listen(caller.user.tenant_id, turn_id, after)
        return await stream(request, events, self._clock)


async def _message(
    body: TurnBody, caller: Caller, key: str | None, language: str
) -> InboundMessage:
    user, platform = caller.user, "api" if caller.session_id is None else "web"
    attachments = _decode(body.attachments)
    if attachments:
        attachments = await check_in_background(attachments)
    # Without a conversation each message begins one: its place is its own.
    place = body.conversation_id or new_id("place")
    return InboundMessage(
        event_id=f"api:{user.id}:{key or new_id('req')}",
        address=ConversationAddress(platform=platform, workspace="", channel=user.id, thread=place),
        actor=Actor(platform="it0", workspace="", external_id=user.id, language=language),
        text=body.text,
        attachments=attachments,
        conversation_id=body.conversation_id,
        engine=body.engine,
        model=body.model,
        overlap=body.overlap,
    )


def _decode(items: list[AttachmentBody]) -> tuple[Attachment, ...]:
    if len(items) > MAX_ATTACHMENTS:
        raise Problem(
            HTTPStatus.UNPROCESSABLE_ENTITY,
            "too_many_attachments",
            sentence(
                "{files} files are attached; at most {most} are accepted.",
                files=len(items),
                most=MAX_ATTACHMENTS,
            ),
        )
    decoded: list[Attachment] = []
    for item in items:
        try:
            data = base64.b64decode(item.data, validate=True)
        except (binascii.Error, ValueError):
            raise Problem(
                HTTPStatus.UNPROCESSABLE_ENTITY,
                "bad_attachment",
                sentence("The data of {name} is not valid Base64.", name=item.name),
            ) from None
        decoded.append(Attachment(name=item.name, media_type=item.media_type, data=data))
    if sum(len(item.data) for item in decoded) > MAX_ATTACHMENT_BYTES:
        raise Problem(
            HTTPStatus.REQUEST_ENTITY_TOO_LARGE,
            "attachments_too_large",
            sentence("The attachments have more than 10 MB together. Send fewer or smaller files."),
        )
    return tuple(decoded)


def _last_event_id(request: web.Request) -> EventId:
    return EventId.parse(request.headers.get("Last-Event-ID", "")) or START


async def _control_events(done: ControlDone) -> AsyncGenerator[StreamEvent, None]:
    """A control command's answer in the form of a turn's last event."""
    data: dict[str, object] = {
        "outcome": "answered",
        "reply": done.reply,
        "notice": "",
        "engine": "",
        "conversation_id": done.conversation_id,
        "merged_into": None,
        "usage": {},
        "failure": "",
        "retry_at": None,
        "offer": None,
    }
    yield StreamEvent(EventId(1, 1), "completed", json.dumps(data))

"""files.* of the fake Slack, the upload URL and the download URL."""

from __future__ import annotations

import mimetypes

from aiohttp import web

from tests.fakes.slack_calls import ApiCall, Method
from tests.fakes.slack_chat import blocks_of, bot_message
from tests.fakes.slack_events import file_shape
from tests.fakes.slack_limits import TIER_4
from tests.fakes.slack_model import App, File, Json, SlackError
from tests.fakes.slack_team import Team

LOGIN_PAGE = "<!DOCTYPE html><html><head><title>Slack</title></head><body>Sign in</body></html>"


def _upload_url(call: ApiCall) -> Json:
    name, size = call.need("filename"), call.number("length", 0)
    if size < 1:
        raise SlackError("invalid_arguments", "length must be positive")
    file = File(
        id=call.app.new_id("F"),
        team=call.team.id,
        name=name,
        mimetype=mimetypes.guess_type(name)[0] or "text/plain",
        data=b"\0" * size,
        shape={},
        done=False,
    )
    call.app.files[file.id] = file
    return {"upload_url": f"{call.app.base_url}/upload/v1/{file.id}", "file_id": file.id}


def _complete(call: ApiCall) -> Json:
    given = call.structure("files")
    if not isinstance(given, list) or not given:
        raise SlackError("invalid_arguments", "missing required field: files")
    files = [_finished(call, item) for item in given]
    if call.text("channel_id"):
        channel = call.writable("channel_id")
        blocks = blocks_of(call)
        message = bot_message(call, channel, call.text("initial_comment"), blocks)
        message.subtype, message.files = "file_share", files
        call.team.add(channel, message)
    return {"files": [file.shape for file in files]}


def _finished(call: ApiCall, item: Json) -> File:
    file = call.app.files.get(item.get("id", ""))
    if file is None or file.team != call.team.id or not file.shape:
        raise SlackError("file_not_found")
    if file.done:
        raise SlackError("file_already_completed")
    file.done = True
    file.shape = {**file.shape, "title": item.get("title") or file.name}
    return file


def _info(call: ApiCall) -> Json:
    file = call.app.files.get(call.need("file"))
    if file is None or file.team != call.team.id or not file.done:
        raise SlackError("file_not_found")
    return {"file": file.shape, "comments": [], "response_metadata": {"next_cursor": ""}}


async def receive(app: App, teams: dict[str, Team], request: web.Request) -> web.Response:
    """Take the bytes that ``files.getUploadURLExternal`` announced; exactly as many."""
    file = app.files.get(request.match_info["file"])
    if file is None or file.done or file.shape:
        return web.Response(status=404)
    if request.content_type.startswith("multipart/"):
        parts = await request.post()
        part = next(iter(parts.values()), "")
        data = part.file.read() if isinstance(part, web.FileField) else str(part).encode()
    else:
        data = await request.read()
    if len(data) != len(file.data):
        return web.Response(status=400, text="size mismatch")
    file.data = data
    file.shape = file_shape(app, file, teams[file.team].bot_user_id, None)
    return web.Response(text=f"OK - {len(data)}")


def download(app: App, teams: dict[str, Team], request: web.Request) -> web.Response:
    """The bytes for a good token; otherwise a login page with status 200, as the real one."""
    team_id, _, file_id = request.match_info["key"].partition("-")
    file, team = app.files.get(file_id), teams.get(team_id)
    token = request.headers.get("Authorization", "").removeprefix("Bearer ")
    good = team is not None and team.tokens.get(token) == "" and "files:read" in team.scopes
    if not good:
        return web.Response(text=LOGIN_PAGE, content_type="text/html")
    if file is None or file.team != team_id:
        return web.Response(status=404)
    return web.Response(body=file.data, content_type=file.mimetype)


METHODS = {
    "files.getUploadURLExternal": Method(run=_upload_url, tier=TIER_4, scope="files:write"),
    "files.completeUploadExternal": Method(run=_complete, tier=TIER_4, scope="files:write"),
    "files.info": Method(run=_info, tier=TIER_4, scope="files:read"),
}

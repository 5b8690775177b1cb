"""The methods of the fake Bot API about the bot itself, its updates, files and chats."""

from __future__ import annotations

import json
import re
from collections.abc import Mapping
from urllib.parse import urlsplit

from tests.fakes.telegram_errors import Json, bad
from tests.fakes.telegram_hub import Hub
from tests.fakes.telegram_params import Params
from tests.fakes.telegram_updates import Webhook

MAX_DOWNLOAD = 20 * 1024 * 1024
MAX_POLL_S = 50
_SECRET = re.compile(r"[A-Za-z0-9_-]{1,256}")
_COMMAND = re.compile(r"[a-z0-9_]{1,32}")
_SCOPES: Mapping[str, tuple[str, ...]] = {
    "default": (),
    "all_private_chats": (),
    "all_group_chats": (),
    "all_chat_administrators": (),
    "chat": ("chat_id",),
    "chat_administrators": ("chat_id",),
    "chat_member": ("chat_id", "user_id"),
}


class AccountMethods:
    """One method of this class for each method of the API."""

    def __init__(self, hub: Hub) -> None:
        """Start without commands and descriptions."""
        self._hub = hub
        self.commands: dict[tuple[str, str], list[Json]] = {}
        """Commands by scope (as sorted JSON) and language."""
        self.descriptions: dict[tuple[str, str], str] = {}
        """By kind (description, short_description) and language."""

    def get_me(self, _params: Params) -> Json:
        """Who the bot is."""
        return self._hub.bot.json() | {
            "can_join_groups": True,
            "can_read_all_group_messages": not self._hub.privacy,
            "supports_inline_queries": False,
            "can_connect_to_business": False,
            "has_main_web_app": False,
        }

    # -- updates ------------------------------------------------------------------------

    async def get_updates(self, params: Params) -> list[Json]:
        """Wait for updates."""
        self._allow(params)
        limit = params.integer("limit") or 100
        return await self._hub.updates.poll(
            params.integer("offset") or 0,
            min(max(limit, 1), 100),
            min(max(params.integer("timeout") or 0, 0), MAX_POLL_S),
        )

    async def set_webhook(self, params: Params) -> bool:
        """Post updates to an address; http is allowed on loopback, as on a local server."""
        url = urlsplit(params.text("url"))
        if not params.text("url"):
            return await self.delete_webhook(params)
        if url.scheme != "https" and url.hostname not in {"127.0.0.1", "localhost"}:
            raise bad("bad webhook: An HTTPS URL must be provided for webhook")
        secret = params.text("secret_token")
        if secret and not _SECRET.fullmatch(secret):
            raise bad("secret token contains unallowed characters")
        self._allow(params)
        updates = self._hub.updates
        if params.flag("drop_pending_updates"):
            updates.pending.clear()
        connections = min(max(params.integer("max_connections") or 40, 1), 100)
        now = updates.webhook
        same = now is not None and (now.url, now.secret) == (params.text("url"), secret)
        if not same:
            await updates.set_webhook(
                Webhook(url=params.text("url"), secret=secret, max_connections=connections)
            )
        return True

    async def delete_webhook(self, params: Params) -> bool:
        """Go back to polling."""
        await self._hub.updates.close()
        if params.flag("drop_pending_updates"):
            self._hub.updates.pending.clear()
        return True

    def get_webhook_info(self, _params: Params) -> Json:
        """How the webhook is doing."""
        updates = self._hub.updates
        webhook = updates.webhook
        info: Json = {
            "url": webhook.url if webhook else "",
            "has_custom_certificate": False,
            "pending_update_count": len(updates.pending),
        }
        if webhook is not None:
            info["max_connections"] = webhook.max_connections
        if webhook is not None and webhook.last_error_date:
            info["last_error_date"] = webhook.last_error_date
            info["last_error_message"] = webhook.last_error
        if updates.allowed is not None:
            info["allowed_updates"] = sorted(updates.allowed)
        return info

    def _allow(self, params: Params) -> None:
        kinds = params.decoded("allowed_updates", "can't parse allowed_updates")
        if kinds is not None:
            self._hub.updates.allowed = frozenset(kinds) or None

    # -- what people read about the bot -------------------------------------------------

    def set_my_commands(self, params: Params) -> bool:
        """Set the commands of a scope and language."""
        commands = params.decoded("commands", "can't parse commands JSON object")
        if not isinstance(commands, list):
            raise bad("expected an Array of BotCommand")
        if len(commands) > 100:
            raise bad("BOT_COMMANDS_TOO_MUCH")
        for command in commands:
            if not _COMMAND.fullmatch(command.get("command", "").removeprefix("/")):
                raise bad("BOT_COMMAND_INVALID")
            if not 1 <= len(command.get("description", "")) <= 256:
                raise bad("BOT_COMMAND_DESCRIPTION_INVALID")
        self.commands[self._scope(params)] = commands
        self._hub.changed()
        return True

    def get_my_commands(self, params: Params) -> list[Json]:
        """The commands of exactly this scope and language."""
        return self.commands.get(self._scope(params), [])

    def delete_my_commands(self, params: Params) -> bool:
        """Forget the commands of a scope and language."""
        self.commands.pop(self._scope(params), None)
        return True

    def set_my_description(self, params: Params) -> bool:
        """What an empty chat shows."""
        return self._describe("description", 512, params)

    def set_my_short_description(self, params: Params) -> bool:
        """What the profile shows."""
        return self._describe("short_description", 120, params)

    def get_my_description(self, params: Params) -> Json:
        """The description of this language."""
        return {"description": self.descriptions.get(("description", _language(params)), "")}

    def get_my_short_description(self, params: Params) -> Json:
        """The short description of this language."""
        key = ("short_description", _language(params))
        return {"short_description": self.descriptions.get(key, "")}

    def _describe(self, kind: str, most: int, params: Params) -> bool:
        text = params.text(kind)
        if len(text) > most:
            raise bad("BOT_INFO_TOO_LONG" if kind == "description" else "BOT_SHORT_INFO_TOO_LONG")
        self.descriptions[kind, _language(params)] = text
        self._hub.changed()
        return True

    def _scope(self, params: Params) -> tuple[str, str]:
        scope = params.decoded("scope", "can't parse BotCommandScope JSON object")
        scope = {"type": "default"} if scope is None else scope
        fields = _SCOPES.get(scope.get("type", ""))
        if fields is None:
            raise bad("can't parse BotCommandScope: Unsupported type specified")
        if not all(scope.get(name) for name in fields):
            raise bad("can't parse BotCommandScope: Empty chat_id specified")
        if "chat_id" in fields:
            self._hub.find(str(scope["chat_id"]))
        return json.dumps(scope, sort_keys=True), _language(params)

    # -- files and chats ----------------------------------------------------------------

    def get_file(self, params: Params) -> Json:
        """Where a file can be fetched."""
        if not params.text("file_id"):
            raise bad("file_id not specified")
        file = self._hub.files.get(params.text("file_id"))
        if file is None:
            raise bad("wrong file_id or the file is temporarily unavailable")
        if file.size > MAX_DOWNLOAD:
            raise bad("file is too big")
        return {
            "file_id": file.file_id,
            "file_unique_id": f"AgAD{file.file_id[-6:]}",
            "file_size": file.size,
            "file_path": file.path,
        }

    def get_chat(self, params: Params) -> Json:
        """The API's ChatFullInfo."""
        gifts = (
            "unlimited_gifts limited_gifts unique_gifts premium_subscription gifts_from_channels"
        )
        return self._hub.find(params.text("chat_id")).json | {
            "accent_color_id": 1,
            "max_reaction_count": 11,
            "accepted_gift_types": dict.fromkeys(gifts.split(), False),
        }

    def get_chat_member(self, params: Params) -> Json:
        """Whether someone is in a chat."""
        chat = self._hub.find(params.text("chat_id"))
        person = self._hub.people.get(params.integer("user_id") or 0)
        if person is None:
            raise bad("invalid user_id specified")
        inside = person.id in chat.members or person == self._hub.bot
        return {"user": person.json(), "status": "member" if inside else "left"}

    def leave_chat(self, params: Params) -> bool:
        """Go away."""
        chat = self._hub.writable(params.text("chat_id"))
        if chat.kind == "private":
            raise bad("chat member status can't be changed in private chats")
        chat.bot_leaves()
        return True


def _language(params: Params) -> str:
    """Two letters or nothing. Raises ``ApiError``."""
    code = params.text("language_code")
    if code and not re.fullmatch(r"[a-z]{2}", code):
        raise bad("invalid language code specified")
    return code

"""``/api/v1/agent-config``: what a team's admins chose for its agent.

The API key goes in and never comes out: answers say whether there is one, and its last four
characters. A change names the version it is based on, so that two admins do not overwrite each
other.
"""

from __future__ import annotations

import re
from datetime import UTC, datetime
from http import HTTPStatus
from typing import Annotated, Literal, Protocol, Self, TypeVar

from aiohttp import web
from pydantic import (
    AfterValidator,
    AwareDatetime,
    BaseModel,
    ConfigDict,
    Field,
    SecretStr,
    model_validator,
)

from bots.web.auth import Authenticator, Caller, require_admin
from bots.web.bodies import Body, Integer
from bots.web.openapi import operation
from bots.web.problems import Problem
from bots.web.requests import NO_NUL, read_body
from core.agent_config import (
    DEFAULTS,
    KEEP,
    MAX_APPROVAL_TIMEOUT_S,
    MAX_LISTED_TOOLS,
    MAX_PROMPT_ADDITION_CHARS,
    MIN_APPROVAL_TIMEOUT_S,
    MODEL_NAME,
    Billing,
    ConfigChanges,
    Conflict,
    Freeze,
    Keep,
    OnTimeout,
    StoredConfig,
)
from core.agent_rules import AgentRules
from core.messages import clean_text
from core.risk import Level
from core.words import sentence

_T = TypeVar("_T")

_API_KEY = re.compile(r"[\x21-\x7e]{16,500}")
Raised = Literal["L1", "L2"]
_TOOL = re.compile(r"[A-Za-z0-9_-]{1,64}")


def _key(written: SecretStr) -> SecretStr:
    if _API_KEY.fullmatch(written.get_secret_value()) is None:
        message = sentence(
            "An API key has 16 to 500 characters, without spaces and special characters. Copy "
            "it from the provider's console again."
        )
        raise ValueError(message)
    return written


def _model(written: str) -> str:
    if MODEL_NAME.fullmatch(written) is None:
        message = sentence("This is no name of a model. Names look like claude-sonnet-5-5.")
        raise ValueError(message)
    return written


def _tools(written: list[str]) -> list[str]:
    if not all(_TOOL.fullmatch(name) for name in written):
        message = sentence(
            "The names of tools have letters, digits, _ and - alone, at most 64 of them. There "
            "are no wildcards: name each tool."
        )
        raise ValueError(message)
    return list(dict.fromkeys(written))


def _prompt(written: str) -> str:
    cleaned = clean_text(written).strip()
    if len(cleaned) > MAX_PROMPT_ADDITION_CHARS:
        message = sentence(
            "The addition to the prompt has {chars:,} characters; at most {most:,} are accepted. "
            "It is sent with every model call.",
            chars=len(cleaned),
            most=MAX_PROMPT_ADDITION_CHARS,
        )
        raise ValueError(message)
    return cleaned


_RAISED = re.compile(r"[A-Za-z0-9_.+-]{1,64}(?: [A-Za-z0-9_.+-]{1,64})?")


def _raised(written: dict[str, Raised]) -> dict[str, Raised]:
    if not all(_RAISED.fullmatch(name) for name in written):
        message = sentence(
            "A raised level belongs to a tool (service_control), a program (docker) or a program "
            "and its subcommand (systemctl restart)."
        )
        raise ValueError(message)
    return written


class FreezeBody(Body):
    """A change freeze: until it is over every change waits for a human."""

    from_: Annotated[AwareDatetime, Field(alias="from")]
    until: AwareDatetime
    reason: Annotated[str, Field(max_length=200, pattern=NO_NUL)] = ""

    @model_validator(mode="after")
    def _ends_after_it_begins(self) -> Self:
        if self.until <= self.from_:
            message = sentence("A change freeze ends after it begins.")
            raise ValueError(message)
        return self

    def freeze(self) -> Freeze:
        """As the core has it."""
        return Freeze(
            from_ms=int(self.from_.timestamp() * 1000),
            until_ms=int(self.until.timestamp() * 1000),
            reason=clean_text(self.reason),
        )


ToolNames = Annotated[list[str], Field(max_length=MAX_LISTED_TOOLS), AfterValidator(_tools)]


class AgentConfigBody(Body):
    """What to change; a field that is left out stays, and null takes its choice back.

    ``version`` is the one that was read.
    """

    model_config = ConfigDict(hide_input_in_errors=True)

    version: Annotated[Integer, Field(ge=0)]
    billing: Billing | None = None
    api_key: Annotated[SecretStr, AfterValidator(_key)] | None = None
    model: Annotated[str, AfterValidator(_model)] | None = None
    engine: Annotated[str, Field(min_length=1, max_length=64)] | None = None
    allowed_tools: ToolNames | None = None
    denied_tools: ToolNames | None = None
    approval_timeout_s: (
        Annotated[Integer, Field(ge=MIN_APPROVAL_TIMEOUT_S, le=MAX_APPROVAL_TIMEOUT_S)] | None
    ) = None
    on_timeout: OnTimeout | None = None
    prompt_addition: Annotated[str, AfterValidator(_prompt)] | None = None
    four_eyes: bool | None = None
    """Who asked may not approve; on critical servers that is always so."""
    change_freeze: FreezeBody | None = None
    raised_levels: (
        Annotated[dict[str, Raised], Field(max_length=MAX_LISTED_TOOLS), AfterValidator(_raised)]
        | None
    ) = None
    """Tools and programs that are judged at least so; nothing is ever judged lower."""

    def changes(self) -> ConfigChanges:
        """As the core has them."""
        key = None if self.api_key is None else self.api_key.get_secret_value()
        allowed = None if self.allowed_tools is None else tuple(self.allowed_tools)
        timeout_s = self.approval_timeout_s or DEFAULTS.approval_timeout_s
        return ConfigChanges(
            billing=self._named("billing", self.billing or DEFAULTS.billing),
            api_key=self._named("api_key", key),
            model=self._named("model", self.model),
            engine=self._named("engine", self.engine),
            allowed_tools=self._named("allowed_tools", allowed),
            denied_tools=self._named("denied_tools", tuple(self.denied_tools or ())),
            approval_timeout_s=self._named("approval_timeout_s", timeout_s),
            on_timeout=self._named("on_timeout", self.on_timeout or DEFAULTS.on_timeout),
            prompt_addition=self._named("prompt_addition", self.prompt_addition or ""),
            four_eyes=self._named("four_eyes", self.four_eyes or False),
            freeze=self._named(
                "change_freeze", None if self.change_freeze is None else self.change_freeze.freeze()
            ),
            raised=self._named(
                "raised_levels",
                {name: Level[level] for name, level in (self.raised_levels or {}).items()},
            ),
        )

    def _named(self, field: str, value: _T) -> _T | Keep:
        return value if field in self.model_fields_set else KEEP


class FreezeAnswer(BaseModel):
    """A change freeze, over or not."""

    model_config = ConfigDict(populate_by_name=True)

    from_: Annotated[datetime, Field(alias="from")]
    until: datetime
    reason: str


class AgentConfigAnswer(BaseModel):
    """The configuration; null stands for the installation's choice, or for no limit."""

    version: int
    billing: Billing
    api_key_set: bool
    api_key_hint: str | None
    model: str | None
    engine: str | None
    allowed_tools: list[str] | None
    denied_tools: list[str]
    approval_timeout_s: int
    on_timeout: OnTimeout
    prompt_addition: str
    four_eyes: bool
    change_freeze: FreezeAnswer | None
    raised_levels: dict[str, str]
    updated_at: datetime | None
    updated_by: str | None
    default_model: str
    default_engine: str
    engines: list[str]
    tools: list[str]
    warnings: list[str]


class ConfigDesk(Protocol):
    """Where the configuration is kept."""

    async def read(self, tenant_id: str) -> StoredConfig:
        """Without its key."""

    async def change(
        self, actor: str, tenant_id: str, changes: ConfigChanges, expected_version: int
    ) -> StoredConfig | Conflict:
        """Change it, if its version is still that one; ``actor`` is a user's id."""


class AgentConfigRoutes:
    """A team's admins see and change the configuration of its agent."""

    def __init__(self, desk: ConfigDesk, rules: AgentRules, auth: Authenticator) -> None:
        """Wire the ports; the rules are the installation's."""
        self._desk = desk
        self._rules = rules
        self._auth = auth

    def routes(self) -> list[web.RouteDef]:
        """What the server mounts."""
        path = "/api/v1/agent-config"
        return [
            web.get(path, self.read_agent_config, allow_head=False),
            web.patch(path, self.change_agent_config),
        ]

    @operation(answer=AgentConfigAnswer, errors=(403,))
    async def read_agent_config(self, request: web.Request) -> web.Response:
        """How the team's agent is configured, for its admins."""
        caller = await self._admin(request)
        return self._answer(await self._desk.read(caller.user.tenant_id))

    @operation(
        body=AgentConfigBody,
        answer=AgentConfigAnswer,
        errors=(400, 403, 408, 409, 413, 415, 422),
    )
    async def change_agent_config(self, request: web.Request) -> web.Response:
        """Change how the team's agent is configured, as its admin."""
        caller = await self._admin(request)
        body = AgentConfigBody.model_validate_json(await read_body(request))
        tenant_id, changes = caller.user.tenant_id, body.changes()
        stored = await self._desk.read(tenant_id)
        if stored.version != body.version:
            raise _conflict(stored.version)
        # What is judged here is what changes below: the version is compared again there.
        rejected = self._rules.refusal(stored, changes)
        if rejected is not None:
            raise Problem(HTTPStatus.UNPROCESSABLE_ENTITY, rejected.code, rejected.sentence)
        changed = await self._desk.change(caller.user.id, tenant_id, changes, body.version)
        if isinstance(changed, Conflict):
            raise _conflict(changed.version)
        return self._answer(changed)

    async def _admin(self, request: web.Request) -> Caller:
        caller = await self._auth.caller(request)
        require_admin(caller)
        return caller

    def _answer(self, stored: StoredConfig) -> web.Response:
        config, engines = stored.config, self._rules.engines
        own_key = config.billing is Billing.OWN_KEY
        at = datetime.fromtimestamp(stored.updated_at_ms / 1000, UTC) if stored.version else None
        answer = AgentConfigAnswer(
            version=stored.version,
            billing=config.billing,
            api_key_set=stored.has_api_key,
            api_key_hint=stored.api_key_hint or None,
            model=config.model,
            engine=stored.engine,
            allowed_tools=None if config.allowed_tools is None else list(config.allowed_tools),
            denied_tools=list(config.denied_tools),
            approval_timeout_s=config.approval_timeout_s,
            on_timeout=config.on_timeout,
            prompt_addition=config.prompt_addition,
            four_eyes=config.four_eyes,
            change_freeze=_freeze_answer(config.freeze),
            raised_levels={name: level.name for name, level in config.raised.items()},
            updated_at=at,
            updated_by=stored.updated_by or None,
            default_model=engines.model,
            default_engine=engines.default,
            engines=list(engines.engines if own_key else engines.configured),
            tools=sorted(self._rules.tools),
            warnings=[str(warning) for warning in self._rules.warnings(stored)],
        )
        return web.json_response(text=answer.model_dump_json(by_alias=True))


def _conflict(version: int) -> Problem:
    return Problem(
        HTTPStatus.CONFLICT,
        "version_conflict",
        sentence(
            "The configuration was changed meanwhile; it has version {version} now. Read it "
            "again, then send your change with that version.",
            version=version,
        ),
    )


def _freeze_answer(freeze: Freeze | None) -> FreezeAnswer | None:
    if freeze is None:
        return None
    return FreezeAnswer(
        from_=datetime.fromtimestamp(freeze.from_ms / 1000, UTC),
        until=datetime.fromtimestamp(freeze.until_ms / 1000, UTC),
        reason=freeze.reason,
    )

"""What an admin chose for the agent of a tenant: account, model, tools, approvals, prompt."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from enum import Enum, StrEnum
from typing import Final, Protocol, TypeVar

from core.errors import EngineFailure
from core.risk import Level
from core.words import Sentence

_T = TypeVar("_T")

APPROVAL_TIMEOUT_S = 120
MIN_APPROVAL_TIMEOUT_S = 10
"""Shorter, nobody could read what is asked."""
MAX_APPROVAL_TIMEOUT_S = 86_400
MAX_PROMPT_ADDITION_CHARS = 4_000
"""It is sent with each model call."""
MAX_LISTED_TOOLS = 100
"""In one list of allowed or denied tools."""
MODEL_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9._:/@\[\]-]{0,127}")
"""As ``IT0_MODEL`` takes it: names of the provider, and those of gateways before it."""


class Billing(StrEnum):
    """Whose account with the model provider pays."""

    INSTALLATION = "installation"
    """The operator's API key, from the environment."""
    OWN_KEY = "own_key"
    """The tenant's own API key: counts towards its limits, never towards overage."""
    SUBSCRIPTION = "subscription"
    """The operator's own login with the provider; single-tenant installations only."""


class OnTimeout(StrEnum):
    """What an approval that nobody decided becomes."""

    DENY = "deny"
    APPROVE = "approve"


@dataclass(frozen=True, slots=True, kw_only=True)
class Freeze:
    """A time in which nothing is to change without a human; milliseconds since the epoch."""

    from_ms: int
    until_ms: int
    reason: str = ""

    def holds(self, at_ms: int) -> bool:
        """Whether it is in force."""
        return self.from_ms <= at_ms < self.until_ms


@dataclass(frozen=True, slots=True, kw_only=True)
class AgentConfig:
    """A tenant's choices; the defaults are those of a tenant that chose nothing."""

    billing: Billing = Billing.INSTALLATION
    api_key: str | None = field(default=None, repr=False)
    """The tenant's own key: set with ``Billing.OWN_KEY``, and only then."""
    model: str | None = None
    """None: the installation's."""
    allowed_tools: tuple[str, ...] | None = None
    """None: every tool that the role may use."""
    denied_tools: tuple[str, ...] = ()
    """Wins over ``allowed_tools``."""
    approval_timeout_s: int = APPROVAL_TIMEOUT_S
    on_timeout: OnTimeout = OnTimeout.DENY
    prompt_addition: str = ""
    """Appended to the system prompt: how this team works, in its own words."""
    four_eyes: bool = False
    """Who asked may not approve; on critical servers that is always so."""
    freeze: Freeze | None = None
    """A change freeze: while it lasts, every change waits for a human."""
    raised: Mapping[str, Level] = field(default_factory=dict)
    """Tools and programs (``docker``, ``systemctl restart``) that are judged at least so."""


DEFAULTS: Final = AgentConfig()


class UnusableAccount(EngineFailure):
    """The account that a team chose cannot pay for its turn; another one never does instead.

    ``config`` is the rest of the team's configuration, for an engine without a model.
    """

    code = "account_unusable"

    def __init__(self, sentence: str, *, reason: str, config: AgentConfig) -> None:
        """``sentence`` says what an admin has to do."""
        super().__init__(sentence, reason=reason)
        self.config = config


class AgentConfigs(Protocol):
    """Where the choices are kept."""

    async def of(self, tenant_id: str) -> AgentConfig:
        """The tenant's configuration, read at each turn.

        Raises ``StorageFailure``, ``UnusableAccount`` when its account cannot be used, and
        ``EngineFailure`` when it cannot be read.
        """


class DefaultAgentConfigs:
    """``AgentConfigs`` of an installation where nobody chose anything."""

    async def of(self, tenant_id: str) -> AgentConfig:  # noqa: ARG002  # the port's signature
        """The defaults."""
        return DEFAULTS


# -- what is stored, and how it changes -----------------------------------------------------


class Keep(Enum):
    """The type of ``KEEP``."""

    KEEP = "keep"


KEEP: Final = Keep.KEEP
"""In a change: leave this one as it is."""


@dataclass(frozen=True, slots=True, kw_only=True)
class StoredConfig:
    """A configuration as people see it: everything but the key."""

    config: AgentConfig = DEFAULTS
    """Its ``api_key`` is never set."""
    engine: str | None = None
    """The tenant's engine; None: the installation's."""
    api_key_hint: str = ""
    """The key's last characters, to recognise it by; empty when there is none."""
    version: int = 0
    """Grows with each change; 0: nobody changed anything yet."""
    updated_at_ms: int = 0
    updated_by: str = ""
    """A user's id."""
    only_tenant: bool = False
    """Whether the installation has no other tenant."""

    @property
    def has_api_key(self) -> bool:
        """Whether there is a key, whether it is used or not."""
        return bool(self.api_key_hint)


@dataclass(frozen=True, slots=True, kw_only=True)
class ConfigChanges:
    """What to change; a field that is not named keeps its value."""

    billing: Billing | Keep = KEEP
    api_key: str | Keep | None = field(default=KEEP, repr=False)
    """None removes it."""
    model: str | Keep | None = KEEP
    allowed_tools: tuple[str, ...] | Keep | None = KEEP
    denied_tools: tuple[str, ...] | Keep = KEEP
    approval_timeout_s: int | Keep = KEEP
    on_timeout: OnTimeout | Keep = KEEP
    prompt_addition: str | Keep = KEEP
    four_eyes: bool | Keep = KEEP
    freeze: Freeze | Keep | None = KEEP
    raised: Mapping[str, Level] | Keep = KEEP
    engine: str | Keep | None = KEEP

    def applied_to(self, stored: StoredConfig) -> StoredConfig:
        """The configuration with these changes; its version is the old one."""
        old = stored.config
        config = AgentConfig(
            billing=_new(self.billing, old.billing),
            model=_new(self.model, old.model),
            allowed_tools=_new(self.allowed_tools, old.allowed_tools),
            denied_tools=_new(self.denied_tools, old.denied_tools),
            approval_timeout_s=_new(self.approval_timeout_s, old.approval_timeout_s),
            on_timeout=_new(self.on_timeout, old.on_timeout),
            prompt_addition=_new(self.prompt_addition, old.prompt_addition),
            four_eyes=_new(self.four_eyes, old.four_eyes),
            freeze=_new(self.freeze, old.freeze),
            raised=_new(self.raised, old.raised),
        )
        hint = stored.api_key_hint if self.api_key is KEEP else key_hint(self.api_key)
        engine = _new(self.engine, stored.engine)
        return replace(stored, config=config, engine=engine, api_key_hint=hint)


def _new(change: _T | Keep, old: _T) -> _T:
    return old if isinstance(change, Keep) else change


def key_hint(api_key: str | None) -> str:
    """The last 4 characters of a key: enough to tell two keys apart, too little to use one."""
    return "" if api_key is None else api_key[-4:]


@dataclass(frozen=True, slots=True, kw_only=True)
class Conflict:
    """Somebody else changed the configuration meanwhile; nothing was changed."""

    version: int
    """The one that it has now."""


class ModelNotes(Protocol):
    """What is known of models."""

    def warning(self, model: str) -> Sentence | None:
        """A sentence about a model that is unknown or ends soon; None when all is well."""


class NoModelNotes:
    """``ModelNotes`` that knows nothing, and says nothing."""

    def warning(self, model: str) -> Sentence | None:  # noqa: ARG002  # the port's signature
        """None."""
        return None

"""What an admin chose for the agent of a tenant: account, model, tools, approvals, prompt."""

from __future__ import annotations

from dataclasses import dataclass, field
from enum import StrEnum
from typing import Protocol


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


APPROVAL_TIMEOUT_S = 120


@dataclass(frozen=True, slots=True, kw_only=True)
class AgentConfig:
    """A tenant's choices; the defaults are those of a tenant that chose nothing."""

    billing: Billing = Billing.INSTALLATION
    api_key: str | None = field(default=None, repr=False)
    """The tenant's own key, for ``Billing.OWN_KEY``."""
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


class AgentConfigs(Protocol):
    """Where the choices are kept."""

    async def of(self, tenant_id: str) -> AgentConfig:
        """The tenant's configuration, read at each turn. Raises ``StorageFailure``."""


class DefaultAgentConfigs:
    """``AgentConfigs`` of an installation where nobody chose anything."""

    async def of(self, tenant_id: str) -> AgentConfig:  # noqa: ARG002  # the port's signature
        """The defaults."""
        return AgentConfig()

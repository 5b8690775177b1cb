"""The settings of the chat platforms, of the engines on Claude Code and of billing.

Read by ``settings``; nobody else but ``app`` may import it.
"""

from __future__ import annotations

import os
import re
from dataclasses import dataclass, field
from pathlib import Path

from environment import Reader

_MAX_UID = 4_294_967_294
_ROOT_AGENT_DIR = Path("/var/lib/it0-agents")


@dataclass(frozen=True, slots=True, kw_only=True)
class SlackSettings:
    """How Slack is reached; ``configured`` when there is a way in."""

    bot_token: str | None = field(repr=False)
    app_token: str | None = field(repr=False)
    signing_secret: str | None = field(repr=False)
    client_id: str | None
    client_secret: str | None = field(repr=False)
    api_url: str | None

    @property
    def configured(self) -> bool:
        """Whether there is a token, or a way to get one, and a way for events to come in."""
        return bool(self.bot_token or self.client_id) and bool(
            self.app_token or self.signing_secret
        )


@dataclass(frozen=True, slots=True, kw_only=True)
class TelegramSettings:
    """How Telegram is reached; off without a token."""

    token: str | None = field(repr=False)
    webhook_secret: str | None = field(repr=False)
    api_url: str | None
    file_url: str | None


@dataclass(frozen=True, slots=True, kw_only=True)
class AgentSettings:
    """How the engines on Claude Code run their processes."""

    directory: Path
    uid: int | None
    """Whom they run as; None: as IT0 itself, which is not root."""
    processes: int
    idle_s: float
    login: str | None = field(repr=False)
    """The operator's own, for an installation of a single team."""


@dataclass(frozen=True, slots=True, kw_only=True)
class BillingSettings:
    """Whether there are plans and quotas, who sells them, and how they are paid."""

    enabled: bool
    """Off: everything is counted, nothing is refused or billed."""
    currency: str
    """Of teams that chose none, ISO 4217."""
    seller_name: str
    seller_address: str
    seller_tax_number: str
    seller_email: str
    instructions: str
    """How an invoice is paid by hand, such as an account to transfer to."""


def read_slack(reader: Reader) -> SlackSettings:
    """Read and check it; what is wrong is noted in the reader."""
    for name, prefix in (("SLACK_BOT_TOKEN", "xoxb-"), ("SLACK_APP_TOKEN", "xapp-")):
        if not (reader.value(name) or prefix).startswith(prefix):
            reader.refuse(name, f"a token that begins with {prefix}")
    slack = SlackSettings(
        bot_token=reader.value("SLACK_BOT_TOKEN"),
        app_token=reader.value("SLACK_APP_TOKEN"),
        signing_secret=reader.value("SLACK_SIGNING_SECRET"),
        client_id=reader.value("SLACK_CLIENT_ID"),
        client_secret=reader.value("SLACK_CLIENT_SECRET"),
        api_url=reader.url("IT0_SLACK_API_URL", ("https", "http")),
    )
    if bool(slack.client_id) != bool(slack.client_secret):
        reader.problems.append("SLACK_CLIENT_ID and SLACK_CLIENT_SECRET are needed together.")
    given = [slack.bot_token, slack.app_token, slack.signing_secret, slack.client_id]
    if any(given) and not slack.configured:
        reader.problems.append(
            "Slack is configured by half. It needs SLACK_BOT_TOKEN (or SLACK_CLIENT_ID and"
            " SLACK_CLIENT_SECRET), and SLACK_APP_TOKEN (Socket Mode) or SLACK_SIGNING_SECRET."
        )
    public = reader.value("IT0_PUBLIC_URL") or ""
    if (slack.client_id or (slack.signing_secret and not slack.app_token)) and not public:
        reader.warnings.append(
            "Slack cannot reach this installation: set IT0_PUBLIC_URL (https), or use Socket"
            " Mode (SLACK_APP_TOKEN)."
        )
    return slack


def read_telegram(reader: Reader) -> TelegramSettings:
    """Read and check it; what is wrong is noted in the reader."""
    token = reader.value("TELEGRAM_BOT_TOKEN")
    if token is not None and not re.fullmatch(r"[0-9]+:[A-Za-z0-9_-]+", token):
        reader.refuse("TELEGRAM_BOT_TOKEN", "123456:ABC..., as @BotFather gives it")
    secret = reader.value("TELEGRAM_WEBHOOK_SECRET")
    if secret is not None and not re.fullmatch(r"[A-Za-z0-9_-]{1,256}", secret):
        accepted = "1 to 256 characters of A-Z, a-z, 0-9, _ and - (Bot API, setWebhook)"
        reader.refuse("TELEGRAM_WEBHOOK_SECRET", accepted)
    if secret and token is None:
        reader.warnings.append("TELEGRAM_WEBHOOK_SECRET is set without TELEGRAM_BOT_TOKEN.")
    elif secret and not (reader.value("IT0_PUBLIC_URL") or "").startswith("https://"):
        reader.warnings.append(
            "TELEGRAM_WEBHOOK_SECRET needs an https IT0_PUBLIC_URL; until then IT0 polls."
        )
    return TelegramSettings(
        token=token,
        webhook_secret=secret,
        api_url=reader.url("IT0_TELEGRAM_API_URL", ("https", "http")),
        file_url=reader.url("IT0_TELEGRAM_FILE_URL", ("https", "http")),
    )


def read_agents(reader: Reader, data_dir: Path) -> AgentSettings:
    """Read and check it. As root they get a user and a place that is not the data directory."""
    root = os.geteuid() == 0
    given = reader.value("IT0_AGENT_DIR")
    directory = Path(given).expanduser() if given else data_dir / "agents"
    if root and not given:
        directory = _ROOT_AGENT_DIR
    login = reader.value("CLAUDE_CODE_OAUTH_TOKEN")
    if login is not None and not (login.isascii() and login.isprintable() and " " not in login):
        reader.refuse("CLAUDE_CODE_OAUTH_TOKEN", "a token without spaces and special characters")
    uid = reader.integer("IT0_AGENT_UID", 64042, 1, _MAX_UID)
    return AgentSettings(
        directory=directory.absolute(),
        uid=uid if root else None,
        processes=reader.integer("IT0_AGENT_PROCESSES", 8, 1, 200),
        idle_s=reader.seconds("IT0_AGENT_IDLE_S", 300.0, 5, 86_400),
        login=login,
    )


def read_billing(reader: Reader) -> BillingSettings:
    """Read and check it."""
    return BillingSettings(
        enabled=(reader.choice("IT0_BILLING", ("on", "off")) or "on") == "on",
        currency=reader.choice("IT0_CURRENCY", ("USD", "CNY")) or "USD",
        seller_name=reader.value("IT0_SELLER_NAME") or "IT0",
        seller_address=_lines(reader.value("IT0_SELLER_ADDRESS")),
        seller_tax_number=reader.value("IT0_SELLER_TAX_NUMBER") or "",
        seller_email=reader.value("IT0_SELLER_EMAIL") or "",
        instructions=_lines(reader.value("IT0_PAYMENT_INSTRUCTIONS")),
    )


def _lines(written: str | None) -> str:
    """Text of several lines, as an environment variable holds it on one."""
    return (written or "").replace("\\n", "\n")

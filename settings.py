"""The environment, read once, into frozen values that every package gets its part of.

The environment wins over ``.env``; an empty value counts as unset. Everything that is wrong
is collected and reported at once, in sentences that name the variable; the value of a secret
is never repeated. Nobody but ``app`` and ``cli`` may import it.
"""

from __future__ import annotations

import ipaddress
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import ClassVar, Literal, Self, cast
from urllib.parse import SplitResult, parse_qsl, quote, urlencode, urlsplit

from core.agent_config import MODEL_NAME
from core.emails import EMAIL
from environment import Reader, split_url
from settings_parts import (
    AgentSettings,
    BillingSettings,
    SlackSettings,
    TelegramSettings,
    read_agents,
    read_billing,
    read_slack,
    read_telegram,
)
from variables import VARIABLES

LogFormat = Literal["auto", "console", "json"]

ENGINES = ("claude_api", "claude_agent_sdk", "claude_code_cli", "runbook")
_LOG_FORMATS = ("auto", "console", "json")
_MIN_SECRET_CHARS = 32
_MAX_PORT = 65535


class SettingsError(Exception):
    """Something in the environment or in ``.env`` cannot be used; lists every problem.

    ::

        SettingsError      code "bad_settings"; nothing was started, nothing was changed
    """

    code: ClassVar[str] = "bad_settings"

    def __init__(self, problems: tuple[str, ...], warnings: tuple[str, ...] = ()) -> None:
        """Keep the sentences; they are shown to the operator as they stand."""
        super().__init__("\n".join(problems))
        self.problems = problems
        self.warnings = warnings

    @property
    def sentence(self) -> str:
        """All problems, one a line."""
        return "\n".join(self.problems)


@dataclass(frozen=True, slots=True, kw_only=True)
class HttpSettings:
    """Where the HTTP edge listens and how it is reached."""

    host: str
    port: int
    """0 lets the system choose."""
    public_url: str | None
    """Without a trailing slash; None when nothing else than the listening address is known."""

    def url(self, port: int | None = None) -> str:
        """How a browser reaches us; ``port`` is the one that was really bound."""
        if self.public_url:
            return self.public_url
        host = {"0.0.0.0": "127.0.0.1", "::": "::1"}.get(self.host, self.host)  # noqa: S104  # nothing is bound here
        shown = f"[{host}]" if ":" in host else host
        return f"http://{shown}:{port or self.port}"


@dataclass(frozen=True, slots=True, kw_only=True)
class AnthropicSettings:
    """What the ``claude_api`` engine needs of its provider."""

    api_key: str | None = field(repr=False)
    base_url: str | None
    ca_file: Path | None


@dataclass(frozen=True, slots=True, kw_only=True)
class TuningSettings:
    """Limits of one process; the defaults suit a small server."""

    turn_slots: int
    shutdown_grace_s: float
    model_timeout_s: float
    max_output_tokens: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Described:
    """One line of ``it0 check``: never the value of a secret."""

    name: str
    configured: bool
    value: str
    """The value as it was given, "(hidden)" for a secret, empty when unset."""
    purpose: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Settings:
    """Everything the operator can choose, checked."""

    data_dir: Path
    """Absolute; it may not exist yet."""
    database_url: str | None = field(repr=False)
    """``postgresql+asyncpg://`` or ``sqlite:///``; None is SQLite in the data directory."""
    redis_url: str | None = field(repr=False)
    http: HttpSettings
    secret_key: str | None = field(repr=False)
    engine: str | None
    """What the operator asked for; ``default_engine`` decides when it is None."""
    model: str
    log_format: LogFormat
    anthropic: AnthropicSettings
    slack: SlackSettings
    telegram: TelegramSettings
    agents: AgentSettings
    billing: BillingSettings
    ssh_agent: str
    """The socket of the SSH agent; empty when there is none."""
    admin_email: str
    tuning: TuningSettings
    warnings: tuple[str, ...]
    """Nothing that stops a start: misspelled names, a key that travels unencrypted."""
    given: Mapping[str, str] = field(repr=False)
    """What was set, by name, for ``describe``; the values of secrets are already hidden."""

    @classmethod
    def from_environment(cls, environ: Mapping[str, str], dotenv_path: Path | None = None) -> Self:
        """Read and check everything. Raises SettingsError with all problems at once."""
        reader = _Reader(VARIABLES, environ, dotenv_path)
        data_dir = reader.data_dir()
        settings = cls(
            data_dir=data_dir,
            database_url=reader.database_url(),
            redis_url=reader.url("IT0_REDIS_URL", ("redis", "rediss"), credentials=True),
            http=HttpSettings(
                host=reader.host("IT0_HTTP_HOST", "127.0.0.1"),
                port=reader.integer("IT0_HTTP_PORT", 8080, 0, _MAX_PORT),
                public_url=reader.url("IT0_PUBLIC_URL", ("http", "https")),
            ),
            secret_key=reader.secret_key(),
            engine=reader.engine(),
            model=reader.text("IT0_MODEL", "claude-sonnet-5-5", MODEL_NAME, "a model's name"),
            log_format=reader.log_format(),
            anthropic=AnthropicSettings(
                api_key=reader.api_key(),
                base_url=reader.base_url(),
                ca_file=reader.ca_file(),
            ),
            slack=read_slack(reader),
            telegram=read_telegram(reader),
            agents=read_agents(reader, data_dir),
            billing=read_billing(reader),
            ssh_agent=reader.value("SSH_AUTH_SOCK") or "",
            admin_email=reader.text(
                "IT0_ADMIN_EMAIL", "admin@localhost", EMAIL, "an address such as me@example.com"
            ).casefold(),
            tuning=reader.tuning(),
            warnings=(*reader.unknown_names(), *reader.warnings),
            given=reader.given(),
        )
        if reader.problems:
            raise SettingsError(tuple(reader.problems), settings.warnings)
        return settings

    @property
    def database_path(self) -> Path | None:
        """The SQLite file, or None on PostgreSQL."""
        if self.database_url is None:
            return self.data_dir / "it0.db"
        if self.database_url.startswith("sqlite:///"):
            return Path(self.database_url.removeprefix("sqlite:///"))
        return None

    @property
    def default_engine(self) -> str:
        """The engine for messages and tenants that name none."""
        if self.engine is not None:
            return self.engine
        if self.anthropic.api_key is not None:
            return "claude_api"
        return "claude_agent_sdk" if self.agents.login is not None else "runbook"

    def describe(self) -> tuple[Described, ...]:
        """Every variable in a fixed order: set or not, and what it is for."""
        return tuple(
            Described(
                name=variable.name,
                configured=variable.name in self.given,
                value=self.given.get(variable.name, ""),
                purpose=variable.purpose,
            )
            for variable in VARIABLES
        )


class _Reader(Reader):
    """The values that need more than a pattern."""

    def data_dir(self) -> Path:
        path = _absolute(self.value("IT0_DATA_DIR") or "data")
        try:
            usable = path.is_dir() or not path.exists()
        except OSError:  # a name that is too long, a parent that is closed to us
            usable = False
        if not usable:
            self.refuse("IT0_DATA_DIR", "a directory that can be reached, or one to be made")
        return path

    def database_url(self) -> str | None:
        value = self.value("IT0_DATABASE_URL")
        if value is None:
            return None
        parts = split_url(value)
        scheme = parts.scheme if parts else ""
        if parts and scheme in {"postgres", "postgresql", "postgresql+asyncpg"}:
            normal = _postgresql(parts)
        elif scheme == "sqlite":
            normal = _sqlite(value)
        else:
            normal = None
        if normal is None:
            accepted = "postgresql://USER:PASSWORD@HOST:PORT/NAME or sqlite:///FILE"
            self.refuse("IT0_DATABASE_URL", accepted)
        return normal

    def secret_key(self) -> str | None:
        value = self.value("IT0_SECRET_KEY")
        make = 'one can be made with: python3 -c "import secrets; print(secrets.token_hex(32))"'
        if value is not None and len(value) < _MIN_SECRET_CHARS:
            self.refuse("IT0_SECRET_KEY", f"at least {_MIN_SECRET_CHARS} characters; {make}")
        if value is None and (self.value("IT0_DATABASE_URL") or "").startswith("postgres"):
            self.problems.append(
                "IT0_SECRET_KEY is not set. With PostgreSQL every process needs the same key;"
                f" {make}."
            )
        return value

    def engine(self) -> str | None:
        value = self.choice("IT0_ENGINE", ENGINES)
        key = self.value("ANTHROPIC_API_KEY")
        login = self.value("CLAUDE_CODE_OAUTH_TOKEN")
        if value == "claude_api" and key is None:
            self.problems.append(
                "IT0_ENGINE is claude_api, which needs ANTHROPIC_API_KEY. Set the key, or unset"
                " IT0_ENGINE to let the offline engine answer."
            )
        elif value not in {None, "runbook"} and key is None and login is None:
            self.problems.append(
                f"IT0_ENGINE is {value}, which needs ANTHROPIC_API_KEY or CLAUDE_CODE_OAUTH_TOKEN."
                " Set one of them, or unset IT0_ENGINE to let the offline engine answer."
            )
        return value

    def log_format(self) -> LogFormat:
        return cast("LogFormat", self.choice("IT0_LOG_FORMAT", _LOG_FORMATS) or "auto")

    def api_key(self) -> str | None:
        value = self.value("ANTHROPIC_API_KEY")
        if value is not None and not (value.isascii() and value.isprintable() and " " not in value):
            self.refuse("ANTHROPIC_API_KEY", "a key without spaces and special characters")
        return value

    def base_url(self) -> str | None:
        name = "ANTHROPIC_BASE_URL"
        value = self.url(name, ("https", "http"))
        if value and value.startswith("http://") and not _is_loopback(value):
            self.warnings.append(f"{name} is not https: the API key travels unencrypted.")
        return value

    def ca_file(self) -> Path | None:
        name = "IT0_ANTHROPIC_CA_FILE"
        value = self.value(name)
        if value is None:
            return None
        path = _absolute(value)
        try:
            content = path.read_bytes()
        except OSError as error:
            self.refuse(name, f"a readable PEM file ({error.strerror or 'it cannot be read'})")
            return None
        if b"-----BEGIN CERTIFICATE-----" not in content:
            self.refuse(name, "a PEM file with at least one certificate; this one has none")
        return path

    def tuning(self) -> TuningSettings:
        return TuningSettings(
            turn_slots=self.integer("IT0_TURN_SLOTS", 256, 1, 1000),
            shutdown_grace_s=self.seconds("IT0_SHUTDOWN_GRACE_S", 20.0, 0, 3600),
            model_timeout_s=self.seconds("IT0_MODEL_TIMEOUT_S", 60.0, 0.1, 3600),
            max_output_tokens=self.integer("IT0_MAX_OUTPUT_TOKENS", 8192, 1, 128_000),
        )


def _postgresql(parts: SplitResult) -> str | None:
    """Return the URL for asyncpg: libpq's ``sslmode`` is called ``ssl`` there."""
    query = parse_qsl(parts.query, keep_blank_values=True)
    host = parts.hostname or dict(query).get("host")
    if not host or not parts.path.strip("/") or parts.fragment:
        return None
    renamed = [("ssl" if key == "sslmode" else key, value) for key, value in query]
    rest = f"?{urlencode(renamed, quote_via=quote, safe='/')}" if renamed else ""
    return f"postgresql+asyncpg://{parts.netloc}{parts.path}{rest}"


def _sqlite(value: str) -> str | None:
    """Return ``sqlite:///`` with an absolute path; a database in memory would lose turns."""
    path = value.removeprefix("sqlite:///")
    if path == value or not path or path.startswith(":") or "?" in path or path.endswith("/"):
        return None
    return f"sqlite:///{_absolute(path)}"


def _absolute(value: str) -> Path:
    path = Path(value)
    try:
        return path.expanduser().absolute()
    except RuntimeError:  # ~somebody who does not exist
        return path.absolute()


def _is_loopback(url: str) -> bool:
    host = urlsplit(url).hostname or ""
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return host == "localhost"

"""What `it0 check` says: what is set, what is missing, and whether what is set works."""

from __future__ import annotations

import asyncio
import os
import ssl
from datetime import UTC, date, datetime
from typing import Final, TextIO

import aiohttp

from bots.console_terminal import safe_text
from core import models
from core.clock import SystemClock
from core.engines.cli_home import Homes, HomesConfig
from core.errors import EngineFailure, It0Error
from platforms import check_platforms
from reach import installation_keys
from settings import Settings
from storage.inspection import (
    NOT_MADE,
    ModelUse,
    inspect,
    inspect_sqlite,
    model_use,
    read_sqlite,
)
from storage.lock import Holder, holder
from storage.metering import UnpricedCalls

_PROVIDER: Final = "https://api.anthropic.com"
_PROVIDER_S: Final = 3.0
_NAMED_TEAMS: Final = 3


def engine_line(engine: str, settings: Settings) -> str:
    """Which engine answers, and with which model."""
    if engine == "runbook":
        return "runbook: the offline engine, no model (it answers questions about this machine)"
    return f"{engine}, model {settings.model}"


def missing_lines(settings: Settings) -> list[str]:
    """What is not configured, and how to get it."""
    lines: list[str] = []
    if settings.anthropic.api_key is None and settings.agents.login is None:
        lines.append("  Claude    put ANTHROPIC_API_KEY=... into .env and restart")
    if settings.telegram.token is None:
        lines.append(
            "  Telegram  put TELEGRAM_BOT_TOKEN=... (from @BotFather) into .env and restart"
        )
    if not settings.slack.configured:
        lines.append("  Slack     `it0 slack manifest` makes the app; README.md has the steps")
    if settings.billing.enabled and not settings.billing.instructions:
        lines.append(
            "  Payments  put IT0_PAYMENT_INSTRUCTIONS=... into .env; without plans IT0_BILLING=off"
        )
    if settings.database_path is not None:
        lines.append("  Scale-out set IT0_DATABASE_URL=postgresql://... to run several processes")
    return lines


async def check(settings: Settings, out: TextIO) -> int:
    """``it0 check``: what is set, what is missing, and whether what is set works."""
    width = max(len(item.name) for item in settings.describe())
    for item in settings.describe():
        mark = "set    " if item.configured else "not set"
        shown = f" = {item.value}" if item.configured and item.value else ""
        print(f"{mark} {item.name:{width}}{shown}\n        {item.purpose}", file=out)
    print(file=out)
    for warning in settings.warnings:
        print(f"WARNING {warning}", file=out)
    engine = settings.default_engine
    print(f"Engine   {engine_line(engine, settings)}", file=out)
    provider = "" if settings.anthropic.api_key is None else await _provider_problem(settings)
    if settings.anthropic.api_key is not None:
        print(f"Provider {provider or 'reachable; the key is only tried by a question'}", file=out)
    processes = await asyncio.to_thread(_processes_problem, settings)
    if processes is not None:
        print(f"Claude Code  {processes or 'starts'}", file=out)
    platforms = await check_platforms(settings)
    for name, _works, said in platforms:
        print(f"{name:8} {said}", file=out)
    storage, usable = await _storage_state(settings)
    print(f"Storage  {storage}", file=out)
    use = await _model_use(settings) if usable else ModelUse()
    for warning in model_warnings(settings.model, use, _today()):
        print(f"WARNING {safe_text(warning)}", file=out)
    for line in missing_lines(settings):
        print(f"Missing{line.removeprefix(' ')}", file=out)
    works = usable and not (provider or processes) and all(works for _, works, _ in platforms)
    return 0 if works else 1


def _processes_problem(settings: Settings) -> str | None:
    """Whether Claude Code starts where it is to live; None when no model is configured."""
    agents = settings.agents
    if settings.anthropic.api_key is None and agents.login is None:
        return None
    try:
        Homes(HomesConfig(root=agents.directory, uid=agents.uid)).prepare()
    except EngineFailure as failure:
        return str(failure.sentence)
    return ""


def model_warnings(model: str, use: ModelUse, today: date) -> list[str]:
    """What is wrong with the installation's model and those of its teams, and what has no cost."""
    lines = [] if (said := _about(model, today, "IT0_MODEL")) is None else [f"IT0_MODEL: {said}"]
    for chosen in use.chosen:
        said = _about(chosen.model, today, "their model")
        if said is not None:
            more = len(chosen.teams) - _NAMED_TEAMS
            teams = ", ".join(chosen.teams[:_NAMED_TEAMS]) + (f" and {more} more" * (more > 0))
            lines.append(f"Chosen by {teams}: {said}")
    lines += [_without_cost(unpriced) for unpriced in use.unpriced]
    return lines


def _without_cost(unpriced: UnpricedCalls) -> str:
    """A model that is known now may have calls from before it was."""
    count = f"{unpriced.calls:,} call{'s' * (unpriced.calls != 1)}"
    why = (
        "recorded by an older version, under a wrong clock, or with impossible figures"
        if models.known(unpriced.model)
        else "this version of IT0 has no price for it"
    )
    return f"Unknown cost of {count} of the model {unpriced.model}: {why}."


def _about(model: str, today: date, setting: str) -> str | None:
    if not models.known(model):
        return (
            f"IT0 does not know the model {model}: what it costs will be recorded as unknown."
            f" Look for a misspelling in {setting}, or for a newer IT0."
        )
    return models.ends_soon(model, today, setting=setting)


def _today() -> date:
    return datetime.fromtimestamp(SystemClock().now_ms() / 1000, UTC).date()


async def _model_use(settings: Settings) -> ModelUse:
    """Also beside a running process: it reads, and takes no lock."""
    path = settings.database_path
    try:
        if path is not None:
            return read_sqlite(path, model_use) if path.exists() else ModelUse()
        from storage.postgres import PostgresDatabase  # noqa: PLC0415  # 10 MB only when used

        db = PostgresDatabase(str(settings.database_url))
        try:
            return await db.read(model_use)
        finally:
            await db.close()
    except It0Error:  # a moment ago it was usable: the next check says more
        return ModelUse()


async def _provider_problem(settings: Settings) -> str:
    """Whether something speaks HTTP at the provider's address, under the right certificate.

    Nothing is asked of it and no key is sent: a question would cost money.
    """
    url = settings.anthropic.base_url or _PROVIDER
    timeout = aiohttp.ClientTimeout(total=_PROVIDER_S)
    try:
        tls = ssl.create_default_context(cafile=settings.anthropic.ca_file)
        async with (
            aiohttp.ClientSession(timeout=timeout, trust_env=True) as session,
            session.head(url, ssl=tls, allow_redirects=False),
        ):
            return ""
    except TimeoutError:
        return f"{url} does not answer within {_PROVIDER_S:g} s."
    except (aiohttp.ClientError, OSError, ValueError) as error:
        return f"{url} cannot be reached: {_reason(error)}."


def _reason(error: Exception) -> str:
    """What went wrong, without the library's own objects."""
    match error:
        case aiohttp.ClientConnectorCertificateError() | ssl.SSLCertVerificationError():
            return "its certificate is not trusted (a private authority: IT0_ANTHROPIC_CA_FILE)"
        case aiohttp.ClientConnectorSSLError() | ssl.SSLError():
            return "TLS failed (the address, or the file in IT0_ANTHROPIC_CA_FILE)"
        case aiohttp.ClientConnectorDNSError():
            return "its name is not known"
        case aiohttp.ClientConnectorError(os_error=OSError(errno=int(number))) if number > 0:
            return os.strerror(number).lower()
        case _:
            return "what answers there does not speak HTTP, or closed the connection"


async def _storage_state(settings: Settings) -> tuple[str, bool]:
    """What is there, and whether it can be used. A running process is asked; nothing is made."""
    path = settings.database_path
    if path is not None:
        found = holder(settings.data_dir)
        if found is not None and found.url is not None:
            problem = await _not_ready(found)
            return problem or f"ok (process {found.pid} is using it)", problem is None
    try:
        if path is not None and not path.exists():
            return NOT_MADE, True
        fingerprint = installation_keys(settings).fingerprint()
        if path is not None:
            return inspect_sqlite(path, fingerprint), True
        return await _inspect_postgres(str(settings.database_url), fingerprint), True
    except It0Error as error:
        return error.sentence, False


async def _inspect_postgres(url: str, fingerprint: str) -> str:
    from storage.postgres import PostgresDatabase  # noqa: PLC0415  # 10 MB only when used

    db = PostgresDatabase(url)
    try:
        return await db.read(inspect, fingerprint)
    finally:
        await db.close()


async def _not_ready(found: Holder) -> str | None:
    timeout = aiohttp.ClientTimeout(total=5)
    try:
        async with (
            aiohttp.ClientSession(timeout=timeout) as session,
            session.get(f"{found.url}/readyz") as response,
        ):
            if response.ok:
                return None
            return str((await response.json(content_type=None)).get("detail"))
    except (aiohttp.ClientError, TimeoutError, ValueError):
        return f"Process {found.pid} holds the data directory but does not answer at {found.url}."

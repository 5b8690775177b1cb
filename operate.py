"""What the commands do: reach the running process over HTTP, or embed one for the moment."""

from __future__ import annotations

import argparse
import os
import sys
from collections.abc import Awaitable
from pathlib import Path
from typing import TYPE_CHECKING, Final, TypeVar
from urllib.parse import urlsplit

import app
from bots import codes, skills_command
from bots.console_terminal import safe_text
from bots.operator import RequestRefused
from checks import engine_line, missing_lines
from core.errors import It0Error
from core.sign_in import Maker, sign_in_url
from reach import connected
from settings import Settings
from storage.access import SqlGate
from storage.web_sessions import SqlSessions

if TYPE_CHECKING:
    from storage.archive import Manifest
    from storage.backup import Installation

_T = TypeVar("_T")
_LISTENING: Final = frozenset({app.Role.UP, app.Role.SLACK, app.Role.TELEGRAM})


# -- commands -----------------------------------------------------------------------------


async def chat(settings: Settings, arguments: argparse.Namespace) -> int:
    """``it0 chat``."""
    # Only this command needs them: they bring the terminal libraries.
    from bots.console import ChatOptions, run_chat  # noqa: PLC0415
    from bots.console_client import ConsoleClient  # noqa: PLC0415
    from bots.console_terminal import system_terminal  # noqa: PLC0415

    terminal = system_terminal(settings.data_dir / "chat_history")
    options = ChatOptions(
        once=arguments.once,
        attach=tuple(arguments.attach),
        engine=arguments.engine,
        conversation_id=arguments.conversation,
        json_output=arguments.json,
    )
    async with (
        connected(settings) as server,
        ConsoleClient(
            server.url, lambda: server.token(arguments.email), find=server.find
        ) as client,
    ):
        return await run_chat(client, options, terminal)


async def add_user(settings: Settings, arguments: argparse.Namespace) -> int:
    """``it0 user add``."""
    async with connected(settings) as server:
        user = await _sentences(
            server.operator().add_user(
                email=arguments.email, name=arguments.name, role=arguments.role
            )
        )
    line = f"Added {user['email']} as {user['role']}. `it0 token {user['email']}` makes a token."
    print(safe_text(line))
    return 0


async def link(settings: Settings, arguments: argparse.Namespace) -> int:
    """``it0 link``."""
    async with connected(settings) as server:
        code = await _sentences(server.operator(arguments.email).link_code())
    print(safe_text(codes.linking(code, arguments.email or "the first admin")))
    return 0


async def login(settings: Settings, arguments: argparse.Namespace) -> int:
    """``it0 login``: a link alone on the first line, for whoever copies it."""
    async with connected(settings) as server:
        link = await _sentences(server.operator(arguments.email).sign_in_link())
        embedded = server.embedded
    url = link["url"]
    if embedded:  # whoever made it has gone; the link is for `it0 up`
        url = sign_in_url(settings.http.url(), url.rpartition("#")[2])
    print(safe_text(url))
    print(safe_text(f"It opens IT0 as {link['email']}, once, within 30 minutes."))
    if embedded:
        print("IT0 does not run now. Start it first: `it0 up`.")
    return 0


async def page_line(process: app.Running) -> str:
    """The link of a start, for the first admin."""
    storage, settings = process.core.storage, process.core.settings
    sessions = SqlSessions(storage.db, storage.keys.derive("audit"))
    code = await sessions.new_link(process.admin, Maker(user_id=process.admin.id))
    port = None if process.url is None else urlsplit(process.url).port
    base = settings.http.url(port)
    if code is None:
        return f"  Page      {base}   (`it0 login` makes a link that opens it)"
    link = sign_in_url(base, code)
    return f"  Page      {link}   (opens once, for 30 minutes; `it0 login` makes another)"


async def invite(settings: Settings, arguments: argparse.Namespace) -> int:
    """``it0 user invite``."""
    email, role = arguments.email, arguments.role
    async with connected(settings) as server:
        code = await _sentences(server.operator().invite_code(email=email, role=role))
    print(safe_text(codes.inviting(code, email, role)))
    return 0


async def first_link_code(process: app.Running, role: app.Role) -> str:
    """How the first admin gets in, while no chat platform knows anybody; else empty.

    Only a process that listens to a platform says it: the others restart without anybody looking.
    """
    storage = process.core.storage
    gate = SqlGate(storage.db, storage.keys.derive("audit"))
    listens = role in _LISTENING and process.platforms
    code = await gate.first_link_code(process.admin) if listens else None
    return "" if code is None else codes.first(code, process.admin.email)


async def list_users(settings: Settings) -> int:
    """``it0 user list``."""
    async with connected(settings) as server:
        for user in await _sentences(server.operator().users()):
            print(safe_text(f"{user['email']:32} {user['role']:10} {user['name']}"))
    return 0


async def list_skills(settings: Settings, arguments: argparse.Namespace) -> int:
    """``it0 skills list``."""
    async with connected(settings) as server:
        return await _sentences(
            skills_command.list_skills(server.operator(arguments.email), sys.stdout)
        )


async def import_skills(settings: Settings, arguments: argparse.Namespace) -> int:
    """``it0 skills import``."""
    async with connected(settings) as server:
        client = server.operator(arguments.email)
        return await _sentences(
            skills_command.import_skills(client, arguments.directory, sys.stdout)
        )


async def change_role(settings: Settings, arguments: argparse.Namespace) -> int:
    """``it0 user role``."""
    async with connected(settings) as server:
        user = await _sentences(server.operator().set_role(arguments.email, arguments.role))
    print(safe_text(f"{user['email']} is {user['role']} now."))
    return 0


async def disable_user(settings: Settings, arguments: argparse.Namespace) -> int:
    """``it0 user disable``."""
    async with connected(settings) as server:
        await _sentences(server.operator().disable_user(arguments.email))
    print(safe_text(f"{arguments.email} is disabled; their tokens and sessions have ended."))
    return 0


async def token(settings: Settings, arguments: argparse.Namespace) -> int:
    """``it0 token``: a new token alone on standard output, for scripts; or list, or revoke."""
    async with connected(settings) as server:
        if arguments.list:
            for row in await _sentences(server.operator().tokens()):
                made = f" made with {row['parent']}" if row["parent"] else ""
                line = f"{row['id']}  {row['email']:32} until {row['expires_at'][:16]}{made}"
                print(safe_text(line))
            return 0
        if arguments.revoke is not None:
            await _sentences(server.operator().revoke_token(arguments.revoke))
            print("Revoked, with every token that was made with it.")
            return 0
        client = server.operator(arguments.email)
        print(await _sentences(client.token(days=arguments.days)))
    return 0


async def migrate(settings: Settings) -> int:
    """``it0 migrate``."""
    async with app.open_storage(settings, migrate=True):
        print("The database schema is up to date.")
    return 0


async def _sentences(request: Awaitable[_T]) -> _T:
    try:
        return await request
    except RequestRefused as refused:
        raise It0Error(str(refused)) from refused


async def backup(settings: Settings, file: Path, *, with_key: bool) -> int:
    """``it0 backup``; IT0 may be running."""
    from storage import backup  # noqa: PLC0415  # brings the PostgreSQL driver

    made = await backup.backup(_place(settings), file, with_key=with_key)
    key = "with the installation's key: keep it safe" if made.has_key else "without the key"
    print(f"Wrote {file} ({_rows(made)}), {key}.")
    return 0


async def restore(settings: Settings, file: Path) -> int:
    """``it0 restore``; IT0 must not be running."""
    from storage import restore  # noqa: PLC0415  # brings the PostgreSQL driver

    loaded = await restore.restore(_place(settings), file)
    print(f"Restored {file} ({_rows(loaded)}, made {loaded.created_at}). `it0 up` goes on with it.")
    return 0


def _place(settings: Settings) -> Installation:
    from storage.backup import Installation  # noqa: PLC0415  # brings the PostgreSQL driver

    return Installation(
        data_dir=settings.data_dir,
        database=settings.database_path or str(settings.database_url),
        secret=settings.secret_key,
    )


def _rows(manifest: Manifest) -> str:
    return f"{sum(table.rows for table in manifest.tables.values()):,} rows"


# -- what a start says ----------------------------------------------------------------------


async def ready_banner(process: app.Running, role: app.Role) -> str:
    """What ``it0 up`` prints when it is ready."""
    settings = process.core.settings
    engine = process.core.team.engines.default
    place = settings.database_path or "PostgreSQL"
    lines = [f"IT0 is ready (process {os.getpid()}).", ""]
    if role is app.Role.UP:
        lines.append(await page_line(process))
    if process.url is not None:
        lines += [
            f"  API       {process.url}/api/v1   (`it0 token` makes a token)",
            "  Chat      it0 chat   in another terminal, from this directory",
        ]
    lines += [
        f"  Engine    {engine_line(engine, settings)}",
        f"  Data      {place}",
        f"  Admin     {process.admin.email}",
    ]
    if process.platforms:
        lines.append(f"  Chats     {', '.join(name.title() for name in process.platforms)}")
    missing = missing_lines(settings)
    if missing:
        lines += ["", "Not configured (`it0 check` says more):", *missing]
    problems = [f"  {problem}" for problem in process.core.team.installed.problems]
    first = await first_link_code(process, role)
    return "\n".join([*lines, *problems, *(["", first] if first else []), "", "Stop with Ctrl-C."])

"""The ``it0`` command: one small handler a subcommand; the work is in ``app`` and ``bots``."""

from __future__ import annotations

import argparse
import asyncio
import os
import shutil
import sys
from collections.abc import Callable, Coroutine, Sequence
from pathlib import Path
from typing import Any

from audit_cli import add_audit, audit
from billing_cli import add_billing, billing
from fleet_cli import add_server, servers

VERSION = "0.1.0"

Handler = Callable[[argparse.Namespace], int]


def main(argv: Sequence[str] | None = None) -> int:
    """Run the command; returns its exit status."""
    os.umask(0o077)  # whatever is written here is nobody else's to read
    arguments = build_parser().parse_args(argv)
    handler: Handler = arguments.handler
    from core.errors import It0Error  # noqa: PLC0415  # --help must not import the product
    from settings import SettingsError  # noqa: PLC0415  # as above

    try:
        return handler(arguments)
    except SettingsError as error:
        for warning in error.warnings:
            print(f"Warning: {warning}", file=sys.stderr)
        return _complain("The settings are not right:\n  " + "\n  ".join(error.problems))
    except It0Error as error:
        return _complain(error.sentence)
    except OSError as error:  # a full disk, a path that cannot be reached
        where = f"{error.filename}: " if error.filename is not None else ""
        return _complain(f"The system refused: {where}{error.strerror or error}.")
    except KeyboardInterrupt:
        return 130


def build_parser() -> argparse.ArgumentParser:
    """Every command and its options."""
    parser = argparse.ArgumentParser(
        prog="it0", description="IT0, an AI operations teammate for people who run servers."
    )
    parser.add_argument("--version", action="version", version=f"it0 {VERSION}")
    commands = parser.add_subparsers(dest="command", required=True, metavar="COMMAND")
    for role, text in (
        ("up", "run everything in one process"),
        ("serve", "run the HTTP edge alone (PostgreSQL)"),
        ("telegram", "listen to Telegram alone (PostgreSQL)"),
        ("worker", "run turns alone (PostgreSQL)"),
    ):
        commands.add_parser(role, help=text).set_defaults(handler=_serve)
    slack = commands.add_parser("slack", help="listen to Slack alone (PostgreSQL); make its app")
    slack.set_defaults(handler=_serve)
    manifest = slack.add_subparsers(dest="part", metavar="PART").add_parser(
        "manifest", help="print what makes the app: paste it at api.slack.com/apps"
    )
    manifest.add_argument("--name", default="IT0", help="what the app is called; default IT0")
    manifest.set_defaults(handler=_manifest)
    _add_chat(commands)
    commands.add_parser("check", help="say what is configured and what is missing").set_defaults(
        handler=_check
    )
    commands.add_parser("migrate", help="bring the database schema up to date").set_defaults(
        handler=_migrate
    )
    _add_people(commands)
    add_server(commands).set_defaults(handler=_server)
    _add_skills(commands)
    _add_care(commands)
    add_billing(commands).set_defaults(handler=_billing)
    return parser


def _add_chat(commands: argparse._SubParsersAction[argparse.ArgumentParser]) -> None:
    chat = commands.add_parser("chat", help="talk to IT0 in this terminal")
    chat.add_argument("--once", metavar="TEXT", help="ask this and leave; - reads standard input")
    chat.add_argument("--attach", metavar="FILE", type=Path, action="append", default=[])
    chat.add_argument(
        "--engine",
        metavar="E",
        help="claude_api, claude_agent_sdk, claude_code_cli or runbook; it alone answers",
    )
    chat.add_argument("--as", metavar="EMAIL", dest="email", help="act as this user")
    chat.add_argument("--conversation", metavar="ID", help="go on with this conversation")
    chat.add_argument("--json", action="store_true", help="print events, one JSON object a line")
    chat.set_defaults(handler=_chat)


def _add_people(commands: argparse._SubParsersAction[argparse.ArgumentParser]) -> None:
    user = commands.add_parser("user", help="the people of your team").add_subparsers(
        dest="action", required=True, metavar="ACTION"
    )
    add = user.add_parser("add", help="add a person")
    add.add_argument("email", metavar="EMAIL")
    add.add_argument("--name", default="")
    add.add_argument("--role", choices=["viewer", "operator", "admin"], default="operator")
    add.set_defaults(handler=_user_add)
    invite = user.add_parser("invite", help="make a code by which a person joins from a chat")
    invite.add_argument("email", metavar="EMAIL")
    invite.add_argument("--role", choices=["viewer", "operator", "admin"], default="viewer")
    invite.set_defaults(handler=_user_invite)
    user.add_parser("list", help="list them").set_defaults(handler=_user_list)
    role = user.add_parser("role", help="give a person another role")
    role.add_argument("email", metavar="EMAIL")
    role.add_argument("role", choices=["viewer", "operator", "admin"])
    role.set_defaults(handler=_user_role)
    disable = user.add_parser("disable", help="shut a person out, with their tokens and sessions")
    disable.add_argument("email", metavar="EMAIL")
    disable.set_defaults(handler=_user_disable)
    link = commands.add_parser("link", help="make a code that links a Slack or Telegram account")
    link.add_argument("--as", metavar="EMAIL", dest="email", help="whose; default the first admin")
    link.set_defaults(handler=_link)
    login = commands.add_parser("login", help="make a link that opens IT0 in a browser, once")
    login.add_argument("email", metavar="EMAIL", nargs="?", help="as whom; default the first admin")
    login.set_defaults(handler=_login)
    token = commands.add_parser("token", help="make an API token, list them, or revoke one")
    token.add_argument("email", metavar="EMAIL", nargs="?", help="whose; default the first admin")
    token.add_argument("--days", type=int, default=90, help="how long it lives; default 90")
    other = token.add_mutually_exclusive_group()
    other.add_argument("--list", action="store_true", help="list the live tokens of the team")
    other.add_argument("--revoke", metavar="ID", help="revoke one, and those made with it")
    token.set_defaults(handler=_token)


def _add_skills(commands: argparse._SubParsersAction[argparse.ArgumentParser]) -> None:
    skills = commands.add_parser("skills", help="the routines of your team").add_subparsers(
        dest="action", required=True, metavar="ACTION"
    )
    listing = skills.add_parser("list", help="list them, with where each is from")
    listing.set_defaults(handler=_skills_list)
    importing = skills.add_parser("import", help="import a directory of SKILL.md files, or none")
    importing.add_argument("directory", metavar="DIR", type=Path)
    importing.set_defaults(handler=_skills_import)
    for parser in (listing, importing):
        parser.add_argument(
            "--as", metavar="EMAIL", dest="email", help="as this user, in whose team"
        )


def _add_care(commands: argparse._SubParsersAction[argparse.ArgumentParser]) -> None:
    add_audit(commands).set_defaults(handler=_audit)
    backup = commands.add_parser("backup", help="write everything to one file")
    backup.add_argument("file", type=Path, metavar="FILE")
    backup.add_argument("--without-key", action="store_true", help="leave secret.key out")
    backup.set_defaults(handler=_backup)
    restore = commands.add_parser("restore", help="load a backup into an empty installation")
    restore.add_argument("file", type=Path, metavar="FILE")
    restore.set_defaults(handler=_restore)


# -- handlers -----------------------------------------------------------------------------


def _settings(*, quiet: bool) -> Any:  # noqa: ANN401  # settings are imported late
    from core.logs import configure_logs  # noqa: PLC0415  # --help must not import the product
    from settings import Settings  # noqa: PLC0415  # as above

    settings = Settings.from_environment(os.environ, Path(".env"))
    json_lines = settings.log_format == "json" or (
        settings.log_format == "auto" and not sys.stderr.isatty()
    )
    configure_logs(json=json_lines, quiet=quiet)
    return settings


def _serve(arguments: argparse.Namespace) -> int:
    from app import Role, serve  # noqa: PLC0415  # only this command needs it all
    from operate import ready_banner  # noqa: PLC0415  # as above

    settings = _settings(quiet=False)
    role = Role(arguments.command)
    if role is not Role.UP and settings.database_path is not None:
        return _complain(
            f"`it0 {role}` runs one role of several processes, which need PostgreSQL: set "
            "IT0_DATABASE_URL. On SQLite, `it0 up` runs everything in one process."
        )
    for warning in settings.warnings:
        print(f"Warning: {warning}", file=sys.stderr)

    async def ready(process: Any) -> None:  # noqa: ANN401  # app.Running, imported late
        print(as_invoked(await ready_banner(process, role)), flush=True)

    return _run(serve(settings, role, ready))


def _manifest(arguments: argparse.Namespace) -> int:
    from bots.slack.manifest import manifest  # noqa: PLC0415  # only this command needs it

    public = _settings(quiet=True).http.public_url
    if public is not None and not public.startswith("https://"):
        public = None  # Slack calls https only: Socket Mode it is
    try:
        print(manifest(public_url=public, name=arguments.name))
    except ValueError as problem:
        return _complain(str(problem))
    return 0


def _chat(arguments: argparse.Namespace) -> int:
    from operate import chat  # noqa: PLC0415  # only this command needs it

    return _run(chat(_settings(quiet=True), arguments))


def _check(_arguments: argparse.Namespace) -> int:
    from checks import check  # noqa: PLC0415  # only this command needs it

    return _run(check(_settings(quiet=True), sys.stdout))


def _migrate(_arguments: argparse.Namespace) -> int:
    from operate import migrate  # noqa: PLC0415  # only this command needs it

    return _run(migrate(_settings(quiet=True)))


def _user_add(arguments: argparse.Namespace) -> int:
    from operate import add_user  # noqa: PLC0415  # only this command needs it

    return _run(add_user(_settings(quiet=True), arguments))


def _user_invite(arguments: argparse.Namespace) -> int:
    from operate import invite  # noqa: PLC0415  # only this command needs it

    return _run(invite(_settings(quiet=True), arguments))


def _link(arguments: argparse.Namespace) -> int:
    from operate import link  # noqa: PLC0415  # only this command needs it

    return _run(link(_settings(quiet=True), arguments))


def _login(arguments: argparse.Namespace) -> int:
    from operate import login  # noqa: PLC0415  # only this command needs it

    return _run(login(_settings(quiet=True), arguments))


def _user_list(_arguments: argparse.Namespace) -> int:
    from operate import list_users  # noqa: PLC0415  # only this command needs it

    return _run(list_users(_settings(quiet=True)))


def _skills_list(arguments: argparse.Namespace) -> int:
    from operate import list_skills  # noqa: PLC0415  # only this command needs it

    return _run(list_skills(_settings(quiet=True), arguments))


def _skills_import(arguments: argparse.Namespace) -> int:
    from operate import import_skills  # noqa: PLC0415  # only this command needs it

    return _run(import_skills(_settings(quiet=True), arguments))


def _user_role(arguments: argparse.Namespace) -> int:
    from operate import change_role  # noqa: PLC0415  # only this command needs it

    return _run(change_role(_settings(quiet=True), arguments))


def _user_disable(arguments: argparse.Namespace) -> int:
    from operate import disable_user  # noqa: PLC0415  # only this command needs it

    return _run(disable_user(_settings(quiet=True), arguments))


def _server(arguments: argparse.Namespace) -> int:
    return _run(servers(_settings(quiet=True), arguments))


def _token(arguments: argparse.Namespace) -> int:
    from operate import token  # noqa: PLC0415  # only this command needs it

    return _run(token(_settings(quiet=True), arguments))


def _audit(arguments: argparse.Namespace) -> int:
    return _run(audit(_settings(quiet=True), arguments))


def _billing(arguments: argparse.Namespace) -> int:
    return _run(billing(_settings(quiet=True), arguments))


def _backup(arguments: argparse.Namespace) -> int:
    from operate import backup  # noqa: PLC0415  # only this command needs it

    return _run(backup(_settings(quiet=True), arguments.file, with_key=not arguments.without_key))


def _restore(arguments: argparse.Namespace) -> int:
    from operate import restore  # noqa: PLC0415  # only this command needs it

    return _run(restore(_settings(quiet=True), arguments.file))


def _run(work: Coroutine[Any, Any, int | None]) -> int:
    return asyncio.run(work) or 0


def _complain(sentence: str) -> int:
    print(f"it0: {as_invoked(sentence)}", file=sys.stderr)
    return 1


def as_invoked(sentence: str, program: str | None = None) -> str:
    """The sentence with its commands as they can be typed here.

    After `make run` there is `.venv/bin/it0` and no `it0` on the PATH. ``program`` is the
    command as it was invoked; the process's own when it is None.
    """
    program = sys.argv[0] if program is None else program
    if Path(program).name != "it0" or shutil.which("it0") is not None:
        return sentence
    return sentence.replace("`it0 ", f"`{program} ").replace("  it0 chat ", f"  {program} chat ")


if __name__ == "__main__":
    sys.exit(main())

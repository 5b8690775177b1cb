"""``edit_file`` and ``copy_file``: files changed, each only from what an approver saw."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from core.fleet.editing import MAX_CHANGE_CHARS, Edit, diff, edited, write_edit
from core.fleet.exact import Exact, digest, read_exact
from core.fleet.fanout import fan_out
from core.fleet.file_risk import check_for, write_level
from core.fleet.files import path_problem
from core.fleet.host import FileProblem, Host, HostUnreachable
from core.fleet.inventory import Server, SudoPolicy
from core.fleet.report import Report, clean, failure, size
from core.fleet.together import names
from core.fleet.tool_fleet import (
    CHANGE_TIMEOUT_S,
    REASON_PARAM,
    ROLLOUT,
    SERVER,
    Fleet,
    Planned,
    change_tool,
    needs_sudo,
    refused,
    sudo_level,
    weighed,
)
from core.fleet.tool_looks import PATH
from core.redact import aside
from core.risk import Assessment, Level
from core.tools import Arguments, Param, Tool, ToolContext, ToolSpec

MAX_CONTENT_CHARS = 200_000

EDIT = ToolSpec(
    name="edit_file",
    description=(
        "Change a text file on one or several servers: replace a piece (old, new), or write the "
        "whole content. The approver sees the diff. The file is only written if it still holds "
        "what the diff was made from; the old content is kept as a backup, and configurations of "
        "nginx, sshd, sudo and others are checked and put back when they are wrong. A service "
        "must be reloaded afterwards (service_control)."
    ),
    params=(
        PATH,
        Param(
            name="old",
            kind="string",
            description="The text to replace, exactly as it stands; it must occur once.",
            maximum=MAX_CONTENT_CHARS,
            multiline=True,
        ),
        Param(
            name="new",
            kind="string",
            description="What stands there instead; may be empty.",
            maximum=MAX_CONTENT_CHARS,
            multiline=True,
        ),
        Param(
            name="content",
            kind="string",
            description="The whole new content, instead of old and new; also makes a new file.",
            maximum=MAX_CONTENT_CHARS,
            multiline=True,
        ),
        SERVER,
        ROLLOUT,
        REASON_PARAM,
    ),
)
COPY = ToolSpec(
    name="copy_file",
    description=(
        "Copy a file of at most 5 MiB from one server to the same or another path on others; "
        "digests are compared. What is there is kept as a backup."
    ),
    params=(
        Param(
            name="from_server",
            kind="string",
            description="The server to copy from, by its name.",
            required=True,
            minimum=1,
            maximum=200,
        ),
        PATH,
        Param(
            name="to_path",
            kind="string",
            description="Full path of the copy; the same path when left out.",
            minimum=1,
            maximum=4096,
        ),
        SERVER,
        ROLLOUT,
        REASON_PARAM,
    ),
)


@dataclass(frozen=True, slots=True, kw_only=True)
class _Write:
    """What one server holds now, and what it is to hold."""

    server: Server
    before: Exact
    after: bytes

    @property
    def differs(self) -> bool:
        return not self.before.exists or self.before.data != self.after

    @property
    def bound(self) -> str:
        return f"{self.server.id} {self.before.path} {self.before.sha256} {digest(self.after)}"


def edit_file(fleet: Fleet) -> Tool:
    """The tool."""

    async def plan(context: ToolContext, arguments: Arguments) -> Planned | Assessment:
        edit = Edit(
            path=str(arguments["path"]),
            old=_text(arguments, "old"),
            new=_text(arguments, "new"),
            content=_text(arguments, "content"),
        )
        problem = edit.problem() or path_problem(edit.path)
        if problem:
            return refused(problem)
        level, reasons = write_level(edit.path, fleet.protected)
        if level is Level.L3:
            return Assessment(level=level, reasons=reasons, action=f"edit {clean(edit.path)}")
        servers = await fleet.choose(context, arguments, exact=True)
        if isinstance(servers, str):
            return refused(servers)
        writes = await _writes(fleet, servers, edit)
        if isinstance(writes, str):
            return refused(writes)
        action = f"edit {_shown_path(edit.path, writes)}"
        return await _planned(fleet, arguments, writes, action)

    return change_tool(fleet, EDIT, plan, timeout_s=CHANGE_TIMEOUT_S, untrusted=True)


def copy_file(fleet: Fleet) -> Tool:
    """The tool."""

    async def plan(context: ToolContext, arguments: Arguments) -> Planned | Assessment:
        source, path = str(arguments["from_server"]), str(arguments["path"])
        to_path = str(arguments.get("to_path", path))
        problem = path_problem(path) or path_problem(to_path)
        if problem:
            return refused(problem)
        for each in (path, to_path):
            level, reasons = write_level(each, fleet.protected)
            if level is Level.L3:
                return Assessment(level=level, reasons=reasons, action=f"copy {clean(each)}")
        origins = await fleet.choose(context, {"server": source}, exact=True)
        servers = await fleet.choose(context, arguments, exact=True)
        for chosen in (origins, servers):
            if isinstance(chosen, str):
                return refused(chosen)
        return await _copied(fleet, arguments, origins, servers, (path, to_path))

    return change_tool(fleet, COPY, plan, timeout_s=CHANGE_TIMEOUT_S, untrusted=True)


async def _copied(
    fleet: Fleet,
    arguments: Arguments,
    origins: tuple[Server, ...] | str,
    servers: tuple[Server, ...] | str,
    paths: tuple[str, str],
) -> Planned | Assessment:
    if isinstance(origins, str) or isinstance(servers, str):
        return refused("no server was chosen.")
    if len(origins) != 1:
        return refused("A file is copied from one server; name it.")
    path, to_path = paths
    source = await _read(fleet, origins[0], path)
    if isinstance(source, str):
        return refused(source)
    if not source.exists:
        return refused(f"There is no file {clean(path)} on {clean(origins[0].name)}.")
    targets = tuple(each for each in servers if (each.id, path) != (origins[0].id, to_path))
    befores = await _read_all(fleet, targets, to_path)
    if isinstance(befores, str):
        return refused(befores)
    writes = [
        _Write(server=server, before=before, after=source.data)
        for server, before in zip(targets, befores, strict=True)
    ]
    to = _shown_path(to_path, writes)
    action = f"copy {clean(origins[0].name)}:{clean(source.path)} to {to}"
    return await _planned(fleet, arguments, writes, action, source=source)


async def _writes(fleet: Fleet, servers: Sequence[Server], edit: Edit) -> list[_Write] | str:
    """What would be written where, or a sentence why it cannot be."""
    found: list[_Write] = []
    befores = await _read_all(fleet, servers, edit.path)
    if isinstance(befores, str):
        return befores
    for server, before in zip(servers, befores, strict=True):
        after = edited(before, edit)
        if isinstance(after, str):
            return f"{clean(server.name)}: {after}"
        found.append(_Write(server=server, before=before, after=after))
    return found


async def _read_all(fleet: Fleet, servers: Sequence[Server], path: str) -> list[Exact] | str:
    """What each holds now, or the first sentence why that is not known."""
    found: list[Exact] = []
    for each in await fan_out(servers, lambda server: _read(fleet, server, path)):
        if not isinstance(each.value, Exact):
            return each.value or each.problem
        found.append(each.value)
    return found


async def _read(fleet: Fleet, server: Server, path: str) -> Exact | str:
    """As root only where that needs no approval: this happens before one is asked for."""
    try:
        found = await read_exact(
            fleet.connector.connect(server),
            path,
            fleet.protected,
            sudo=server.sudo is SudoPolicy.ALLOWED and needs_sudo(server),
        )
    except HostUnreachable as unreachable:
        return unreachable.sentence
    if isinstance(found, FileProblem):
        return f"{clean(server.name)}: {clean(found.sentence)}"
    return found


async def _planned(
    fleet: Fleet,
    arguments: Arguments,
    writes: Sequence[_Write],
    action: str,
    *,
    source: Exact | None = None,
) -> Planned | Assessment:
    writes = [each for each in writes if each.differs]
    if not writes:
        return refused("Nothing would change: it is so already.")
    servers = tuple(each.server for each in writes)
    judged = [write_level(each.before.path, fleet.protected) for each in writes]
    level, reasons = max(judged)
    if any(each.before.as_root for each in writes):
        level, reasons = max(level, Level.L2), (*reasons, "only root may read it")
    least, asking = sudo_level(servers) if level > Level.L1 else (Level.L0, ())
    by_id = {each.server.id: each for each in writes}
    check = check_for(writes[0].before.path)
    change = await _change(writes, source)
    if change is None:
        return refused("The change is too large to be approved; split it.")
    assessment = Assessment(
        level=max(level, least),
        reasons=(*reasons, *asking),
        action=action + (f", then {check}" if check else ""),
        change=change,
        undo="the old content is kept in a backup, whose path is told; a new file is removed.",
    )

    async def work(server: Server, host: Host) -> Report:
        write = by_id[server.id]
        if fleet.protected.why(write.before.path):
            return failure("the path is protected.")
        root = needs_sudo(server) and level > Level.L1
        return await write_edit(host, write.before, write.after, sudo=root)

    bound = tuple(each.bound for each in writes)
    return Planned(
        assessment=weighed(assessment, servers, arguments, *bound), servers=servers, work=work
    )


async def _change(writes: Sequence[_Write], source: Exact | None) -> str | None:
    """Diffs, one for each different content; None when they are too large to be read.

    Of a copy that is no text, or too much of it: sizes and digests.
    """
    groups: dict[tuple[str | None, str], list[_Write]] = {}
    for each in writes:
        groups.setdefault((each.before.sha256, digest(each.after)), []).append(each)
    parts: list[str] = []
    for members in groups.values():
        first = members[0]
        shown = None
        if source is None or (_is_text(first.before.data) and _is_text(first.after)):
            after = first.after.decode("utf-8", "replace")
            shown = await aside(diff, after, first.before)
        if shown is None and source is not None:
            shown = f"{size(len(first.before.data))} are replaced by {size(len(first.after))}"
            shown = f"{shown}, sha256 {digest(first.after)}"
        if shown is None:
            return None
        title = f"{names([each.server.name for each in members])}:\n" if len(groups) > 1 else ""
        parts.append(title + shown)
    text = "\n\n".join(parts)
    return text if len(text) <= MAX_CHANGE_CHARS else None


def _shown_path(asked: str, writes: Sequence[_Write]) -> str:
    """The path, and where its links lead."""
    real = dict.fromkeys(clean(each.before.path) for each in writes)
    if tuple(real) == (clean(asked),):
        return clean(asked)
    return f"{clean(asked)} (really {', '.join(real)})"


def _is_text(data: bytes) -> bool:
    if b"\0" in data:
        return False
    try:
        data.decode("utf-8")
    except UnicodeDecodeError:
        return False
    return True


def _text(arguments: Arguments, name: str) -> str | None:
    value = arguments.get(name)
    return value if isinstance(value, str) else None

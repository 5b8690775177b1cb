"""Where a Claude Code process lives: directories that only one conversation ever sees.

::

    root/                    0711 (ours)     0700 without a uid
      launch                 the program that is given as the CLI
      ten_.../               0711 (ours)
        conv_.../            0711 (ours)
          home config run tmp cwd    0700, the child's own

Nothing is shared, not even between two conversations of a tenant: a process can neither
resume nor read what another one left. The child cannot change the directories above its own,
so it cannot move a link to where IT0 will write. Everything here can be erased at any time:
the conversation is rebuilt from IT0's steps.

All methods block; run them in a thread.
"""

from __future__ import annotations

import os
import re
import threading
import time
import uuid
from collections.abc import Callable, Iterator, Mapping
from contextlib import ExitStack, contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path

import structlog

from core.engines import cli_home_files as files
from core.engines.cli_launch import REASON, bundled_cli, check_launcher, write_launcher
from core.engines.cli_launch_child import NAMES, PARENT
from core.engines.cli_launch_safety import PROJECT, SETTINGS
from core.errors import EngineFailure
from core.words import sentence

_log = structlog.get_logger()
_TENANT = re.compile(r"ten_[0-9A-Za-z_-]{1,64}", re.ASCII)
_CONVERSATION = re.compile(r"conv_[0-9A-Za-z_-]{1,64}", re.ASCII)
_NAME = re.compile(r"[a-z][a-z0-9_-]{0,40}(\.[a-z]{1,8})?", re.ASCII)
_LEAVES = ("home", "config", "run", "tmp", "cwd")
_PASSABLE = 0o711
_SEARCH = 0o001


@dataclass(frozen=True, slots=True, kw_only=True)
class HomesConfig:
    """Where, and as whom."""

    root: Path
    """All tenants' directories. Not inside IT0's data directory when there is a uid."""
    uid: int | None = None
    """None: children run as IT0's own user; else as this uid, and the gid of that number."""
    cli: Path | None = None
    """None: the one inside the SDK's wheel."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Home:
    """One conversation's directories."""

    place: Path
    launcher: Path
    """What is given as the CLI's path."""
    owner: int

    @property
    def cwd(self) -> Path:
        """An empty directory."""
        return self.place / "cwd"

    @property
    def config_dir(self) -> Path:
        """``CLAUDE_CONFIG_DIR``: session files and the CLI's own notes."""
        return self.place / "config"

    def environment(
        self,
        *,
        base_url: str,
        api_key: str | None,
        oauth_token: str | None,
        max_output_tokens: int,
        extra: Mapping[str, str] | None = None,
    ) -> dict[str, str]:
        """Everything the child gets to see; the launcher drops whatever else is set.

        To be called in the process that starts the child, each time: the child dies with it.
        An empty ``base_url`` is the provider's own address. ``extra`` may change a setting
        (``PATH`` for built-in tools, ``NODE_EXTRA_CA_CERTS``), never where the child lives
        or who pays: that raises ``ValueError``.
        """
        fixed = {
            "HOME": str(self.place / "home"),
            "CLAUDE_CONFIG_DIR": str(self.config_dir),
            "XDG_RUNTIME_DIR": str(self.place / "run"),
            "CLAUDE_CODE_TMPDIR": str(self.place / "tmp"),
            "TMPDIR": str(self.place / "tmp"),
            "ANTHROPIC_BASE_URL": base_url,
            "ANTHROPIC_API_KEY": api_key or "",
            "CLAUDE_CODE_OAUTH_TOKEN": oauth_token or "",
            PARENT: str(os.getpid()),
            NAMES: "",
        }
        if taken := fixed.keys() & (extra or {}).keys():
            raise ValueError(f"not to be changed: {', '.join(sorted(taken))}")
        child = {name: value for name, value in fixed.items() if value and name != PARENT}
        child["CLAUDE_CODE_MAX_OUTPUT_TOKENS"] = str(max_output_tokens)
        child |= {name: value for name, (value, _) in SETTINGS.items()} | dict(extra or {})
        return child | {NAMES: ",".join(sorted(child)), PARENT: fixed[PARENT]}

    def transcript(self, session_id: str) -> Path:
        """The session's file. ``CLAUDE_CODE_PROJECT_DIR_NAME`` makes it independent of cwd."""
        return self.config_dir / "projects" / PROJECT / f"{_uuid(session_id)}.jsonl"

    def write_transcript(self, session_id: str, text: str) -> Path:
        """Put a session there to be resumed, readable by the child.

        Raises ``FileExistsError`` when there is one of that name, OSError otherwise.
        """
        path = self.transcript(session_id)
        with ExitStack() as stack:
            within = stack.enter_context(files.opened(str(self.config_dir)))
            for name in ("projects", PROJECT):
                made = files.ensured(name, within=within, mode=files.PRIVATE, owner=self.owner)
                within = stack.enter_context(made)
            files.write_new(path.name, text, within=within, owner=self.owner)
        return path

    def write_private(self, name: str, text: str) -> Path:
        """Put a file beside the child's own, replacing one of that name; raises OSError.

        For what must not be in the arguments, which every user of the machine can see and
        which end at 128 KiB each: the system prompt, the MCP configuration with its secret.
        """
        if not _NAME.fullmatch(name):
            raise ValueError("not a plain file name")
        with files.opened(str(self.place / "home")) as within:
            files.erase(name, within=within)
            files.write_new(name, text, within=within, owner=self.owner)
        return self.place / "home" / name

    def tidy(self, session_id: str) -> None:
        """Erase what earlier processes left, but this session (empty: all of them).

        Every rebuilt conversation has a session file of its own, with its files in it.
        """
        keep = f"{session_id}.jsonl"
        for leaf in ("tmp", "run", "home", f"config/projects/{PROJECT}"):
            with ExitStack() as stack, suppress(OSError):
                within = stack.enter_context(files.opened(str(self.place)))
                for name in leaf.split("/"):
                    within = stack.enter_context(files.opened(name, within=within))
                for name in os.listdir(within):  # noqa: PTH208  # a descriptor has no path
                    if name != keep:
                        files.erase(name, within=within)

    def erase_private(self, *names: str) -> None:
        """Take such files away again, unless the whole home is gone."""
        with suppress(OSError), files.opened(str(self.place / "home")) as within:
            for name in names:
                files.erase(name, within=within)


class Homes:
    """Makes and erases them. One lock: directories are made in a millisecond."""

    def __init__(self, config: HomesConfig, *, now: Callable[[], float] = time.time) -> None:
        """``now`` tells the seconds since the epoch, as the file system does."""
        self._root = config.root.resolve()
        self._uid = config.uid
        self._cli = config.cli
        self._now = now
        self._owner = os.geteuid() if config.uid is None else config.uid
        self._mode = files.PRIVATE if config.uid is None else _PASSABLE
        self._lock = threading.Lock()

    @property
    def launcher(self) -> Path:
        """The program that is given as the CLI."""
        return self._root / "launch"

    def prepare(self) -> None:
        """Make the root and the launcher, and start the CLI once to see that it works.

        Raises ``EngineFailure`` with a sentence that says what to do.
        """
        self._check_user()
        cli = self._cli or bundled_cli()
        try:
            self._root.mkdir(mode=self._mode, parents=True, exist_ok=True)
            with files.opened(str(self._root)) as root:
                if os.fstat(root).st_uid != os.geteuid():
                    raise _refused(self._root)
                os.fchmod(root, self._mode)
            write_launcher(self.launcher, cli, self._uid)
        except OSError as problem:
            raise EngineFailure(
                sentence(
                    "The directory {path} for Claude Code cannot be made: {why}",
                    path=str(self._root),
                    why=problem.strerror or "",
                ),
                reason=REASON,
            ) from problem
        self._check_reach()
        check_launcher(self.launcher, self._root, cli, self._uid)

    def _check_user(self) -> None:
        if self._uid is None:
            return
        if self._uid <= 0 or os.geteuid() != 0:
            raise EngineFailure(
                sentence(
                    "Claude Code can be started as user {uid} only if IT0 runs as root and "
                    "the user is another one.",
                    uid=self._uid,
                ),
                reason=REASON,
            )

    def _check_reach(self) -> None:
        """Name the directory in the way; access lists are seen by the start of the CLI."""
        if self._uid is None:
            return
        for above in reversed(self._root.parents):
            status = above.stat()
            mine = (status.st_uid, status.st_gid)
            if status.st_mode & _SEARCH or self._uid in mine:
                continue
            raise EngineFailure(
                sentence(
                    "User {uid} cannot reach {path}: choose a directory outside {above}, or "
                    "run chmod o+x {above}.",
                    uid=self._uid,
                    path=str(self._root),
                    above=str(above),
                ),
                reason=REASON,
            )

    def of(self, tenant_id: str, conversation_id: str) -> Home:
        """The conversation's home, made if need be; counts as a use of it. Raises OSError."""
        with self._lock, self._tenant(_tenant(tenant_id)) as tenant:
            mine = os.geteuid()
            name = _conversation(conversation_id)
            with files.ensured(name, within=tenant, mode=self._mode, owner=mine) as place:
                for leaf in _LEAVES:
                    made = files.ensured(leaf, within=place, mode=files.PRIVATE, owner=self._owner)
                    with made:
                        pass
                os.utime(place, (self._now(), self._now()))
        return Home(
            place=self._root / tenant_id / conversation_id,
            launcher=self.launcher,
            owner=self._owner,
        )

    def forget(self, tenant_id: str, conversation_id: str) -> None:
        """Erase everything of a conversation. End its process first. Raises OSError."""
        with self._lock:
            self._erase(_tenant(tenant_id), _conversation(conversation_id))

    def forget_tenant(self, tenant_id: str) -> None:
        """Erase everything of a tenant. End its processes first. Raises OSError."""
        with self._lock, files.opened(str(self._root)) as root:
            files.erase(_tenant(tenant_id), within=root)

    def sweep(self, keep: Callable[[str, str], bool], idle_s: float) -> int:
        """Erase conversations that ``keep`` denies, or not used for so long; say how many.

        A conversation that cannot be erased is logged and left for the next time.
        """
        swept = 0
        for tenant_id, conversation_id in self.held():
            kept = keep(tenant_id, conversation_id)
            try:
                with self._lock:  # what ``of`` touches now is not idle
                    if not kept or self._idle(tenant_id, conversation_id, idle_s):
                        swept += self._erase(tenant_id, conversation_id)
            except (OSError, RecursionError):
                _log.warning("cli_home_not_erased", conversation=conversation_id, exc_info=True)
        return swept

    @contextmanager
    def _tenant(self, name: str) -> Iterator[int]:
        with files.opened(str(self._root)) as root:
            made = files.ensured(name, within=root, mode=self._mode, owner=os.geteuid())
            with made as tenant:
                yield tenant

    def _erase(self, tenant_id: str, conversation_id: str) -> bool:
        with files.opened(str(self._root)) as root:
            try:
                with files.opened(tenant_id, within=root) as tenant:
                    gone = files.erase(conversation_id, within=tenant)
            except FileNotFoundError:
                return False
            with suppress(OSError):  # other conversations are in it
                os.rmdir(tenant_id, dir_fd=root)
            return gone

    def held(self) -> list[tuple[str, str]]:
        """The tenant and the id of every conversation that has a home. Raises OSError."""
        found: list[tuple[str, str]] = []
        if not self._root.is_dir():
            return found
        for tenant in sorted(self._root.iterdir()):
            if not _TENANT.fullmatch(tenant.name):
                continue
            with suppress(OSError):  # gone meanwhile, or not a directory
                names = [place.name for place in sorted(tenant.iterdir())]
                found += [(tenant.name, name) for name in names if _CONVERSATION.fullmatch(name)]
        return found

    def _idle(self, tenant_id: str, conversation_id: str, idle_s: float) -> bool:
        """A process that lives long writes its session file; ``of`` touches the directory."""
        place = self._root / tenant_id / conversation_id
        sessions = place / "config" / "projects" / PROJECT
        try:
            paths = [place, *(sessions.iterdir() if sessions.is_dir() else ())]
            used: float = max(path.lstat().st_mtime for path in paths)
        except OSError:
            return False  # it is changing under our eyes: somebody uses it
        return self._now() - used >= idle_s


def _refused(root: Path) -> EngineFailure:
    return EngineFailure(
        sentence(
            "The directory {path} for Claude Code belongs to another user: remove it, or "
            "choose another one.",
            path=str(root),
        ),
        reason=REASON,
    )


def _tenant(given: str) -> str:
    if not _TENANT.fullmatch(given):
        raise ValueError("not the id of a tenant")
    return given


def _conversation(given: str) -> str:
    if not _CONVERSATION.fullmatch(given):
        raise ValueError("not the id of a conversation")
    return given


def _uuid(given: str) -> str:
    if str(uuid.UUID(given)) != given:
        raise ValueError("not the id of a session")
    return given

"""Homes and the launcher, with small programs in the place of the CLI (`env`, `cat`, `sleep`)."""

from __future__ import annotations

import os
import shutil
import signal
import stat
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from tempfile import TemporaryDirectory

import pytest

from core.engines.cli_home import Home, Homes, HomesConfig
from core.engines.cli_launch_safety import PROJECT
from core.errors import EngineFailure

UID = 61_000 + os.getpid() % 4_000
ROOT = os.geteuid() == 0
needs_root = pytest.mark.skipif(not ROOT, reason="only root can become another user")
SESSION = "0d191630-f987-4703-bf5f-6437624922dc"
YEAR_S = 365 * 86_400


@pytest.fixture
def place() -> Iterator[Path]:
    """A directory that other users can come to; pytest's own are closed to them."""
    with TemporaryDirectory(prefix="it0-") as made:
        Path(made).chmod(0o711)
        yield Path(made)


def homes_in(place: Path, *, cli: str = "true", uid: int | None = None) -> Homes:
    """Prepared homes whose CLI is a small program."""
    program = shutil.which(cli)
    assert program
    homes = Homes(HomesConfig(root=place / "cli", uid=uid, cli=Path(program).resolve()))
    homes.prepare()
    return homes


def environment(home: Home, **extra: str) -> dict[str, str]:
    """What an engine passes."""
    return home.environment(
        base_url="http://127.0.0.1:1",
        api_key="sk-mine",
        oauth_token=None,
        max_output_tokens=4096,
        extra=extra,
    )


def run(home: Home, *arguments: str, **more: str) -> subprocess.CompletedProcess[str]:
    """Start the child as the SDK does: our whole environment, plus the options' one."""
    return subprocess.run(
        [str(home.launcher), *arguments],
        cwd=home.cwd,
        env={**os.environ, **environment(home), **more},
        capture_output=True,
        text=True,
        check=False,
    )


def users() -> list[int | None]:
    """As ourselves, and as another user if we may."""
    return [None, UID] if ROOT else [None]


@pytest.mark.parametrize("uid", users())
def test_homes_are_private(place: Path, uid: int | None) -> None:
    """The child owns its own directories alone; what is above them it cannot change."""
    home = homes_in(place, uid=uid).of("ten_a", "conv_a")
    owner = os.geteuid() if uid is None else uid
    for leaf in home.place.iterdir():
        status = leaf.stat()
        assert (status.st_uid, stat.S_IMODE(status.st_mode)) == (owner, 0o700), leaf
    for above in (home.place, home.place.parent, home.place.parent.parent):
        status = above.stat()
        assert status.st_uid == os.geteuid()
        assert stat.S_IMODE(status.st_mode) == (0o700 if uid is None else 0o711)
    assert not list(home.cwd.iterdir())


def test_nothing_is_shared(place: Path) -> None:
    """Tenants have no directory in common, nor have two conversations of one."""
    homes = homes_in(place)
    seen: set[str] = set()
    for names in (("ten_a", "conv_a"), ("ten_a", "conv_b"), ("ten_b", "conv_a")):
        home = homes.of(*names)
        own = {value for value in environment(home).values() if str(home.place) in value}
        assert len(own) == 4  # HOME, the configuration, the runtime and temporary directories
        assert not own & seen
        seen |= own


@pytest.mark.parametrize(
    "given",
    [
        "",
        "ten_",
        "ten_../x",
        "../ten_a",
        "ten_a/b",
        "ten_a\n",
        "ten_a\0",
        "usr_a",
        "ten_" + "a" * 65,
    ],
)
def test_an_odd_id_is_refused(place: Path, given: str) -> None:
    """What is not an id never becomes a part of a path."""
    homes = homes_in(place)
    conversation = given.replace("ten_", "conv_").replace("usr_", "ten_")
    with pytest.raises(ValueError, match="not the id of a tenant"):
        homes.of(given, "conv_a")
    with pytest.raises(ValueError, match="not the id of a tenant"):
        homes.forget_tenant(given)
    for call in (homes.of, homes.forget):
        with pytest.raises(ValueError, match="not the id of a conversation"):
            call("ten_a", conversation)


@pytest.mark.parametrize("given", ["", "../../x", SESSION.upper(), SESSION + "/x"])
def test_an_odd_session_is_refused(place: Path, given: str) -> None:
    """A session's id never becomes a path unless it is a plain UUID."""
    with pytest.raises(ValueError):
        homes_in(place).of("ten_a", "conv_a").transcript(given)


@pytest.mark.parametrize("name", ["home", "config", "cwd"])
@pytest.mark.parametrize("kind", ["link", "file", "fifo"])
def test_a_planted_link_is_not_followed(place: Path, name: str, kind: str) -> None:
    """What a child put in the place of a directory is removed; its target stays as it was."""
    homes = homes_in(place)
    leaf = homes.of("ten_a", "conv_a").place / name
    target = place / "precious"
    target.mkdir(mode=0o755)
    (target / "file").write_text("kept")
    shutil.rmtree(leaf)
    if kind == "link":
        leaf.symlink_to(target)
    elif kind == "file":
        leaf.write_text("")
    else:
        os.mkfifo(leaf)
    homes.of("ten_a", "conv_a")
    assert stat.S_ISDIR(leaf.lstat().st_mode)
    assert (target / "file").read_text() == "kept"
    assert stat.S_IMODE(target.stat().st_mode) == 0o755


def test_erasing_follows_no_link(place: Path) -> None:
    """Links inside a home, and a home that is a link, are removed; their targets stay."""
    homes = homes_in(place)
    home = homes.of("ten_a", "conv_a")
    target = place / "precious"
    target.mkdir()
    (target / "file").write_text("kept")
    (home.cwd / "link").symlink_to(target)
    (home.place.parent / "conv_b").symlink_to(target)
    homes.forget("ten_a", "conv_a")
    homes.forget("ten_a", "conv_b")
    assert not home.place.parent.exists()
    assert (target / "file").read_text() == "kept"


@pytest.mark.parametrize(
    "link", ["projects", f"projects/{PROJECT}", f"projects/{PROJECT}/{SESSION}.jsonl"]
)
def test_a_session_is_not_written_through_a_link(place: Path, link: str) -> None:
    """A child cannot make us write a session file where it points."""
    home = homes_in(place).of("ten_a", "conv_a")
    target = place / "elsewhere"
    target.mkdir()
    planted = home.config_dir / link
    planted.parent.mkdir(parents=True, exist_ok=True)
    planted.symlink_to(target / "new" if link.endswith("jsonl") else target)
    if link.endswith("jsonl"):
        with pytest.raises(FileExistsError):
            home.write_transcript(SESSION, "{}\n")
    else:
        assert home.write_transcript(SESSION, "{}\n").read_text() == "{}\n"
    assert not list(target.iterdir())


@pytest.mark.parametrize("uid", users())
def test_what_we_write_is_the_childs(place: Path, uid: int | None) -> None:
    """A session and a private file are readable by the child and by nobody else."""
    home = homes_in(place, cli="cat", uid=uid).of("ten_a", "conv_a")
    paths = [home.write_transcript(SESSION, "session\n"), home.write_private("a.json", "old\n")]
    paths[1] = home.write_private("a.json", "new\n")
    assert paths[0] == home.transcript(SESSION)
    assert run(home, *map(str, paths)).stdout == "session\nnew\n"
    for path in paths:
        assert stat.S_IMODE(path.stat().st_mode) == 0o600
    with pytest.raises(ValueError, match="plain"):
        home.write_private("../x", "")


def test_forgetting_a_tenant(place: Path) -> None:
    """All conversations of the tenant go, those of others stay."""
    homes = homes_in(place)
    gone, kept = homes.of("ten_a", "conv_a"), homes.of("ten_b", "conv_a")
    homes.forget_tenant("ten_a")
    homes.forget_tenant("ten_a")
    homes.forget("ten_never", "conv_a")
    assert not gone.place.parent.exists()
    assert kept.place.exists()


def test_the_sweep(place: Path) -> None:
    """It erases what is denied and what is idle; writing a session counts as use."""
    homes = homes_in(place)
    names = ["conv_denied", "conv_idle", "conv_used", "conv_writing"]
    made = {name: homes.of("ten_a", name) for name in names}
    for name in ("conv_idle", "conv_writing"):
        os.utime(made[name].place, (0, 0))
    made["conv_writing"].write_transcript(SESSION, "{}\n")
    stranger = made["conv_used"].place.parent.parent / "not-ours"
    stranger.mkdir()
    assert homes.sweep(lambda tenant, name: (tenant, name) != ("ten_a", names[0]), YEAR_S) == 2
    assert [name for name in names if made[name].place.exists()] == names[2:]
    assert stranger.exists()


@needs_root
def test_another_uid_than_before(place: Path) -> None:
    """A home left by another user is made anew, not handed over with what is in it."""
    before = homes_in(place).of("ten_a", "conv_a")
    (before.config_dir / "settings.json").write_text("{}")
    after = homes_in(place, uid=UID).of("ten_a", "conv_a")
    assert after.config_dir.stat().st_uid == UID
    assert not list(after.config_dir.iterdir())


@needs_root
def test_a_root_that_the_uid_cannot_reach(place: Path) -> None:
    """The sentence names the directory in the way."""
    closed = place / "data"
    closed.mkdir(mode=0o700)
    with pytest.raises(EngineFailure, match=f"chmod o\\+x {closed}"):
        homes_in(closed, uid=UID)


@needs_root
def test_a_root_of_somebody_else(place: Path) -> None:
    """A directory that another user made first is not used."""
    (place / "cli").mkdir()
    os.chown(place / "cli", UID, UID)
    with pytest.raises(EngineFailure, match="belongs to another user"):
        homes_in(place, uid=UID)


@pytest.mark.parametrize("uid", [0, -1] if ROOT else [UID])
def test_a_uid_that_cannot_be(place: Path, uid: int) -> None:
    """Root is nobody to drop to, and only root can drop."""
    with pytest.raises(EngineFailure, match="only if IT0 runs as root"):
        homes_in(place, uid=uid)


def test_a_cli_that_does_not_start(place: Path) -> None:
    """The sentence repeats what the program said."""
    homes = Homes(HomesConfig(root=place / "cli", cli=place / "missing"))
    with pytest.raises(EngineFailure, match=r"does not start: it0: .*missing"):
        homes.prepare()


def test_the_environment_starts_empty(place: Path) -> None:
    """Nothing of IT0's own environment reaches the child, whatever it is called."""
    home = homes_in(place, cli="env").of("ten_a", "conv_a")
    lines = run(home, CANARY="c", ANTHROPIC_AUTH_TOKEN="t", LD_PRELOAD="", BASH_ENV="x").stdout
    seen = dict(line.split("=", 1) for line in lines.splitlines())
    assert {name for name in seen if name not in environment(home)} <= {"PWD"}
    assert seen["ANTHROPIC_API_KEY"] == "sk-mine"
    assert not any(name.startswith("IT0_") for name in seen)
    assert "CLAUDE_CODE_OAUTH_TOKEN" not in seen


def test_what_an_engine_may_change(place: Path) -> None:
    """A setting may be changed; where the child lives and who pays may not."""
    home = homes_in(place).of("ten_a", "conv_a")
    assert environment(home, PATH="/usr/bin")["PATH"] == "/usr/bin"
    assert "NODE_EXTRA_CA_CERTS" in environment(home, NODE_EXTRA_CA_CERTS="/ca.pem")["IT0_NAMES"]
    for name in ("HOME", "CLAUDE_CONFIG_DIR", "ANTHROPIC_API_KEY", "ANTHROPIC_BASE_URL"):
        with pytest.raises(ValueError, match=name):
            environment(home, **{name: "x"})


@pytest.mark.parametrize("uid", users())
def test_what_the_child_is(place: Path, uid: int | None) -> None:
    """As /proc shows it: user, groups, capabilities, no way back, limits, session, mask."""
    home = homes_in(place, cli="cat", uid=uid).of("ten_a", "conv_a")
    secret = os.open(__file__, os.O_RDONLY)
    os.set_inheritable(secret, True)
    try:
        shown = subprocess.run(
            [str(home.launcher), "/proc/self/status", "/proc/self/limits", f"/dev/fd/{secret}"],
            cwd=home.cwd,
            env=environment(home),
            capture_output=True,
            text=True,
            check=False,
            close_fds=False,
        )
    finally:
        os.close(secret)
    assert "No such file" in shown.stderr  # the inherited file was closed
    fields = dict(line.split(":\t", 1) for line in shown.stdout.splitlines() if ":\t" in line)
    assert fields["NoNewPrivs"] == "1"
    assert fields["Umask"] == "0077"
    assert fields["NSsid"] == fields["NSpgid"] == fields["Pid"]
    assert "Max core file size        0                    0" in shown.stdout
    if uid is not None:
        assert fields["Uid"].split() == fields["Gid"].split() == [str(uid)] * 4
        assert not fields["Groups"].strip()
        assert {fields[name].strip("0") for name in ("CapPrm", "CapEff", "CapInh", "CapAmb")} == {
            ""
        }


@needs_root
def test_a_dropped_child_reads_no_secret(place: Path) -> None:
    """Not IT0's data, not its environment, not another tenant's home where it may not look."""
    data = place / "data"
    data.mkdir(mode=0o700)
    (data / "it0.db").write_text("secret")
    homes = homes_in(place, cli="cat", uid=UID)
    home = homes.of("ten_a", "conv_a")
    for path in (data / "it0.db", Path(f"/proc/{os.getpid()}/environ"), homes.launcher):
        done = run(home, str(path))
        assert (done.stdout, "Permission denied" in done.stderr) == ("", True), path


@needs_root
def test_a_cli_that_the_uid_cannot_reach(place: Path) -> None:
    """A program under a closed directory, as a virtual environment of root is, still starts."""
    closed = place / "venv"
    closed.mkdir(mode=0o700)
    program = shutil.copy(str(shutil.which("id")), closed / "claude")
    homes = Homes(HomesConfig(root=place / "cli", uid=UID, cli=Path(program)))
    homes.prepare()
    assert run(homes.of("ten_a", "conv_a"), "-u").stdout == f"{UID}\n"
    Path(program).chmod(0o700)
    with pytest.raises(EngineFailure, match=f"chmod o\\+rx {program}"):
        homes.prepare()


@pytest.fixture
def parent(place: Path) -> Iterator[subprocess.Popen[str]]:
    """A process that starts a child and tells its pid."""
    home = homes_in(place, cli="sleep", uid=UID if ROOT else None).of("ten_a", "conv_a")
    program = (
        "import os, subprocess, sys, time\n"
        f"env = {environment(home)!r} | {{'IT0_PARENT': str(os.getpid())}}\n"
        f"child = subprocess.Popen([{str(home.launcher)!r}, '3600'], cwd={str(home.cwd)!r}, env=env)\n"
        "print(child.pid, flush=True)\n"
        "time.sleep(3600)\n"
    )
    with subprocess.Popen(
        [sys.executable, "-c", program], stdout=subprocess.PIPE, text=True
    ) as it0:
        yield it0
        it0.kill()


def alive(pid: int, name: str) -> bool:
    """Whether the process runs under this name; a zombie does not."""
    try:
        fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")
    except (FileNotFoundError, ProcessLookupError):
        return False
    return fields[0].endswith(name) and fields[2].split()[0] != "Z"


def wait_for(pid: int, name: str, expected: bool) -> None:
    """Wait, at most as long as a test may take."""
    while alive(pid, name) is not expected:
        time.sleep(0.01)


def test_the_child_dies_with_its_parent(parent: subprocess.Popen[str]) -> None:
    """A kill -9 of IT0 leaves no child behind."""
    assert parent.stdout
    pid = int(parent.stdout.readline())
    wait_for(pid, "(sleep", expected=True)
    parent.send_signal(signal.SIGKILL)
    parent.wait()
    wait_for(pid, "(sleep", expected=False)


def test_a_parent_that_is_gone(place: Path) -> None:
    """A child whose parent ended before it began ends too."""
    home = homes_in(place, cli="env").of("ten_a", "conv_a")
    done = run(home, IT0_PARENT="1")
    assert (done.returncode, done.stdout) == (126, "")
    assert "ended before" in done.stderr

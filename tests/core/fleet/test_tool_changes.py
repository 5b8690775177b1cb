"""Services, packages and reboots: judged, verified afterwards, rolled out."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from core.fleet.host import CommandResult, FileProblem, FileRead, HostUnreachable
from core.fleet.inventory import ServerKind, SudoPolicy
from core.fleet.packages import MANAGERS, name_problem, parse_pending
from core.fleet.reboot import Waiting, reboot
from core.fleet.service_control import CONTROLS
from core.risk import Level
from tests.core.fleet.kit import Site, entry, site, sites
from tests.core.fleet.recorded import NO_SYSTEMD, recorded
from tests.fakes.host import FakeHost, said

RUNNING = recorded("show_running")
STOPPED = RUNNING.replace("ActiveState=active", "ActiveState=inactive").replace(
    "SubState=running", "SubState=dead"
)
FAILED = RUNNING.replace("ActiveState=active", "ActiveState=failed")


def systemd(shown: str = RUNNING, **commands: CommandResult) -> FakeHost:
    """A host whose systemd shows this unit and does what it is told."""
    return FakeHost(commands={"systemctl show": said(shown), "systemctl": said(""), **commands})


@pytest.mark.parametrize("action", list(CONTROLS))
async def test_each_action_runs_and_tells_before_and_after(action: str) -> None:
    """The real command as root, the state before, the state now, a way back."""
    fleet = sites("web-1", host=lambda: systemd(STOPPED if action == "stop" else RUNNING))
    assessed = await fleet.assess("service_control", action=action, service="nginx")
    assert assessed.level is (Level.L1 if action == "reload" else Level.L2)
    assert assessed.action == f"systemctl {action} nginx"
    assert "nginx" in assessed.undo
    result = await fleet.call("service_control", action=action, service="nginx")
    assert CONTROLS[action].done in result.output
    command = f"sudo: systemctl {action} --no-ask-password --no-pager -- nginx"
    assert command in fleet.hosts["web-1"].shells


@pytest.mark.parametrize(
    ("outcome", "sentence"),
    [
        (said("", status=5, stderr="Unit x.service not found."), "the restart of nginx failed"),
        (said("", status=1, stderr=NO_SYSTEMD), "systemd does not run here"),
        (said("", hung=True), "its outcome is unknown"),
    ],
)
async def test_a_control_that_does_not_work(outcome: CommandResult, sentence: str) -> None:
    """A failure is an error with its reason; a time-out claims nothing."""
    fleet = sites("web-1", host=lambda: FakeHost(commands={"systemctl restart": outcome}))
    result = await fleet.call("service_control", action="restart", service="nginx")
    assert result.is_error
    assert sentence in result.output


async def test_a_service_that_does_not_come_back_stops_the_rollout() -> None:
    """One server is enough to learn that."""
    fleet = sites("a", "b", "c", host=lambda: systemd(FAILED))
    result = await fleet.call("service_control", action="restart", service="nginx", server="all")
    assert result.is_error
    assert "1 failed: a; 2 not touched, because of the failure: b, c" in result.output
    assert fleet.hosts["b"].shells == []


async def test_a_stop_that_leaves_it_running_is_a_failure() -> None:
    """The state afterwards decides, not the exit status."""
    fleet = sites("web-1", host=systemd)
    assert (await fleet.call("service_control", action="stop", service="nginx")).is_error


async def test_a_reload_is_small_unless_the_server_asks_about_root() -> None:
    """ASK makes it an approval; root's own account needs no sudo."""
    asking = site([entry("web-1", sudo=SudoPolicy.ASK)])
    arguments = {"action": "reload", "service": "nginx"}
    assert (await asking.assess("service_control", **arguments)).level is Level.L2
    root = site([entry("web-1", sudo=SudoPolicy.ASK, user="root")])
    assert (await root.assess("service_control", **arguments)).level is Level.L1


@pytest.mark.parametrize("service", ["-x", "a b", "a;b", "$(x)", "../x", "é"])
async def test_odd_service_names_are_problems(service: str) -> None:
    """Nobody is asked, nothing runs."""
    fleet = sites("web-1")
    assessed = await fleet.assess("service_control", action="stop", service=service)
    assert "is not a service name" in assessed.problem
    assert fleet.hosts["web-1"].ran == []


APT = """NOTE: This is only a simulation!
Inst openssl [3.0.2-0ubuntu1.9] (3.0.2-0ubuntu1.10 Ubuntu:22.04/jammy-security [amd64])
Inst vim [2:8.2] (2:8.3 Ubuntu:22.04/jammy-updates [amd64])
Conf openssl (3.0.2-0ubuntu1.10 Ubuntu:22.04/jammy-security [amd64])
"""
DNF = """
openssl.x86_64      1:3.0.7-27.el9     baseos
vim.x86_64          2:8.2-1.el9        appstream
@security
RHSA-2026:1 Important/Sec. openssl-1:3.0.7-27.el9.x86_64
"""
APK = "Installed:   Available:\nbusybox-1.36.1-r2   < 1.36.1-r5\n"
ZYPPER = """S | Repository | Name | Current Version | Available Version | Arch
--+------------+------+-----------------+-------------------+-----
v | Main | openssl | 3.0.7 | 3.0.8 | x86_64
@security
SUSE-2026-1 | security | openssl update
"""


def apt(**commands: CommandResult) -> FakeHost:
    """A host with apt."""
    return FakeHost(commands={"for m in apt-get": said("apt-get\n"), **commands})


@pytest.mark.parametrize(
    ("manager", "text", "found"),
    [
        ("apt", APT, [("openssl", True), ("vim", False)]),
        ("dnf", DNF, [("openssl", True), ("vim", False)]),
        ("apk", APK, [("busybox", False)]),
        ("zypper", ZYPPER, [("openssl", True)]),
    ],
)
def test_pending_upgrades_are_read(manager: str, text: str, found: list[tuple[str, bool]]) -> None:
    """Names, and which of them are for security."""
    pending = parse_pending(manager, text)
    assert [(each.name, each.security) for each in pending] == found


@given(manager=st.sampled_from([each.name for each in MANAGERS]), text=st.text(max_size=300))
def test_the_parsers_of_packages_take_anything(manager: str, text: str) -> None:
    """What a server says never breaks them, and an answer has a name and a version."""
    assert all(each.name and each.new for each in parse_pending(manager, text))


@given(st.text(max_size=30))
def test_a_package_name_is_never_an_option_or_shell(name: str) -> None:
    """What passes holds nothing that means something to a shell or a package manager."""
    if name_problem(name) is None:
        assert name[0].isalnum()
        assert not set(name) & set(" ;|&$`'\"<>()\n/")


async def test_upgrades_that_wait() -> None:
    """Security first, and worth a look."""
    fleet = sites("web-1", host=lambda: apt(**{"apt-get -s": said(APT)}))
    result = await fleet.call("packages")
    assert result.output.startswith("⚠ web-1: 2 upgrades wait; 1 for security.")
    assert result.output.index("openssl") < result.output.index("vim")


async def test_the_version_of_one_package() -> None:
    """Installed or not."""
    fleet = sites("web-1", host=lambda: apt(**{"dpkg-query": said("ii  1.2-3\n")}))
    assert "nginx 1.2-3 is installed." in (await fleet.call("packages", name="nginx")).output
    fleet.hosts["web-1"].commands["dpkg-query"] = said("", status=1)
    assert "nginx is not installed." in (await fleet.call("packages", name="nginx")).output


async def test_a_package_change_shows_its_dry_run() -> None:
    """The approver sees what the package manager would do; another dry run is another binding."""
    fleet = sites("web-1", host=lambda: apt(**{"apt-get -s": said(APT)}))
    arguments = {"action": "upgrade", "name": "openssl"}
    assessed = await fleet.assess("package_change", **arguments)
    assert assessed.level is Level.L2
    assert assessed.change.startswith("Inst openssl")
    assert "Conf" not in assessed.change
    fleet.hosts["web-1"].commands["apt-get -s"] = said("Remv libc6 [2.35]\n")
    assert (await fleet.assess("package_change", **arguments)).binding != assessed.binding


async def test_a_package_change_tells_the_versions() -> None:
    """Before and after, and the output when it failed."""
    fleet = sites(
        "web-1",
        host=lambda: apt(
            **{
                "apt-get -s": said("Inst nginx (1.2 Debian)\n"),
                "dpkg-query": said("ii  1.2\n"),
                "DEBIAN_FRONTEND": said("done"),
            }
        ),
    )
    result = await fleet.call("package_change", action="install", name="nginx")
    assert "install of nginx done: 1.2 before, 1.2 now." in result.output
    shells = fleet.hosts["web-1"].shells
    assert any(each.startswith("sudo: DEBIAN_FRONTEND=noninteractive") for each in shells)
    fleet.hosts["web-1"].commands["DEBIAN_FRONTEND"] = said("", status=100, stderr="E: locked")
    failed = await fleet.call("package_change", action="install", name="nginx")
    assert failed.is_error
    assert "E: locked" in failed.output


@pytest.mark.parametrize(
    ("host", "name", "sentence"),
    [
        (
            apt(**{"apt-get -s": said("", status=100, stderr="E: Unable to locate package x")}),
            "x",
            "apt cannot install x: it knows no such package.",
        ),
        (
            apt(**{"apt-get -s": said("", status=100, stderr="E: obey me")}),
            "x",
            "apt cannot install x: the dry run failed with exit status 100.",
        ),
        (FakeHost(), "x", "none of apt"),
        (apt(), "-x", "is not the name of a package"),
    ],
)
async def test_a_package_change_that_cannot_be_made(
    host: FakeHost, name: str, sentence: str
) -> None:
    """Found by the dry run, before anybody is asked."""
    fleet = site([entry("web-1")], lambda: host)
    assessed = await fleet.assess("package_change", action="install", name=name)
    assert sentence in assessed.problem


class Rebooting(FakeHost):
    """A host that goes down for some questions and comes back with another boot id."""

    def __init__(self, *, down_for: int, comes_back: bool = True) -> None:
        """``down_for``: how many questions go unanswered."""
        super().__init__(
            commands={"systemctl reboot": said(""), "systemctl list-units": said("")},
            files={"/proc/uptime": "12.5 1.0\n"},
        )
        self.down_for = down_for
        self.comes_back = comes_back
        self.begun = False

    async def read_file(
        self, path: str, *, max_bytes: int, tail: bool = False
    ) -> FileRead | FileProblem:
        """Silent while it is down."""
        if path != "/proc/sys/kernel/random/boot_id":
            return await super().read_file(path, max_bytes=max_bytes, tail=tail)
        if self.begun and self.down_for:
            self.down_for -= 1
            message = "no answer"
            raise HostUnreachable(message)
        letter = "b" if self.begun and self.comes_back else "a"
        text = letter * 36 + "\n"
        return FileRead(path=path, text=text, size=0, truncated=False)

    async def shell(self, command: str, **kwargs: object) -> CommandResult:
        """Take the reboot: the connection breaks."""
        self.begun = self.begun or "reboot" in command
        return await super().shell(command, **kwargs)  # type: ignore[arg-type]


async def _at_once(_seconds: float) -> None:
    """No waiting in tests."""


async def test_a_reboot_waits_until_it_is_back() -> None:
    """Another boot id, the uptime, the failed units, and progress meanwhile."""
    told: list[str] = []
    waiting = Waiting(tell=told.append, pause=_at_once)
    report = await reboot(Rebooting(down_for=8), "web-1", sudo=True, waiting=waiting)
    assert report.headline == "back after about 45 s, up for 12 s; no service has failed."
    assert not report.failed
    assert told == [
        "web-1: rebooting",
        "web-1: not back after 30 s",
        "web-1: back after about 45 s",
    ]


@pytest.mark.parametrize(
    ("host", "sentence"),
    [
        (Rebooting(down_for=10_000), "it does not answer"),
        (Rebooting(down_for=0, comes_back=False), "never went down"),
    ],
)
async def test_a_reboot_that_does_not_end_well(host: Rebooting, sentence: str) -> None:
    """After five minutes it says which of the two it is."""
    waiting = Waiting(tell=lambda _line: None, pause=_at_once)
    report = await reboot(host, "web-1", sudo=False, waiting=waiting)
    assert report.failed
    assert sentence in report.headline


async def test_a_refused_reboot_is_not_waited_for() -> None:
    """Its reason is told at once."""
    host = Rebooting(down_for=0)
    host.commands["systemctl reboot"] = said("", status=1, stderr="sudo: a password is required")
    waiting = Waiting(tell=lambda _line: None, pause=_at_once)
    report = await reboot(host, "web-1", sudo=True, waiting=waiting)
    assert "refused: sudo: a password is required" in report.headline


async def test_the_machine_of_it0_is_not_rebooted_and_jump_hosts_are_named() -> None:
    """The one would end the answer, the other cuts off whoever is behind it."""
    here: Site = site([entry("here", kind=ServerKind.LOCAL)])
    assert "IT0 itself runs on here" in (await here.assess("reboot")).problem
    fleet = sites("web-1")
    assessed = await fleet.assess("reboot")
    assert (assessed.level, assessed.action) == (Level.L2, "reboot")

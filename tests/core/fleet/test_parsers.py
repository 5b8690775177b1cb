"""What real commands print is understood; what nobody should print breaks nothing."""

from __future__ import annotations

from collections.abc import Callable

import pytest
from hypothesis import given
from hypothesis import strategies as st

from core.fleet.disk import judge, parse_df, relevant
from core.fleet.logs import bounded
from core.fleet.memory import (
    judge_load,
    judge_memory,
    parse_cpus,
    parse_load,
    parse_meminfo,
    parse_ooms,
    parse_pressure,
)
from core.fleet.ports import judge_ports, parse_proc_sockets, parse_ss
from core.fleet.processes import judge_processes, parse_snapshot
from core.fleet.report import Verdict
from core.fleet.services import judge_unit, parse_show, parse_units
from tests.core.fleet.recorded import MEMINFO, recorded

PARSERS: dict[str, Callable[[str], object]] = {
    "df": lambda text: (
        judge(found, {}) if (found := relevant(parse_df(text, typed=True))) else None
    ),
    "df plain": lambda text: relevant(parse_df(text, typed=False)),
    "ss": lambda text: judge_ports(parse_ss(text), port=None),
    "proc sockets": lambda text: judge_ports(parse_proc_sockets(text), port=22),
    "snapshot": lambda text: (
        judge_processes(found, by="cpu", limit=5) if (found := parse_snapshot(text)) else None
    ),
    "show": lambda text: judge_unit(unit) if (unit := parse_show(text)) else None,
    "units": parse_units,
    "meminfo": lambda text: judge_memory(m, (1, 1), 1) if (m := parse_meminfo(text)) else None,
    "load": lambda text: judge_load(m, 0, {}, None) if (m := parse_load(text)) else None,
    "stat": parse_cpus,
    "pressure": parse_pressure,
    "vmstat": parse_ooms,
    "log": lambda text: bounded(text, 10),
}
RECORDINGS = {
    "df": "df_gnu",
    "df plain": "df_busybox_plain",
    "ss": "ss_root",
    "proc sockets": "proc_sockets",
    "snapshot": "snapshot",
    "show": "show_failed",
    "units": "list_units",
    "log": "journal",
}


@pytest.mark.parametrize("parser", PARSERS)
@given(raw=st.binary())
def test_any_bytes_are_survived(parser: str, raw: bytes) -> None:
    """Whatever a server sends, a parser answers."""
    PARSERS[parser](raw.decode("utf-8", "replace"))


@pytest.mark.parametrize("parser", RECORDINGS)
@given(data=st.data())
def test_damaged_output_is_survived(parser: str, data: st.DataObject) -> None:
    """Real output with pieces cut out, doubled or overwritten breaks nothing either."""
    text = recorded(RECORDINGS[parser])
    for _ in range(data.draw(st.integers(1, 4))):
        start = data.draw(st.integers(0, len(text)))
        end = data.draw(st.integers(start, min(len(text), start + 30)))
        junk = data.draw(st.sampled_from(["", "\n", " ", "9" * 30, "-1", "\u0663", "(", "\0", "%"]))
        text = text[:start] + junk + text[end:]
    PARSERS[parser](text)


def test_df_shows_real_file_systems_only() -> None:
    """No tmpfs with room, no snap, no container layer; names with spaces survive."""
    found = relevant(parse_df(recorded("df_gnu"), typed=True))
    assert [(each.mount, each.percent, each.kind) for each in found] == [
        ("/var", 94, "xfs"),
        ("/mnt/media files", 66, "cifs"),
        ("/", 50, "ext4"),
        ("/boot", 15, "ext4"),
    ]
    assert found[1].device == "//nas.example/media share"


def test_df_judges() -> None:
    """The first line names what is nearly full and what is left there."""
    inodes = {each.mount: each for each in parse_df(recorded("df_gnu_inodes"), typed=False)}
    report = judge(relevant(parse_df(recorded("df_gnu"), typed=True)), inodes)
    assert report.headline == "/var is 94 % full, 4.1 GiB left."
    assert report.verdict is Verdict.LOOK
    assert "| /var | 94 % | 60.0 GiB | 4.1 GiB | 1 % | xfs |" in report.details


def test_df_of_a_container() -> None:
    """The root layer counts, single mounted files do not, a full tmpfs is told."""
    found = relevant(parse_df(recorded("df_busybox"), typed=True))
    assert [each.mount for each in found] == ["/dev/shm", "/"]
    assert judge(found, {}).verdict is Verdict.ACT


def test_df_without_types() -> None:
    """An old busybox tells no types; 96 % is a reason to act."""
    found = relevant(parse_df(recorded("df_busybox_plain"), typed=False))
    report = judge(found, {})
    assert report.headline == "/ is 96 % full, 80.0 MiB left."
    assert report.verdict is Verdict.ACT


def test_df_finds_missing_inodes() -> None:
    """A disk with room but without inodes is not fine."""
    text = "Filesystem Inodes IUsed IFree IUse% Mounted on\n/dev/vda1 1000 990 10 99% /\n"
    space = parse_df("/dev/vda1 ext4 1000 100 900 10% /\n", typed=True)
    inodes = {each.mount: each for each in parse_df(text, typed=False)}
    report = judge(space, inodes)
    assert report.headline == "/ has used 99 % of its inodes."
    assert report.verdict is Verdict.ACT


def test_df_says_when_all_is_well() -> None:
    """One sentence about the fullest."""
    found = relevant(
        parse_df("/dev/a ext4 1000 100 900 10% /\n/dev/b xfs 9 3 6 34% /b\n", typed=True)
    )
    assert judge(found, {}).headline == (
        "all 2 file systems have room; the fullest is /b at 34 %, 6.0 KiB left."
    )


def test_ss_is_understood() -> None:
    """Scopes, IPv6, mapped addresses and several workers; no established connection."""
    found = {each.port: each for each in parse_ss(recorded("ss_root"))}
    assert sorted(found) == [22, 53, 80, 546, 5432, 8125, 9090]
    assert found[80].owners == ("nginx (913)", "nginx (912)", "nginx (911)", "nginx (910)")
    assert not found[53].is_public
    assert not found[8125].is_public
    assert found[22].is_public
    assert found[9090].owners == ()


def test_ports_are_judged() -> None:
    """What other machines reach is named first; one port has one answer."""
    found = parse_ss(recorded("ss_root"))
    everything = judge_ports(found, port=None)
    assert everything.headline == (
        "7 ports with a listener, 4 of them for other machines, unless a firewall stops it: "
        "22 (sshd), 80 (nginx), 546 (systemd-network), 9090."
    )
    assert judge_ports(found, port=5432).headline == (
        "postgres (845) listens on port 5432 (tcp), for this machine only."
    )
    assert judge_ports(found, port=9090).headline.startswith("a process that I may not see")
    assert judge_ports(found, port=1).headline == "nobody listens on port 1."


def test_the_kernels_socket_tables_are_understood() -> None:
    """Without ss: addresses are decoded and owners found by their socket's inode."""
    found = {each.port: each for each in parse_proc_sockets(recorded("proc_sockets"))}
    assert {port: (each.protocol, each.address, each.owners) for port, each in found.items()} == {
        2024: ("tcp", "0.0.0.0", ()),
        5432: ("tcp", "127.0.0.1", ("postgres (845)",)),
        22: ("tcp", "::", ("sshd (801)",)),
        631: ("tcp", "::1", ()),
        68: ("udp", "0.0.0.0", ()),
    }


def test_processes_are_measured_between_two_pictures() -> None:
    """CPU is of the second that was watched; odd names, zombies and unknown owners survive."""
    found = {each.pid: each for each in parse_snapshot(recorded("snapshot"))}
    assert found[910].name == "nginx: ) odd"
    assert found[910].cpu_percent == pytest.approx(80)
    assert found[845].cpu_percent == pytest.approx(25)
    assert found[845].rss == 60_000 * 4096
    assert found[845].age_s == pytest.approx(501)
    assert (found[845].user, found[846].user) == ("postgres", "?")
    assert found[999].zombie


def test_processes_are_judged_by_program() -> None:
    """Workers of one program are added up, and zombies are mentioned."""
    found = parse_snapshot(recorded("snapshot"))
    assert judge_processes(found, by="memory", limit=5).headline == (
        "postgres uses most memory: about 429.7 MiB (2 processes together); 1 zombie process."
    )
    report = judge_processes(found, by="cpu", limit=2)
    assert report.headline.startswith("nginx: ) odd uses most processor time: 80 % of one core")
    assert [line.split(" | ")[0] for line in report.details.splitlines()[2:]] == ["| 910", "| 845"]


def test_memory_is_judged() -> None:
    """Available counts, not free; swap, limits and kills are mentioned."""
    memory = parse_meminfo(MEMINFO)
    assert memory is not None
    assert judge_memory(memory, None, 0).verdict is Verdict.FINE
    tight = parse_meminfo(
        "MemTotal: 1000 kB\nMemAvailable: 40 kB\nSwapTotal: 10 kB\nSwapFree: 1 kB\n"
    )
    assert tight is not None
    report = judge_memory(tight, (500, 490), 2)
    assert report.verdict is Verdict.ACT
    assert report.headline == (
        "96 % of 1000.0 KiB memory is in use, 40.0 KiB available; the container uses 490 B of the "
        "500 B it may; swap is 90 % full; 2 processes were killed for memory since boot."
    )


def test_old_kernels_tell_no_available_memory() -> None:
    """Before 3.14 it is estimated from free memory and caches."""
    memory = parse_meminfo("MemTotal: 1000 kB\nMemFree: 100 kB\nCached: 300 kB\nShmem: 50 kB\n")
    assert memory is not None
    assert memory.available == 350 * 1024


@pytest.mark.parametrize(
    ("five", "verdict"), [(1.0, Verdict.FINE), (2.5, Verdict.LOOK), (9.0, Verdict.ACT)]
)
def test_load_is_judged_per_processor(five: float, verdict: Verdict) -> None:
    """Two processors carry a load of two."""
    assert judge_load((five, five, five), 2, {"io": None}, 60).verdict is verdict


def test_pressure_is_judged() -> None:
    """A calm load with tasks that wait for the disk is not calm."""
    pressure = parse_pressure("some avg10=55.20 avg60=3.10 avg300=0.90 total=1\nfull avg10=1.00\n")
    report = judge_load((0.1, 0.1, 0.1), 2, {"io": pressure}, None)
    assert report.verdict is Verdict.ACT
    assert "tasks wait for io 55 % of the time" in report.headline


def test_units_are_judged() -> None:
    """A running unit is fine, a failed one is not, and restarts are mentioned."""
    running, failed = parse_show(recorded("show_running")), parse_show(recorded("show_failed"))
    assert running is not None
    assert failed is not None
    fine, bad = judge_unit(running), judge_unit(failed)
    assert fine.headline == "nginx is running, since Sat 2026-11-21 04:12:09 UTC."
    assert fine.verdict is Verdict.FINE
    assert "13.6 MiB" in fine.details
    assert bad.headline == (
        "app has failed (exit-code, exit status 203), since Sun 2026-11-22 03:00:01 UTC; "
        "systemd restarted it 5 times."
    )
    assert bad.verdict is Verdict.ACT


def test_unit_lists_are_understood() -> None:
    """With or without the bullet that newer versions print."""
    assert parse_units(recorded("list_failed")) == (
        ("app.service", "The app"),
        ("logrotate.service", "Rotate log files"),
    )


@given(st.text(), st.integers(1, 50))
def test_logs_are_bounded(text: str, lines: int) -> None:
    """Never more lines than asked for, never an endless one."""
    kept = bounded(text * 3, lines)
    assert len(kept) <= lines
    assert all(len(line) <= 400 for line in kept)

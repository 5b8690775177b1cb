from __future__ import annotations

import pytest

from core.protected import ProtectedPaths
from core.risk import Level
from core.shell.judge import argv_level, judge
from tests.core.shell.commands import FORBIDDEN, READS, RISKY, SMALL, commands

OWN = ProtectedPaths(own=("/srv/it0/data", "/srv/it0/.env"))
BLOCKS = ((Level.L0, READS), (Level.L1, SMALL), (Level.L2, RISKY), (Level.L3, FORBIDDEN))
LABELLED = [(level, command) for level, block in BLOCKS for command in commands(block)]


@pytest.mark.parametrize(("level", "block"), BLOCKS)
def test_every_labelled_command_has_its_level(level: Level, block: str) -> None:
    """The table of commands is judged exactly as people labelled it."""
    wrong = {
        command: (judged.level, judged.reasons)
        for command in commands(block)
        if (judged := judge(command, OWN)).level is not level
    }
    assert wrong == {}


def test_there_are_enough_labelled_commands() -> None:
    """The table does not shrink unnoticed, and names nothing twice."""
    assert len({command for _, command in LABELLED}) == len(LABELLED) >= 1300
    assert all(len(commands(block)) >= 20 for _, block in BLOCKS)


def test_whatever_is_more_than_reading_has_a_reason() -> None:
    """An approver is told why, and what only reads needs no words."""
    for level, command in LABELLED:
        reasons = judge(command, OWN).reasons
        assert bool(reasons) is (level > Level.L0), command
        assert all(reason.isprintable() for reason in reasons), command


@pytest.mark.parametrize(
    ("argv", "level"),
    [
        (("df", "-h"), Level.L0),
        (("cat", "/etc/hosts"), Level.L0),
        (("echo", "$(rm x)"), Level.L0),
        (("ls", "a b", "*"), Level.L0),
        (("systemctl", "reload", "nginx"), Level.L1),
        (("rm", "x"), Level.L2),
        (("ls\n",), Level.L2),
        (("ls", "a\u202eb"), Level.L2),
        ((), Level.L2),
        (("sh", "-c", "rm x"), Level.L2),
        (("rm", "-rf", "/"), Level.L3),
        (("cat", "/etc/shadow"), Level.L3),
        (("sh", "-c", "rm -rf /"), Level.L3),
    ],
)
def test_a_command_without_a_shell(argv: tuple[str, ...], level: Level) -> None:
    """Nothing is expanded in it, and everything else counts as in shell text."""
    assert argv_level(argv, OWN) is level


@pytest.mark.parametrize(
    ("command", "undo"),
    [
        ("systemctl stop nginx", "systemctl start nginx"),
        ("systemctl disable nginx cron", "systemctl enable nginx cron"),
        ("sudo docker stop web", "docker start web"),
        ("mkdir /srv/a && systemctl stop a", "systemctl start a; rmdir /srv/a"),
        ("apt-get install -y nginx", "apt-get remove nginx"),
        ("rm x", ""),
        ("systemctl stop $x", ""),
        ("ls", ""),
    ],
)
def test_well_known_changes_say_how_they_are_undone(command: str, undo: str) -> None:
    """Only where it is known for certain; the last change is undone first."""
    assert judge(command, OWN).undo == undo


def test_a_team_raises_programs_and_subcommands_and_lowers_nothing() -> None:
    """The floor is ours; above it a team decides, also inside wrappers and pipelines."""
    raised = {"docker ps": Level.L1, "dmesg": Level.L2, "git": Level.L3, "rm": Level.L0}
    for command, level in {
        "docker ps -a": Level.L1,
        "docker logs web": Level.L0,
        "sudo dmesg": Level.L2,
        "ls | sh -c 'dmesg'": Level.L2,
        "echo $(git status)": Level.L3,
        "rm x": Level.L2,
        "rm -rf /": Level.L3,
    }.items():
        assert judge(command, OWN, raised=raised).level is level, command
    assert argv_level(("dmesg",), OWN, raised=raised) is Level.L2


def test_it_says_whether_other_rights_are_asked_for() -> None:
    """The tool that runs it must know, because a server may forbid sudo."""
    assert judge("ls; sudo ls", OWN).sudo
    assert judge("sh -c 'doas ls'", OWN).sudo
    assert not judge("echo sudo", OWN).sudo


def test_the_gravest_reason_comes_first() -> None:
    """Whoever reads only the first reason reads the one that decides."""
    judged = judge("systemctl reload a; rm -rf /srv/old; cat /etc/shadow", OWN)
    assert judged.reasons == (
        "`/etc/shadow` is protected: it holds password hashes",
        "`rm -rf /srv/old` deletes files for good",
        "`systemctl reload a` makes a service read its configuration again",
    )

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from tempfile import TemporaryDirectory

import pytest
from hypothesis import given
from hypothesis import strategies as st

from core.skill_triggers import fit, parse_trigger, same_word, tokens
from core.skills import BUILT_IN, MAX_FILE_BYTES, BadSkill, SkillLibrary, parse_skill

GOOD = """---
name: disk
description: How full the disks are.
triggers: ["disk", "磁盘"]
tool: disk_usage
arguments: {server: "{server}"}
---
Look at inodes too.
"""


def write(folder: Path, name: str, text: str) -> None:
    """A skill file in a folder."""
    path = folder / name
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(text, encoding="utf-8")


def library(tmp_path: Path, *files: str) -> SkillLibrary:
    """A library of these files."""
    for number, text in enumerate(files):
        write(tmp_path, f"s{number}.md", text)
    return SkillLibrary.load(tmp_path)


def test_a_good_file(tmp_path: Path) -> None:
    """Everything the file says arrives."""
    (skill,) = library(tmp_path, GOOD).skills
    assert (skill.name, skill.description) == ("disk", "How full the disks are.")
    assert skill.body == "Look at inodes too."
    assert skill.slots == {"server"}
    assert [step.tool for step in skill.steps] == ["disk_usage"]


def test_the_built_in_skills_are_all_good() -> None:
    """None is skipped, each has triggers and a description, and names are unique."""
    built_in = SkillLibrary.load(BUILT_IN)
    assert built_in.problems == ()
    assert len(built_in.skills) == len(list(BUILT_IN.glob("*.md"))) >= 10
    assert all(skill.triggers and skill.description for skill in built_in.skills)


def test_a_folder_may_hold_a_skill(tmp_path: Path) -> None:
    """``backup/SKILL.md`` is named after its folder; other files beside it are ignored."""
    write(tmp_path, "backup/SKILL.md", "---\ntriggers: [backup]\n---\nHow we back up.")
    write(tmp_path, "backup/notes.md", "no skill")
    write(tmp_path, "README.txt", "no skill")
    loaded = SkillLibrary.load(tmp_path)
    assert [skill.name for skill in loaded.skills] == ["backup"]
    assert loaded.problems == ()


def test_a_later_folder_replaces_and_switches_off(tmp_path: Path) -> None:
    """An installation's own skill wins over a built-in one, or disables it."""
    write(tmp_path, "a/disk.md", GOOD)
    write(tmp_path, "a/memory.md", "---\ntriggers: memory\n---\nbuilt in")
    write(tmp_path, "b/disk.md", GOOD.replace("Look at inodes too.", "Ours."))
    write(tmp_path, "b/memory.md", "---\nenabled: false\n---\n")
    loaded = SkillLibrary.load(tmp_path / "a", tmp_path / "b")
    assert [(skill.name, skill.body) for skill in loaded.skills] == [("disk", "Ours.")]


def test_no_folder_is_no_skill(tmp_path: Path) -> None:
    """A fresh installation has no skills folder of its own."""
    assert SkillLibrary.load(tmp_path / "none") == SkillLibrary()


@pytest.mark.parametrize(
    ("text", "sentence"),
    [
        ("no front matter", "has no front matter between two lines of ---"),
        ("---\nname: x\n", "has no front matter between two lines of ---"),
        ("---\nname: [\n---\n", "has front matter that is no valid YAML (line "),
        ("---\n- a\n---\n", "has front matter that is no list of keys and values"),
        ("---\nnmae: x\n---\n", "has an unknown key 'nmae'"),
        ("---\nname: 5\n---\n", "must have text as its name (line 2)"),
        (f"---\nname: {'n' * 65}\n---\n", "has a name of more than 64 characters (line 2)"),
        ("---\nenabled: maybe\n---\n", "must have true or false as enabled"),
        ("---\ntriggers: {a: b}\n---\n", "must have triggers as a list"),
        ("---\ntriggers: [1]\n---\n", "must have text as its triggers"),
        ("---\ntriggers: ['{what}']\n---\n", "is wrong: there is no slot {what}"),
        (
            "---\ntriggers: ['{server}']\n---\n",
            "is wrong: the trigger '{server}' has no word in it",
        ),
        ("---\ntool: a\nsteps: []\n---\n", "has both tool and steps"),
        ("---\nsteps: []\n---\n", "must have between 1 and 6 steps"),
        ("---\nsteps: [disk]\n---\n", "has a step that is no pair of tool and arguments"),
        ("---\ntool: a\narguments: {x: '{y}'}\n---\n", "uses an unknown slot 'y'"),
        ("---\ntool: a\narguments: {x: 1.5}\n---\n", "neither text nor a whole number"),
        ("---\ntool: a\narguments: [x]\n---\n", "has arguments that are no keys and values"),
        ("---\nname: " + "x" * 9000 + "\n---\n", "has front matter of more than 8000 characters"),
        ("---\nx: " + "[" * 5000 + "\n---\n", "has front matter that is no valid YAML"),
        ("---\nx: 9999-99-99\n---\n", "has front matter that is no valid YAML"),
    ],
)
def test_a_bad_file_is_skipped_with_a_sentence(tmp_path: Path, text: str, sentence: str) -> None:
    """The sentence names the file and the reason; the good files beside it still work."""
    loaded = library(tmp_path, text, GOOD)
    assert [skill.name for skill in loaded.skills] == ["disk"]
    (problem,) = loaded.problems
    assert problem.startswith("The skill file s0.md in ")
    assert sentence in problem
    assert problem.endswith(".")


def test_files_that_are_no_text_are_skipped(tmp_path: Path) -> None:
    """Binary, endless and special files are each told."""
    (tmp_path / "a.md").write_bytes(b"---\n\xff\xfe---")
    (tmp_path / "b.md").write_bytes(b"x" * (MAX_FILE_BYTES + 1))
    os.mkfifo(tmp_path / "c.md")
    (tmp_path / "d.md").symlink_to(tmp_path / "nowhere")
    problems = SkillLibrary.load(tmp_path).problems
    assert [problem.partition("/ ")[2] for problem in problems] == [
        "is not UTF-8 text.",
        "is larger than 64 KiB.",
        "is not a regular file.",
        "is not a regular file.",
    ]


@contextmanager
def ordinary_user() -> Iterator[None]:
    """Root may read everything; for a while we are nobody."""
    if os.geteuid() != 0:
        yield
        return
    os.seteuid(65534)
    try:
        yield
    finally:
        os.seteuid(0)


def test_what_may_not_be_read_is_a_sentence() -> None:
    """A closed folder, a closed file and a closed skills folder stop nothing but themselves."""
    with TemporaryDirectory() as name:
        top = Path(name)
        top.chmod(0o755)
        closed = top / "skills"
        write(top, "skills/a/SKILL.md", GOOD)
        write(top, "skills/b.md", GOOD)
        write(top, "skills/disk.md", GOOD)
        (closed / "a").chmod(0)
        (closed / "b.md").chmod(0)
        with ordinary_user():
            loaded = SkillLibrary.load(closed)
        assert [skill.name for skill in loaded.skills] == ["disk"]
        assert loaded.problems == (
            "The skill a in skills/ cannot be read: Permission denied.",
            "The skill file b.md in skills/ cannot be read: Permission denied.",
        )
        closed.chmod(0)
        with ordinary_user():
            nothing = SkillLibrary.load(closed)
        closed.chmod(0o700)
        (closed / "a").chmod(0o700)
    assert nothing.problems == ("The skills folder skills/ cannot be read: Permission denied.",)


@given(st.text())
def test_any_text_is_a_skill_or_a_bad_one(text: str) -> None:
    """Nothing else is ever raised."""
    for candidate in (text, f"---\n{text}\n---\n", f"---\ntriggers: [a, {text!r}]\n---\n"):
        try:
            assert parse_skill(candidate, default_name="x").name
        except BadSkill:
            continue


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("What's eating memory?", ("Whats", "eating", "memory")),
        ("logs of php8.2-fpm.", ("logs", "of", "php8.2-fpm")),
        ("show /etc/hosts, please", ("show", "/etc/hosts", "please")),
        ("and/or", ("and", "or")),
        ("查看sshd最近20行", ("查", "看", "sshd", "最", "近", "20", "行")),
        ("\uff24\uff29\uff33\uff2b\uff01", ("DISK",)),
        ("查看/var/log/syslog。", ("查", "看", "/var/log/syslog")),
    ],
)
def test_messages_are_cut_into_words(text: str, expected: tuple[str, ...]) -> None:
    """Names and paths stay whole, Chinese is cut into characters, punctuation goes."""
    assert tokens(text) == expected


@pytest.mark.parametrize(
    ("choice", "token", "same"),
    [
        ("disk", "DISKS", True),
        ("logs", "log", True),
        ("memory", "memroy", True),
        ("memory", "memry", True),
        ("memory", "memmory", True),
        ("memory", "nemory", False),
        ("load", "lord", False),
        ("is", "i", False),
        ("status", "state", False),
    ],
)
def test_words_are_compared_forgivingly(choice: str, token: str, same: bool) -> None:
    """Case, plural and one slip in a long word; short words must be right."""
    assert same_word(choice, token) is same


def test_a_trigger_needs_its_words_in_order_and_near() -> None:
    """Three words may stand between; Chinese characters of one word must touch."""
    trigger = parse_trigger("log|logs of {service}")
    assert fit(trigger, tokens("logs of the new nginx")) is not None
    assert fit(trigger, tokens("of logs nginx")) is None
    assert fit(trigger, tokens("logs a b c d of nginx")) is None
    chinese = parse_trigger("日志")
    assert fit(chinese, tokens("看日志")) is not None
    assert fit(chinese, tokens("日记标志")) is None


@given(st.text(), st.text())
def test_any_trigger_meets_any_message(trigger: str, message: str) -> None:
    """A trigger is refused with a sentence or matched without a fault."""
    try:
        words = parse_trigger(trigger)
    except ValueError:
        return
    hit = fit(words, tokens(message))
    assert hit is None or hit.words

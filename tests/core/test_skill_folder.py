"""Reading skills that other people made, for other agents too."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from core.skill import BadSkill
from core.skill_folder import Folder, read_folder
from core.skill_text import read_skill

WILD = """---
name: PDF Processing
description: >
  Extract text and tables from PDF files.
  Use it when a user mentions PDFs.
license: Apache-2.0. LICENSE.txt has complete terms
allowed-tools: Read, Bash(pdftotext:*)
version: 1.2.0
metadata: {author: somebody, tags: [pdf]}
---

# PDF Processing
Run `scripts/extract.py`.
"""
GOOD = "---\ndescription: How we deploy.\ntriggers: deploy\n---\nAsk Bob."


def write(root: Path, files: dict[str, str]) -> Path:
    """A directory with these files."""
    for name, text in files.items():
        path = root / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text, encoding="utf-8")
    return root


def names(folder: Folder) -> list[str]:
    """What was found."""
    return [found.skill.key for found in folder.found]


def test_a_skill_of_another_agent_is_read(tmp_path: Path) -> None:
    """Its well-known keys are ignored with a note; so are its scripts, which nothing here runs."""
    folder = read_folder(write(tmp_path, {"pdf/SKILL.md": WILD, "pdf/scripts/extract.py": "x"}))
    assert folder.wrong == ()
    (found,) = folder.found
    assert found.skill.key == "pdf-processing"
    assert found.skill.description.startswith("Extract text and tables from PDF files. Use it")
    assert found.skill.body.startswith("# PDF Processing")
    assert found.skill.steps == ()
    assert found.notes == (
        "is called pdf-processing here",
        "allowed-tools, license, metadata, version: not used here",
        "has no triggers: only a model uses it, not the offline engine",
        "other files are not imported (1): nothing here reads or runs them",
    )


def test_both_layouts_and_the_directory_of_one_skill(tmp_path: Path) -> None:
    """``NAME/SKILL.md``, ``NAME.md``, and SKILL.md itself; other things are left alone."""
    write(
        tmp_path,
        {
            "deploy/SKILL.md": GOOD,
            "rollback.md": GOOD,
            "README.md": "# Our skills",
            "empty/notes.txt": "x",
            ".git/SKILL.md": GOOD,
        },
    )
    folder = read_folder(tmp_path)
    assert names(folder) == ["deploy", "rollback"]
    assert (folder.wrong, folder.skipped) == ((), ("README.md",))
    assert folder.found[0].notes == ()
    assert names(read_folder(tmp_path / "deploy")) == ["deploy"]


def test_everything_that_is_wrong_is_told_with_its_line(tmp_path: Path) -> None:
    """As a compiler does: file, line, reason."""
    write(
        tmp_path,
        {
            "a/SKILL.md": "---\nname: a\ntrigers: x\n---\n",
            "b/SKILL.md": "no front matter",
            "c/SKILL.md": "---\nname: c\nx: [\n---\n",
            "d/SKILL.md": "---\ndescription: d\ntriggers:\n  - '{nowhere}'\n---\n",
            "e/SKILL.md": "---\nname: a2\nsteps:\n- tool: x\n  arguments: {a: '{b}'}\n---\n",
            "f/SKILL.md": GOOD,
            "g.md": "---\nname: F\ndescription: Twice.\n---\nx",
        },
    )
    folder = read_folder(tmp_path)
    assert [str(wrong).partition(";")[0] for wrong in folder.wrong] == [
        "a/SKILL.md:3: has an unknown key 'trigers'",
        "b/SKILL.md:1: has no front matter between two lines of ---.",
        "c/SKILL.md:3: has front matter that is no valid YAML.",
        "d/SKILL.md:3: is wrong: there is no slot {nowhere}",
        "e/SKILL.md:5: uses an unknown slot 'b'",
        "g.md:1: has the name of f/SKILL.md.",
    ]


def test_links_out_of_the_directory_are_not_followed(tmp_path: Path) -> None:
    """Neither a file nor a folder nor a chain of links brings in what lies outside."""
    write(tmp_path / "outside", {"secret.md": GOOD, "dir/SKILL.md": GOOD})
    inside = write(tmp_path / "inside", {"real/SKILL.md": GOOD})
    (inside / "file.md").symlink_to("../outside/secret.md")
    (inside / "absolute.md").symlink_to(tmp_path / "outside/secret.md")
    (inside / "folder").symlink_to("../outside/dir")
    (inside / "half").mkdir()
    (inside / "half/SKILL.md").symlink_to("../chain")
    (inside / "chain").symlink_to("../outside/secret.md")
    (inside / "self.md").symlink_to("self.md")
    (inside / "gone.md").symlink_to("nowhere")
    folder = read_folder(inside)
    assert names(folder) == ["real"]
    reasons = {wrong.place: wrong.why for wrong in folder.wrong}
    out = "is a link that leads out of the directory"
    assert {place for place, why in reasons.items() if why == out} == {
        "file.md",
        "absolute.md",
        "folder/SKILL.md",
        "half/SKILL.md",
    }
    assert set(reasons) == {*reasons, "gone.md", "self.md"}


def test_a_link_inside_the_directory_is_followed(tmp_path: Path) -> None:
    """Such as one skill under two names; and the directory itself may be a link."""
    write(tmp_path / "real", {"deploy/SKILL.md": GOOD})
    (tmp_path / "real/rollout").symlink_to("deploy")
    (tmp_path / "link").symlink_to("real")
    assert names(read_folder(tmp_path / "link")) == ["deploy", "rollout"]


def test_devices_and_giants_are_not_read(tmp_path: Path) -> None:
    """A pipe would wait for ever; a huge file would fill the memory."""
    os.mkfifo(tmp_path / "pipe.md")
    (tmp_path / "big.md").write_bytes(b"---\n" + b"x" * 100_000)
    (tmp_path / "dir").mkdir()
    (tmp_path / "dir/SKILL.md").mkdir()
    why = {wrong.place: wrong.why for wrong in read_folder(tmp_path).wrong}
    assert why == {
        "pipe.md": "is not a regular file",
        "big.md": "is larger than 64 KiB",
        "dir/SKILL.md": "is not a regular file",
    }


def test_what_is_no_directory(tmp_path: Path) -> None:
    """The caller gets the system's reason."""
    with pytest.raises(FileNotFoundError):
        read_folder(tmp_path / "nowhere")
    (tmp_path / "file").write_text("x")
    with pytest.raises(NotADirectoryError):
        read_folder(tmp_path / "file")


def test_allowed_tools_grants_nothing() -> None:
    """What another agent was allowed to do is no step and no right here."""
    skill = read_skill("---\nallowed-tools: [restart_service]\n---\nx", default_name="x").skill
    assert skill.steps == ()


def test_a_typo_is_not_taken_for_a_foreign_key() -> None:
    """An unknown key is refused, with its line."""
    with pytest.raises(BadSkill) as caught:
        read_skill("---\nname: x\n\n'allowed_tool': x\n---\n", default_name="x")
    assert caught.value.line == 4

"""``it0 skills`` as it is typed, with no server running: one is embedded for the moment."""

from __future__ import annotations

from pathlib import Path

import pytest

from cli import main


def test_skills_are_imported_and_listed(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """A directory with a mistake changes nothing and the command fails; a good one is kept."""
    monkeypatch.setenv("IT0_DATA_DIR", str(tmp_path / "data"))
    monkeypatch.chdir(tmp_path)
    folder = tmp_path / "skills"
    (folder / "deploy").mkdir(parents=True)
    file = folder / "deploy/SKILL.md"
    file.write_text("---\ndescription: How we deploy.\ntools: x\n---\nAsk Bob.")
    assert main(["skills", "import", "skills"]) == 1
    assert "deploy/SKILL.md:3: has an unknown key 'tools'" in capsys.readouterr().out
    file.write_text("---\ndescription: How we deploy.\ntool: rm\n---\nAsk Bob.")
    assert main(["skills", "import", "skills"]) == 1
    assert "deploy calls the tool rm, which does not exist" in capsys.readouterr().err
    file.write_text("---\ndescription: How we deploy.\ntool: disk_usage\n---\nAsk Bob.")
    assert main(["skills", "import", "skills"]) == 0
    assert "Imported deploy" in capsys.readouterr().out
    assert main(["skills", "list"]) == 0
    first, *others = capsys.readouterr().out.splitlines()
    assert first.split() == ["deploy", "on", "team", "How", "we", "deploy."]
    assert any(line.startswith("disk ") and " built in " in line for line in others)
    assert main(["skills", "list", "--as", "nobody@example.com"]) == 1
    assert "nobody@example.com" in capsys.readouterr().err

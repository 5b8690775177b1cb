"""``it0 audit``: what is typed, and what it says."""

from __future__ import annotations

import asyncio
import json
from pathlib import Path

import pytest

from cli import main
from core.clock import SystemClock
from core.keys import Keys, load_or_make
from storage.migrate import migrate_sqlite
from storage.sqlite import SqliteDatabase
from tests.storage.test_announcements import write
from tests.storage.test_audit import fill
from tests.support.audit_kit import lift_guards


@pytest.fixture
def key(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> bytes:
    """An installation in the current directory; the key its log is chained under."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("IT0_DATA_DIR", str(tmp_path))
    made = Keys(load_or_make(tmp_path)).derive("audit")
    migrate_sqlite(tmp_path / "it0.db")
    monkeypatch.setattr("tests.storage.test_audit.KEY", made)
    return made


def change(*statements: str, rows: int = 0) -> None:
    """Append rows, or write behind the log's back."""

    async def work() -> None:
        db = SqliteDatabase(Path("it0.db"), SystemClock())
        await fill(db, "ten_a", rows)
        if statements:
            await lift_guards(db)
        for statement in statements:
            await write(db, statement)
        await db.close()

    asyncio.run(work())


@pytest.mark.usefixtures("key")
def test_a_log_is_verified_against_a_head_that_was_kept(capsys: pytest.CaptureFixture[str]) -> None:
    """Intact; then cut off with its own head, which only the kept one shows."""
    change(rows=4)
    assert main(["audit", "head", "--out", "head.json"]) == 0
    assert main(["audit", "verify", "--head", "head.json"]) == 0
    assert "The audit log is intact: 4 rows of 1 team." in capsys.readouterr().out
    (head,) = json.loads(Path("head.json").read_text(encoding="utf-8"))["heads"]
    pair = f"{head['seq']}:{head['mac']}"
    assert main(["audit", "verify", "--head", pair]) == 0
    change(
        "DELETE FROM audit_log WHERE seq > 2",
        "UPDATE audit_heads SET seq = 2, mac = (SELECT mac FROM audit_log WHERE seq = 2)",
    )
    capsys.readouterr()
    assert main(["audit", "verify"]) == 0
    assert main(["audit", "verify", "--head", "head.json"]) == 1
    assert main(["audit", "verify", "--head", pair]) == 1
    assert capsys.readouterr().out.count("NOT INTACT") == 2


@pytest.mark.usefixtures("key")
def test_an_export_is_verified_alone(capsys: pytest.CaptureFixture[str]) -> None:
    """Filtered by what is typed; a line that was changed shows."""
    change(rows=6)
    assert main(["audit", "head", "--out", "head.json"]) == 0
    capsys.readouterr()
    typed = ["audit", "export", "--since", "2026-01-01", "--action", "tool.*", "--level", "L2"]
    assert main(typed) == 0
    exported = capsys.readouterr().out
    assert [json.loads(line).get("seq") for line in exported.splitlines()] == [3, 6, None]
    Path("rows.jsonl").write_text(exported, encoding="utf-8")
    assert main(["audit", "verify", "--file", "rows.jsonl", "--head", "head.json"]) == 0
    assert "The export is intact: 2 rows of 1 team." in capsys.readouterr().out
    Path("rows.jsonl").write_text(exported.replace("user_0", "user_1"), encoding="utf-8")
    assert main(["audit", "verify", "--file", "rows.jsonl"]) == 1
    assert "NOT INTACT: line 1: row 3 was changed" in capsys.readouterr().out


@pytest.mark.usefixtures("key")
def test_a_head_that_is_none_is_refused(capsys: pytest.CaptureFixture[str]) -> None:
    """A file that was altered, is missing, or is something else."""
    change(rows=2)
    assert main(["audit", "head", "--out", "head.json"]) == 0
    content = Path("head.json").read_text(encoding="utf-8")
    Path("head.json").write_text(content.replace('"seq": 2', '"seq": 1'), encoding="utf-8")
    for head in ("head.json", "nowhere.json", "it0.db"):
        assert main(["audit", "verify", "--head", head]) == 1
    said = capsys.readouterr().err
    assert "was altered" in said
    assert "cannot be read" in said


@pytest.mark.parametrize("written", ["yesterday", "2026-13-01", ""])
def test_a_time_that_is_none_is_refused(written: str) -> None:
    """The command says what a time looks like and does nothing."""
    with pytest.raises(SystemExit):
        main(["audit", "export", "--since", written])

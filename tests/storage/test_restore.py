from __future__ import annotations

import asyncio
import hashlib
import json
import signal
import sqlite3
import sys
import zipfile
from contextlib import suppress
from dataclasses import replace
from pathlib import Path

import pytest
import sqlalchemy as sa

from core.keys import KEY_FILE
from storage import restore as restore_module
from storage.archive import MANIFEST, BackupFailed, reading
from storage.backup import Installation, backup
from storage.database import execute
from storage.lock import DataDirectoryInUse
from storage.restore import restore
from tests.storage.kit import (
    install,
)
from tests.storage.places import KINDS, Places, changed, lines, locked, opened, saved, untouched
from tests.support.processes import Process


async def test_used_installation_is_refused(places: Places) -> None:
    """A restore into an installation that somebody uses is refused; it stays as it was."""
    source, file = await saved(places)
    before = places.root / "before"
    await backup(source, before)
    with pytest.raises(BackupFailed, match="holds data already"):
        await restore(source, file)
    after = places.root / "after"
    await backup(source, after)
    assert lines(after) == lines(before)


@pytest.mark.postgres
async def test_used_postgres_is_refused(places: Places) -> None:
    """The same on PostgreSQL; and tables that are not IT0's are left alone."""
    _, file = await saved(places)
    key = (places.root / "source" / KEY_FILE).read_text().strip()
    used = places.new("postgresql", "used", secret=key)
    async with opened(used) as db:
        await install(db)
    with pytest.raises(BackupFailed, match="holds data already"):
        await restore(used, file)
    async with opened(used) as db:
        await db.transaction(lambda conn: execute(conn, "DROP TABLE alembic_version"))
    with pytest.raises(BackupFailed, match="not IT0's"):
        await restore(used, file)


@pytest.mark.parametrize("kind", KINDS)
async def test_migrated_and_unused_is_accepted(places: Places, kind: str) -> None:
    """A database that was migrated and never used is replaced."""
    source, file = await saved(places)
    key = (source.data_dir / KEY_FILE).read_text().strip()
    copy = places.new(kind, "copy", secret=key)
    async with opened(copy):
        pass
    await restore(copy, file)
    async with opened(copy) as db:
        rows = await db.read(lambda conn: execute(conn, "SELECT id FROM turns").all())
        assert len(rows) == 4
    assert not list(copy.data_dir.glob(".*"))


async def test_data_directory_in_use_is_refused(places: Places) -> None:
    """While a process holds the data directory nothing is restored into it."""
    _, file = await saved(places)
    copy = places.new("sqlite", "copy")
    with locked(copy), pytest.raises(DataDirectoryInUse):
        await restore(copy, file)
    assert untouched(copy)


async def test_every_truncation_is_refused(places: Places) -> None:
    """A file that was cut short, anywhere, is refused."""
    _, file = await saved(places, turns=1)
    data = file.read_bytes()
    cut = places.root / "cut"
    copy = places.new("sqlite", "copy")
    for length in (0, 1, 100, len(data) // 2, len(data) - 30, len(data) - 1):
        cut.write_bytes(data[:length])
        with pytest.raises(BackupFailed, match=r"cut short|damaged"):
            await restore(copy, cut)
    assert untouched(copy)


async def test_flipped_bytes_are_refused(places: Places) -> None:
    """A byte that changed is noticed wherever it matters; nothing is restored in part."""
    _, file = await saved(places, turns=1)
    data = bytearray(file.read_bytes())
    spoilt = places.root / "spoilt"
    refused = 0
    for position in range(0, len(data), len(data) // 30):
        copy = places.new("sqlite", f"copy{position}")
        changed_data = bytearray(data)
        changed_data[position] ^= 0x55
        spoilt.write_bytes(changed_data)
        refusal = await _refusal(copy, spoilt)
        if refusal is not None:
            refused += 1
            assert "Nothing was changed" in refusal
            assert untouched(copy)
        else:  # a byte that ZIP keeps twice or does not use, such as a time stamp
            again = places.root / f"again{position}"
            await backup(copy, again)
            assert lines(again) == lines(file)
    assert refused > 10


async def test_reader_survives_every_kind_of_damage(places: Places) -> None:
    """Whatever field of the ZIP a changed byte hits, the answer is a sentence, not a traceback."""
    _, file = await saved(places, turns=0)
    data = file.read_bytes()
    spoilt = places.root / "spoilt"
    outcomes: set[str] = set()
    for position in range(-1, -len(data), -3):  # the directory at the end has the most fields
        changed_data = bytearray(data)
        changed_data[position] ^= 0x0F
        spoilt.write_bytes(changed_data)
        with suppress(BackupFailed), reading(spoilt):
            outcomes.add("harmless")
            continue
        outcomes.add("refused")
    assert outcomes == {"harmless", "refused"}


async def _refusal(copy: Installation, file: Path) -> str | None:
    try:
        await restore(copy, file)
    except BackupFailed as failure:
        return failure.sentence
    return None


@pytest.mark.parametrize("content", [b"", b"PK\x03\x04 nothing", b"SQLite format 3\0" * 100])
async def test_foreign_files_are_refused(places: Places, content: bytes) -> None:
    """A file that is no backup is refused as such."""
    file = places.root / "foreign"
    file.write_bytes(content)
    copy = places.new("sqlite", "copy")
    with pytest.raises(BackupFailed, match="not a backup"):
        await restore(copy, file)
    with zipfile.ZipFile(file, "w") as archive:
        archive.writestr("hello", "x")
    with pytest.raises(BackupFailed, match="not a backup"):
        await restore(copy, file)
    with pytest.raises(BackupFailed, match="cannot be read"):
        await restore(copy, places.root / "missing")
    assert untouched(copy)


async def test_newer_backups_are_refused(places: Places) -> None:
    """A backup of a newer format or schema is refused with what to do."""
    _, file = await saved(places, turns=1)
    copy = places.new("sqlite", "copy")

    def newer(what: str, value: object) -> Path:
        def change(name: str, data: bytes) -> bytes:
            return (
                json.dumps({**json.loads(data), what: value}).encode() if name == MANIFEST else data
            )

        return changed(file, change)

    with pytest.raises(BackupFailed, match="newer"):
        await restore(copy, newer("version", 2))
    with pytest.raises(BackupFailed, match="newer version"):
        await restore(copy, newer("schema", "9999"))
    with pytest.raises(BackupFailed, match="not a backup"):
        await restore(copy, newer("format", "other"))
    with pytest.raises(BackupFailed, match="damaged"):
        await restore(copy, newer("tables", {}))
    assert untouched(copy)


async def test_altered_backups_are_refused(places: Places) -> None:
    """Left-out, added or edited members are noticed."""
    _, file = await saved(places, turns=1)
    copy = places.new("sqlite", "copy")
    edits: list[Path] = []
    for number, change in enumerate(
        (
            lambda name, data: None if name == "tables/users.jsonl" else data,
            lambda name, data: data.replace(b"admin", b"owner") if "users" in name else data,
            lambda name, data: data + b"[]\n" if "users" in name else data,
            lambda name, data: b"" if "users" in name else data,
        )
    ):
        edits.append(changed(file, change).rename(places.root / f"edit{number}"))
    edits.append(
        changed(file, lambda _, data: data, {"../evil": b"x"}).rename(places.root / "extra")
    )
    for edit in edits:
        with pytest.raises(BackupFailed, match="damaged"):
            await restore(copy, edit)
    assert untouched(copy)
    assert not (places.root.parent / "evil").exists()


@pytest.mark.parametrize("kind", KINDS)
async def test_restore_that_fails_half_way_leaves_nothing(
    places: Places, kind: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """When loading fails in the middle, the installation is as empty as before, and usable."""
    source, file = await saved(places)
    key = (source.data_dir / KEY_FILE).read_text().strip()
    copy = places.new(kind, "copy", secret=key)
    original = restore_module._batches

    def batches(table: sa.Table, *rest: object) -> object:
        if table.name == "turns":
            raise BackupFailed("the machine died here")
        return original(table, *rest)  # type: ignore[arg-type]

    with monkeypatch.context() as patch:
        patch.setattr(restore_module, "_batches", batches)
        with pytest.raises(BackupFailed, match="died here"):
            await restore(copy, file)
    assert untouched(copy)
    await restore(copy, file)


_RESTORE = """
import asyncio, os, signal, sys
from pathlib import Path
from storage import restore
from storage.backup import Installation
original = restore._batches
def batches(table, *rest):
    if table.name == sys.argv[3]:
        os.kill(os.getpid(), signal.SIGKILL)
    return original(table, *rest)
restore._batches = batches
write_key = restore._write_key
def key(*rest):
    write_key(*rest)
    os.kill(os.getpid(), signal.SIGKILL)
restore._write_key = key
place = Installation(data_dir=Path(sys.argv[1]), database=Path(sys.argv[1]) / "it0.db")
asyncio.run(restore.restore(place, Path(sys.argv[2])))
"""


@pytest.mark.parametrize("where", ["attachments", "turns", "the key"])
async def test_restore_that_is_killed_leaves_nothing(places: Places, where: str) -> None:
    """After a kill -9 in the middle there is no database, and the next restore succeeds."""
    _, file = await saved(places)
    copy = places.new("sqlite", "copy")
    command = [sys.executable, "-c", _RESTORE, str(copy.data_dir), str(file), where]
    with Process(command, cwd=Path(__file__).parents[2]) as process:
        status = await asyncio.to_thread(process.wait)
        assert status == -signal.SIGKILL, process.output()
    assert not list(copy.data_dir.glob("it0.db*"))
    await restore(copy, file)
    assert sorted(path.name for path in copy.data_dir.iterdir()) == [
        "it0.db",
        "it0.lock",
        "secret.key",
    ]


async def test_wrong_rows_are_refused(places: Places) -> None:
    """Rows that do not fit their columns are refused, although their checksum is right."""
    _, file = await saved(places, turns=1)
    copy = places.new("sqlite", "copy")
    with zipfile.ZipFile(file) as archive:
        table = archive.read("tables/tenants.jsonl")
        manifest = json.loads(archive.read(MANIFEST))
    (row,) = [json.loads(line) for line in table.splitlines()]
    for wrong in ([*row[:3], "today"], [None, *row[1:]], [*row[:3], {"b64": "AAAA"}]):
        await _refused(copy, file, manifest, [wrong])
    await _refused(copy, file, manifest, [row, row])  # the same key twice
    assert untouched(copy)


async def _refused(
    copy: Installation, file: Path, manifest: dict[str, object], rows: list[list[object]]
) -> None:
    data = b"".join(json.dumps(row, ensure_ascii=False).encode() + b"\n" for row in rows)
    entry = {"rows": len(rows), "sha256": hashlib.sha256(data).hexdigest()}

    def change(name: str, old: bytes) -> bytes:
        if name == "tables/tenants.jsonl":
            return data
        if name == MANIFEST:
            new = json.loads(old)
            new["tables"]["tenants"].update(entry)
            return json.dumps(new).encode()
        return old

    with pytest.raises(BackupFailed, match="was altered"):
        await restore(copy, changed(file, change))


# -- the key ------------------------------------------------------------------------------


async def test_key_can_be_left_out(places: Places) -> None:
    """Without its key a backup is restored only where the key is."""
    source, _ = await saved(places)
    file = places.root / "keyless"
    manifest = await backup(source, file, with_key=False)
    assert not manifest.has_key
    assert "secret.key" not in lines(file)
    copy = places.new("sqlite", "copy")
    with pytest.raises(BackupFailed, match="without its key"):
        await restore(copy, file)
    with pytest.raises(BackupFailed, match="IT0_SECRET_KEY is not the key"):
        await restore(replace(copy, secret="x" * 64), file)
    assert untouched(copy)
    key = (source.data_dir / KEY_FILE).read_text().strip()
    await restore(replace(copy, secret=key), file)
    assert not (copy.data_dir / KEY_FILE).exists()


async def test_key_is_restored_privately(places: Places) -> None:
    """The key comes back as it was, for its owner alone; another one is not overwritten."""
    source, file = await saved(places)
    copy = places.new("sqlite", "copy")
    copy.data_dir.mkdir()
    (copy.data_dir / KEY_FILE).write_text("0" * 64)
    with pytest.raises(BackupFailed, match="is not the key"):
        await restore(copy, file)
    assert (copy.data_dir / KEY_FILE).read_text() == "0" * 64
    (copy.data_dir / KEY_FILE).unlink()
    await restore(copy, file)
    assert (copy.data_dir / KEY_FILE).read_text() == (source.data_dir / KEY_FILE).read_text()
    assert (copy.data_dir / KEY_FILE).stat().st_mode & 0o777 == 0o600
    assert isinstance(copy.database, Path)
    assert copy.database.stat().st_mode & 0o777 == 0o600


async def test_foreign_key_is_notsaved(places: Places) -> None:
    """A key file that is not this database's stays out of the backup."""
    source, _ = await saved(places)
    (source.data_dir / KEY_FILE).write_text("0" * 64)
    manifest = await backup(source, places.root / "file")
    assert not manifest.has_key


async def test_stray_wal_is_refused(places: Places) -> None:
    """A WAL that a lost database left behind would be mixed in: it is refused."""
    _, file = await saved(places)
    copy = places.new("sqlite", "copy")
    copy.data_dir.mkdir()
    stray = copy.data_dir / "it0.db-wal"
    stray.write_bytes(b"x")
    with pytest.raises(BackupFailed, match="not there any more"):
        await restore(copy, file)
    stray.unlink()
    (copy.data_dir / "it0.db").write_bytes(b"garbage" * 1000)
    with pytest.raises(BackupFailed, match="cannot be read"):
        await restore(copy, file)
    assert (copy.data_dir / "it0.db").read_bytes() == b"garbage" * 1000


async def test_restored_file_is_sound(places: Places) -> None:
    """SQLite itself finds nothing wrong with a restored file."""
    _, file = await saved(places)
    copy = places.new("sqlite", "copy")
    await restore(copy, file)
    with sqlite3.connect(str(copy.database)) as check:
        assert check.execute("PRAGMA integrity_check").fetchall() == [("ok",)]
    check.close()

from __future__ import annotations

import asyncio
import hashlib
import json
import random
import resource
import shutil
import sqlite3
import tracemalloc
import zipfile
from collections.abc import AsyncGenerator, Callable, Iterator
from contextlib import asynccontextmanager, contextmanager
from dataclasses import dataclass, replace
from pathlib import Path

import pytest
import sqlalchemy as sa

from core.keys import KEY_FILE
from core.messages import Attachment
from storage import migrate
from storage import restore as restore_module
from storage.archive import MANIFEST, BackupFailed, Manifest, reading
from storage.backup import Installation, backup
from storage.database import Database, execute
from storage.leases import SqlLeases
from storage.lock import DataDirectoryInUse, DataDirectoryLock
from storage.migrate import HEAD, require_head
from storage.people import SqlPeople
from storage.restore import restore
from tests.storage.kit import (
    accept,
    answer,
    fill,
    install,
    message,
    postgres_database,
    sqlite_database,
)
from tests.support.postgres import PostgresServer

KINDS = ["sqlite", pytest.param("postgresql", marks=pytest.mark.postgres)]


@dataclass(frozen=True)
class Places:
    """Makes installations of either kind that do not exist yet."""

    root: Path
    request: pytest.FixtureRequest
    urls: list[str]

    def new(self, kind: str, name: str, *, secret: str | None = None) -> Installation:
        """A data directory, and a database in it or on the server."""
        data_dir = self.root / name
        if kind == "sqlite":
            return Installation(data_dir=data_dir, database=data_dir / "it0.db", secret=secret)
        server: PostgresServer = self.request.getfixturevalue("postgres_server")
        self.urls.append(server.create_database())
        return Installation(data_dir=data_dir, database=self.urls[-1], secret=secret)


@pytest.fixture
def places(tmp_path: Path, request: pytest.FixtureRequest) -> Iterator[Places]:
    """Installations, dropped afterwards."""
    made = Places(tmp_path, request, [])
    yield made
    for url in made.urls:
        request.getfixturevalue("postgres_server").drop_database(url)


@asynccontextmanager
async def opened(place: Installation) -> AsyncGenerator[Database]:
    """The installation's database, migrated."""
    if isinstance(place.database, Path):
        async with sqlite_database(place.database) as db:
            yield db
    else:
        async with postgres_database(place.database) as db:
            yield db


def lines(file: Path) -> dict[str, bytes]:
    """Every member as it was written, but the manifest, which has the time."""
    with zipfile.ZipFile(file) as archive:
        return {name: archive.read(name) for name in archive.namelist() if name != MANIFEST}


def changed(
    file: Path, change: Callable[[str, bytes], bytes | None], extra: dict[str, bytes] | None = None
) -> Path:
    """A copy in which each member went through a function; None leaves it out."""
    copy = file.with_name(f"changed-{file.name}")
    with zipfile.ZipFile(file) as old, zipfile.ZipFile(copy, "w") as new:
        for name in old.namelist():
            data = change(name, old.read(name))
            if data is not None:
                new.writestr(name, data)
        for name, data in (extra or {}).items():
            new.writestr(name, data)
    return copy


def untouched(place: Installation) -> bool:
    """Whether a refused restore left nothing but the lock file behind."""
    left = {path.name for path in place.data_dir.rglob("*")} if place.data_dir.exists() else set()
    return left <= {"it0.lock"}


async def _saved(places: Places, *, turns: int = 3) -> tuple[Installation, Path]:
    source = places.new("sqlite", "source")
    async with opened(source) as db:
        await fill(db, source.data_dir, turns=turns)
    file = places.root / "it0.backup"
    await backup(source, file)
    return source, file


# -- round trips --------------------------------------------------------------------------


@pytest.mark.parametrize("target", KINDS)
@pytest.mark.parametrize("origin", KINDS)
async def test_round_trip(places: Places, origin: str, target: str) -> None:
    """From either database into either: every table comes back byte for byte, and works."""
    source = places.new(origin, "source")
    async with opened(source) as db:
        admin = await fill(db, source.data_dir)
    first = places.root / "first"
    manifest = await backup(source, first)
    assert manifest.tables["turns"].rows == 8
    assert manifest.tables["attachments"].rows == 7
    assert manifest.has_key

    copy = places.new(target, "copy")
    if target == "postgresql":
        copy = replace(copy, secret=(source.data_dir / KEY_FILE).read_text().strip())
    assert await restore(copy, first) == manifest

    copy.data_dir.mkdir(exist_ok=True)
    shutil.copy(source.data_dir / KEY_FILE, copy.data_dir / KEY_FILE)
    second = places.root / "second"
    await backup(copy, second)
    assert lines(second) == lines(first)
    async with opened(copy) as db:
        assert await SqlPeople(db).users(admin.tenant_id) == (admin,)
        await SqlLeases(db).beat("w_2", 10_000, ())
        claimed = await SqlLeases(db).claim("w_2", 10, 10)
        assert [turn.event_id for turn in claimed] == ["api:10000"]
        await answer(db, claimed[0])


@pytest.mark.parametrize("kind", KINDS)
async def test_unfinished_turns_run_again(places: Places, kind: str) -> None:
    """A turn that was running in the backup is queued in the copy, under a new epoch."""
    source = places.new(kind, "source")
    async with opened(source) as db:
        admin = await install(db, source.data_dir)
        leased = (await accept(db, message(admin, 1))).leased
        assert leased is not None
    file = places.root / "file"
    await backup(source, file)
    copy = places.new("sqlite", "copy")
    await restore(copy, file)
    async with opened(copy) as db:
        await SqlLeases(db).beat("w_2", 10_000, ())
        (turn,) = await SqlLeases(db).claim("w_2", 10, 10)
        assert turn.id == leased.id
        assert turn.epoch > leased.epoch
        assert (turn.attempt, turn.failures) == (2, 0)
        await answer(db, turn)


@pytest.mark.parametrize("kind", KINDS)
async def test_backup_during_writes_is_one_moment(places: Places, kind: str) -> None:
    """A backup taken while turns are written holds whole turns only, as of one moment."""
    source = places.new(kind, "source")
    async with opened(source) as db:
        admin = await fill(db, source.data_dir, turns=2)
        stop = asyncio.Event()

        async def write() -> int:
            number = 100
            while not stop.is_set():
                data = number.to_bytes(4, "big") * 2000
                files = (Attachment(name="a", media_type="text/plain", data=data),)
                accepted = await accept(db, message(admin, number, attachments=files))
                assert accepted.leased is not None
                await answer(db, accepted.leased)
                number += 1
            return number - 100

        writing_turns = asyncio.create_task(write())
        with _locked(source):
            manifests = [await backup(source, places.root / f"file{number}") for number in range(3)]
        stop.set()
        assert await writing_turns > 3
    for number, manifest in enumerate(manifests):
        _check_whole(places.root / f"file{number}", manifest)
    rows = [manifest.tables["turns"].rows for manifest in manifests]
    assert rows == sorted(rows)
    assert rows[0] < rows[-1]


@contextmanager
def _locked(place: Installation) -> Iterator[None]:
    """`it0 up` holds the data directory."""
    lock = DataDirectoryLock(place.data_dir)
    try:
        yield
    finally:
        lock.release()


def _check_whole(file: Path, manifest: Manifest) -> None:
    """References between tables hold: what was written together is there together."""
    with reading(file) as reader:
        tables = {
            name: [dict(zip(entry.columns, row, strict=True)) for row in reader.rows(name)]
            for name, entry in manifest.tables.items()
        }
    turns = {row["id"]: row for row in tables["turns"]}
    for conversation in tables["conversations"]:
        own = [t for t in turns.values() if t["conversation_id"] == conversation["id"]]
        assert len(own) == conversation["last_seq"]
        assert sum(t["status"] == "done" for t in own) == conversation["done_seq"]
    done = {key for key, row in turns.items() if row["status"] == "done"}
    assert {row["turn_id"] for row in tables["turn_events"]} == done
    settled = {row["turn_id"] for row in tables["model_calls"] if row["state"] == "settled"}
    assert settled >= done
    assert settled == {row["turn_id"] for row in tables["turn_steps"] if row["kind"] == "model"}
    stored = {row["sha256"] for row in tables["attachments"]}
    for turn in turns.values():
        assert {ref["sha256"] for ref in json.loads(str(turn["attachments"]))} <= stored


async def test_older_backup_is_upgraded(places: Places, monkeypatch: pytest.MonkeyPatch) -> None:
    """A backup of an older schema is loaded into that schema, then brought up to date."""
    _, file = await _saved(places)
    scripts = places.root / "scripts"
    shutil.copytree(migrate.SCRIPTS, scripts, ignore=shutil.ignore_patterns("__pycache__"))
    (scripts / "versions" / "9001_add_motto.py").write_text(
        "import sqlalchemy as sa\nfrom alembic import op\n"
        f"revision, down_revision = '9001', {HEAD!r}\n"
        "def upgrade():\n"
        "    with op.batch_alter_table('tenants') as table:\n"
        "        table.add_column(sa.Column('motto', sa.Text(), server_default='go on'))\n"
        "def downgrade():\n"
        "    with op.batch_alter_table('tenants') as table:\n"
        "        table.drop_column('motto')\n"
    )
    for module in (migrate, restore_module):
        monkeypatch.setattr(module, "HEAD", "9001")
    monkeypatch.setattr(migrate, "SCRIPTS", scripts)
    copy = places.new("sqlite", "copy")
    manifest = await restore(copy, file)
    assert manifest.schema == HEAD
    async with opened(copy) as db:
        await db.read(require_head)
        row = await db.read(lambda conn: execute(conn, "SELECT name, motto FROM tenants").one())
        assert tuple(row) == ("Team Ü", "go on")


async def test_memory_is_bounded(places: Places) -> None:
    """Saving and restoring 60 MB of files takes a few of them at a time."""
    source, copy = places.new("sqlite", "source"), places.new("sqlite", "copy")
    async with opened(source) as db:
        admin = await install(db, source.data_dir)
        for number in range(12):
            data = number.to_bytes(1, "big") * 5_000_000
            files = (Attachment(name="a", media_type="text/plain", data=data),)
            await accept(db, message(admin, number, attachments=files), worker=None)
    tracemalloc.start()
    try:
        await backup(source, places.root / "file")
        await restore(copy, places.root / "file")
        _, peak = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    assert peak < 50_000_000


# -- the file -----------------------------------------------------------------------------


async def test_file_is_private_and_whole(places: Places) -> None:
    """The file is readable by its owner alone, has every table, and no temporary is left."""
    _, file = await _saved(places)
    assert file.stat().st_mode & 0o777 == 0o600
    assert sorted(path.name for path in places.root.iterdir()) == ["it0.backup", "source"]
    with zipfile.ZipFile(file) as archive:
        manifest = json.loads(archive.read(MANIFEST))
        assert (
            archive.read("secret.key").decode().strip()
            == (places.root / "source" / KEY_FILE).read_text().strip()
        )
    assert manifest["format"] == "it0-backup"
    assert manifest["schema"] == HEAD
    assert "workers" not in manifest["tables"]


async def test_existing_file_is_not_overwritten(places: Places) -> None:
    """A backup does not replace a file that is there."""
    source, file = await _saved(places)
    before = file.read_bytes()
    with pytest.raises(BackupFailed, match="exists already"):
        await backup(source, file)
    assert file.read_bytes() == before


async def test_nothing_to_back_up(places: Places) -> None:
    """Without a database there is a sentence, and no file, and no database either."""
    place = places.new("sqlite", "nothing")
    with pytest.raises(BackupFailed, match="nothing to back up"):
        await backup(place, places.root / "file")
    assert list(places.root.iterdir()) == []


async def test_target_that_cannot_be_written(places: Places) -> None:
    """A file that cannot be made is refused with a sentence."""
    source, _ = await _saved(places)
    with pytest.raises(BackupFailed, match="cannot be written"):
        await backup(source, places.root / "missing" / "file")


async def test_disk_full_leaves_no_file(places: Places) -> None:
    """A backup that does not fit is removed, and says so."""
    source, _ = await _saved(places)
    async with opened(source) as db:
        admin = await SqlPeople(db).user_by_email(None)
        files = (Attachment(name="a", media_type="text/plain", data=random.randbytes(500_000)),)
        await accept(db, message(admin, 77, attachments=files), worker=None)
    full = places.root / "full"
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (200_000, hard))  # SIGXFSZ is ignored by Python
    try:
        with pytest.raises(BackupFailed, match="No backup was made"):
            await backup(source, full)
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))
    assert sorted(path.name for path in places.root.iterdir()) == ["it0.backup", "source"]


# -- refusals: every one changes nothing ---------------------------------------------------


async def test_used_installation_is_refused(places: Places) -> None:
    """A restore into an installation that somebody uses is refused; it stays as it was."""
    source, file = await _saved(places)
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
    _, file = await _saved(places)
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
    source, file = await _saved(places)
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
    _, file = await _saved(places)
    copy = places.new("sqlite", "copy")
    with _locked(copy), pytest.raises(DataDirectoryInUse):
        await restore(copy, file)
    assert untouched(copy)


async def test_every_truncation_is_refused(places: Places) -> None:
    """A file that was cut short, anywhere, is refused."""
    _, file = await _saved(places, turns=1)
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
    _, file = await _saved(places, turns=1)
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
    assert refused > 20


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
    _, file = await _saved(places, turns=1)
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
    _, file = await _saved(places, turns=1)
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
    source, file = await _saved(places)
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


async def test_wrong_rows_are_refused(places: Places) -> None:
    """Rows that do not fit their columns are refused, although their checksum is right."""
    _, file = await _saved(places, turns=1)
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
    source, _ = await _saved(places)
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
    source, file = await _saved(places)
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


async def test_foreign_key_is_not_saved(places: Places) -> None:
    """A key file that is not this database's stays out of the backup."""
    source, _ = await _saved(places)
    (source.data_dir / KEY_FILE).write_text("0" * 64)
    manifest = await backup(source, places.root / "file")
    assert not manifest.has_key


async def test_stray_wal_is_refused(places: Places) -> None:
    """A WAL that a lost database left behind would be mixed in: it is refused."""
    _, file = await _saved(places)
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
    _, file = await _saved(places)
    copy = places.new("sqlite", "copy")
    await restore(copy, file)
    with sqlite3.connect(str(copy.database)) as check:
        assert check.execute("PRAGMA integrity_check").fetchall() == [("ok",)]
    check.close()

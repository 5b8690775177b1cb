from __future__ import annotations

import asyncio
import json
import random
import resource
import shutil
import tracemalloc
import zipfile
from dataclasses import replace
from pathlib import Path

import pytest

from core.keys import KEY_FILE
from core.messages import Attachment
from storage import migrate
from storage import restore as restore_module
from storage.archive import MANIFEST, BackupFailed, Manifest, reading
from storage.backup import backup
from storage.database import execute
from storage.leases import SqlLeases
from storage.migrate import HEAD, require_head
from storage.outbox import publish
from storage.people import SqlPeople
from storage.restore import restore
from tests.storage.kit import (
    accept,
    answer,
    fill,
    install,
    message,
)
from tests.storage.places import KINDS, Places, lines, locked, opened, saved


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
        with locked(source):
            manifests = [await backup(source, places.root / f"file{number}") for number in range(3)]
        stop.set()
        assert await writing_turns > 3
    for number, manifest in enumerate(manifests):
        _check_whole(places.root / f"file{number}", manifest)
    rows = [manifest.tables["turns"].rows for manifest in manifests]
    assert rows == sorted(rows)
    assert rows[0] < rows[-1]


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
    _, file = await saved(places)
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
    """Saving and restoring 36 MB of files takes a few of them at a time."""
    source, copy = places.new("sqlite", "source"), places.new("sqlite", "copy")
    async with opened(source) as db:
        admin = await install(db, source.data_dir)
        for number in range(12):
            data = number.to_bytes(1, "big") * 3_000_000
            files = (Attachment(name="a", media_type="text/plain", data=data),)
            await accept(db, message(admin, number, attachments=files), worker=None)
    tracemalloc.start()
    try:
        await backup(source, places.root / "file")
        await restore(copy, places.root / "file")
        _, peak = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    assert peak < 30_000_000


# -- the file -----------------------------------------------------------------------------


async def test_file_is_private_and_whole(places: Places) -> None:
    """The file is readable by its owner alone, has every table, and no temporary is left."""
    _, file = await saved(places)
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
    source, file = await saved(places)
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
    source, _ = await saved(places)
    with pytest.raises(BackupFailed, match="cannot be written"):
        await backup(source, places.root / "missing" / "file")


async def test_disk_full_leaves_no_file(places: Places) -> None:
    """A backup that does not fit is removed, and says so."""
    source, _ = await saved(places)
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


@pytest.mark.parametrize("kind", KINDS)
async def test_events_go_on_counting_after_a_restore(places: Places, kind: str) -> None:
    """The next event of a restored installation gets a number of its own."""
    source = places.new("sqlite", "source")
    async with opened(source) as db:
        tenant_id = (await install(db, source.data_dir)).tenant_id
        for number in (1, 2):
            await db.transaction(publish, f"e/{number}", tenant_id, "billing.alarm", {}, number)
    file = places.root / "events"
    await backup(source, file)
    key = (source.data_dir / KEY_FILE).read_text().strip()
    copy = places.new(kind, "copy", secret=key)
    await restore(copy, file)
    async with opened(copy) as db:
        await db.transaction(publish, "e/3", tenant_id, "billing.alarm", {}, 3)
        ids = await db.read(lambda conn: execute(conn, "SELECT id FROM outbox ORDER BY seq").all())
        assert [row[0] for row in ids] == ["e/1", "e/2", "e/3"]

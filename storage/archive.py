"""The file of a backup: a ZIP with a manifest and one JSON-lines member per table.

``manifest.json`` names the format, the schema revision and, per table, its columns, its rows
and the SHA-256 of its lines. A line is a JSON array in the order of the columns; a binary
value is ``{"b64": ...}``. Rows come in the order of the primary key, so the same data gives
the same bytes on either database. ``secret.key`` is the data directory's key.

Nothing here knows a database. Memory is bounded by the longest line.
"""

from __future__ import annotations

import base64
import hashlib
import json
import lzma
import os
import struct
import zipfile
import zlib
from collections.abc import Generator, Iterable, Iterator, Sequence
from contextlib import contextmanager, suppress
from dataclasses import asdict, dataclass
from pathlib import Path

from core.errors import It0Error

FORMAT = "it0-backup"
VERSION = 1
MANIFEST = "manifest.json"
KEY_MEMBER = "secret.key"
MAX_MANIFEST = 1024 * 1024
MAX_LINE = 128 * 1024 * 1024
"""Longest line that is read back, in bytes: a file of 10 MB takes 14 MB."""

_DAMAGE = (
    zipfile.BadZipFile,
    zlib.error,
    lzma.LZMAError,
    struct.error,
    EOFError,
    LookupError,
    NotImplementedError,
    OverflowError,
    RuntimeError,
    TypeError,
    ValueError,
)
"""What reading a ZIP raises when bytes of it changed: a method, a size, a name, a flag."""

Value = str | int | bytes | None
Row = tuple[Value, ...]


class BackupFailed(It0Error):
    """A backup that could not be written or cannot be restored; nothing was changed."""

    code = "backup_failed"


@dataclass(frozen=True, slots=True, kw_only=True)
class TableEntry:
    """What the manifest says of one table."""

    columns: tuple[str, ...]
    rows: int
    sha256: str
    """Of the uncompressed lines."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Manifest:
    """What a backup holds."""

    schema: str
    created_at: str
    """ISO 8601, UTC."""
    tables: dict[str, TableEntry]
    has_key: bool


class ArchiveWriter:
    """Writes the members of one backup; made by ``writing``."""

    def __init__(self, archive: zipfile.ZipFile) -> None:
        """Begin with no tables."""
        self._archive = archive
        self._tables: dict[str, TableEntry] = {}

    def add_table(
        self, name: str, columns: tuple[str, ...], rows: Iterable[Sequence[object]]
    ) -> None:
        """Stream a table's rows."""
        digest, count = hashlib.sha256(), 0
        with self._archive.open(_member(name), "w", force_zip64=True) as member:
            for row in rows:
                line = json.dumps([_encoded(value) for value in row], ensure_ascii=False)
                data = line.encode() + b"\n"
                digest.update(data)
                member.write(data)
                count += 1
        self._tables[name] = TableEntry(columns=columns, rows=count, sha256=digest.hexdigest())

    def end(self, schema: str, created_at: str, key: str | None) -> Manifest:
        """Add the key and, last, the manifest."""
        if key is not None:
            self._archive.writestr(KEY_MEMBER, key + "\n")
        manifest = Manifest(
            schema=schema, created_at=created_at, tables=self._tables, has_key=key is not None
        )
        data = {"format": FORMAT, "version": VERSION, **asdict(manifest)}
        self._archive.writestr(MANIFEST, json.dumps(data, indent=1))
        return manifest


@contextmanager
def writing(file: Path) -> Generator[ArchiveWriter]:
    """Write a backup beside ``file``; on success it gets its name, else it is removed.

    Readable by its owner alone. Raises ``BackupFailed``.
    """
    if file.exists():
        raise BackupFailed(f"{file} exists already. Choose another name, or move it away.")
    temporary = file.with_name(f".{file.name}.{os.getpid()}.partial")
    try:
        descriptor = os.open(temporary, os.O_RDWR | os.O_CREAT | os.O_EXCL, 0o600)
    except OSError as error:
        raise BackupFailed(f"{file} cannot be written: {error.strerror}.") from error
    try:
        with os.fdopen(descriptor, "w+b") as raw:
            with zipfile.ZipFile(raw, "w", zipfile.ZIP_DEFLATED, compresslevel=6) as archive:
                yield ArchiveWriter(archive)
            raw.flush()
            os.fsync(raw.fileno())
        temporary.rename(file)
        sync_directory(file.parent)
    except OSError as error:
        raise BackupFailed(
            f"{file} could not be written: {error.strerror or error}. No backup was made."
        ) from error
    finally:
        with suppress(FileNotFoundError):
            temporary.unlink()


def sync_directory(directory: Path) -> None:
    """Make renames in a directory survive a power loss."""
    descriptor = os.open(directory, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


class ArchiveReader:
    """A verified backup; made by ``reading``."""

    def __init__(self, archive: zipfile.ZipFile, manifest: Manifest) -> None:
        """``manifest`` is the archive's own."""
        self._archive = archive
        self.manifest = manifest

    def rows(self, table: str) -> Iterator[Row]:
        """Stream a table's rows."""
        width = len(self.manifest.tables[table].columns)
        for line in self._lines(table):
            yield _decoded(line, width)

    def key(self) -> str | None:
        """The secret key, when the backup has it."""
        if not self.manifest.has_key:
            return None
        return self._archive.read(KEY_MEMBER).decode("ascii").strip()

    def verify(self) -> None:
        """Read everything once. Raises ``BackupFailed`` when a byte is not as it was written."""
        for name, entry in self.manifest.tables.items():
            digest, count, width = hashlib.sha256(), 0, len(entry.columns)
            for line in self._lines(name):
                digest.update(line)
                _decoded(line, width)
                count += 1
            if count != entry.rows or digest.hexdigest() != entry.sha256:
                raise ValueError(name)
        self.key()

    def _lines(self, table: str) -> Iterator[bytes]:
        with self._archive.open(_member(table)) as member:
            while line := member.readline(MAX_LINE):
                if not line.endswith(b"\n"):
                    raise ValueError(table)
                yield line


@contextmanager
def reading(file: Path) -> Generator[ArchiveReader]:
    """Open a backup and verify all of it. Raises ``BackupFailed`` with a sentence."""
    try:
        archive = zipfile.ZipFile(file)
    except OSError as error:
        raise BackupFailed(f"{file} cannot be read: {error.strerror or error}.") from error
    except _DAMAGE as error:
        raise BackupFailed(
            f"{file} is not a backup made by `it0 backup`, or it was cut short or damaged. "
            "Nothing was changed."
        ) from error
    with archive:
        try:
            reader = ArchiveReader(archive, _manifest(file, archive))
            reader.verify()
        except (*_DAMAGE, OSError) as error:
            raise BackupFailed(
                f"{file} is damaged: use another backup. Nothing was changed."
            ) from error
        yield reader


def _manifest(file: Path, archive: zipfile.ZipFile) -> Manifest:
    """The manifest, checked against the list of members."""
    names = archive.namelist()
    if MANIFEST not in names or archive.getinfo(MANIFEST).file_size > MAX_MANIFEST:
        raise BackupFailed(f"{file} is not a backup made by `it0 backup`. Nothing was changed.")
    data = json.loads(archive.read(MANIFEST))
    if not isinstance(data, dict) or data.get("format") != FORMAT:
        raise BackupFailed(f"{file} is not a backup made by `it0 backup`. Nothing was changed.")
    if data["version"] != VERSION:
        raise BackupFailed(
            f"{file} has the backup format {data['version']}, which this version of IT0 does "
            "not know. Restore it with a newer one. Nothing was changed."
        )
    tables = {
        str(name): TableEntry(
            columns=tuple(str(column) for column in entry["columns"]),
            rows=int(entry["rows"]),
            sha256=str(entry["sha256"]),
        )
        for name, entry in data["tables"].items()
    }
    expected = {MANIFEST, *(_member(name) for name in tables)}
    if data["has_key"]:
        expected.add(KEY_MEMBER)
    if sorted(names) != sorted(expected):
        raise ValueError(MANIFEST)
    return Manifest(
        schema=str(data["schema"]),
        created_at=str(data["created_at"]),
        tables=tables,
        has_key=bool(data["has_key"]),
    )


def _member(table: str) -> str:
    return f"tables/{table}.jsonl"


def _encoded(value: object) -> str | int | dict[str, str] | None:
    if isinstance(value, bytes | memoryview):
        return {"b64": base64.b64encode(value).decode()}
    if value is None or isinstance(value, str | int):
        return value
    message = f"no column holds {type(value).__name__}"
    raise TypeError(message)


def _decoded(line: bytes, width: int) -> Row:
    values = json.loads(line)
    if not isinstance(values, list) or len(values) != width:
        message = "a row of another width"
        raise ValueError(message)
    return tuple(_value(value) for value in values)


def _value(value: object) -> Value:
    if isinstance(value, dict):
        return base64.b64decode(str(value["b64"]), validate=True)
    if value is None or (isinstance(value, str | int) and not isinstance(value, bool)):
        return value
    message = "a value of another type"
    raise ValueError(message)

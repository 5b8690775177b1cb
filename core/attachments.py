"""Checks the files of a message before anything is stored or sent to a model.

What a file is, its content says, never its name or the type that somebody claims. Images
are decoded whole, so a truncated one is found here and not by the model provider.

``check_attachments`` is plain CPU work on values, at most some 250 MB and seconds for the
largest image, and a decoder cannot be interrupted: servers await ``check_in_background``.
"""

from __future__ import annotations

import re
import unicodedata
from typing import TYPE_CHECKING

from core.errors import BadAttachment
from core.image_clean import clean_image
from core.messages import MAX_ATTACHMENT_BYTES, MAX_ATTACHMENTS, Attachment, clean_text
from core.threads import DaemonThreads
from core.words import Sentence, sentence

if TYPE_CHECKING:
    from collections.abc import Sequence

MAX_NAME_CHARS = 100

_ACCEPTED = sentence("IT0 takes png, jpeg, gif and webp images, PDF and text")

_IMAGES = {
    b"\x89PNG\r\n\x1a\n": "image/png",
    b"\xff\xd8\xff": "image/jpeg",
    b"GIF87a": "image/gif",
    b"GIF89a": "image/gif",
}
_SUFFIXES = {
    "image/png": (".png",),
    "image/jpeg": (".jpg", ".jpeg", ".jpe", ".jfif"),
    "image/gif": (".gif",),
    "image/webp": (".webp",),
    "application/pdf": (".pdf",),
}
_FOREIGN = (
    (b"MZ", sentence("a Windows program")),
    (b"\x7fELF", sentence("a Linux program")),
    (b"\xcf\xfa\xed\xfe", sentence("a macOS program")),
    (b"PK\x03\x04", sentence("a zip archive or an Office document; save a document as PDF")),
    (b"\x1f\x8b", sentence("a gzip archive; unpack it first")),
    (b"BZh", sentence("a bzip2 archive; unpack it first")),
    (b"\xfd7zXZ", sentence("an xz archive; unpack it first")),
    (b"(\xb5/\xfd", sentence("a zstd archive; unpack it first")),
    (b"7z\xbc\xaf", sentence("a 7z archive; unpack it first")),
    (b"Rar!", sentence("a rar archive; unpack it first")),
    (b"\xd0\xcf\x11\xe0", sentence("an old Office document; save it as PDF")),
    (b"II*\x00", sentence("a TIFF image; save it as png or jpeg")),
    (b"MM\x00*", sentence("a TIFF image; save it as png or jpeg")),
    (b"SQLite format 3", sentence("a database")),
    (b"OggS", sentence("a sound file")),
    (b"ID3", sentence("a sound file")),
    (b"fLaC", sentence("a sound file")),
    (b"\x1aE\xdf\xa3", sentence("a video")),
)
_PDF_HEADER = re.compile(rb"\s*(?:\xef\xbb\xbf)?%PDF-\d\.\d")
_PDF_ENCRYPTED = re.compile(rb"/Encrypt\s*(?:<<|\d+\s+\d+\s+R)")
_PDF_TAIL = 2048
"""Bytes at the end of a PDF in which its end marker must be."""
_ESCAPES = re.compile(r"\x1b(?:\[[0-?]*[ -/]*[@-~]|\][^\x07\x1b]*(?:\x07|\x1b\\)|[@-Z\\^_a-z])")
_TEXT_CONTROLS = frozenset("\t\n\r\f\v\b\x07\x1b\x1a\ufeff")


_CHECKS = DaemonThreads(name="it0-attachments", limit=2)
"""Decoders take processors and memory: a few at once, whatever comes in."""


async def check_in_background(items: Sequence[Attachment]) -> tuple[Attachment, ...]:
    """``check_attachments`` in a thread that holds up neither the loop nor the process's end."""
    return await _CHECKS.run(check_attachments, items)


def check_attachments(items: Sequence[Attachment]) -> tuple[Attachment, ...]:
    """Return the files with their real type, a safe name and cleaned content.

    Text is UTF-8, an image is upright, not larger than is sent, and only picture.

    Raises BadAttachment with one sentence that names the file.
    """
    if len(items) > MAX_ATTACHMENTS:
        name = _clean_name(items[MAX_ATTACHMENTS].name, MAX_ATTACHMENTS)
        raise BadAttachment(
            sentence(
                "{name} is one file too many: a message takes at most {most} files.",
                name=name,
                most=MAX_ATTACHMENTS,
            )
        )
    total = 0
    for index, item in enumerate(items):
        total += len(item.data)
        if total > MAX_ATTACHMENT_BYTES:
            raise BadAttachment(_too_large(_clean_name(item.name, index), len(item.data), total))
    return tuple(_check(item, index) for index, item in enumerate(items))


def _too_large(name: str, size: int, total: int) -> Sentence:
    limit = MAX_ATTACHMENT_BYTES // 1024 // 1024
    if size == total:
        return sentence(
            "{name} is too large ({size:.1f} MB): at most {most} MB are taken.",
            name=name,
            size=size / 1024 / 1024,
            most=limit,
        )
    return sentence(
        "{name} is too much: with it the files of this message have {total:.1f} MB, and at most "
        "{most} MB are taken.",
        name=name,
        total=total / 1024 / 1024,
        most=limit,
    )


def _check(item: Attachment, index: int) -> Attachment:
    name = _clean_name(item.name, index)
    data = item.data
    if not data:
        raise BadAttachment(sentence("{name} is empty.", name=name))
    media_type = _image_type(data)
    if media_type:
        image = clean_image(name, media_type, data)
        media_type, data = image.media_type, image.data
    elif _PDF_HEADER.match(data):
        media_type = "application/pdf"
        _check_pdf(name, data)
    else:
        _refuse_foreign(name, data)
        media_type, data = "text/plain", _text(name, data).encode()
    return Attachment(name=_with_suffix(name, media_type), media_type=media_type, data=data)


def _image_type(data: bytes) -> str | None:
    if data[:4] == b"RIFF" and data[8:12] == b"WEBP":
        return "image/webp"
    return next((kind for magic, kind in _IMAGES.items() if data.startswith(magic)), None)


def _check_pdf(name: str, data: bytes) -> None:
    tail = data[-_PDF_TAIL:]
    if b"%%EOF" not in tail or b"startxref" not in data:
        raise BadAttachment(sentence("{name} is an incomplete PDF; send it again.", name=name))
    if _PDF_ENCRYPTED.search(data):
        raise BadAttachment(
            sentence("{name} is a protected PDF; save it without a password.", name=name)
        )


def _refuse_foreign(name: str, data: bytes) -> None:
    if data[4:8] == b"ftyp":
        brand = data[8:12]
        what = (
            sentence("a HEIC or AVIF image; save it as jpeg")
            if brand in (b"heic", b"heix", b"mif1", b"avif", b"hevc")
            else sentence("a video or sound file")
        )
        raise BadAttachment(_foreign(name, what))
    for magic, what in _FOREIGN:
        if data.startswith(magic) and not (magic in (b"MZ", b"BZh", b"ID3") and _is_utf8(data)):
            raise BadAttachment(_foreign(name, what))


def _foreign(name: str, what: Sentence) -> Sentence:
    return sentence("{name} is {what}. {accepted}.", name=name, what=what, accepted=_ACCEPTED)


def _is_utf8(data: bytes) -> bool:
    try:
        return "\0" not in data.decode()
    except UnicodeDecodeError:
        return False


def _text(name: str, data: bytes) -> str:
    text = _decoded(data)
    if text is None or "\0" in text or _is_binary(text):
        raise BadAttachment(
            sentence(
                "{name} is not a type of file that can be read. {accepted}.",
                name=name,
                accepted=_ACCEPTED,
            )
        )
    text = clean_text(_ESCAPES.sub("", text)).removeprefix("\ufeff")
    if not text.strip():
        raise BadAttachment(sentence("{name} holds nothing but blank space.", name=name))
    return text


def _decoded(data: bytes) -> str | None:
    if data.startswith((b"\xff\xfe", b"\xfe\xff")):
        return _decode_as(data, "utf-16")
    text = _decode_as(data, "utf-8-sig")
    if text is not None and "\0" not in text:
        return text
    if b"\0" in data:
        return _utf16_without_mark(data)
    return _decode_as(data, "cp1252") or data.decode("latin-1")


def _utf16_without_mark(data: bytes) -> str | None:
    """Western text in UTF-16 has a zero as every second byte."""
    for encoding, zeros in (("utf-16-le", data[1::2]), ("utf-16-be", data[0::2])):
        if zeros.count(0) * 2 > len(zeros):
            return _decode_as(data, encoding)
    return None


def _decode_as(data: bytes, encoding: str) -> str | None:
    try:
        return data.decode(encoding)
    except UnicodeDecodeError:
        return None


def _is_binary(text: str) -> bool:
    """Whether there are control characters that no text or log file holds."""
    return any(char < " " and char not in _TEXT_CONTROLS for char in text)


def _clean_name(name: str, index: int) -> str:
    """The last part of the path, printable, on one line, bounded; its suffix is kept."""
    last = re.split(r"[/\\]", unicodedata.normalize("NFC", clean_text(name)))[-1]
    kept = "".join(char for char in last if unicodedata.category(char)[0] != "C" or char in "\t\n")
    kept = " ".join(kept.split()).lstrip(". ").strip()
    if len(kept) > MAX_NAME_CHARS:
        stem, dot, suffix = kept.rpartition(".")
        kept = (
            f"{stem[: MAX_NAME_CHARS - len(suffix) - 2]}…{dot}{suffix}"
            if stem and len(suffix) <= 10  # noqa: PLR2004  # longer is no suffix
            else f"{kept[: MAX_NAME_CHARS - 1]}…"
        )
    return kept or f"file-{index + 1}"


def _with_suffix(name: str, media_type: str) -> str:
    """An image or PDF under a name that says something else gets its own suffix too."""
    suffixes = _SUFFIXES.get(media_type, ())
    if not suffixes or name.lower().endswith(suffixes):
        return name
    return name + suffixes[0]

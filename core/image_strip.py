"""An image's file without anything that is not picture: no place, no camera, no comments.

The pieces that make up the picture are copied as they are, so that its pixels stay exact;
everything else is dropped, known or not. Of an animation the first frame is kept. Plain
work on bytes: a decoder sees the result only. What is removed twice is removed once: to
strip a stripped file changes nothing.
"""

from __future__ import annotations

import re
import zlib
from dataclasses import dataclass

from core.image_exif import UPRIGHT, orientation

MAX_PROFILE_BYTES = 1_000_000
"""A longer colour profile is dropped unread."""
MAX_GIF_BLOCKS = 200_000
"""10 MB in the usual blocks of 255 bytes are some 41,000."""


class Malformed(Exception):
    """The file is cut off, or is not made as its format says."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Stripped:
    """The picture alone, and what its metadata said about how it is to be shown."""

    data: bytes
    orientation: int = UPRIGHT
    """1 to 8, as EXIF counts."""
    profile: bytes = b""
    """The ICC colour profile; empty where there is none."""


def strip(media_type: str, data: bytes) -> Stripped:
    """Take the picture out of its file. Raises ``Malformed``."""
    match media_type:
        case "image/jpeg":
            return _jpeg(data)
        case "image/png":
            return _png(data)
        case "image/webp":
            return _webp(data)
        case _:
            return Stripped(data=_gif(data))


# JPEG: ITU T.81, annex B. Markers are found as libjpeg finds them.
_MARKER = re.compile(rb"\xff([^\x00\xff])")
_SCAN_END = re.compile(rb"\xff[^\x00\xff\xd0-\xd7]")
_SOI, _EOI, _SOS = 0xD8, 0xD9, 0xDA
_APP0, _APP1, _APP2, _APP14 = 0xE0, 0xE1, 0xE2, 0xEE
_BARE = frozenset(range(0xD0, 0xD8)) | frozenset(range(0xC0))
_PICTURE = frozenset(range(0xC0, 0xD0)) | {_SOS, 0xDB, 0xDC, 0xDD}
"""Frames, tables, scans, the number of lines and the interval of restarts."""
_JFIF = b"\xff\xe0\0\x10JFIF\0\1\1\0\0\1\0\1\0\0"
"""Says how colours are coded; without resolution and preview."""
_ADOBE = b"\xff\xee\0\x0eAdobe\0\x64\0\0\0\0"
"""The same, and is followed by a byte that says which coding."""
_ADOBE_BODY = 12
_ICC = b"ICC_PROFILE\0"


def _jpeg(data: bytes) -> Stripped:
    kept, exif, profile, at = [b"\xff\xd8"], b"", dict[int, bytes](), 2
    while found := _MARKER.search(data, at):
        at, marker = found.end(), found[1][0]
        if marker == _EOI:
            whole = b"".join(profile[number] for number in sorted(profile))
            return Stripped(
                data=b"".join((*kept, b"\xff\xd9")),
                orientation=orientation(exif),
                profile=whole if len(whole) <= MAX_PROFILE_BYTES else b"",
            )
        if marker in _BARE:
            continue
        end = at + int.from_bytes(data[at : at + 2], "big")
        body = data[at + 2 : end]
        if marker == _SOI or end < at + 2 or end > len(data):
            raise Malformed
        if marker == _APP1 and body.startswith(b"Exif\0\0"):
            exif = exif or body
        elif marker == _APP2 and body.startswith(_ICC):
            profile[int.from_bytes(body[12:13], "big")] = body[14:]
        if marker == _SOS:
            stop = _SCAN_END.search(data, end)
            end = stop.start() if stop else len(data)
        kept.append(_kept_segment(marker, data[at:end]))
        at = end
    raise Malformed


def _kept_segment(marker: int, segment: bytes) -> bytes:
    if marker in _PICTURE:
        return bytes((0xFF, marker)) + segment
    if marker == _APP0 and segment[2:].startswith(b"JFIF\0"):
        return _JFIF
    if marker == _APP14 and segment[2:].startswith(b"Adobe") and len(segment) > _ADOBE_BODY + 1:
        return _ADOBE + segment[13:14]
    return b""


# PNG: its specification, third edition, section 5. Only IDAT is read of an animated one.
_PNG_SIGNATURE = b"\x89PNG\r\n\x1a\n"
_PNG_PICTURE = frozenset({b"IHDR", b"PLTE", b"tRNS", b"IDAT", b"IEND"})


def _png(data: bytes) -> Stripped:
    kept, exif, profile, at = [_PNG_SIGNATURE], b"", b"", len(_PNG_SIGNATURE)
    while at < len(data):
        kind, start = data[at + 4 : at + 8], at + 8
        stop = start + int.from_bytes(data[at : at + 4], "big")
        if stop + 4 > len(data):
            raise Malformed
        if kind in _PNG_PICTURE:
            kept.append(data[at : stop + 4])
        if kind == b"IEND":
            return Stripped(
                data=b"".join(kept), orientation=orientation(exif), profile=_inflated(profile)
            )
        if kind == b"eXIf":
            exif = data[start:stop]
        elif kind == b"iCCP":
            profile = data[start:stop]
        at = stop + 4
    raise Malformed


def _inflated(body: bytes) -> bytes:
    """The profile out of an iCCP chunk: a name, a zero, the method, and deflated bytes."""
    packed = body.partition(b"\0")[2][1:]
    inflate = zlib.decompressobj()
    try:
        profile = inflate.decompress(packed, MAX_PROFILE_BYTES)
    except zlib.error:
        return b""
    return profile if inflate.eof else b""


# WebP: RFC 9649. A still picture is VP8 or VP8L, and ALPH beside VP8.
_ANIMATION_HEADER = 16
_ALPHA_FLAG = 0x10


def _webp(data: bytes) -> Stripped:
    end = 8 + int.from_bytes(data[4:8], "little")
    if end > len(data):
        raise Malformed
    chunks = _chunks(data, 12, end)
    exif, profile = chunks.get(b"EXIF", b""), chunks.get(b"ICCP", b"")
    if b"ANMF" in chunks:
        frame = chunks[b"ANMF"]
        chunks = _chunks(frame, _ANIMATION_HEADER, len(frame))
    return Stripped(
        data=_still(chunks),
        orientation=orientation(exif),
        profile=profile if len(profile) <= MAX_PROFILE_BYTES else b"",
    )


def _chunks(data: bytes, at: int, end: int) -> dict[bytes, bytes]:
    """The first chunk of each kind."""
    found: dict[bytes, bytes] = {}
    while at + 8 <= end:
        stop = at + 8 + int.from_bytes(data[at + 4 : at + 8], "little")
        if stop > end:
            raise Malformed
        found.setdefault(data[at : at + 4], data[at + 8 : stop])
        at = stop + stop % 2
    return found


def _still(chunks: dict[bytes, bytes]) -> bytes:
    if b"VP8L" in chunks:
        body = _riff(b"VP8L", chunks[b"VP8L"])
    elif b"VP8 " in chunks:
        body = _riff(b"VP8 ", chunks[b"VP8 "])
        if b"ALPH" in chunks:
            body = _canvas(chunks[b"VP8 "]) + _riff(b"ALPH", chunks[b"ALPH"]) + body
    else:
        raise Malformed
    return _riff(b"RIFF", b"WEBP" + body)


def _canvas(picture: bytes) -> bytes:
    """The header of a picture with transparency; sides as its first frame says (RFC 6386, 9.1)."""
    sides = [int.from_bytes(picture[at : at + 2], "little") & 0x3FFF for at in (6, 8)]
    if not all(sides):
        raise Malformed
    body = b"".join((side - 1).to_bytes(3, "little") for side in sides)
    return _riff(b"VP8X", bytes((_ALPHA_FLAG, 0, 0, 0)) + body)


def _riff(kind: bytes, body: bytes) -> bytes:
    return kind + len(body).to_bytes(4, "little") + body + b"\0" * (len(body) % 2)


# GIF: GIF89a specification, section 17 on.
_EXTENSION, _IMAGE = 0x21, 0x2C
_CONTROL = 0xF9
_GIF_HEADER, _DESCRIPTOR = 13, 10


def _gif(data: bytes) -> bytes:
    at = _GIF_HEADER + _colours(data, 10)
    head, control = data[:at], b""
    while at < len(data):
        if data[at] == _IMAGE:
            start, at = at, at + _DESCRIPTOR + _colours(data, at + 9)
            return b"".join((head, control, data[start : _blocks_end(data, at + 1)], b";"))
        if data[at] == _EXTENSION:
            start, at = at, _blocks_end(data, at + 2)
            if data[start + 1 : start + 3] == bytes((_CONTROL, 4)):
                control = b"!\xf9\x04%c\0\0%c\0" % (data[start + 3] & 1, data[start + 6])
        elif data[at] == 0:
            at += 1
        else:
            break
    raise Malformed


def _colours(data: bytes, at: int) -> int:
    """Bytes of the table of colours that the flags at this place announce."""
    if at >= len(data):
        raise Malformed
    return 3 * 2 ** ((data[at] & 7) + 1) if data[at] & 0x80 else 0


def _blocks_end(data: bytes, at: int) -> int:
    for _ in range(MAX_GIF_BLOCKS):
        if at >= len(data):
            break
        if not data[at]:
            return at + 1
        at += 1 + data[at]
    raise Malformed

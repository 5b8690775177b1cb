"""How much work an image makes, read from its markers before any decoder sees it.

A JPEG may hold thousands of scans, each of which goes over all its pixels, and both JPEG and
PNG a million pieces of a few bytes: a small file that costs minutes. The markers of a JPEG are
found as libjpeg finds them, so that none hides.
"""

from __future__ import annotations

import re

MAX_SCANS = 100
"""A progressive JPEG has about ten."""
MAX_SCANNED_PIXELS = 1_000_000_000
"""Scans times pixels: seconds of decoding at most."""
MAX_SEGMENTS = 1_000
"""Of a JPEG; profiles and previews of a 10 MB file need some 200."""
MAX_CHUNKS = 20_000
"""Of a PNG; 10 MB in the usual pieces of 8 KB are some 1,300."""

_MARKER = re.compile(rb"\xff([^\x00\xff])")
"""The last of the fill bytes and what it marks; with ``\xff+`` a run of them took forever."""
_START_OF_SCAN, _END_OF_IMAGE = 0xDA, 0xD9
_FIRST_WITH_BODY = 0xC0
_BARE = frozenset(range(0xD0, 0xD9))
"""Restarts and the start of an image: markers without a body."""
_FRAMES = frozenset(range(0xC0, 0xD0)) - {0xC4, 0xC8, 0xCC}
"""Starts of a frame, which tell its height and width."""
_PNG_SIGNATURE = b"\x89PNG\r\n\x1a\n"
_CHUNK_OVERHEAD = 12
"""Bytes of a chunk's length, type and checksum."""


def is_laborious(data: bytes) -> bool:
    """Whether a JPEG or PNG is made of more scans or pieces than any honest one."""
    if data.startswith(b"\xff\xd8"):
        return _is_laborious_jpeg(data)
    return data.startswith(_PNG_SIGNATURE) and _is_laborious_png(data)


def _is_laborious_jpeg(data: bytes) -> bool:
    scans = segments = 0
    pixels, at = 1, 2
    while found := _MARKER.search(data, at):
        at, marker = found.end(), found[1][0]
        if marker == _END_OF_IMAGE:
            break
        if marker in _BARE or marker < _FIRST_WITH_BODY:
            continue
        if marker in _FRAMES:
            height, width = (int.from_bytes(data[at + n : at + n + 2], "big") for n in (3, 5))
            pixels = max(pixels, height * width)
        scans += marker == _START_OF_SCAN
        segments += 1
        if segments > MAX_SEGMENTS or scans > MAX_SCANS or scans * pixels > MAX_SCANNED_PIXELS:
            return True
        at += int.from_bytes(data[at : at + 2], "big")
    return False


def _is_laborious_png(data: bytes) -> bool:
    at = len(_PNG_SIGNATURE)
    for _ in range(MAX_CHUNKS):
        if at >= len(data):
            return False
        at += int.from_bytes(data[at : at + 4], "big") + _CHUNK_OVERHEAD
    return True

"""How much work an image makes, read from its markers before any decoder sees it.

A JPEG may hold thousands of scans, each of which goes over all its pixels: a small file
that costs minutes. The markers are found as libjpeg finds them, so that none hides.
"""

from __future__ import annotations

import re

MAX_SCANS = 100
"""A progressive JPEG has about ten."""
MAX_SCANNED_PIXELS = 1_000_000_000
"""Scans times pixels: seconds of decoding at most."""
MAX_SEGMENTS = 1_000
"""Markers with a body; profiles and previews of a 10 MB file need some 200."""

_MARKER = re.compile(rb"\xff+([^\x00\xff])")
_START_OF_SCAN, _END_OF_IMAGE = 0xDA, 0xD9
_FIRST_WITH_BODY = 0xC0
_BARE = frozenset(range(0xD0, 0xD9))
"""Restarts and the start of an image: markers without a body."""


def too_many_scans(data: bytes, pixels: int) -> bool:
    """Whether a JPEG of so many pixels has more scans, or more segments, than is honest."""
    scans = segments = 0
    at = 2
    while found := _MARKER.search(data, at):
        at, marker = found.end(), found[1][0]
        if marker == _END_OF_IMAGE:
            break
        if marker in _BARE or marker < _FIRST_WITH_BODY:
            continue
        scans += marker == _START_OF_SCAN
        segments += 1
        if segments > MAX_SEGMENTS or scans > MAX_SCANS or scans * pixels > MAX_SCANNED_PIXELS:
            return True
        at += int.from_bytes(data[at : at + 2], "big")
    return False

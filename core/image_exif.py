"""Which way up a picture is: the one thing of its EXIF data that is read before all of it goes.

Read here and not by a decoder's parser, so that no library sees the metadata of a stranger.
"""

from __future__ import annotations

from typing import Literal

UPRIGHT = 1
_MIRRORED_LAST = 8
_ORIENTATION = 0x0112
"""The tag in the first directory (Exif 2.32, 4.6.4)."""
_ENTRY_BYTES = 12
_MAX_ENTRIES = 1_000
_ORDERS: dict[bytes, Literal["little", "big"]] = {b"II*\x00": "little", b"MM\x00*": "big"}


def orientation(exif: bytes) -> int:
    """1 to 8 as EXIF counts; 1, upright, for data that says nothing or cannot be read."""
    tiff = exif.removeprefix(b"Exif\0\0")
    order = _ORDERS.get(tiff[:4])
    if order is None:
        return UPRIGHT

    def number(at: int, size: int) -> int:
        return int.from_bytes(tiff[at : at + size], order)

    first = number(4, 4)
    entries = min(number(first, 2), _MAX_ENTRIES)
    for entry in range(first + 2, first + 2 + entries * _ENTRY_BYTES, _ENTRY_BYTES):
        if number(entry, 2) == _ORIENTATION:
            value = number(entry + 8, 2)
            return value if UPRIGHT <= value <= _MIRRORED_LAST else UPRIGHT
    return UPRIGHT

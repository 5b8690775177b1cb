"""Reads the text of the PDFs that fpdf2 writes: one font, text as glyph numbers (ISO 32000-1)."""

from __future__ import annotations

import re
import zlib

_STREAM = re.compile(rb"stream\n(.*?)\nendstream", re.DOTALL)
_SHOWN = re.compile(rb"\(((?:\\.|[^\\()])*)\) Tj", re.DOTALL)
_MAPPED = re.compile(rb"<([0-9A-F]{4})> <([0-9A-F]+)>")
_ESCAPES = {b"n": b"\n", b"r": b"\r", b"t": b"\t", b"b": b"\b", b"f": b"\f"}


def pages_of(pdf: bytes) -> list[str]:
    """The text of each page, one line for each piece that is shown."""
    streams = [_inflated(found[1]) for found in _STREAM.finditer(pdf)]
    cmap = next(stream for stream in streams if b"beginbfchar" in stream)
    characters = {
        int(glyph, 16): bytes.fromhex(text.decode()).decode("utf-16-be")
        for glyph, text in _MAPPED.findall(cmap)
    }
    pages = [_SHOWN.findall(stream) for stream in streams if b" Tj" in stream]
    return ["\n".join(_text(piece, characters) for piece in page) for page in pages]


def _inflated(data: bytes) -> bytes:
    try:
        return zlib.decompress(data)
    except zlib.error:
        return data


def _text(piece: bytes, characters: dict[int, str]) -> str:
    raw = re.sub(
        rb"\\(.)", lambda escaped: _ESCAPES.get(escaped[1], escaped[1]), piece, flags=re.DOTALL
    )
    glyphs = [int.from_bytes(raw[i : i + 2]) for i in range(0, len(raw), 2)]
    return "".join(characters[glyph] for glyph in glyphs)

"""Attached files as content blocks: images, PDF documents, and everything that is text."""

from __future__ import annotations

import base64
import hashlib
from collections import OrderedDict
from dataclasses import dataclass
from typing import Any

from core.engines.engine import EngineRequest
from core.messages import Attachment, clean_text
from core.redact import redact_now, redact_text
from core.untrusted import ABOUT, as_data, named

_IMAGES = frozenset({"image/png", "image/jpeg", "image/gif", "image/webp"})
_PDF = "application/pdf"
TOKENS_PER_IMAGE = 5_400
"""Of the largest that is sent, 2,000 pixels on each side: width x height / 750."""
TOKENS_PER_PAGE = 2_400
"""Of a PDF, as text and as picture; it has one at least."""
PDF_BYTES_PER_TOKEN = 25
"""A page of 60 KB is about 2,400 tokens, as text and as picture."""
_MAX_TEXT_CHARS = 300_000
"""About 100,000 tokens of one file; of a longer one the beginning and the end are sent."""
_MOST_KNOWN = 32
_known: OrderedDict[bytes, str] = OrderedDict()
"""Texts without their secrets, by the digest of their file: each turn sends them again."""


@dataclass(frozen=True, slots=True, kw_only=True)
class FileBlock:
    """A file as the API takes it, and what it will weigh."""

    block: dict[str, Any]
    media_tokens: int = 0
    media_bytes: int = 0
    """Encoded, as they are sent."""


def blocks_of_file(attachment: Attachment) -> FileBlock:
    """Translate one file. A kind that cannot be read becomes a line that says so."""
    media_type = attachment.media_type.partition(";")[0].strip().lower()
    if attachment.data and media_type in _IMAGES:
        return _media(_encoded("image", media_type, attachment.data), TOKENS_PER_IMAGE)
    if attachment.data and media_type == _PDF:
        block = _encoded("document", media_type, attachment.data)
        block["context"] = ABOUT
        if title := named(attachment.name):
            block["title"] = title
        tokens = max(TOKENS_PER_PAGE, len(attachment.data) // PDF_BYTES_PER_TOKEN)
        return _media(block, tokens)
    text = _inlined(attachment)
    return FileBlock(block={"type": "text", "text": text})


def _media(block: dict[str, Any], tokens: int) -> FileBlock:
    return FileBlock(block=block, media_tokens=tokens, media_bytes=len(block["source"]["data"]))


def _encoded(kind: str, media_type: str, data: bytes) -> dict[str, Any]:
    encoded = base64.b64encode(data).decode("ascii")
    source = {"type": "base64", "media_type": media_type, "data": encoded}
    return {"type": kind, "source": source}


def _inlined(attachment: Attachment) -> str:
    name = named(attachment.name) or "unnamed"
    if not attachment.data:
        return f'[The attached file "{name}" is empty.]'
    if b"\0" in attachment.data[:8192] and not attachment.media_type.startswith("text/"):
        return f'[The attached file "{name}" ({named(attachment.media_type)}) cannot be read here.]'
    return as_data(f"file {name}", _known.get(_digest(attachment)) or redact_now(_text(attachment)))


async def read_ahead(request: EngineRequest) -> None:
    """Take the secrets out of attached texts aside, before they are put into a request.

    A long text takes a while; without this it is done where it stands.
    """
    files = [*request.attachments, *(f for past in request.history for f in past.attachments)]
    for file in files:
        digest = _digest(file)
        if digest in _known or not _is_text(file):
            continue
        _known[digest] = await redact_text(_text(file))
        while len(_known) > _MOST_KNOWN:
            _known.popitem(last=False)


def _is_text(attachment: Attachment) -> bool:
    media_type = attachment.media_type.partition(";")[0].strip().lower()
    return bool(attachment.data) and media_type not in _IMAGES and media_type != _PDF


def _digest(attachment: Attachment) -> bytes:
    return hashlib.sha256(attachment.data).digest()


def _text(attachment: Attachment) -> str:
    text = clean_text(attachment.data.decode("utf-8-sig", "replace"))
    if len(text) > _MAX_TEXT_CHARS:
        half = _MAX_TEXT_CHARS // 2
        cut = len(text) - 2 * half
        text = f"{text[:half]}\n[{cut} characters of this file were left out]\n{text[-half:]}"
    return text

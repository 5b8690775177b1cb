"""Takes secrets out of text before anybody, person or model, sees it.

A net below the other nets: protected files are never read, but applications write
passwords into logs and configuration files. It knows the usual shapes, not all of them.
"""

from __future__ import annotations

import re

HIDDEN = "[hidden]"

_KEY_BLOCK = re.compile(
    r"-----BEGIN [A-Z0-9 ]{0,40}PRIVATE KEY-----.*?(?:-----END [A-Z0-9 ]{0,40}PRIVATE KEY-----|\Z)",
    re.DOTALL,
)
_NAMED = re.compile(
    r"""(?ix)
    (?P<name>[\w.-]{0,40}
      (?:passw(?:or)?d|passwd|secret|token|api[_-]?key|access[_-]?key|private[_-]?key|credential)
      [\w-]{0,20}["']?
      \s{0,3}(?:=|:|=>)\s{0,3})
    (?P<value>"[^"\n]{1,500}"|'[^'\n]{1,500}'|[^\s,;&"'<>]{3,500})
    """
)
_HEADER = re.compile(r"(?i)\b((?:bearer|basic)\s+)[A-Za-z0-9+/=._~-]{8,}")
_URL = re.compile(r"(?i)\b([a-z][a-z0-9+.-]{1,20}://[^\s:/@]{0,100}:)[^\s/@]{1,200}(@)")
_SHAPES = re.compile(
    r"\b(?:AKIA|ASIA)[A-Z0-9]{16}\b"
    r"|\bgh[pousr]_[A-Za-z0-9]{30,}\b"
    r"|\bsk-[A-Za-z0-9_-]{20,}"
    r"|\bsk_(?:live|test)_[A-Za-z0-9]{16,}"
    r"|\bxox[abprs]-[A-Za-z0-9-]{10,}"
    r"|\beyJ[A-Za-z0-9_-]{10,}\.[A-Za-z0-9_-]{10,}\.[A-Za-z0-9_-]{5,}"
)


def redact(text: str) -> str:
    """Return the text with what looks like a secret replaced by ``[hidden]``."""
    text = _KEY_BLOCK.sub(HIDDEN, text)
    text = _HEADER.sub(rf"\1{HIDDEN}", text)
    text = _URL.sub(rf"\1{HIDDEN}\2", text)
    text = _SHAPES.sub(HIDDEN, text)
    return _NAMED.sub(lambda match: f"{match['name']}{HIDDEN}", text)

"""Secrets at rest: AES-256-GCM, bound to what they belong to."""

from __future__ import annotations

import base64
import os

from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives.ciphers.aead import AESGCM

from core.errors import It0Error
from core.words import sentence

VERSION = "1"
"""Of the key: a sealed text begins with it, so that keys can be changed one day."""
_NONCE_BYTES = 12
"""As NIST SP 800-38D wants for random nonces."""


class CannotUnseal(It0Error):
    """A stored secret was changed, moved, or sealed with another key."""

    code = "cannot_unseal"


def seal(key: bytes, secret: str, owner: str) -> str:
    """Encrypt a secret of ``owner`` (the associated data: it opens nowhere else)."""
    nonce = os.urandom(_NONCE_BYTES)
    sealed = AESGCM(key).encrypt(nonce, secret.encode(), owner.encode())
    return f"{VERSION}:{base64.b64encode(nonce + sealed).decode()}"


def unseal(key: bytes, sealed: str, owner: str) -> str:
    """The secret again. Raises ``CannotUnseal``."""
    version, _, body = sealed.partition(":")
    try:
        data = base64.b64decode(body, validate=True)
        if version == VERSION:
            nonce, text = data[:_NONCE_BYTES], data[_NONCE_BYTES:]
            return AESGCM(key).decrypt(nonce, text, owner.encode()).decode()
    except (InvalidTag, ValueError):
        pass
    raise CannotUnseal(
        sentence("A stored secret cannot be read: it was changed, or the key is another.")
    )

"""The installation's secret: one key, from which each purpose derives its own.

HKDF-SHA-256 (RFC 5869) keeps the purposes apart: whoever learns the key that signs tokens
learns nothing about the one that chains the audit log.
"""

from __future__ import annotations

import hashlib
import hmac
import os
import secrets
from pathlib import Path

from cryptography.hazmat.primitives.hashes import SHA256
from cryptography.hazmat.primitives.kdf.hkdf import HKDF

from core.errors import It0Error

KEY_FILE = "secret.key"
_MIN_CHARS = 32
"""As ``IT0_SECRET_KEY`` must have; what we make has 64."""


class WrongKey(It0Error):
    """The secret is not the one that this installation was made with."""

    code = "wrong_secret_key"


class Keys:
    """Derives the keys of the installation's purposes."""

    def __init__(self, secret: str) -> None:
        """``secret`` is ``IT0_SECRET_KEY``, or what the data directory keeps."""
        self._secret = secret.encode()

    def derive(self, purpose: str) -> bytes:
        """32 bytes for one purpose, such as ``tokens`` or ``audit``."""
        hkdf = HKDF(algorithm=SHA256(), length=32, salt=b"it0", info=purpose.encode())
        return hkdf.derive(self._secret)

    def fingerprint(self) -> str:
        """What the database remembers of the key, to refuse a wrong one; reveals nothing."""
        return hmac.new(self.derive("fingerprint"), b"it0", hashlib.sha256).hexdigest()


class BadKeyFile(It0Error):
    """The file that keeps the secret cannot be used. Another secret is never made instead."""

    code = "bad_key_file"


def load_or_make(data_dir: Path) -> str:
    """The data directory's secret, made on the first start; readable by its owner alone.

    Raises BadKeyFile for a file that cannot be read or holds no secret.
    """
    path = data_dir / KEY_FILE
    try:
        secret = path.read_text(encoding="ascii").strip()
    except FileNotFoundError:
        return _make(data_dir, path)
    except UnicodeDecodeError as error:
        raise BadKeyFile(_cannot_be_used(path, "it holds no text")) from error
    except OSError as error:
        raise BadKeyFile(_cannot_be_used(path, error.strerror or "it cannot be read")) from error
    if len(secret) < _MIN_CHARS:
        why = f"it holds fewer than {_MIN_CHARS} characters"
        raise BadKeyFile(_cannot_be_used(path, why))
    return secret


def _cannot_be_used(path: Path, why: str) -> str:
    return (
        f"The key file {path} cannot be used: {why}. Put the file back from a backup, or correct "
        "its permissions; without a backup, remove it and the database beside it to begin anew."
    )


def _make(data_dir: Path, path: Path) -> str:
    secret = secrets.token_hex(32)
    temporary = data_dir / f".{KEY_FILE}.{os.getpid()}"
    try:
        descriptor = os.open(temporary, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600)
        with os.fdopen(descriptor, "w", encoding="ascii") as file:
            file.write(secret + "\n")
            file.flush()
            os.fsync(file.fileno())
        temporary.rename(path)
    except OSError as error:
        raise BadKeyFile(
            f"The key file {path} cannot be written: {error.strerror}. Make room for it, or "
            "correct the permissions of its directory."
        ) from error
    return secret

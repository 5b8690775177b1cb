"""SSH keys as people paste them: private keys that IT0 can use, and host keys to be pinned."""

from __future__ import annotations

import base64
import hashlib
from typing import Final

from cryptography.exceptions import UnsupportedAlgorithm
from cryptography.hazmat.primitives.asymmetric.ec import EllipticCurvePrivateKey
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from cryptography.hazmat.primitives.asymmetric.rsa import RSAPrivateKey
from cryptography.hazmat.primitives.serialization import (
    Encoding,
    PublicFormat,
    load_pem_private_key,
    load_ssh_private_key,
    load_ssh_public_key,
)

from core.refusals import Rejected
from core.words import Sentence, sentence

MAX_KEY_CHARS: Final = 20_000
"""An RSA key of 16,384 bits has 12,700."""
MIN_RSA_BITS: Final = 2_048
_OPENSSH: Final = "-----BEGIN OPENSSH PRIVATE KEY-----"
_HOST_KEY_TYPES: Final = frozenset(
    {
        "ssh-ed25519",
        "ssh-rsa",
        "ecdsa-sha2-nistp256",
        "ecdsa-sha2-nistp384",
        "ecdsa-sha2-nistp521",
    }
)
_ENCRYPTED: Final = sentence(
    "This private key is protected by a passphrase, which IT0 cannot type. Make a copy without "
    "one (`ssh-keygen -p -N '' -f COPY`) for IT0 alone, or use the SSH agent."
)
_NO_KEY: Final = sentence(
    "This is no private key that IT0 can use: it takes OpenSSH and PEM files with an Ed25519, "
    "ECDSA or RSA key."
)


def fingerprint(line: str) -> str:
    """``SHA256:…`` of a public key line, as ``ssh-keygen -l`` shows it; empty for none."""
    try:
        blob = base64.b64decode(line.split()[1], validate=True)
    except (IndexError, ValueError):
        return ""
    return "SHA256:" + base64.b64encode(hashlib.sha256(blob).digest()).decode().rstrip("=")


def host_key_line(written: str) -> str | Rejected:
    """The key of a line as ``type base64``; also of one of ``known_hosts`` or with a comment."""
    words = written.split()
    at = next((at for at, word in enumerate(words) if word in _HOST_KEY_TYPES), None)
    if at is None or at + 1 >= len(words) or len(written) > MAX_KEY_CHARS:
        return _bad_host_key()
    line = f"{words[at]} {words[at + 1]}"
    try:
        load_ssh_public_key(line.encode("ascii"))
    except (ValueError, UnicodeError, UnsupportedAlgorithm):
        return _bad_host_key()
    return line


def private_key(written: str) -> tuple[str, str] | Rejected:
    """A usable private key as it is stored, and the fingerprint of its public key."""
    if len(written) > MAX_KEY_CHARS:
        return _bad_key(_NO_KEY)
    text = "\n".join(line.strip() for line in written.strip().splitlines()) + "\n"
    if text.startswith("PuTTY-User-Key-File"):
        return _bad_key(
            sentence(
                "This is a key of PuTTY. Convert it: `puttygen KEY.ppk -O private-openssh -o KEY`."
            )
        )
    if text.startswith(("ssh-", "ecdsa-")):
        return _bad_key(sentence("This is the public key. Send the private one beside it."))
    load = load_ssh_private_key if text.startswith(_OPENSSH) else load_pem_private_key
    try:
        key = load(text.encode(), None)
    except TypeError:  # what cryptography says when a password is needed
        return _bad_key(_ENCRYPTED)
    except (ValueError, UnicodeError, UnsupportedAlgorithm):
        return _bad_key(_NO_KEY)
    if isinstance(key, RSAPrivateKey) and key.key_size < MIN_RSA_BITS:
        return _bad_key(
            sentence(
                "This RSA key has {bits:,} bits; servers want {least:,} or more. Make a new one: "
                "`ssh-keygen -t ed25519`.",
                bits=key.key_size,
                least=MIN_RSA_BITS,
            )
        )
    if not isinstance(key, RSAPrivateKey | Ed25519PrivateKey | EllipticCurvePrivateKey):
        return _bad_key(_NO_KEY)
    try:
        public = key.public_key().public_bytes(Encoding.OpenSSH, PublicFormat.OpenSSH)
    except (ValueError, UnsupportedAlgorithm):  # a curve that SSH does not have
        return _bad_key(_NO_KEY)
    return text, fingerprint(public.decode())


def _bad_key(said: Sentence) -> Rejected:
    return Rejected(code="bad_server", sentence=said)


def _bad_host_key() -> Rejected:
    return Rejected(
        code="bad_server",
        sentence=sentence(
            "This is no host key. Give the line as `ssh-keyscan` or `known_hosts` has it, such as "
            "`ssh-ed25519 AAAAC3…`."
        ),
    )

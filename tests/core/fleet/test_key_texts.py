"""SSH keys as people paste them."""

from __future__ import annotations

import pytest
from cryptography.hazmat.primitives.asymmetric import dsa, ec, rsa, x25519
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from cryptography.hazmat.primitives.serialization import (
    BestAvailableEncryption,
    Encoding,
    NoEncryption,
    PrivateFormat,
    PublicFormat,
)
from hypothesis import given
from hypothesis import strategies as st

from core.fleet.key_texts import fingerprint, host_key_line, private_key
from core.refusals import Rejected

ED = Ed25519PrivateKey.from_private_bytes(b"k" * 32)
EC = ec.derive_private_key(12_345, ec.SECP256R1())
RSA = rsa.generate_private_key(65_537, 2_048)
PUBLIC = ED.public_key().public_bytes(Encoding.OpenSSH, PublicFormat.OpenSSH).decode()
LOCKED = """\
-----BEGIN OPENSSH PRIVATE KEY-----
b3BlbnNzaC1rZXktdjEAAAAACmFlczI1Ni1jdHIAAAAGYmNyeXB0AAAAGAAAABDagJZR7Z
SkBdRRYv8I+VaPAAAAEAAAAAEAAAAzAAAAC3NzaC1lZDI1NTE5AAAAIGypAUuUbgKX0tz1
R5iXcJCKOd6dH11KqtQMBF1O7nPcAAAAkGzrE5154oeF7LF/TCe/sb9y1wGjXNUC8rLLUx
wA3BO7MlBtods6edMllzi1vAW7pwUSvKsvcJUQUIILIMftPHCrgdIHFVGL5bDxcOzbLUQV
quwlvyzj98u0UOhjOT7aTARPBJkY0EuXZLhOljxplJhLu/2aE4CFj9yVZCd198DLFUDcqS
10X3MulvLAqLKjIg==
-----END OPENSSH PRIVATE KEY-----
"""
"""Made by ssh-keygen, with a passphrase."""
Private = Ed25519PrivateKey | ec.EllipticCurvePrivateKey | rsa.RSAPrivateKey


def written(
    key: Private | dsa.DSAPrivateKey | x25519.X25519PrivateKey,
    form: PrivateFormat,
    secret: bytes = b"",
) -> str:
    """The key as a file holds it."""
    lock = BestAvailableEncryption(secret) if secret else NoEncryption()
    return key.private_bytes(Encoding.PEM, form, lock).decode()


def why(text: str) -> str:
    """Why a private key is refused."""
    refused = private_key(text)
    assert isinstance(refused, Rejected), refused
    return refused.sentence


@pytest.mark.parametrize("key", [ED, EC, RSA])
@pytest.mark.parametrize("form", [PrivateFormat.OpenSSH, PrivateFormat.PKCS8])
def test_usual_keys_are_taken(key: Private, form: PrivateFormat) -> None:
    """In both forms; lines that were indented or ended by Windows are put right."""
    text = written(key, form)
    read = private_key(text)
    public = key.public_key().public_bytes(Encoding.OpenSSH, PublicFormat.OpenSSH).decode()
    assert read == (text, fingerprint(public))
    assert private_key("\r\n  " + text.strip().replace("\n", "\r\n  ")) == read
    assert private_key(written(RSA, PrivateFormat.TraditionalOpenSSL)) is not None


@pytest.mark.parametrize("form", [PrivateFormat.PKCS8, PrivateFormat.TraditionalOpenSSL])
def test_a_passphrase_is_answered_with_what_to_do(form: PrivateFormat) -> None:
    """Nobody would be there to type it."""
    assert "ssh-keygen -p" in why(written(RSA, form, b"secret"))
    assert "ssh-keygen -p" in why(LOCKED)


def test_keys_of_no_use_say_why() -> None:
    """Too short, of another kind, the public half, PuTTY's, or none at all."""
    assert "1,024 bits" in why(
        written(rsa.generate_private_key(65_537, 1_024), PrivateFormat.PKCS8)
    )
    assert "Ed25519" in why(written(x25519.X25519PrivateKey.generate(), PrivateFormat.PKCS8))
    assert "Ed25519" in why(written(ec.derive_private_key(9, ec.SECP256K1()), PrivateFormat.PKCS8))
    assert "public key" in why(PUBLIC)
    assert "puttygen" in why("PuTTY-User-Key-File-3: ssh-ed25519\n")
    assert "Ed25519" in why("x" * 30_000)
    assert "Ed25519" in why("")


def test_a_host_key_is_found_in_its_line() -> None:
    """As ``ssh-keyscan``, ``known_hosts`` or a ``.pub`` file have it."""
    for line in (PUBLIC, f"web.example.org,192.0.2.7 {PUBLIC}", f"{PUBLIC} root@web\n"):
        assert host_key_line(line) == PUBLIC
    assert fingerprint(PUBLIC).startswith("SHA256:")
    assert fingerprint("rubbish") == fingerprint("a b!") == ""


@given(st.text(max_size=60), st.sampled_from(["", "ssh-ed25519 ", "ssh-rsa AAAA", PUBLIC[:40]]))
def test_any_text_is_judged(text: str, before: str) -> None:
    """Without an exception."""
    assert isinstance(host_key_line(before + text), Rejected)
    for frame in ("OPENSSH PRIVATE KEY", "PRIVATE KEY", "RSA PRIVATE KEY"):
        assert why(f"-----BEGIN {frame}-----\n{text}\n-----END {frame}-----")
    fingerprint(before + text)

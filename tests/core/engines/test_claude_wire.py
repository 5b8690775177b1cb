"""What goes over the wire: headers, addresses, certificates."""

from __future__ import annotations

import datetime as dt
import ipaddress
import ssl
from pathlib import Path

import httpx2
import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import NameOID

from core.engines.claude_api import ClaudeApiEngine
from core.engines.claude_client import trust
from core.errors import EngineFailure
from core.events import StopReason
from tests.contracts.engine_kit import Turn, claude_config
from tests.fakes.anthropic import FakeAnthropic


async def test_the_request_is_the_sdks_own(monkeypatch: pytest.MonkeyPatch) -> None:
    """Path, version and bearer header come from the SDK; the environment changes nothing."""
    monkeypatch.setenv("ANTHROPIC_BASE_URL", "http://127.0.0.1:9")
    monkeypatch.setenv("ANTHROPIC_AUTH_TOKEN", "somebody-elses")
    async with FakeAnthropic() as fake:
        engine = ClaudeApiEngine(claude_config(fake.url, api_key="sk-mine"))
        turn = Turn()
        await turn.play(engine, turn.request("hello"))
        await engine.aclose()
        (seen,) = fake.seen
    assert seen.headers["Authorization"] == "Bearer sk-mine"
    assert seen.headers["anthropic-version"] == "2026-10-21"
    assert seen.body["stream"] is True
    assert not {"temperature", "top_p", "top_k"} & set(seen.body)


def test_without_a_base_url_the_provider_itself_is_asked(monkeypatch: pytest.MonkeyPatch) -> None:
    """The environment was read once, elsewhere; the SDK must not read it again."""
    monkeypatch.setenv("ANTHROPIC_BASE_URL", "http://127.0.0.1:9")
    engine = ClaudeApiEngine(claude_config("", base_url=None))
    engine.warm()
    assert engine._client._sdk is not None
    assert str(engine._client._sdk.base_url) == "https://api.anthropic.com"


def write_authority(folder: Path) -> tuple[Path, ssl.SSLContext]:
    """A private CA's file, and a server context whose certificate it signed."""
    ca_key, server_key = (
        ec.generate_private_key(ec.SECP256R1()),
        ec.generate_private_key(ec.SECP256R1()),
    )
    ca_name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "Private CA")])
    ca = (
        _certificate(ca_name, ca_name, ca_key.public_key())
        .add_extension(x509.BasicConstraints(ca=True, path_length=None), critical=True)
        .sign(ca_key, hashes.SHA256())
    )
    name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "gateway")])
    address = x509.IPAddress(ipaddress.ip_address("127.0.0.1"))
    server = (
        _certificate(name, ca_name, server_key.public_key())
        .add_extension(x509.SubjectAlternativeName([address]), critical=False)
        .sign(ca_key, hashes.SHA256())
    )
    pem = serialization.Encoding.PEM
    private = server_key.private_bytes(
        pem, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
    )
    (folder / "ca.pem").write_bytes(ca.public_bytes(pem))
    (folder / "server.pem").write_bytes(private + server.public_bytes(pem))
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(folder / "server.pem")
    return folder / "ca.pem", context


def _certificate(
    subject: x509.Name, issuer: x509.Name, key: ec.EllipticCurvePublicKey
) -> x509.CertificateBuilder:
    now = dt.datetime.now(dt.UTC)
    return x509.CertificateBuilder(
        subject_name=subject,
        issuer_name=issuer,
        public_key=key,
        serial_number=x509.random_serial_number(),
        not_valid_before=now - dt.timedelta(days=1),
        not_valid_after=now + dt.timedelta(days=1),
    )


async def test_a_private_authority_is_trusted_when_it_is_named(tmp_path: Path) -> None:
    """IT0_ANTHROPIC_CA_FILE makes a gateway with a private certificate reachable."""
    ca_file, tls = write_authority(tmp_path)
    async with FakeAnthropic(tls=tls) as fake:
        engine = ClaudeApiEngine(claude_config(fake.url, ca_file=ca_file))
        turn = Turn()
        end = await turn.play(engine, turn.request("hello"))
        await engine.aclose()
    assert end.stop_reason is StopReason.END
    assert turn.shown == "You said: hello"


async def test_an_unknown_authority_is_refused_and_explained(tmp_path: Path) -> None:
    """Verification is never off: without the file nothing is sent, and no retry is made."""
    _, tls = write_authority(tmp_path)
    async with FakeAnthropic(tls=tls) as fake:
        engine = ClaudeApiEngine(claude_config(fake.url))
        turn = Turn()
        with pytest.raises(EngineFailure) as failure:
            await turn.play(engine, turn.request("hello"))
        await engine.aclose()
    assert failure.value.reason == "untrusted_certificate"
    assert "IT0_ANTHROPIC_CA_FILE" in failure.value.sentence
    assert fake.count == 0
    assert len(turn.meter.reserved) == 1


def test_a_private_authority_is_added_to_the_usual_ones(tmp_path: Path) -> None:
    """The file widens the trust by one certificate and replaces nothing."""
    ca_file, _ = write_authority(tmp_path)
    usual = httpx2.create_ssl_context()
    ours = trust(ca_file)
    assert ours.cert_store_stats()["x509"] == usual.cert_store_stats()["x509"] + 1
    assert ours.verify_mode is ssl.CERT_REQUIRED
    assert ours.check_hostname


@pytest.mark.parametrize("content", [None, b"", b"not a certificate"])
async def test_a_ca_file_that_cannot_be_used_is_named(
    tmp_path: Path, content: bytes | None
) -> None:
    """A missing, empty or wrong file is told to the operator by its setting."""
    path = tmp_path / "ca.pem"
    if content is not None:
        path.write_bytes(content)
    engine = ClaudeApiEngine(claude_config("https://127.0.0.1:9", ca_file=path))
    with pytest.raises(EngineFailure) as failure:
        engine.warm()
    assert failure.value.reason == "bad_ca_file"
    assert "IT0_ANTHROPIC_CA_FILE" in failure.value.sentence
    turn = Turn()
    with pytest.raises(EngineFailure):
        await turn.play(engine, turn.request("hello"))
    await engine.aclose()

"""TLS of a member's ports: who comes in, and certificates that are renewed under it."""

from __future__ import annotations

import asyncio
import datetime as dt
import ssl
from collections.abc import Awaitable, Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import uvloop
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization

from kubraft.pki import make_pki
from store import self_signed
from store.member_error import MemberError
from store.peer_certificate import Admission, NotAdmittedError
from store.tls import peer_tls
from store.tls_config import TlsConfig

NOW = dt.datetime.now(dt.UTC)


@pytest.fixture
def pki(tmp_path: Path) -> Path:
    make_pki(tmp_path, members=["a", "b"], nodes=[], now=NOW)
    return tmp_path


def of(pki: Path, name: str, **more: Any) -> TlsConfig:
    """The TLS of a member, from its files."""
    return TlsConfig(
        cert_file=pki / f"{name}.crt",
        key_file=pki / f"{name}.key",
        ca_file=pki / "store-ca.crt",
        client_cert_auth=True,
        **more,
    )


async def greet(server: ssl.SSLContext, *clients: ssl.SSLContext) -> list[int | str]:
    """What each client gets: the serial number of the server's certificate, or a refusal."""

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        writer.write(await reader.readexactly(1))
        await writer.drain()
        writer.close()

    listener = await asyncio.start_server(serve, "127.0.0.1", 0, ssl=server)
    port = listener.sockets[0].getsockname()[1]
    try:
        async with asyncio.timeout(30):
            return [await _call(port, client) for client in clients]
    finally:
        listener.close()


async def _call(port: int, client: ssl.SSLContext) -> int | str:
    try:
        reader, writer = await asyncio.open_connection("127.0.0.1", port, ssl=client)
    except OSError:
        return "refused"
    der = writer.get_extra_info("ssl_object").getpeercert(binary_form=True)
    writer.write(b"x")
    try:
        answer = await reader.read(1)
    except OSError:
        answer = b""
    writer.transport.abort()
    return x509.load_der_x509_certificate(der).serial_number if answer else "refused"


def serial(path: Path) -> int:
    return x509.load_pem_x509_certificate(path.read_bytes()).serial_number


Run = Callable[[Awaitable[list[int | str]]], list[int | str]]


@pytest.fixture(params=["asyncio", "uvloop"])
def run(request: pytest.FixtureRequest) -> Any:
    return asyncio.run if request.param == "asyncio" else uvloop.run


def test_renewed_files_serve_the_next_connection_and_half_renewed_ones_do_not(
    pki: Path, run: Run
) -> None:
    server, client = peer_tls(of(pki, "a-peer")).accept, peer_tls(of(pki, "b-peer")).dial
    first = serial(pki / "a-peer.crt")
    assert run(greet(server, client)) == [first]

    certificate, key = (pki / "a-peer.crt").read_bytes(), (pki / "a-peer.key").read_bytes()
    (pki / "a-peer.crt").unlink()
    make_pki(pki, members=["a", "b"], nodes=[], now=NOW)
    second = serial(pki / "a-peer.crt")
    new_key = (pki / "a-peer.key").read_bytes()
    assert new_key != key
    (pki / "a-peer.key").write_bytes(key)
    assert run(greet(server, client)) == [first]
    (pki / "a-peer.key").write_bytes(new_key)
    assert run(greet(server, client)) == [second]
    assert certificate != (pki / "a-peer.crt").read_bytes()


def test_renewed_files_are_shown_to_peers_that_are_dialled(pki: Path, run: Run) -> None:
    dial = peer_tls(of(pki, "b-peer")).dial
    revoked = pki / "crl.pem"
    revoke(pki, [serial(pki / "b-peer.crt")], revoked)
    server = peer_tls(of(pki, "a-peer", crl_file=revoked)).accept
    assert run(greet(server, dial)) == ["refused"]
    (pki / "b-peer.crt").unlink()
    make_pki(pki, members=["a", "b"], nodes=[], now=NOW)
    assert run(greet(server, dial)) == [serial(pki / "a-peer.crt")]


def revoke(pki: Path, numbers: list[int], path: Path) -> None:
    authority = x509.load_pem_x509_certificate((pki / "store-ca.crt").read_bytes())
    key = serialization.load_pem_private_key((pki / "store-ca.key").read_bytes(), None)
    builder = x509.CertificateRevocationListBuilder(authority.subject, NOW, NOW + dt.timedelta(1))
    for number in numbers:
        one = x509.RevokedCertificateBuilder(number, NOW)
        builder = builder.add_revoked_certificate(one.build())
    signed = builder.sign(key, hashes.SHA256())  # type: ignore[arg-type]
    path.write_bytes(signed.public_bytes(serialization.Encoding.PEM))


def test_a_revoked_certificate_is_refused_from_the_next_connection_on(pki: Path, run: Run) -> None:
    revoked = pki / "crl.pem"
    revoke(pki, [1], revoked)
    server = peer_tls(of(pki, "a-peer", crl_file=revoked)).accept
    client = peer_tls(of(pki, "b-peer")).dial
    number = serial(pki / "a-peer.crt")
    assert run(greet(server, client)) == [number]
    revoke(pki, [1, serial(pki / "b-peer.crt")], revoked)
    assert run(greet(server, client)) == ["refused"]


def test_a_client_of_the_store_is_no_peer_where_a_host_or_a_name_is_asked_for(
    pki: Path, run: Run
) -> None:
    peer, client = peer_tls(of(pki, "b-peer")).dial, peer_tls(of(pki, "store-client")).dial
    number = serial(pki / "a-peer.crt")
    open_to_all = peer_tls(of(pki, "a-peer")).accept
    by_host = peer_tls(of(pki, "a-peer", allowed_hosts=("localhost",))).accept
    by_name = peer_tls(of(pki, "a-peer", allowed_names=("a", "b"))).accept
    assert run(greet(open_to_all, peer, client)) == [number, number]
    assert run(greet(by_host, peer, client)) == [number, "refused"]
    assert run(greet(by_name, peer, client)) == [number, "refused"]


def test_a_peer_of_another_cluster_is_refused(pki: Path, run: Run) -> None:
    other = pki / "other"
    other.mkdir()
    make_pki(other, members=["a", "b"], nodes=[], now=NOW)
    server = peer_tls(of(pki, "a-peer")).accept
    assert run(greet(server, peer_tls(of(other, "b-peer")).dial)) == ["refused"]
    # It may trust us and still not be trusted.
    half = replace(of(other, "b-peer"), ca_file=pki / "store-ca.crt")
    assert run(greet(server, peer_tls(half).dial)) == ["refused"]


def test_self_signed_peers_meet_and_keep_their_certificate(tmp_path: Path, run: Run) -> None:
    pair = self_signed.find_or_make(tmp_path / "a", ["127.0.0.1"], 1)
    assert self_signed.find_or_make(tmp_path / "a", ["127.0.0.1"], 1) == pair
    config = TlsConfig(*pair, None, client_cert_auth=False, self_signed_hosts=("127.0.0.1",))
    tls = peer_tls(config)
    assert run(greet(tls.accept, tls.dial)) == [serial(pair[0])]


def test_versions_and_ciphers_are_kept_to(pki: Path, run: Run) -> None:
    rules = replace(of(pki, "a-peer").rules, version_min=ssl.TLSVersion.TLSv1_3)
    server = peer_tls(of(pki, "a-peer", rules=rules)).accept
    old = replace(rules, version_min=ssl.TLSVersion.TLSv1_2, version_max=ssl.TLSVersion.TLSv1_2)
    client = peer_tls(of(pki, "b-peer", rules=old)).dial
    assert run(greet(server, client)) == ["refused"]


def test_a_revocation_list_that_is_none_is_named(pki: Path) -> None:
    (pki / "crl").write_text("no list")
    with pytest.raises(MemberError, match="--peer-crl-file .*: not a revocation list"):
        peer_tls(of(pki, "a-peer", crl_file=pki / "crl"))


@pytest.mark.parametrize(
    ("host", "welcome"),
    [
        pytest.param("localhost", True, id="name"),
        pytest.param("LOCALHOST", True, id="in capitals"),
        pytest.param("127.0.0.1", True, id="address"),
        pytest.param("10.0.0.1", False, id="other address"),
        pytest.param("example.test", False, id="other name"),
    ],
)
def test_hosts_of_a_certificate(pki: Path, host: str, *, welcome: bool) -> None:
    certificate = x509.load_pem_x509_certificate((pki / "a-peer.crt").read_bytes())
    admission = Admission(hosts=[host])
    der = certificate.public_bytes(serialization.Encoding.DER)
    if welcome:
        admission.check(der)
        return
    with pytest.raises(NotAdmittedError, match="client certificate authentication failed"):
        admission.check(der)

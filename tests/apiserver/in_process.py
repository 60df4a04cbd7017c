"""A whole API server in this process, on a store in memory: flags, TLS, users and RBAC are real."""

from __future__ import annotations

import asyncio
import contextlib
import datetime as dt
import json
import ssl
from collections.abc import AsyncIterator, Sequence
from pathlib import Path
from typing import Any

import h11
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import NameOID

from apiserver.options import parse
from apiserver.server import ApiServer
from apiserver.storage.memory_store import MemoryStore
from tests.harness.api import key_flags
from tests.harness.ports import free_ports

ADMIN_TOKEN = "admin-token-of-a-test"
TOKENS = (
    f"{ADMIN_TOKEN},admin,1,system:masters\n"
    'bob-token,bob,2,"team,other"\n'
    "ann-token,ann,3,\n"
    "scheduler-token,system:kube-scheduler,4,\n"
)
DEADLINE_S = 60.0


class Answer:
    """What came back for one request."""

    def __init__(self, status: int, headers: list[tuple[str, str]], body: bytes) -> None:
        self.status = status
        self.headers = dict(headers)
        self.body = body

    def json(self) -> Any:
        return json.loads(self.body)


class Served:
    """A running server, and how to ask it."""

    def __init__(self, server: ApiServer, port: int, pki: Path, store: MemoryStore) -> None:
        self.server = server
        self.port = port
        self.grpc_port = 0
        self.pki = pki
        self.store = store

    async def ask(
        self,
        method: str,
        path: str,
        body: Any = None,
        *,
        token: str | None = ADMIN_TOKEN,
        certificate: tuple[Path, Path] | None = None,
        headers: Sequence[tuple[str, bytes]] = (),
        kind: str = "application/json",
    ) -> Answer:
        """One request on a connection of its own; with `token` None it carries none."""
        raw = (
            b"" if body is None else body if isinstance(body, bytes) else json.dumps(body).encode()
        )
        sent = [
            (b"host", b"test"),
            (b"content-length", str(len(raw)).encode()),
            (b"content-type", kind.encode()),
        ]
        if token is not None:
            sent.append((b"authorization", f"Bearer {token}".encode()))
        sent += [(name.encode(), value) for name, value in headers]
        context = ssl.create_default_context(cafile=self.pki / "ca.crt")
        if certificate is not None:
            context.load_cert_chain(*certificate)
        line = h11.Connection(h11.CLIENT, max_incomplete_event_size=1 << 20)
        async with asyncio.timeout(DEADLINE_S):
            reader, writer = await asyncio.open_connection("127.0.0.1", self.port, ssl=context)
            try:
                request = h11.Request(method=method, target=path, headers=sent)
                for part in (request, h11.Data(data=raw), h11.EndOfMessage()):
                    writer.write(line.send(part) or b"")
                return await _read(line, reader)
            finally:
                writer.close()

    async def create(self, path: str, obj: Any) -> Any:
        answer = await self.ask("POST", path, obj)
        assert answer.status == 201, answer.body
        return answer.json()


async def _read(line: h11.Connection, reader: asyncio.StreamReader) -> Answer:
    status, headers, body = 0, [], b""
    while True:
        event = line.next_event()
        if event is h11.NEED_DATA:
            data = await reader.read(1 << 16)
            if not data:
                raise ConnectionResetError("the server ended the connection")
            line.receive_data(data)
        elif isinstance(event, h11.Response):
            status = event.status_code
            headers = [(name.decode(), value.decode("latin-1")) for name, value in event.headers]
        elif isinstance(event, h11.Data):
            body += bytes(event.data)
        elif isinstance(event, h11.EndOfMessage):
            return Answer(status, headers, body)
        else:
            raise ConnectionError(f"the server ended the connection: {event}")


@contextlib.asynccontextmanager
async def serving(
    folder: Path, pki: Path, *flags: str, store: MemoryStore | None = None
) -> AsyncIterator[Served]:
    """A server that is ready; `flags` come after those that every server has."""
    tokens = folder / "tokens.csv"
    tokens.write_text(TOKENS)
    tokens.chmod(0o600)
    store = store or MemoryStore()
    rest, grpc, mutual = free_ports(3)
    arguments = [str(part) for pair in key_flags(pki, tokens).items() for part in pair]
    options = parse(
        [
            f"--secure-port={rest}",
            f"--grpc-port={grpc}",
            f"--grpc-mtls-port={mutual}",
            "--etcd-servers=http://127.0.0.1:1",
            *arguments,
            *flags,
        ]
    )
    server = ApiServer(options, store=store)
    running = asyncio.create_task(server.run())
    served = Served(server, rest, pki, store)
    served.grpc_port = grpc
    try:
        async with asyncio.timeout(DEADLINE_S):
            while not await _ready(served):
                assert not running.done(), running.result()
                await asyncio.sleep(0.01)
        yield served
    finally:
        server.stop()
        await running


async def _ready(served: Served) -> bool:
    try:
        return (await served.ask("GET", "/readyz", token=None)).status == 200
    except ConnectionError:
        return False


def issue_certificate(
    pki: Path, folder: Path, name: str, *groups: str, days: int = 1
) -> tuple[Path, Path]:
    """Certificate and key of a user, signed by the cluster's authority."""
    authority = x509.load_pem_x509_certificate((pki / "ca.crt").read_bytes())
    signer = serialization.load_pem_private_key((pki / "ca.key").read_bytes(), password=None)
    assert isinstance(signer, ec.EllipticCurvePrivateKey)
    key = ec.generate_private_key(ec.SECP256R1())
    now = dt.datetime.now(dt.UTC)
    subject = [x509.NameAttribute(NameOID.ORGANIZATION_NAME, group) for group in groups]
    subject.append(x509.NameAttribute(NameOID.COMMON_NAME, name))
    certificate = (
        x509.CertificateBuilder()
        .subject_name(x509.Name(subject))
        .issuer_name(authority.subject)
        .public_key(key.public_key())
        .serial_number(x509.random_serial_number())
        .not_valid_before(now - dt.timedelta(days=2))
        .not_valid_after(now + dt.timedelta(days=days))
        .sign(signer, hashes.SHA256())
    )
    files = folder / f"{name}.crt", folder / f"{name}.key"
    files[0].write_bytes(certificate.public_bytes(serialization.Encoding.PEM))
    files[1].write_bytes(
        key.private_bytes(
            serialization.Encoding.PEM,
            serialization.PrivateFormat.PKCS8,
            serialization.NoEncryption(),
        )
    )
    return files

"""The HTTPS front over real TLS sockets, on a store in memory."""

from __future__ import annotations

import asyncio
import json
import ssl
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from pathlib import Path
from random import Random
from typing import Any

import h11
import pytest

from apiserver.connect.front import ConnectFront
from apiserver.rest.front import RestFront
from apiserver.rpc.logs import PodLogs
from kubraft.grpc_server.guard import Limits
from kubraft.grpc_server.server import GrpcServer
from kubraft.health.checks import ping
from kubraft.health.front import HealthFront
from tests.apiserver.harness import AllowAll, Bench


@dataclass
class Answer:
    status: int
    headers: dict[str, str] = field(default_factory=dict)
    body: bytes = b""

    def json(self) -> Any:
        return json.loads(self.body)


@dataclass
class Rest:
    bench: Bench
    port: int
    tls: ssl.SSLContext

    async def ask(
        self,
        method: str,
        path: str,
        body: Any = None,
        *,
        kind: str = "application/json",
        **headers: str,
    ) -> Answer:
        """One request on a connection of its own; `accept_` and the like name headers."""
        async with self.asking(method, path, body, kind=kind, **headers) as (answer, parts):
            answer.body = b"".join([part async for part in parts])
            return answer

    @asynccontextmanager
    async def asking(
        self, method: str, path: str, body: Any = None, *, kind: str = "", **headers: str
    ) -> AsyncIterator[tuple[Answer, AsyncIterator[bytes]]]:
        raw = (
            body if isinstance(body, bytes) else b"" if body is None else json.dumps(body).encode()
        )
        sent = [("host", "test"), ("content-length", str(len(raw))), ("content-type", kind)]
        sent += [(name.strip("_").replace("_", "-"), value) for name, value in headers.items()]
        line = h11.Connection(h11.CLIENT, max_incomplete_event_size=1 << 20)
        reader, writer = await asyncio.open_connection("127.0.0.1", self.port, ssl=self.tls)
        try:
            request = h11.Request(method=method, target=path, headers=sent)
            writer.write(line.send(request) or b"")
            writer.write((line.send(h11.Data(data=raw)) or b"") if raw else b"")
            writer.write(line.send(h11.EndOfMessage()) or b"")

            async def next_event() -> Any:
                while (event := line.next_event()) is h11.NEED_DATA:
                    line.receive_data(await reader.read(1 << 16))
                return event

            async def parts() -> AsyncIterator[bytes]:
                while isinstance(event := await next_event(), h11.Data):
                    yield bytes(event.data)

            async with asyncio.timeout(30):
                head = await next_event()
                found = {name.decode(): value.decode("latin-1") for name, value in head.headers}
                yield Answer(head.status_code, found), parts()
        finally:
            writer.close()


@pytest.fixture
async def rest(bench: Bench, pki: Path) -> AsyncIterator[Rest]:
    logs = PodLogs(bench.registry, None)
    connects = ConnectFront(bench.registry, bench.reader, Random(1), None)
    front = RestFront(
        bench.registry,
        AllowAll(),
        HealthFront({"livez": {"ping": ping}, "readyz": {"ping": ping}, "healthz": {}}),
        logs,
        connects,
        address="127.0.0.1:6443",
        is_ready=lambda: True,
    )
    own = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
    own.load_cert_chain(pki / "apiserver.crt", pki / "apiserver.key")
    server = GrpcServer(Limits(), http=front.handle)
    port = server.listen("127.0.0.1", 0, own)
    await server.start()
    try:
        yield Rest(bench, port, ssl.create_default_context(cafile=pki / "ca.crt"))
    finally:
        await server.stop(0)
        await logs.close()
        await connects.close()

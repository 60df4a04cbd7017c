"""An API over real TLS sockets, on a store in memory."""

from __future__ import annotations

from collections.abc import AsyncIterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import grpc
import grpc.aio
import pytest

from apiserver.rpc.logs import PodLogs, PodsService
from apiserver.rpc.objects import ObjectsService
from apiserver.rpc.server import RpcServer, ServerTls
from kubraft.client.client import ApiClient
from kubraft.pb.v1 import objects_pb2_grpc
from tests.apiserver.harness import AllowAll, Bench


@dataclass
class Api:
    bench: Bench
    server: RpcServer
    target: str
    client: ApiClient
    stub: Any
    channel: grpc.aio.Channel


@pytest.fixture
async def api(bench: Bench, pki: Path) -> AsyncIterator[Api]:
    allow = AllowAll()
    server = RpcServer(
        ObjectsService(bench.registry, allow), PodsService(PodLogs(bench.registry, None), allow)
    )
    tls = ServerTls(pki / "apiserver.crt", pki / "apiserver.key", pki / "ca.crt")
    port = await server.start("127.0.0.1:0", tls)
    await server.set_serving(serving=True)
    target = f"127.0.0.1:{port}"
    credentials = grpc.ssl_channel_credentials((pki / "ca.crt").read_bytes())
    channel = grpc.aio.secure_channel(target, credentials)
    client = ApiClient(target, ca_file=pki / "ca.crt", token="admin-token")
    try:
        stub = objects_pb2_grpc.ObjectsStub(channel)
        yield Api(bench, server, target, client, stub, channel)
    finally:
        await client.close()
        await channel.close(None)
        await server.stop(0)

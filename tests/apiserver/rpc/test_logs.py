"""Logs: fetched from the Pod's node agent over mutual TLS."""

from __future__ import annotations

from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import grpc
import grpc.aio
import pytest

from apiserver.registry.call import WriteOptions
from apiserver.rpc.logs import NodeTls, PodLogs, PodsService
from apiserver.rpc.objects import ObjectsService
from apiserver.rpc.server import RpcServer, ServerTls
from kubraft.api.errors import BadRequestError, NotFoundError, ServiceUnavailableError
from kubraft.api.gvk import NODE, POD
from kubraft.client.client import ApiClient
from kubraft.pb.v1 import node_pb2_grpc
from kubraft.pb.v1 import objects_pb2 as pb
from tests.apiserver.harness import AllowAll, Bench, pod


class Agent(node_pb2_grpc.NodeAgentServicer):
    """Serves what it was asked for as the log."""

    async def Logs(self, request: pb.LogsRequest, context: Any) -> AsyncIterator[pb.LogChunk]:  # noqa: N802
        who = context.auth_context()["x509_common_name"][0].decode()
        if request.container == "broken":
            await context.abort(grpc.StatusCode.NOT_FOUND, "container broken has no log yet")
        yield pb.LogChunk(data=f"{who} asks for {request.namespace}/{request.pod}/".encode())
        yield pb.LogChunk(data=request.container.encode())


@pytest.fixture
async def agent_port(pki: Path) -> AsyncIterator[int]:
    server = grpc.aio.server()
    node_pb2_grpc.add_NodeAgentServicer_to_server(Agent(), server)
    tls = ServerTls(pki / "node-0-server.crt", pki / "node-0-server.key", pki / "ca.crt")
    port = server.add_secure_port("127.0.0.1:0", tls.credentials(demand_client=True))
    await server.start()
    yield port
    await server.stop(0)


@pytest.fixture
async def client(bench: Bench, pki: Path) -> AsyncIterator[ApiClient]:
    allow = AllowAll()
    name = "apiserver-kubelet-client"
    tls = NodeTls(pki / "ca.crt", pki / f"{name}.crt", pki / f"{name}.key")
    pods = PodsService(PodLogs(bench.registry, tls), allow)
    server = RpcServer(ObjectsService(bench.registry, allow), pods)
    server_tls = ServerTls(pki / "apiserver.crt", pki / "apiserver.key", pki / "ca.crt")
    port = await server.start("127.0.0.1:0", server_tls)
    made = ApiClient(f"127.0.0.1:{port}", ca_file=pki / "ca.crt", token="t")
    yield made
    await made.close()
    await server.stop(0)


async def place(bench: Bench, port: int, *containers: str) -> None:
    addresses = [{"type": "InternalIP", "address": "127.0.0.1"}]
    status = {"addresses": addresses, "daemonEndpoints": {"kubeletEndpoint": {"Port": port}}}
    node = {"apiVersion": "v1", "kind": "Node", "metadata": {"name": "node-0"}, "status": status}
    await bench.create(node)
    await bench.create(pod(containers=[{"name": c, "image": "i"} for c in containers]))
    binding = {"metadata": {"name": "web"}, "target": {"name": "node-0"}}
    await bench.registry.bind(bench.call(POD, "web"), binding, WriteOptions())


async def logs(client: ApiClient, **options: Any) -> bytes:
    return b"".join([chunk async for chunk in client.logs("web", "default", **options)])


async def test_logs_come_from_the_node_agent(
    bench: Bench, client: ApiClient, agent_port: int
) -> None:
    await place(bench, agent_port, "c")
    assert await logs(client) == b"kube-apiserver-kubelet-client asks for default/web/c"


async def test_an_agent_is_found_where_it_moved_to(
    bench: Bench, client: ApiClient, agent_port: int
) -> None:
    await place(bench, 1, "c")
    with pytest.raises(ServiceUnavailableError):
        await logs(client)
    node = await bench.get(NODE, "node-0")
    node["status"]["daemonEndpoints"]["kubeletEndpoint"]["Port"] = agent_port
    await bench.update(node, "status")
    assert (await logs(client)).endswith(b"/c")


async def test_one_of_several_containers_must_be_named(
    bench: Bench, client: ApiClient, agent_port: int
) -> None:
    await place(bench, agent_port, "a", "b")
    with pytest.raises(BadRequestError, match=r"choose one of: \[a b\]"):
        await logs(client)
    with pytest.raises(BadRequestError, match="container x is not valid for pod web"):
        await logs(client, container="x")
    assert (await logs(client, container="b")).endswith(b"/b")


async def test_the_agents_refusal_is_passed_on(
    bench: Bench, client: ApiClient, agent_port: int
) -> None:
    await place(bench, agent_port, "broken")
    with pytest.raises(NotFoundError, match="has no log yet"):
        await logs(client)


async def test_an_agent_that_is_away_is_named(bench: Bench, client: ApiClient) -> None:
    await place(bench, 1, "c")
    with pytest.raises(ServiceUnavailableError, match="the agent of node node-0"):
        await logs(client)

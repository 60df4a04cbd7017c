"""The whole proxy in nftables mode: a real API server, and the kernel of a machine of tests."""

from __future__ import annotations

import asyncio
import contextlib
import http.client
import json
import sys
from collections.abc import AsyncIterator
from random import Random
from typing import Any

import pytest

from agents.proxy.figures import Figures
from agents.proxy.health import ProxyHealth
from agents.proxy.http_servers import ServicePorts
from agents.proxy.nftables import NftablesMode, Options
from agents.proxy.picture import Picture
from agents.proxy.proxy import Proxy
from kubraft.api.gvk import ENDPOINT_SLICE, NODE, SERVICE
from kubraft.api.object import Object, key_of
from kubraft.api.time import SystemClock
from kubraft.client.client import ApiClient
from tests.agents.proxy.lab import NODE as NODE_ADDRESS
from tests.agents.proxy.lab import PODS, PORT, REFUSED, Lab, ask, ask_udp
from tests.agents.proxy.objects import endpoint, slice_of
from tests.e2e.cluster import until_async
from tests.harness.api import ROOT, ApiUnderTest
from tests.harness.eventually import eventually
from tests.harness.network import missing
from tests.harness.ports import free_port

pytestmark = [
    pytest.mark.e2e,
    pytest.mark.skipif(bool(missing()), reason=f"no machines: {missing()}"),
    pytest.mark.xdist_group("proxy"),
]

BALANCER = "172.31.0.9"
A, B = "10.244.0.2", "10.244.0.3"
CLIENT_PORT = 4000
WITHIN_S = 60


class Running:
    """The proxy of node-0, whose kernel is the lab's; it can be killed and started."""

    def __init__(self, api: ApiUnderTest, lab: Lab) -> None:
        self.figures = Figures()
        self._api = api
        self._lab = lab
        self._task: asyncio.Task[None] | None = None

    async def start(self) -> None:
        self._task = asyncio.ensure_future(self._run())

    async def kill(self) -> None:
        """Nothing is tidied: rules are the kernel's."""
        assert self._task is not None
        self._task.cancel()
        await asyncio.gather(self._task, return_exceptions=True)

    async def _run(self) -> None:
        client, clock = self._api.client("proxy"), SystemClock()
        picture = Picture(client, clock, "node-0")
        options = Options(pods=(PODS,), sync_period_s=0.5)
        health = ProxyHealth(clock)
        conntrack = self._lab.conntrack_socket
        mode = NftablesMode(clock, self.figures, self._lab.nft, options, conntrack)
        ports = ServicePorts(health, "127.0.0.1")
        proxy = Proxy(
            picture, mode, self.figures, health, health_ports=ports, clock=clock, rng=Random(1)
        )
        try:
            async with asyncio.TaskGroup() as group:
                group.create_task(picture.follow())
                await picture.wait_synced()
                group.create_task(proxy.run())
        finally:
            await client.close()


@pytest.fixture
async def lab() -> AsyncIterator[Lab]:
    async with Lab() as made:
        yield made


@pytest.fixture
async def client(api: ApiUnderTest) -> AsyncIterator[ApiClient]:
    client = api.client()
    yield client
    await client.close()


@pytest.fixture
async def proxy(api: ApiUnderTest, lab: Lab, client: ApiClient) -> AsyncIterator[Running]:
    node: Object = {"apiVersion": "v1", "kind": "Node", "metadata": {"name": "node-0"}}
    await client.create(node)
    address = {"type": "InternalIP", "address": NODE_ADDRESS}
    await client.patch(NODE, "node-0", {"status": {"addresses": [address]}}, subresource="status")
    running = Running(api, lab)
    await running.start()
    yield running
    await running.kill()
    await client.delete(NODE, "node-0")


def balanced(name: str, check_port: int) -> Object:
    return {
        "apiVersion": "v1",
        "kind": "Service",
        "metadata": {"name": name, "namespace": "default"},
        "spec": {
            "type": "LoadBalancer",
            "externalTrafficPolicy": "Local",
            "healthCheckNodePort": check_port,
            "externalIPs": [BALANCER],
            "ports": [
                {"name": "http", "port": 80},
                {"name": "dns", "port": 53, "protocol": "UDP"},
            ],
        },
    }


def behind(name: str, *endpoints: Object) -> Object:
    ports: tuple[Object, ...] = (
        {"name": "http", "port": PORT, "protocol": "TCP"},
        {"name": "dns", "port": PORT, "protocol": "UDP"},
    )
    return slice_of(name, *endpoints, ports=ports)


def here(address: str, **conditions: bool) -> Object:
    return {**endpoint(address, **conditions), "nodeName": "node-0"}


def check(port: int) -> tuple[int, dict[str, Any], str | None]:
    """What a load balancer's health check gets: status, body, weight."""
    connection = http.client.HTTPConnection("127.0.0.1", port, timeout=30)
    with contextlib.closing(connection):
        connection.request("GET", "/healthz")
        answer = connection.getresponse()
        weight = answer.getheader("X-Load-Balancing-Endpoint-Weight")
        return answer.status, json.loads(answer.read()), weight


async def until(lab: Lab, expected: str, port: int = 80, address: str = BALANCER) -> None:
    """Until a connection from outside gets that answer."""

    async def is_so() -> bool:
        return (await ask(lab.client, address, port, 1.0)).split()[0] == expected

    await until_async(is_so, f"{expected} from {address}:{port}", WITHIN_S)


async def test_a_service_from_its_making_to_its_end(
    api: ApiUnderTest, lab: Lab, client: ApiClient, proxy: Running
) -> None:
    check_port = free_port()
    made = await client.create(balanced("web", check_port))
    node_port = made["spec"]["ports"][0]["nodePort"]
    await until(lab, REFUSED)

    slice_ = await client.create(behind("web", here(A)))
    await until(lab, "a")
    await until(lab, "a", node_port, NODE_ADDRESS)
    assert await ask_udp(lab.client, BALANCER, 53, CLIENT_PORT) == "a 10.9.1.2"
    status, told, weight = await asyncio.to_thread(check, check_port)
    assert (status, weight) == (200, "1")
    assert told == {
        "service": {"namespace": "default", "name": "web"},
        "localEndpoints": 1,
        "serviceProxyHealthy": True,
    }

    # Another Pod takes over. A client that never stops sending is led there too.
    slice_ = await client.update({**slice_, "endpoints": [here(B)]})
    await until(lab, "b")

    async def answers() -> bool:
        return await ask_udp(lab.client, BALANCER, 53, CLIENT_PORT, 1.0) == "b 10.9.1.2"

    await until_async(answers, "the client's flow goes to b", WITHIN_S)

    # A Pod that ends serves on, and load balancers are told to go elsewhere.
    ending = here(B, ready=False, serving=True, terminating=True)
    slice_ = await client.update({**slice_, "endpoints": [ending]})

    async def told_so() -> bool:
        return (await asyncio.to_thread(check, check_port))[::2] == (503, "0")

    await until_async(told_so, "the health check says that no Pod is here", WITHIN_S)
    assert (await ask(lab.client, BALANCER, 80)).startswith("b ")

    # Somebody takes all rules away; a killed proxy leaves them.
    lab.node.run("nft", "flush", "ruleset")
    await until(lab, "b")
    await proxy.kill()
    assert (await ask(lab.client, BALANCER, 80)).startswith("b ")
    await client.update({**slice_, "endpoints": [here(A)]})
    await proxy.start()
    await until(lab, "a")

    # So does an API server that is away.
    await asyncio.to_thread(api.kill)
    assert (await ask(lab.client, BALANCER, 80)).startswith("a ")
    await asyncio.to_thread(api.start)
    await asyncio.to_thread(api.wait_ready)
    slice_ = await client.get(ENDPOINT_SLICE, key_of(slice_).name, "default")
    await client.update({**slice_, "endpoints": [here(B)]})
    await until(lab, "b")

    await client.delete(SERVICE, "web", "default")
    await client.delete(ENDPOINT_SLICE, key_of(slice_).name, "default")
    table = ("nft", "list", "table", "ip", "kube-proxy")
    await eventually(lambda: "/web/" not in lab.node.run(*table), timeout_s=WITHIN_S)
    assert b"kubeproxy_sync_proxy_rules_nftables_sync_failures_total 0.0" in proxy.figures.text()


async def test_clean_up_leaves_nothing(lab: Lab) -> None:
    await lab.apply([], [])
    command = [sys.executable, "-m", "agents.proxy", "--cleanup", "--server=127.0.0.1:1"]
    await asyncio.to_thread(lab.node.run, "env", f"--chdir={ROOT}", *command)
    assert lab.node.run("nft", "list", "ruleset") == ""

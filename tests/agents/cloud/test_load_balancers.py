"""The local provider's load balancers, with real sockets on both sides."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import AsyncIterator
from ipaddress import IPv4Network
from pathlib import Path
from typing import Any

import pytest

from agents.cloud.local import load_balancers as module
from agents.cloud.local.addresses import AddressFile
from agents.cloud.local.load_balancers import LocalLoadBalancers
from agents.cloud.local.target_health import HealthTarget, TargetHealth, answers
from agents.cloud.provider import CloudError
from kubraft.api.object import Object
from kubraft.api.time import SystemClock
from tests.agents.controllers.node_objects import node
from tests.agents.proxy.objects import service
from tests.agents.proxy.test_e2e import answer
from tests.harness.ports import free_port

# An address that no other test listens on.
NETWORK = IPv4Network("127.126.48.0/24")


@contextlib.asynccontextmanager
async def target(name: str, host: str, port: int) -> AsyncIterator[None]:
    """A node's port; says its name."""

    async def say(_: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        writer.write(name.encode())
        writer.close()

    server = await asyncio.start_server(say, host, port)
    try:
        yield
    finally:
        server.close()


@pytest.fixture
async def balancers(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> AsyncIterator[LocalLoadBalancers]:
    monkeypatch.setattr(module, "CHECK_S", 0.05)
    made = LocalLoadBalancers(NETWORK, AddressFile(tmp_path / "file.json"), SystemClock())
    running = asyncio.ensure_future(made.run())
    yield made
    running.cancel()
    await asyncio.gather(running, return_exceptions=True)


def nodes(*addresses: str) -> list[Object]:
    return [
        {**node(address), "status": {"addresses": [{"type": "InternalIP", "address": address}]}}
        for address in addresses
    ]


def wanted(port: int, node_port: int, **spec: Any) -> Object:
    ports = [{"port": port, "nodePort": node_port, "protocol": "TCP"}]
    return service(type="LoadBalancer", ports=ports, **spec)


async def test_connections_are_spread_over_nodes_that_answer(
    balancers: LocalLoadBalancers,
) -> None:
    port, node_port = free_port(), free_port()
    hosts = ("127.126.1.1", "127.126.1.2")
    async with target("a", hosts[0], node_port):
        async with target("b", hosts[1], node_port):
            made = wanted(port, node_port)
            (ingress,) = await balancers.ensure(made, nodes(*hosts))
            assert ingress.mode == "Proxy"
            assert {await answer(ingress.ip, port) for _ in range(8)} == {"a", "b"}
            # Once more changes nothing, and fewer nodes are fewer answers.
            assert await balancers.ensure(made, nodes(*hosts)) == (ingress,)
            await balancers.ensure(made, nodes(hosts[1]))
            assert {await answer(ingress.ip, port) for _ in range(4)} == {"b"}
            await balancers.ensure(made, nodes(*hosts))
        assert {await answer(ingress.ip, port) for _ in range(8)} == {"a"}
    # Where no node answers the check, nobody listens any more; and again once one does.
    seen: list[str] = []

    async def becomes(expected: str) -> None:
        async def look() -> None:
            while not seen or seen[-1] != expected:
                seen.append(await answer(ingress.ip, port))
                await asyncio.sleep(0.02)

        async with asyncio.timeout(60):
            await look()

    await becomes("ConnectionRefusedError")
    async with target("a", hosts[0], node_port):
        await becomes("a")
    await balancers.delete(made)
    assert await answer(ingress.ip, port) == "ConnectionRefusedError"
    await balancers.delete(made)


async def test_a_port_that_cannot_be_had_is_told_of(balancers: LocalLoadBalancers) -> None:
    port, node_port = free_port(), free_port()
    made = wanted(port, node_port, loadBalancerIP="127.126.48.77")
    async with target("other", "127.126.48.77", port):
        with pytest.raises(CloudError, match=f"cannot listen on 127.126.48.77:{port}/TCP: "):
            await balancers.ensure(made, nodes("127.126.1.3"))
    (ingress,) = await balancers.ensure(made, nodes("127.126.1.3"))
    assert ingress.ip == "127.126.48.77"


async def test_only_networks_that_may_connect_do(balancers: LocalLoadBalancers) -> None:
    port, node_port = free_port(), free_port()
    async with target("a", "127.126.1.4", node_port):
        made = wanted(port, node_port, loadBalancerSourceRanges=["127.0.0.0/8"])
        (ingress,) = await balancers.ensure(made, nodes("127.126.1.4"))
        assert await answer(ingress.ip, port) == "a"
        made = wanted(port, node_port, loadBalancerSourceRanges=["10.0.0.0/8"])
        await balancers.ensure(made, nodes("127.126.1.4"))
        assert await answer(ingress.ip, port) != "a"


async def test_an_address_is_the_same_after_a_restart(tmp_path: Path) -> None:
    file = AddressFile(tmp_path / "file.json")
    found = []
    for _ in range(2):
        made = LocalLoadBalancers(NETWORK, file, SystemClock())
        found.append(await made.ensure(wanted(free_port(), 1), []))
    assert found[0] == found[1]


@pytest.mark.parametrize(("status", "expected"), [("200 OK", True), ("503 No", False)])
async def test_a_nodes_health_port_is_asked(status: str, expected: bool) -> None:
    port = free_port()

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        assert (await reader.readline()).startswith(b"GET /healthz ")
        writer.write(f"HTTP/1.1 {status}\r\n\r\n".encode())
        writer.close()

    server = await asyncio.start_server(serve, "127.0.0.1", port)
    assert await answers(HealthTarget("127.0.0.1", port, http=True)) is expected
    server.close()


async def test_a_target_is_ill_after_two_failures_and_well_after_one_success() -> None:
    health = TargetHealth(SystemClock())
    port = free_port()
    asked = HealthTarget("127.126.1.5", port)
    changes = [await health.check([asked]) for _ in range(3)]
    assert changes == [False, True, False]
    assert health.has_failures
    assert not health.is_healthy(asked)
    async with target("a", asked.address, port):
        assert await health.check([asked])
    assert health.is_healthy(asked)
    assert not health.has_failures

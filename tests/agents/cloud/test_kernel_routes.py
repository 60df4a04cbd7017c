"""Routes of a real kernel: Pods of two nodes, each a machine of its own, behind a router."""

from __future__ import annotations

import asyncio
import contextlib
import json
import socket
from collections.abc import AsyncIterator, Iterator
from functools import partial
from typing import Self

import pytest

from agents.cloud.local.kernel_routes import PROTOCOL, IpProgram, KernelRoutes
from agents.cloud.provider import CloudError, Route
from agents.cloud.route_controller import RouteController
from kubraft.api.conditions import conditions_of, find_condition
from kubraft.api.gvk import EVENT, NODE
from kubraft.api.networks import cluster_networks
from kubraft.api.object import Object
from kubraft.api.time import SystemClock
from kubraft.client.client import ApiClient
from kubraft.client.events import EventRecorder
from kubraft.client.informer import Informer
from tests.e2e.cluster import until_async
from tests.harness.api import ApiUnderTest, running_api
from tests.harness.network import Machine, connect, join, missing

pytestmark = [
    pytest.mark.e2e,
    pytest.mark.skipif(bool(missing()), reason=f"no machines: {missing()}"),
    pytest.mark.xdist_group("cloud-routes"),
]

PORT = 8080
WITHIN_S = 30.0
ONE, TWO = "10.244.1.0/24", "10.244.2.0/24"
FOREIGN = "10.244.77.0/24"  # in the cluster's range, of somebody else


class Network:
    """router 10.9.N.1 --- 10.9.N.2 node N, which has the Pods' range 10.244.N.0/24."""

    def __init__(self) -> None:
        self._machines = contextlib.ExitStack()
        self.router = self._machines.enter_context(Machine())
        self.nodes = {n: self._machines.enter_context(Machine()) for n in (1, 2)}
        self.routes = KernelRoutes(IpProgram((*self.router.enter, "ip")))

    def __enter__(self) -> Self:
        self.router.sysctl("net.ipv4.ip_forward", 1)
        for number, node in self.nodes.items():
            join(self.router, f"10.9.{number}.1/24", node, f"10.9.{number}.2/24")
            node.run("ip", "route", "add", "default", "via", f"10.9.{number}.1")
            node.run("ip", "address", "add", f"10.244.{number}.5/24", "dev", "lo")
        return self

    def __exit__(self, *_: object) -> None:
        self._machines.close()

    def shown(self) -> set[tuple[str, str]]:
        """All routes of the router that have a gateway."""
        out = self.router.run("ip", "-json", "-4", "route", "show")
        return {(each["dst"], each["gateway"]) for each in json.loads(out) if "gateway" in each}

    async def heard(self, timeout_s: float = WITHIN_S) -> str:
        """What a Pod of node 2 sees of one of node 1 that connects to it."""
        with self.nodes[2].socket() as server, self.nodes[1].socket() as client:
            server.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            server.bind(("10.244.2.5", PORT))
            server.listen(1)
            client.bind(("10.244.1.5", 0))
            await connect(client, "10.244.2.5", PORT, timeout_s)
            loop = asyncio.get_running_loop()
            async with asyncio.timeout(timeout_s):
                accepted, peer = await loop.sock_accept(server)
            accepted.close()
            return str(peer[0])

    async def is_cut(self) -> bool:
        try:
            await self.heard(timeout_s=0.3)
        except OSError:  # silence, or the router says that it knows no such network
            return True
        return False


@pytest.fixture
def network() -> Iterator[Network]:
    with Network() as made:
        yield made


def route(cidr: str, *addresses: str) -> Route:
    return Route("a", cidr, tuple(("InternalIP", each) for each in addresses))


async def test_packets_go_where_routes_lead(network: Network) -> None:
    assert await network.is_cut()
    wanted = (route(ONE, "10.9.1.2"), route(TWO, "127.0.0.1", "10.9.2.2"))
    for _ in range(2):  # whatever is there already is left so
        for each in wanted:
            await network.routes.create(each)
    found = (Route("", ONE, gateway="10.9.1.2"), Route("", TWO, gateway="10.9.2.2"))
    assert await network.routes.list() == found
    assert await network.heard() == "10.244.1.5"
    for _ in range(2):
        await network.routes.delete(found[1])
    assert await network.routes.list() == found[:1]
    assert await network.is_cut()


async def test_routes_of_others_are_not_seen(network: Network) -> None:
    network.router.run("ip", "route", "add", ONE, "via", "10.9.2.2", "proto", "static")
    assert await network.routes.list() == ()
    with pytest.raises(CloudError, match="File exists"):
        await network.routes.create(route(ONE, "10.9.1.2"))
    await network.routes.delete(Route("", ONE, gateway="10.9.2.2"))
    assert network.shown() == {(ONE, "10.9.2.2")}


@pytest.mark.parametrize(
    ("wanted", "said"),
    [
        (route(ONE), "no IPv4 address"),
        (route(ONE, "127.0.0.1"), "no IPv4 address"),
        (route("fd00::/64", "10.9.1.2"), "no IPv6 address"),
        (route("?", "10.9.1.2"), "no range"),
        (route(ONE, "192.0.2.1"), "Nexthop|unreachable"),
    ],
)
async def test_why_there_is_no_route(network: Network, wanted: Route, said: str) -> None:
    with pytest.raises(CloudError, match=said):
        await network.routes.create(wanted)


async def test_ipv6(network: Network) -> None:
    network.router.run("ip", "address", "add", "fd09::1/64", "dev", "lo", "nodad")
    cable = json.loads(network.router.run("ip", "-json", "route", "get", "10.9.1.2"))[0]["dev"]
    network.router.run("ip", "address", "add", "fd09:1::1/64", "dev", cable, "nodad")
    await network.routes.create(route("fd00:0:0:1::/64", "10.9.1.2", "fd09:1::2"))
    found = (Route("", "fd00:0:0:1::/64", gateway="fd09:1::2"),)
    assert await network.routes.list() == found
    await network.routes.delete(found[0])
    assert await network.routes.list() == ()


async def test_a_program_that_is_not_there() -> None:
    with pytest.raises(CloudError, match="no-such-ip cannot be run"):
        await KernelRoutes(IpProgram(("no-such-ip",))).list()


# The controller over that kernel and a real API server.


@pytest.fixture(scope="module")
def api(tmp_path_factory: pytest.TempPathFactory) -> Iterator[ApiUnderTest]:
    with running_api(tmp_path_factory.mktemp("routes")) as api:
        yield api


class Controlled:
    """The route controller; it can be killed and started."""

    def __init__(self, api: ApiUnderTest, network: Network) -> None:
        self._api, self._network = api, network
        self.admin = api.client("admin")
        self._task: asyncio.Task[None] | None = None

    def start(self) -> None:
        self._task = asyncio.ensure_future(self._run())

    async def kill(self) -> None:
        if self._task is not None:
            self._task.cancel()
            await asyncio.gather(self._task, return_exceptions=True)

    async def _run(self) -> None:
        client: ApiClient = self._api.client("cloud-controller-manager")
        clock = SystemClock()
        nodes, recorder = Informer(client, NODE), EventRecorder(client, "route_controller")
        controller = RouteController(
            client, nodes, self._network.routes, recorder, clock,
            ranges=cluster_networks("10.244.0.0/16"), period_s=0.5,
        )  # fmt: skip
        try:
            async with asyncio.TaskGroup() as group:
                group.create_task(nodes.run())
                await nodes.wait_synced()
                group.create_task(recorder.run())
                group.create_task(controller.run())
        finally:
            await client.close()

    async def node(self, number: int, cidr: str, address: str = "") -> str:
        name = f"node-{number}"
        addresses = [{"type": "InternalIP", "address": address or f"10.9.{number}.2"}]
        ready = {"type": "Ready", "status": "True"}
        made = {"apiVersion": "v1", "kind": "Node", "metadata": {"name": name}}
        await self.admin.create({**made, "spec": {"podCIDR": cidr, "podCIDRs": [cidr]}})
        status = {"addresses": addresses, "conditions": [ready]}
        await self.admin.patch(NODE, name, {"status": status}, subresource="status")
        return name

    async def until_condition(self, name: str, *wanted: str) -> None:
        async def look() -> bool:
            node: Object = await self.admin.get(NODE, name)
            assert find_condition(conditions_of(node), "Ready")
            found = find_condition(conditions_of(node), "NetworkUnavailable") or {}
            return tuple(found.get(key) for key in ("status", "reason", "message")) == wanted

        await until_async(look, f"{name}: {wanted}", timeout_s=WITHIN_S)

    async def until_shown(self, *routes: tuple[str, str]) -> None:
        async def look() -> bool:
            return self._network.shown() == set(routes)

        await until_async(look, f"routes {routes}", timeout_s=WITHIN_S)


@pytest.fixture
async def controlled(api: ApiUnderTest, network: Network) -> AsyncIterator[Controlled]:
    made = Controlled(api, network)
    made.start()
    yield made
    await made.kill()
    for each in (await made.admin.list(NODE)).items:
        await made.admin.delete(NODE, each["metadata"]["name"])
    await made.admin.close()


CREATED = ("False", "RouteCreated", "RouteController created a route")
FAILED = ("True", "NoRouteCreated", "RouteController failed to create a route")


async def test_routes_follow_the_nodes(controlled: Controlled, network: Network) -> None:
    network.router.run("ip", "route", "add", FOREIGN, "via", "10.9.1.2", "proto", "static")
    foreign = (FOREIGN, "10.9.1.2")
    one = await controlled.node(1, ONE)
    two = await controlled.node(2, TWO)
    for name in (one, two):
        await controlled.until_condition(name, *CREATED)
    await controlled.until_shown((ONE, "10.9.1.2"), (TWO, "10.9.2.2"), foreign)
    assert await network.heard() == "10.244.1.5"
    # One that somebody deletes comes back; one of ours that leads astray goes.
    network.router.run("ip", "route", "delete", ONE)
    network.router.run("ip", "route", "add", "10.244.9.0/24", "via", "10.9.1.2", "proto", PROTOCOL)
    await controlled.until_shown((ONE, "10.9.1.2"), (TWO, "10.9.2.2"), foreign)
    # What changes while it is dead is made up for; what did not change works all the time.
    await controlled.kill()
    await controlled.admin.delete(NODE, one)
    assert await network.heard() == "10.244.1.5"
    controlled.start()
    await controlled.until_shown((TWO, "10.9.2.2"), foreign)


async def test_a_node_that_moves(controlled: Controlled, network: Network) -> None:
    name = await controlled.node(1, ONE)
    await controlled.until_shown((ONE, "10.9.1.2"))
    addresses = [{"type": "InternalIP", "address": "10.9.1.3"}]
    await controlled.admin.patch(
        NODE, name, {"status": {"addresses": addresses}}, subresource="status"
    )
    await controlled.until_shown((ONE, "10.9.1.3"))


async def test_a_route_that_fails_is_told_of(controlled: Controlled, network: Network) -> None:
    network.router.run("ip", "route", "add", ONE, "via", "10.9.2.2", "proto", "static")
    name = await controlled.node(1, ONE)
    await controlled.until_condition(name, *FAILED)
    liar = await controlled.node(2, "0.0.0.0/0")
    await controlled.until_condition(liar, *FAILED)
    assert network.shown() == {(ONE, "10.9.2.2")}

    async def told(node: str, words: str) -> bool:
        return any(
            each["reason"] == "FailedToCreateRoute"
            and each["type"] == "Warning"
            and each["involvedObject"]["name"] == node
            and each["source"]["component"] == "route_controller"
            and words in each["message"]
            for each in (await controlled.admin.list(EVENT)).items
        )

    for node, words in ((name, f" {ONE} for node {name}"), (liar, "not within the cluster's")):
        await until_async(partial(told, node, words), words, timeout_s=WITHIN_S)
    # The way is free again.
    network.router.run("ip", "route", "delete", ONE)
    await controlled.until_condition(name, *CREATED)

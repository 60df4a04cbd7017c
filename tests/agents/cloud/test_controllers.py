"""The cloud's controllers beside a real API server, with a provider that says what it is asked."""

from __future__ import annotations

import asyncio
import itertools
from collections.abc import AsyncIterator, Callable, Iterator, Sequence

import pytest

from agents.cloud import node_plan, service_plan
from agents.cloud.node_controller import NodeController
from agents.cloud.provider import (
    CloudError,
    Ingress,
    InstanceMetadata,
    InstanceNotFoundError,
)
from agents.cloud.service_controller import ServiceController
from kubraft.api.errors import NotFoundError
from kubraft.api.gvk import EVENT, NODE, SERVICE
from kubraft.api.object import Object, key_of
from kubraft.api.time import SystemClock
from kubraft.client.client import ApiClient
from kubraft.client.events import EventRecorder
from kubraft.client.informer import Informer
from tests.agents.cloud.test_plans import WAITS
from tests.e2e.cluster import until_async
from tests.harness.api import ApiUnderTest, running_api

pytestmark = [pytest.mark.e2e, pytest.mark.xdist_group("cloud")]

_numbers = itertools.count()


class Cloud:
    """Machines and load balancers that are only remembered."""

    def __init__(self) -> None:
        self.machines: set[str] = set()
        self.off: set[str] = set()
        self.address = "192.0.2.1"
        self.balancers: dict[str, list[str]] = {}
        self.finalized: list[bool] = []
        self.failure = ""

    async def exists(self, node: Object) -> bool:
        return key_of(node).name in self.machines

    async def is_shut_down(self, node: Object) -> bool:
        return key_of(node).name in self.off

    async def metadata(self, node: Object) -> InstanceMetadata:
        name = key_of(node).name
        if name not in self.machines:
            raise InstanceNotFoundError(name)
        return InstanceMetadata(
            f"test://{name}", (("ExternalIP", self.address),), "big", "z1", "r1"
        )

    async def ensure(self, service: Object, nodes: Sequence[Object]) -> tuple[Ingress, ...]:
        if self.failure:
            raise CloudError(self.failure)
        self.finalized.append(service_plan.has_finalizer(service))
        name = key_of(service).name
        self.balancers[name] = [key_of(node).name for node in nodes]
        return (Ingress(ip="192.0.2.7"),)

    async def delete(self, service: Object) -> None:
        self.balancers.pop(key_of(service).name, None)


@pytest.fixture(scope="module")
def api(tmp_path_factory: pytest.TempPathFactory) -> Iterator[ApiUnderTest]:
    with running_api(tmp_path_factory.mktemp("cloud")) as api:
        yield api


class World:
    def __init__(self, client: ApiClient, cloud: Cloud) -> None:
        self.client, self.cloud = client, cloud

    async def service(self, **spec: object) -> Object:
        ports = [{"port": 80}]
        return await self.client.create(
            {
                "apiVersion": "v1",
                "kind": "Service",
                "metadata": {"name": f"web-{next(_numbers)}", "namespace": "default"},
                "spec": {"type": "LoadBalancer", "ports": ports, **spec},
            }
        )

    async def node(self, *taints: Object) -> str:
        name = f"machine-{next(_numbers)}"
        made = {"apiVersion": "v1", "kind": "Node", "metadata": {"name": name}}
        await self.client.create({**made, "spec": {"taints": list(taints)}})
        return name

    async def report(self, name: str, ready: str) -> None:
        conditions = [{"type": "Ready", "status": ready}]
        change = {"status": {"conditions": conditions}}
        await self.client.patch(NODE, name, change, subresource="status")

    async def events(self, obj: Object) -> list[str]:
        uid = obj["metadata"]["uid"]
        found = (await self.client.list(EVENT)).items
        return [each["reason"] for each in found if each["involvedObject"].get("uid") == uid]

    async def until_service(self, obj: Object, holds: Callable[[Object], object]) -> Object:
        key = key_of(obj)
        seen: list[Object] = []

        async def look() -> bool:
            seen.append(await self.client.get(SERVICE, key.name, key.namespace))
            return bool(holds(seen[-1]))

        await until_async(look, f"{key} as it should be", timeout_s=30)
        return seen[-1]

    async def until_node(self, name: str, holds: Callable[[Object], object]) -> Object:
        seen: list[Object] = []

        async def look() -> bool:
            seen.append(await self.client.get(NODE, name))
            return bool(holds(seen[-1]))

        await until_async(look, f"{name} as it should be", timeout_s=30)
        return seen[-1]


@pytest.fixture
async def world(api: ApiUnderTest) -> AsyncIterator[World]:
    admin, own, clock = api.client(), api.client("cloud-controller-manager"), SystemClock()
    cloud = Cloud()
    nodes, services = Informer(own, NODE), Informer(own, SERVICE)
    recorder = EventRecorder(own, "cloud", clock=clock)
    controllers = (
        NodeController(own, nodes, cloud, recorder, clock, monitor_s=0.2, addresses_s=0.2),
        ServiceController(own, services, nodes, cloud, recorder, clock=clock),
    )
    tasks = [asyncio.ensure_future(i.run()) for i in (nodes, services)]
    for informer in (nodes, services):
        await informer.wait_synced()
    tasks += [asyncio.ensure_future(each.run()) for each in (recorder, *controllers)]
    yield World(admin, cloud)
    for task in tasks:
        task.cancel()
    await asyncio.gather(*tasks, return_exceptions=True)
    for client in (admin, own):
        await client.close()


async def test_a_service_gets_an_address_and_gives_it_back(world: World) -> None:
    made = await world.service()
    found = await world.until_service(made, service_plan.ingress_of)
    assert service_plan.ingress_of(found) == [{"ip": "192.0.2.7", "ipMode": "VIP"}]
    assert found["metadata"]["finalizers"] == [service_plan.FINALIZER]
    assert set(world.cloud.finalized) == {True}  # never asked before it can be cleaned up

    async def told(*reasons: str) -> None:
        async def look() -> bool:
            return set(reasons) <= set(await world.events(made))

        await until_async(look, f"events {reasons}", timeout_s=30)

    await told("EnsuringLoadBalancer", "EnsuredLoadBalancer", "UnAvailableLoadBalancer")
    key = key_of(made)
    await world.client.delete(SERVICE, key.name, key.namespace)

    async def gone() -> bool:
        try:
            await world.client.get(SERVICE, key.name, key.namespace)
        except NotFoundError:
            return key.name not in world.cloud.balancers
        return False

    await until_async(gone, "the Service gone, and its balancer", timeout_s=30)
    await told("DeletingLoadBalancer", "DeletedLoadBalancer")


async def test_a_service_of_another_type_loses_its_load_balancer(world: World) -> None:
    made = await world.until_service(await world.service(), service_plan.ingress_of)
    key = key_of(made)
    await world.client.patch(SERVICE, key.name, {"spec": {"type": "ClusterIP"}}, key.namespace)
    found = await world.until_service(made, lambda each: not service_plan.has_finalizer(each))
    assert not service_plan.ingress_of(found)
    assert key.name not in world.cloud.balancers


async def test_a_class_of_load_balancers_is_somebody_elses(world: World) -> None:
    other = await world.service(loadBalancerClass="example.com/other")
    own = await world.service()
    await world.until_service(own, service_plan.ingress_of)
    found = await world.client.get(SERVICE, key_of(other).name, "default")
    assert not found["metadata"].get("finalizers")
    assert not service_plan.ingress_of(found)


async def test_a_failure_is_told_of(world: World) -> None:
    world.cloud.failure = "no more addresses"
    made = await world.service()

    async def told() -> bool:
        return "SyncLoadBalancerFailed" in await world.events(made)

    await until_async(told, "the failure", timeout_s=30)
    found = await world.client.get(SERVICE, key_of(made).name, "default")
    assert service_plan.has_finalizer(found)
    assert not service_plan.ingress_of(found)


async def test_load_balancers_follow_the_nodes(world: World) -> None:
    made = await world.until_service(await world.service(), service_plan.ingress_of)
    name = await world.node()
    await world.report(name, "True")

    def leads_to_it() -> bool:
        return name in world.cloud.balancers[key_of(made).name]

    async def leads() -> bool:
        return leads_to_it()

    async def leads_no_more() -> bool:
        return not leads_to_it()

    await until_async(leads, "the node behind the balancer", timeout_s=30)
    await world.client.delete(NODE, name)
    await until_async(leads_no_more, "the node gone from it", timeout_s=30)


async def test_a_new_node_is_told_what_it_is(world: World) -> None:
    name = f"machine-{next(_numbers)}"
    world.cloud.machines.add(name)
    spec = {"taints": [WAITS]}
    made = {"apiVersion": "v1", "kind": "Node", "metadata": {"name": name}, "spec": spec}
    await world.client.create(made)
    found = await world.until_node(name, lambda each: not node_plan.needs_metadata(each))
    assert found["spec"]["providerID"] == f"test://{name}"
    assert found["metadata"]["labels"]["topology.kubernetes.io/zone"] == "z1"
    assert found["status"]["addresses"] == [{"type": "ExternalIP", "address": "192.0.2.1"}]


async def test_addresses_are_asked_for_again(world: World) -> None:
    name = f"machine-{next(_numbers)}"
    world.cloud.machines.add(name)
    made = {"apiVersion": "v1", "kind": "Node", "metadata": {"name": name}}
    await world.client.create(made)
    await world.report(name, "True")
    await world.until_node(name, lambda each: _addresses(each) == ["192.0.2.1"])
    world.cloud.address = "192.0.2.2"
    await world.until_node(name, lambda each: _addresses(each) == ["192.0.2.2"])
    await world.client.delete(NODE, name)  # load balancers of other tests find no node ready


def _addresses(node: Object) -> list[str]:
    return [each["address"] for each in node["status"].get("addresses") or ()]


async def test_a_node_whose_machine_is_off_or_gone(world: World) -> None:
    name = f"machine-{next(_numbers)}"
    world.cloud.machines.add(name)
    made = {"apiVersion": "v1", "kind": "Node", "metadata": {"name": name}}
    await world.client.create(made)
    await world.until_node(name, node_plan.provider_id)
    world.cloud.off.add(name)
    await world.report(name, "Unknown")
    await world.until_node(name, lambda each: node_plan.has_taint(each, node_plan.SHUTDOWN))
    world.cloud.off.remove(name)
    await world.report(name, "True")
    await world.until_node(name, lambda each: not node_plan.has_taint(each, node_plan.SHUTDOWN))
    await world.report(name, "Unknown")
    world.cloud.machines.remove(name)

    async def gone() -> bool:
        return name not in {key_of(each).name for each in (await world.client.list(NODE)).items}

    await until_async(gone, "the Node deleted", timeout_s=30)
    # A Node that no machine of the provider's ever was behind is left alone.
    other = await world.node()
    await world.report(other, "Unknown")
    await asyncio.sleep(0.5)
    assert await world.client.get(NODE, other)

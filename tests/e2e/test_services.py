"""A Service of a real cluster, used while what is behind it comes, changes and goes."""

from __future__ import annotations

import asyncio
import os
import signal
from collections import Counter
from collections.abc import Awaitable, Callable

import pytest

from kubraft.api.gvk import DEPLOYMENT, SERVICE
from kubraft.api.object import Object, key_of
from tests.e2e.cluster import Cluster, Workload, until_async

pytestmark = [pytest.mark.e2e, pytest.mark.xdist_group("cluster")]

# Another port than the Pods', above those that need root.
PORT = 8000


async def get(address: str, port: int) -> str:
    """The version of the web server that answered, or how the request failed."""
    try:
        async with asyncio.timeout(10):
            reader, writer = await asyncio.open_connection(address, port)
            request = f"GET / HTTP/1.1\r\nHost: {address}\r\nConnection: close\r\n\r\n"
            try:
                writer.write(request.encode())
                answer = (await reader.read()).decode()
            finally:
                writer.close()
    except (OSError, TimeoutError) as error:
        return type(error).__name__
    found = [line.partition(": ")[2] for line in answer.splitlines() if line.startswith("version:")]
    return found[0] if found else f"no version in {answer!r}"


class Client:
    """Asks all the time, a new connection each time."""

    def __init__(self, address: str, port: int) -> None:
        self.answers: Counter[str] = Counter()
        self._address, self._port = address, port

    async def run(self) -> None:
        while True:
            self.answers[await get(self._address, self._port)] += 1
            await asyncio.sleep(0.002)


async def expose(workload: Workload, **spec: object) -> Object:
    """A Service of the workload that answers."""
    made = await workload.client.create(
        {
            "apiVersion": "v1",
            "kind": "Service",
            "metadata": {"name": "web", "namespace": workload.name},
            "spec": {
                "selector": {"app": workload.name},
                "ports": [{"port": PORT, "targetPort": 8080}],
                **spec,
            },
        }
    )
    await answers(made["spec"]["clusterIP"], PORT, "v1")
    return made


async def answers(address: str, port: int, expected: str) -> None:
    async def as_expected() -> bool:
        return await get(address, port) == expected

    await until_async(as_expected, f"{expected} from {address}:{port}", timeout_s=60)


async def roll_out(workload: Workload, version: str) -> None:
    """Begin a roll-out, and wait until only Pods of that version are there."""
    image = f"kubraft/web:{version}"
    container = {"name": "web", "image": image}
    deployment = await workload.client.get(DEPLOYMENT, workload.name, workload.name)
    template = deployment["spec"]["template"]
    template["spec"]["containers"][0] |= container
    patch = {"spec": {"template": template}}
    await workload.client.patch(DEPLOYMENT, workload.name, patch, workload.name)

    async def rolled_out() -> bool:
        pods = await workload.pods()
        return len(pods) == 3 and {p["spec"]["containers"][0]["image"] for p in pods} == {image}

    await until_async(rolled_out, f"{version} is out", timeout_s=60)


async def test_a_roll_out_under_load_fails_no_request(workload: Workload) -> None:
    # Longer than a slow machine takes to tell the proxy.
    await workload.create(replicas=3, lame_duck_s=5)
    made = await expose(workload, type="NodePort")
    address, node_port = made["spec"]["clusterIP"], made["spec"]["ports"][0]["nodePort"]
    client = Client(address, PORT)
    asking = asyncio.create_task(client.run())
    await roll_out(workload, "v2")
    await answers("127.0.0.1", node_port, "v2")
    await roll_out(workload, "v3")
    await answers(address, PORT, "v3")
    asking.cancel()
    await asyncio.gather(asking, return_exceptions=True)
    assert set(client.answers) == {"v1", "v2", "v3"}, client.answers


async def test_killed_agents_cost_no_request(cluster: Cluster, workload: Workload) -> None:
    """Neither nodes' agents nor API servers are between a client and a Pod."""
    await workload.create(replicas=2)
    made = await expose(workload)
    client = Client(made["spec"]["clusterIP"], PORT)
    asking = asyncio.create_task(client.run())
    killed = ["node-0", "apiserver-0"]

    def running() -> dict[str, int]:
        views = cluster.status()["processes"]
        return {view["name"]: view["pid"] for view in views if view["state"] == "running"}

    before = await asyncio.to_thread(running)
    for name in killed:
        os.kill(before[name], signal.SIGKILL)

    async def back() -> bool:
        now = await asyncio.to_thread(running)
        return all(now.get(name, before[name]) != before[name] for name in killed)

    await until_async(back, "all that was killed runs again", timeout_s=60)
    count = client.answers.total()
    await until_async(_more_than(client, count + 20), "requests go on", timeout_s=60)
    asking.cancel()
    await asyncio.gather(asking, return_exceptions=True)
    assert set(client.answers) == {"v1"}, client.answers


def _more_than(client: Client, count: int) -> Callable[[], Awaitable[bool]]:
    async def asked() -> bool:
        return client.answers.total() > count

    return asked


async def test_a_service_outlives_its_pods_and_the_proxy(
    cluster: Cluster, workload: Workload
) -> None:
    await workload.create(replicas=2)
    made = await expose(workload)
    address = made["spec"]["clusterIP"]
    await workload.scale(0)
    await answers(address, PORT, "ConnectionRefusedError")
    await workload.scale(1)
    await answers(address, PORT, "v1")
    await asyncio.to_thread(cluster.kubraft, "kill", "proxy-0")
    await answers(address, PORT, "ConnectionRefusedError")
    await asyncio.to_thread(cluster.kubraft, "start", "proxy-0")
    await answers(address, PORT, "v1")
    await workload.client.delete(SERVICE, key_of(made).name, workload.name)
    await answers(address, PORT, "ConnectionRefusedError")

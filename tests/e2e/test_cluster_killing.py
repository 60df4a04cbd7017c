"""Each process is killed while the cluster serves; it heals by itself or by `start`."""

from __future__ import annotations

import asyncio
import os
import signal
import time
from collections.abc import Awaitable, Callable
from pathlib import Path

import pytest

from kubraft.api.conditions import is_true
from kubraft.api.errors import ApiError
from kubraft.api.gvk import CONFIG_MAP, DEPLOYMENT, NODE, POD
from kubraft.client.client import ApiClient
from scripts.workload import WebClients, Writer, fetch
from tests.e2e.cluster import Cluster, Workload, until, until_async, web

pytestmark = [pytest.mark.e2e, pytest.mark.xdist_group("cluster")]


def config_map(name: str) -> dict[str, object]:
    metadata = {"name": name, "namespace": "default"}
    return {"apiVersion": "v1", "kind": "ConfigMap", "metadata": metadata}


@pytest.mark.parametrize("role", ["leader", "follower"])
async def test_a_member_is_killed_and_no_write_is_lost(
    cluster: Cluster, client: ApiClient, role: str
) -> None:
    member = next(m["name"] for m in cluster.status()["members"] if m["role"] == role)
    writer = Writer(client, "default", name=f"kill-{role}-{time.time_ns()}")
    writing = asyncio.create_task(writer.run())
    await until_async(_true(lambda: len(writer.acknowledged) > 10))
    since_s = time.monotonic()
    await asyncio.to_thread(cluster.kubraft, "kill", member)
    await until_async(_true(lambda: writer.acknowledged_since(since_s) > 20))
    gap_s = writer.longest_gap_s(since_s)
    await asyncio.to_thread(cluster.kubraft, "start", member)
    writing.cancel()
    assert gap_s < 3
    assert await writer.lost() == []


async def test_without_a_quorum_writes_fail_and_say_so(cluster: Cluster, client: ApiClient) -> None:
    await client.create(config_map(name := f"quorum-{time.time_ns()}"))
    for member in ("store-1", "store-2"):
        await asyncio.to_thread(cluster.kubraft, "kill", member)
    began_s = time.monotonic()
    with pytest.raises(ApiError) as caught:
        await client.create(config_map(name + "-lost"))
    assert time.monotonic() - began_s < 5
    assert "quorum" in str(caught.value)
    # The member that is left still reads, where staleness is allowed.
    read = await asyncio.to_thread(
        cluster.etcdctl, "get", f"/registry/configmaps/default/{name}", "--consistency=s"
    )
    assert name in read
    for member in ("store-1", "store-2"):
        await asyncio.to_thread(cluster.kubraft, "start", member)
    await until_async(lambda: client.create(config_map(name + "-after")))


async def test_all_members_are_killed_at_once(cluster: Cluster, client: ApiClient) -> None:
    await client.create(config_map(name := f"all-{time.time_ns()}"))
    before = [cluster.sigkill(f"store-{number}") for number in range(3)]
    await until_async(_true(lambda: _pids(cluster, before)))
    found = await until_async(lambda: client.get(CONFIG_MAP, name, "default"))
    assert found["metadata"]["name"] == name


def _pids(cluster: Cluster, before: list[int]) -> bool:
    now = [member["pid"] for member in cluster.status()["members"]]
    return all(now) and not set(now) & set(before)


async def test_the_apiserver_is_killed_and_heals(cluster: Cluster, client: ApiClient) -> None:
    name = f"apiserver-{time.time_ns()}"
    before = cluster.sigkill("apiserver-0")
    await until_async(lambda: client.create(config_map(name)), timeout_s=15)
    assert cluster.process("apiserver-0")["pid"] != before
    assert (await client.get(CONFIG_MAP, name, "default"))["metadata"]["name"] == name


async def test_the_scheduler_is_killed_and_pods_are_still_placed(
    cluster: Cluster, workload: Workload
) -> None:
    before = cluster.sigkill("scheduler-0")
    await workload.create(replicas=2)
    assert cluster.process("scheduler-0")["pid"] != before


async def test_the_controller_manager_is_killed_and_scaling_still_works(
    cluster: Cluster, workload: Workload
) -> None:
    await workload.create(replicas=1)
    before = cluster.sigkill("controller-manager-0")
    await workload.scale(3)
    await workload.until_ready(3)
    assert cluster.process("controller-manager-0")["pid"] != before


async def test_a_deleted_pod_is_replaced(workload: Workload) -> None:
    await workload.create(replicas=2)
    victim = (await workload.pods())[0]["metadata"]["name"]
    await workload.client.delete(POD, victim, workload.name, grace_period_s=1)

    async def replaced() -> bool:
        names = {pod["metadata"]["name"] for pod in await workload.pods()}
        return len(names) == 2 and victim not in names

    await until_async(replaced)


async def test_a_node_agent_is_killed_and_adopts_its_pods_again(
    cluster: Cluster, workload: Workload
) -> None:
    await workload.create(replicas=2)
    before = {pod["metadata"]["uid"]: containers(pod) for pod in await workload.pods()}
    pids = [cluster.sigkill(name) for name in ("node-0", "node-1")]
    for name, pid in zip(("node-0", "node-1"), pids, strict=True):
        until(lambda name=name, pid=pid: cluster.process(name)["pid"] not in {0, pid})  # type: ignore[misc]
    for pod in await workload.pods():
        assert (await fetch(pod["status"]["podIP"]))["pod"] == pod["metadata"]["name"]
    await workload.scale(3)
    pods = await workload.until_ready(3)
    after = {pod["metadata"]["uid"]: containers(pod) for pod in pods}
    assert {uid: after.get(uid) for uid in before} == before


def containers(pod: dict[str, object]) -> list[tuple[str, int]]:
    status = pod["status"]
    assert isinstance(status, dict)
    return [(c["containerID"], c["restartCount"]) for c in status["containerStatuses"]]


@pytest.mark.timeout(180)
async def test_a_dead_nodes_pods_come_up_elsewhere(cluster: Cluster, workload: Workload) -> None:
    await workload.create(replicas=3)
    node = max(pod["spec"]["nodeName"] for pod in await workload.pods())
    await asyncio.to_thread(cluster.kubraft, "kill", node)
    assert cluster.process(node.replace("node", "runtime"))["state"] == "killed"
    began_s = time.monotonic()

    async def elsewhere() -> bool:
        pods = await workload.pods()
        return len(pods) >= 3 and all(pod["spec"]["nodeName"] != node for pod in pods)

    await until_async(elsewhere, timeout_s=25)
    assert time.monotonic() - began_s < 20
    await asyncio.to_thread(cluster.kubraft, "start", node)

    async def ready() -> bool:
        return is_true(await workload.client.get(NODE, node), "Ready")

    await until_async(ready)


@pytest.mark.timeout(180)
async def test_a_rolling_update_loses_no_request(workload: Workload) -> None:
    await workload.create(replicas=3)
    clients = WebClients.of(workload.client, workload.name, f"app={workload.name}")
    load = asyncio.create_task(clients.run())
    await until_async(_true(lambda: clients.total > 20))
    change = web(workload.name, workload.name, replicas=3, version="v2")
    await workload.client.patch(DEPLOYMENT, workload.name, change, workload.name)
    await until_async(_true(lambda: clients.answered["v2"] > 100), timeout_s=90)

    async def only_v2() -> bool:
        pods = await workload.pods()
        images = {pod["spec"]["containers"][0]["image"] for pod in pods}
        return images == {"kubraft/web:v2"} and len(pods) == 3

    await until_async(only_v2, timeout_s=60)
    load.cancel()
    assert clients.failures == []


async def test_nothing_of_a_killed_cluster_stays_behind(tmp_path: Path) -> None:
    cluster = Cluster(tmp_path / "home")
    try:
        await asyncio.to_thread(cluster.kubraft, "up", "--members", "1", "--nodes", "1")
        client = cluster.client()
        try:
            workload = Workload(client, "left")
            await workload.create(replicas=2)
            addresses = [pod["status"]["podIP"] for pod in await workload.pods()]
        finally:
            await client.close()
        left = cluster.descendants()
        os.kill(cluster.status()["supervisor_pid"], signal.SIGKILL)
        await until_async(_true(lambda: not any(process.is_running() for process in left)))
        for address in addresses:
            with pytest.raises(OSError, match="Connect call failed"):
                await fetch(address)
    finally:
        cluster.end()


def _true(read: Callable[[], object]) -> Callable[[], Awaitable[bool]]:
    """`read` as a condition that does not hold up the loop."""

    async def condition() -> bool:
        return bool(await asyncio.to_thread(read))

    return condition

"""How fast Pods get their nodes on a whole cluster: `make bench-scheduler`.

Three store members, an API server and the scheduler share the machine. 1,000 Node objects (no
agents behind them) and 5,000 Pods are made while the scheduler is down; then it starts, and the
Pods that have a node are counted. Printed for each quarter, so that a rate that collapses as the
cluster fills would show; and what each process computed for a Pod, which says what a machine with
nothing else to do would reach.
"""

from __future__ import annotations

import argparse
import asyncio
import sys
import tempfile
import time
from collections.abc import Awaitable, Callable, Iterable
from pathlib import Path
from typing import Any, NamedTuple

import psutil
import uvloop

from kubraft.api.gvk import EVENT, POD
from kubraft.api.object import Object
from kubraft.api.pods import node_of
from kubraft.client.client import ApiClient
from tests.e2e.cluster import Cluster

NODES, PODS, OWNERS, QUARTERS = 1000, 5000, 20, 4
AT_ONCE = 64
NAMESPACE = "bench"
ZONE, HOST = "topology.kubernetes.io/zone", "kubernetes.io/hostname"
CORES = 2


class Quarter(NamedTuple):
    """What one quarter of the Pods took."""

    pods: int
    wall_s: float
    cpu_s: dict[str, float]  # by kind of process


def node(index: int) -> Object:
    name = f"node-{index}"
    amounts = {"cpu": "8", "memory": "32Gi", "pods": "110"}
    conditions = [{"type": "Ready", "status": "True", "reason": "KubeletReady", "message": ""}]
    return {
        "apiVersion": "v1",
        "kind": "Node",
        "metadata": {"name": name, "labels": {HOST: name, ZONE: f"zone-{index % 3}"}},
        "status": {"allocatable": amounts, "capacity": amounts, "conditions": conditions},
    }


def pod(index: int, mix: str) -> Object:
    app = f"app-{index % OWNERS}"
    container = {
        "name": "app",
        "image": "kubraft/web:1",
        "resources": {"requests": {"cpu": "500m", "memory": "512Mi"}},
    }
    spec: dict[str, Any] = {"containers": [container], "automountServiceAccountToken": False}
    selector = {"matchLabels": {"app": app}}
    kind = index % OWNERS % 4 if mix == "mixed" else 0
    if kind == 1:
        spec["topologySpreadConstraints"] = [
            {
                "maxSkew": 1,
                "topologyKey": ZONE,
                "whenUnsatisfiable": "DoNotSchedule",
                "labelSelector": selector,
            }
        ]
    elif kind == 2:
        required = [{"topologyKey": HOST, "labelSelector": selector}]
        spec["affinity"] = {
            "podAntiAffinity": {"requiredDuringSchedulingIgnoredDuringExecution": required}
        }
    elif kind == 3:
        term = {"topologyKey": ZONE, "labelSelector": selector}
        preferred = [{"weight": 10, "podAffinityTerm": term}]
        spec["affinity"] = {
            "podAffinity": {"preferredDuringSchedulingIgnoredDuringExecution": preferred}
        }
    owner = {"apiVersion": "apps/v1", "kind": "ReplicaSet", "name": app, "uid": app}
    metadata = {
        "name": f"p{index}",
        "namespace": NAMESPACE,
        "labels": {"app": app},
        "ownerReferences": [{**owner, "controller": True}],
    }
    return {"apiVersion": "v1", "kind": "Pod", "metadata": metadata, "spec": spec}


async def each(works: Iterable[Callable[[], Awaitable[object]]]) -> None:
    """Carry out all, some at once."""
    waiting = iter(list(works))

    async def worker() -> None:
        for work in waiting:
            await work()

    async with asyncio.TaskGroup() as group:
        for _ in range(AT_ONCE):
            group.create_task(worker())


async def add_node(client: ApiClient, index: int) -> None:
    wanted = node(index)
    created = await client.create(wanted)
    created["spec"].pop("taints", None)
    updated = await client.update(created)
    updated["status"] = wanted["status"]
    await client.update(updated, "status")


async def fill(client: ApiClient, mix: str, nodes: int, pods: int) -> None:
    await client.create({"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": NAMESPACE}})
    account = {"apiVersion": "v1", "kind": "ServiceAccount"}
    await client.create({**account, "metadata": {"name": "default", "namespace": NAMESPACE}})
    await each((lambda i=i: add_node(client, i)) for i in range(nodes))  # type: ignore[misc]
    await each((lambda i=i: client.create(pod(i, mix))) for i in range(pods))  # type: ignore[misc]


def processes(cluster: Cluster) -> dict[psutil.Process, str]:
    """What runs, and of which kind it is."""
    status = cluster.status()
    return {
        psutil.Process(view["pid"]): str(view["name"]).rpartition("-")[0]
        for view in (*status["members"], *status["processes"])
        if view["state"] == "running"
    }


def cpu_s(running: dict[psutil.Process, str]) -> dict[str, float]:
    """Seconds computed so far, by kind of process."""
    found: dict[str, float] = {}
    for process, kind in running.items():
        times = process.cpu_times()
        found[kind] = found.get(kind, 0) + times.user + times.system
    return found


async def follow(cluster: Cluster, client: ApiClient, pods: int) -> list[Quarter]:
    """Start the scheduler, and watch until all Pods have a node."""
    version = (await client.list(POD, NAMESPACE, limit=1)).resource_version
    watch = client.watch(POD, NAMESPACE, resource_version=version)
    await asyncio.to_thread(cluster.kubraft, "start", "scheduler-0")
    found: list[Quarter] = []
    placed: set[str] = set()
    running = await asyncio.to_thread(processes, cluster)
    began_s, cpu = time.monotonic(), cpu_s(running)
    step = pods // QUARTERS
    async for event in watch:
        if event.type != "MODIFIED" or not node_of(event.object):
            continue
        if not placed:
            began_s = time.monotonic()
        placed.add(event.object["metadata"]["name"])
        if len(placed) == step * (len(found) + 1):
            now_s, now = time.monotonic(), cpu_s(running)
            spent = {kind: now[kind] - cpu.get(kind, 0) for kind in now}
            found.append(Quarter(step, now_s - began_s, spent))
            began_s, cpu = now_s, now
            if len(found) == QUARTERS:
                break
    await watch.aclose()
    return found


def show(mix: str, quarters: list[Quarter]) -> None:
    write = sys.stdout.write
    write(f"{mix}: Pods bound a second, and ms computed for each\n")
    for index, quarter in enumerate(quarters, 1):
        spent = "  ".join(
            f"{kind} {1000 * seconds / quarter.pods:.2f}"
            for kind, seconds in sorted(quarter.cpu_s.items())
        )
        write(f"  quarter {index}: {quarter.pods / quarter.wall_s:6.0f}/s   {spent}\n")
    pods, wall_s = sum(q.pods for q in quarters), sum(q.wall_s for q in quarters)
    each_s = sum(sum(q.cpu_s.values()) for q in quarters) / pods
    write(
        f"  all: {pods / wall_s:.0f}/s; {1000 * each_s:.1f} ms computed for each, with which "
        f"{CORES} cores that do nothing else reach {CORES / each_s:.0f}/s\n"
    )
    sys.stdout.flush()


async def measure(mix: str, nodes: int, pods: int, record: str) -> None:
    with tempfile.TemporaryDirectory(prefix="kubraft-bench-") as temporary:
        cluster = Cluster(Path(temporary) / "home")
        try:
            await asyncio.to_thread(cluster.kubraft, "up", "--nodes=0")
            # Only the store and the API server run, so nobody acts on nodes that are silent.
            for view in (await asyncio.to_thread(cluster.status))["processes"]:
                if not str(view["name"]).startswith("apiserver"):
                    await asyncio.to_thread(cluster.kubraft, "kill", view["name"])
            client = cluster.client()
            await fill(client, mix, nodes, pods)
            recording = asyncio.ensure_future(record_stacks(cluster, record)) if record else None
            show(mix, await follow(cluster, client, pods))
            if recording:
                await recording
            events = (await client.list(EVENT, NAMESPACE)).items
            sys.stdout.write(f"  Events written by then: {len(events)}\n")
            await client.close()
        finally:
            await asyncio.to_thread(cluster.end)


async def record_stacks(cluster: Cluster, file: str) -> None:
    """Have py-spy sample the scheduler for some seconds."""
    while True:
        view = await asyncio.to_thread(cluster.process, "scheduler-0")
        if view["state"] == "running":
            break
        await asyncio.sleep(0.05)
    command = ("py-spy", "record", "-d", "8", "-r", "200", "-f", "raw", "-o", file)
    process = await asyncio.create_subprocess_exec(*command, "-p", str(view["pid"]))
    await process.wait()


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--nodes", type=int, default=NODES)
    parser.add_argument("--pods", type=int, default=PODS)
    parser.add_argument("--mix", choices=["plain", "mixed"], action="append")
    parser.add_argument("--record", default="", help="file for py-spy's samples of the scheduler")
    given = parser.parse_args()
    for mix in given.mix or ["plain", "mixed"]:
        uvloop.run(measure(mix, given.nodes, given.pods, given.record))


if __name__ == "__main__":
    main()

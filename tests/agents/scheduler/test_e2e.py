"""Real scheduler processes on a real API server: start, stop, kill, pause."""

import asyncio
import time
from collections.abc import AsyncIterator, Callable, Iterator, Sequence
from pathlib import Path
from typing import Any

import pytest

from kubraft.api.errors import NotFoundError
from kubraft.api.gvk import EVENT, LEASE, POD
from kubraft.api.object import Object, is_terminating
from kubraft.api.pods import node_of
from kubraft.client.client import ApiClient
from tests.harness.api import ApiUnderTest, ProcessUnderTest, running_api

pytestmark = pytest.mark.e2e

LEASE_FLAGS = [
    "--leader-elect-lease-duration=2s",
    "--leader-elect-renew-deadline=1500ms",
    "--leader-elect-retry-period=300ms",
]


@pytest.fixture
def api(tmp_path: Path) -> Iterator[ApiUnderTest]:
    with running_api(tmp_path) as running:
        yield running


@pytest.fixture
async def client(api: ApiUnderTest) -> AsyncIterator[ApiClient]:
    opened = api.client("admin")
    account = {"apiVersion": "v1", "kind": "ServiceAccount"}
    await opened.create({**account, "metadata": {"name": "default", "namespace": "default"}})
    yield opened
    await opened.close()


@pytest.fixture
def start(api: ApiUnderTest) -> Iterator[Callable[..., ProcessUnderTest]]:
    started: list[ProcessUnderTest] = []

    def start_one(name: str, lease_flags: Sequence[str] = LEASE_FLAGS) -> ProcessUnderTest:
        command = ["agents.scheduler", *api.agent_flags("scheduler"), *lease_flags]
        process = ProcessUnderTest(name, [*command, "--identity", name], api.folder)
        started.append(process)
        process.start()
        process.wait_ready()
        return process

    yield start_one
    for process in started:
        process.kill()


def node(name: str, cpu: str = "2") -> Object:
    amounts = {"cpu": cpu, "memory": "4Gi", "pods": "110"}
    conditions = [{"type": "Ready", "status": "True", "reason": "KubeletReady", "message": ""}]
    return {
        "apiVersion": "v1",
        "kind": "Node",
        "metadata": {"name": name, "labels": {"kubernetes.io/hostname": name}},
        "status": {"allocatable": amounts, "capacity": amounts, "conditions": conditions},
    }


def pod(name: str, cpu: str = "100m") -> Object:
    resources = {"requests": {"cpu": cpu}}
    spec = {"containers": [{"name": "c", "image": "kubraft/web:1", "resources": resources}]}
    metadata = {"name": name, "namespace": "default"}
    return {"apiVersion": "v1", "kind": "Pod", "metadata": metadata, "spec": spec}


async def add_node(client: ApiClient, name: str, cpu: str = "2") -> None:
    wanted = node(name, cpu)
    created = await client.create(wanted)
    taints = [t for t in created["spec"].get("taints", []) if "not-ready" not in t["key"]]
    created["spec"]["taints"] = taints
    updated = await client.update(created)
    updated["status"] = wanted["status"]
    await client.update(updated, "status")


async def until_on_node(client: ApiClient, name: str, within_s: float = 40) -> str:
    deadline_s = time.monotonic() + within_s
    while not (found := node_of(await client.get(POD, name, "default"))):
        assert time.monotonic() < deadline_s, f"{name} has no node after {within_s} s"
        await asyncio.sleep(0.02)
    return found


async def holder(client: ApiClient) -> str:
    try:
        lease = await client.get(LEASE, "kube-scheduler", "kube-system")
    except NotFoundError:
        return ""
    found: str = lease["spec"]["holderIdentity"]
    return found


async def test_pods_are_scheduled_and_the_process_stops_cleanly(
    client: ApiClient, start: Callable[..., ProcessUnderTest]
) -> None:
    scheduler = start("scheduler-0")
    await add_node(client, "node-0", cpu="1")
    await add_node(client, "node-1", cpu="1")
    for index in range(2):
        await client.create(pod(f"p{index}", cpu="600m"))
    found = {await until_on_node(client, f"p{index}") for index in range(2)}
    assert found == {"node-0", "node-1"}
    await client.create(pod("too-big", cpu="600m"))
    message = (
        "0/2 nodes are available: 2 Insufficient cpu. preemption: 0/2 nodes are available: "
        "2 No preemption victims found for incoming pod."
    )
    deadline_s = time.monotonic() + 40
    told: dict[str, Any] = {}
    while not told:
        assert time.monotonic() < deadline_s
        events = (await client.list(EVENT, "default")).items
        told = {e["reason"]: e["message"] for e in events if e["reason"] == "FailedScheduling"}
        stored = await client.get(POD, "too-big", "default")
        conditions = {c["type"]: c for c in stored["status"].get("conditions", [])}
        if conditions.get("PodScheduled", {}).get("message") != message:
            told = {}
    assert told["FailedScheduling"] == message
    assert scheduler.terminate() == 0
    assert await holder(client) == ""  # given back, so that the next one need not wait
    assert "Traceback" not in scheduler.log()


async def test_an_important_pod_takes_the_place_of_another(
    client: ApiClient, start: Callable[..., ProcessUnderTest]
) -> None:
    start("scheduler-0")
    await add_node(client, "node-0", cpu="1")
    low = await client.create(pod("low", cpu="800m"))
    await until_on_node(client, "low")
    important = {"apiVersion": "scheduling.k8s.io/v1", "kind": "PriorityClass", "value": 1000}
    await client.create({**important, "metadata": {"name": "important"}})
    wanted = pod("vip", cpu="800m")
    wanted["spec"]["priorityClassName"] = "important"
    await client.create(wanted)
    deadline_s = time.monotonic() + 40
    while not is_terminating(low):
        assert time.monotonic() < deadline_s
        await asyncio.sleep(0.05)
        low = await client.get(POD, "low", "default")
    conditions = {c["type"]: c.get("reason") for c in low["status"]["conditions"]}
    assert conditions["DisruptionTarget"] == "PreemptionByScheduler"
    while (await client.get(POD, "vip", "default"))["status"].get("nominatedNodeName") != "node-0":
        assert time.monotonic() < deadline_s
        await asyncio.sleep(0.05)
    await client.delete(POD, "low", "default", grace_period_s=0)  # as its node agent would
    await until_on_node(client, "vip", within_s=40)
    bound = await client.get(POD, "vip", "default")
    assert not bound["status"].get("nominatedNodeName")
    scheduled = next(c for c in bound["status"]["conditions"] if c["type"] == "PodScheduled")
    assert (scheduled["status"], scheduled.get("reason")) == ("True", None)


async def test_a_killed_scheduler_goes_on_where_it_was(
    client: ApiClient, start: Callable[..., ProcessUnderTest]
) -> None:
    first = start("scheduler-0")
    await add_node(client, "node-0", cpu="64")
    await client.create(pod("before"))
    await until_on_node(client, "before")
    first.kill()
    await client.create(pod("meanwhile"))
    start("scheduler-0")
    await until_on_node(client, "meanwhile", within_s=40)


async def test_another_replica_takes_over_from_one_that_is_paused(
    client: ApiClient, start: Callable[..., ProcessUnderTest]
) -> None:
    replicas = {name: start(name) for name in ("scheduler-0", "scheduler-1")}
    await add_node(client, "node-0", cpu="64")
    await client.create(pod("before"))
    await until_on_node(client, "before")
    paused = replicas[await holder(client)]
    paused.pause()
    await client.create(pod("meanwhile"))
    await until_on_node(client, "meanwhile", within_s=40)
    assert await holder(client) != paused.name
    paused.resume()
    # It finds that it has lost the Lease, and ends; the supervisor would start it again.
    deadline_s = time.monotonic() + 40
    while "event=failed" not in paused.log():
        assert time.monotonic() < deadline_s, paused.log()[-1000:]
        await asyncio.sleep(0.05)
    assert "the lease kube-system/kube-scheduler" in paused.log()
    assert "Traceback" not in paused.log()


async def test_a_killed_api_server_only_delays(
    api: ApiUnderTest, client: ApiClient, start: Callable[..., ProcessUnderTest]
) -> None:
    # With the Lease of a real cluster, which outlives an API server's restart.
    scheduler = start("scheduler-0", lease_flags=())
    await add_node(client, "node-0", cpu="64")
    api.kill()
    api.start()
    await asyncio.to_thread(api.wait_ready)
    await client.create(pod("after"))
    await until_on_node(client, "after", within_s=40)
    assert "Traceback" not in scheduler.log()


@pytest.mark.parametrize(
    ("flags", "cause"),
    [
        pytest.param(["--ca-file", "/nowhere/ca.crt"], "/nowhere/ca.crt", id="no such file"),
        pytest.param(["--cert-file", "x.crt"], "must be given together", id="no key"),
        pytest.param(
            ["--leader-elect-lease-duration", "1s"], "must be greater than", id="durations"
        ),
    ],
)
async def test_a_wrong_flag_is_one_clear_line_and_status_1(flags: list[str], cause: str) -> None:
    import sys

    process = await asyncio.create_subprocess_exec(
        *(sys.executable, "-m", "agents.scheduler", "--server", "127.0.0.1:1", *flags),
        stderr=asyncio.subprocess.PIPE,
    )
    _, stderr = await asyncio.wait_for(process.communicate(), 20)
    lines = stderr.decode().splitlines()
    assert process.returncode == 1
    assert len(lines) == 1
    assert cause in lines[0]

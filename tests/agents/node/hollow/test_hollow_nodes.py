"""Hollow nodes as a process, beside a real API server on a real store."""

from __future__ import annotations

import asyncio
import contextlib
import time
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator
from pathlib import Path

import pytest

from agents.node.hollow.behaviour import PREFIX
from kubraft.api.conditions import conditions_of, find_condition
from kubraft.api.errors import NotFoundError
from kubraft.api.gvk import EVENT, LEASE, NODE, POD
from kubraft.api.hollow import LABEL
from kubraft.api.object import Object
from kubraft.api.pods import is_pod_ready, phase_of
from kubraft.client.client import ApiClient
from tests.harness.api import ApiUnderTest, ProcessUnderTest, running_api
from tests.harness.ports import free_port

pytestmark = pytest.mark.e2e
COUNT = 40


class Hollow:
    """The process, and a client that makes Pods on its nodes."""

    def __init__(self, api: ApiUnderTest, folder: Path) -> None:
        files = {name: api.pki / f"hollow-nodes-server.{name}" for name in ("crt", "key")}
        command = [
            "agents.node.hollow",
            *(f"--nodes={COUNT}", *api.agent_flags("hollow-nodes"), f"--root-dir={folder}"),
            *(f"--tls-cert-file={files['crt']}", f"--tls-private-key-file={files['key']}"),
            *(f"--client-ca-file={api.pki / 'ca.crt'}", f"--port={free_port()}"),
            *("--node-lease-duration=8s", "--restart-backoff-base=500ms", "--event-qps=1000"),
        ]
        self.process = ProcessUnderTest("hollow", command, folder)
        self.client: ApiClient = api.client("admin")

    async def start(self) -> None:
        self.process.start()
        await asyncio.to_thread(self.process.wait_ready)

    async def run(self, name: str, node: int = 0, policy: str = "Always", **said: str) -> None:
        annotations = {f"{PREFIX}{key.replace('_', '-')}": text for key, text in said.items()}
        metadata = {"name": name, "namespace": "default", "annotations": annotations}
        probe = {"httpGet": {"port": 80}}
        container = {"name": "main", "image": "any/image:1", "readinessProbe": probe}
        spec = {"nodeName": f"hollow-node-{node}", "restartPolicy": policy}
        await self.client.create(
            {
                "apiVersion": "v1",
                "kind": "Pod",
                "metadata": metadata,
                "spec": {**spec, "automountServiceAccountToken": False, "containers": [container]},
            }
        )

    async def until(self, name: str, condition: Callable[[Object], object]) -> Object:
        found: Object = {}

        async def look() -> bool:
            nonlocal found
            found = await self.client.get(POD, name, "default")
            return bool(condition(found))

        await until(look)
        return found

    async def gone(self, name: str) -> bool:
        with contextlib.suppress(NotFoundError):
            await self.client.get(POD, name, "default")
            return False
        return True


async def until(condition: Callable[[], Awaitable[bool]], timeout_s: float = 40.0) -> None:
    deadline_s = time.monotonic() + timeout_s
    while not await condition():
        assert time.monotonic() < deadline_s, "the condition did not come true in time"
        await asyncio.sleep(0.05)


@pytest.fixture(scope="module")
def api(tmp_path_factory: pytest.TempPathFactory) -> Iterator[ApiUnderTest]:
    with running_api(
        tmp_path_factory.mktemp("api"), "--disable-admission-plugins=ServiceAccount"
    ) as api:
        yield api


@pytest.fixture
async def hollow(api: ApiUnderTest, tmp_path: Path) -> AsyncIterator[Hollow]:
    nodes = Hollow(api, tmp_path)
    try:
        await nodes.start()
        yield nodes
        for pod in (await nodes.client.list(POD, "default")).items:
            name = pod["metadata"]["name"]
            await nodes.client.delete(POD, name, "default", grace_period_s=0)
    finally:
        nodes.process.kill()
        await nodes.client.close()


async def test_every_node_is_there_and_renews_its_lease(hollow: Hollow) -> None:
    nodes = (await hollow.client.list(NODE, label_selector=f"{LABEL}=true")).items
    assert {node["metadata"]["name"] for node in nodes} == {
        f"hollow-node-{number}" for number in range(COUNT)
    }
    for node in nodes:
        ready = find_condition(conditions_of(node), "Ready")
        assert ready is not None
        assert ready["status"] == "True"
        assert node["spec"]["taints"] == [{"key": LABEL, "value": "true", "effect": "NoSchedule"}]
        assert node["status"]["allocatable"]["cpu"] == "32"
    assert len({node["spec"]["podCIDR"] for node in nodes}) == COUNT

    async def renewed() -> dict[str, str]:
        leases = (await hollow.client.list(LEASE, "kube-node-lease")).items
        return {lease["metadata"]["name"]: lease["spec"]["renewTime"] for lease in leases}

    before = await renewed()
    assert len(before) == COUNT

    async def all_renewed() -> bool:
        now = await renewed()
        return all(now[name] > before[name] for name in before)

    await until(all_renewed)


async def test_a_pod_seems_to_run_has_a_log_and_goes(hollow: Hollow) -> None:
    await hollow.run("web", 3)
    pod = await hollow.until("web", is_pod_ready)
    assert pod["status"]["podIP"].startswith("10.128.3.")
    assert pod["status"]["containerStatuses"][0]["containerID"].startswith("hollow://")
    chunks = [chunk async for chunk in hollow.client.logs("web", "default")]
    assert b"".join(chunks) == (
        b"hollow container main of node hollow-node-3 began: no program runs in it\n"
    )

    async def told() -> bool:
        events = await hollow.client.list(
            EVENT, "default", field_selector="involvedObject.name=web"
        )
        return {"Pulled", "Created", "Started"} <= {event["reason"] for event in events.items}

    await until(told)
    await hollow.client.delete(POD, "web", "default")
    await until(lambda: hollow.gone("web"))


async def test_stages_take_as_long_as_annotations_say(hollow: Hollow) -> None:
    await hollow.run("slow", ready_after="never")
    await hollow.run("waits", start_after="1h")
    await hollow.run("done", policy="Never", run_for="100ms")
    await hollow.run("fails", policy="Never", run_for="100ms", exit_code="7")
    await hollow.run("crashes", run_for="100ms", exit_code="1")
    await hollow.run("stubborn", stop_after="1h")
    slow = await hollow.until("slow", lambda pod: phase_of(pod) == "Running")
    assert not is_pod_ready(slow)
    waits = await hollow.until("waits", lambda pod: (pod.get("status") or {}).get("podIP"))
    assert phase_of(waits) == "Pending"
    assert "waiting" in waits["status"]["containerStatuses"][0]["state"]
    await hollow.until("done", lambda pod: phase_of(pod) == "Succeeded")
    failed = await hollow.until("fails", lambda pod: phase_of(pod) == "Failed")
    assert failed["status"]["containerStatuses"][0]["state"]["terminated"]["exitCode"] == 7
    await hollow.until("crashes", lambda p: p["status"]["containerStatuses"][0]["restartCount"] > 1)
    await hollow.until("stubborn", is_pod_ready)
    await hollow.client.delete(POD, "stubborn", "default", grace_period_s=1)
    await until(lambda: hollow.gone("stubborn"))


async def test_a_restarted_process_takes_its_pods_over_as_they_were(hollow: Hollow) -> None:
    await hollow.run("kept", 1)
    before = await hollow.until("kept", is_pod_ready)
    hollow.process.kill()
    await hollow.start()
    await hollow.run("next", 1)
    after = await hollow.until("next", is_pod_ready)
    kept = await hollow.client.get(POD, "kept", "default")
    assert kept["status"] == before["status"]
    assert after["status"]["podIP"] != kept["status"]["podIP"]
    await hollow.client.delete(POD, "kept", "default")
    await until(lambda: hollow.gone("kept"))


async def test_a_deleted_node_stays_away_until_somebody_makes_it(hollow: Hollow) -> None:
    await hollow.client.delete(NODE, "hollow-node-9")
    await hollow.run("later", 9)
    await asyncio.sleep(1.0)
    with pytest.raises(NotFoundError):
        await hollow.client.get(NODE, "hollow-node-9")
    metadata = {"name": "hollow-node-9", "labels": {LABEL: "true"}}
    await hollow.client.create({"apiVersion": "v1", "kind": "Node", "metadata": metadata})
    await hollow.until("later", is_pod_ready)

    async def is_ready() -> bool:
        node = await hollow.client.get(NODE, "hollow-node-9")
        ready = find_condition(conditions_of(node), "Ready")
        return ready is not None and ready["status"] == "True"

    await until(is_ready)
    # The next process registers it as it does all.
    await hollow.client.delete(NODE, "hollow-node-9")

"""Managers, the API server and the store are killed, paused and stopped."""

from __future__ import annotations

import asyncio
from contextlib import suppress
from random import Random

import pytest

from kubraft.api.errors import NotFoundError, ServiceUnavailableError
from kubraft.api.gvk import (
    LEASE,
    NODE,
    POD,
)
from kubraft.api.object import Object, key_of, uid_of
from kubraft.client.client import ApiClient
from tests.agents.controllers.cluster import cluster_of
from tests.agents.controllers.processes import ControlPlane, Manager
from tests.harness.eventually import eventually

pytestmark = [pytest.mark.e2e, pytest.mark.xdist_group("controllers")]


async def test_a_kill_in_the_middle_of_a_roll_out_loses_nothing(
    plane: ControlPlane, manager: Manager
) -> None:
    second = plane.start_manager("second")
    second.wait_for("event=ready")
    async with cluster_of(plane) as cluster:
        slow = {"rollingUpdate": {"maxSurge": 1, "maxUnavailable": 0}}
        await cluster.deploy(replicas=6, strategy=slow)
        await eventually(lambda: cluster.is_done(6), timeout_s=20)
        created: set[str] = set()

        def count(old: Object | None, new: Object | None) -> None:
            if (
                old is None
                and new is not None
                and new["metadata"]["namespace"] == cluster.namespace
            ):
                created.add(uid_of(new))

        cluster.informers[POD].add_handler(count)
        await cluster.set_image("web:2")
        await eventually(lambda: "web:2" in cluster.images())
        manager.kill()
        assert "web:1" in cluster.images()
        await eventually(
            lambda: cluster.is_done(6) and cluster.images() == ["web:2"] * 6, timeout_s=30
        )
        assert await _holder(cluster.client) == "second"
        assert len(created) == 12  # six old, six new, none twice
        await eventually(lambda: len(cluster.of(POD)) == 6)


async def _holder(client: ApiClient) -> str:
    lease = await client.get(LEASE, "kube-controller-manager", "kube-system")
    return str(lease["spec"]["holderIdentity"])


async def test_a_manager_that_was_stopped_does_not_act_beside_its_successor(
    plane: ControlPlane, manager: Manager
) -> None:
    second = plane.start_manager("second")
    second.wait_for("event=ready")
    async with cluster_of(plane) as cluster:
        await cluster.deploy(replicas=3)
        await eventually(lambda: cluster.is_done(3), timeout_s=20)
        manager.pause()
        await cluster.patch_spec({"replicas": 8})
        await eventually(lambda: cluster.is_done(8), timeout_s=30)
        assert await _holder(cluster.client) == "second"
        names = {key_of(pod).name for pod in cluster.of(POD)}
        manager.resume()
        await eventually(lambda: "event=leadership_lost" in manager.log())
        assert {key_of(pod).name for pod in cluster.of(POD)} == names
        assert cluster.ready_status(cluster.nodes[0]) == "True"


async def test_a_storm_of_kills_ends_with_what_was_declared(
    plane: ControlPlane, manager: Manager
) -> None:
    rng = Random(7)
    managers = [manager, plane.start_manager("second")]
    async with cluster_of(plane, node_count=2) as cluster:
        bounds = {"rollingUpdate": {"maxSurge": 1, "maxUnavailable": 1}}
        await cluster.deploy(replicas=4, strategy=bounds)
        await eventually(lambda: cluster.is_done(4), timeout_s=20)
        most = 0

        def count(_old: Object | None, _new: Object | None) -> None:
            nonlocal most
            most = max(most, len(cluster.alive()))

        cluster.informers[POD].add_handler(count)
        for round_ in range(6):
            await cluster.set_image(f"web:{round_ + 2}")
            await asyncio.sleep(rng.uniform(0.05, 0.6))
            victim = rng.randrange(2)
            if rng.random() < 0.7:
                managers[victim].kill()
                managers[victim] = plane.start_manager(f"round-{round_}")
            else:
                managers[victim].pause()
                await asyncio.sleep(rng.uniform(0.5, 2))
                managers[victim].resume()
        await eventually(
            lambda: cluster.is_done(4) and cluster.images() == ["web:7"] * 4, timeout_s=40
        )
        await eventually(lambda: len(cluster.of(POD)) == 4)
        assert most <= 5


@pytest.mark.parametrize("outage", ["the store hangs", "the API server is killed"])
async def test_an_outage_declares_no_node_lost_and_the_work_goes_on(
    plane: ControlPlane, manager: Manager, outage: str
) -> None:
    async with cluster_of(plane, node_count=2) as cluster:
        await cluster.deploy(replicas=2)
        await eventually(lambda: cluster.is_done(2), timeout_s=20)
        names = {key_of(pod).name for pod in cluster.of(POD)}
        lost: list[str] = []

        def on_node(_old: Object | None, new: Object | None) -> None:
            if new is not None and cluster.ready_status(key_of(new).name) != "True":
                lost.append(key_of(new).name)

        await eventually(
            lambda: all(cluster.ready_status(node) == "True" for node in cluster.nodes)
        )
        cluster.informers[NODE].add_handler(on_node)
        # Longer than a node's grace period and than the manager's Lease.
        if outage == "the store hangs":
            plane.etcd().suspend()
            await asyncio.sleep(6)
            plane.etcd().resume()
        else:
            plane.api.kill()
            await asyncio.sleep(6)
            plane.api.start()
            await asyncio.to_thread(plane.api.wait_ready)
        await asyncio.sleep(2)
        deadline = asyncio.get_running_loop().time() + 20
        while True:
            try:
                await cluster.patch_spec({"replicas": 4})
                break
            except ServiceUnavailableError:
                assert asyncio.get_running_loop().time() < deadline
        await eventually(lambda: cluster.is_done(4), timeout_s=30)
        assert not lost
        assert names <= {key_of(pod).name for pod in cluster.alive()}


async def test_a_manager_at_rest_uses_next_to_no_processor(
    plane: ControlPlane, manager: Manager
) -> None:
    async with cluster_of(plane) as cluster:
        await cluster.deploy(replicas=3)
        await eventually(lambda: cluster.is_done(3), timeout_s=20)
        await asyncio.sleep(1)
        before = manager.cpu_s()
        await asyncio.sleep(5)
        share = (manager.cpu_s() - before) / 5
        assert share < 0.05, f"{share:.1%} of a core"


async def test_a_manager_ends_cleanly_and_gives_its_lease_back(plane: ControlPlane) -> None:
    plane.kill_managers()
    client = plane.api.client()
    with suppress(NotFoundError):  # what the dead managers left
        await client.delete(LEASE, "kube-controller-manager", "kube-system")
    await client.close()
    await asyncio.to_thread(_hand_over, plane)


def _hand_over(plane: ControlPlane) -> None:
    # So long that no stall of the machine loses the Lease, and no wait for its end is short enough.
    patient = (
        "--leader-elect-lease-duration=90s",
        "--leader-elect-renew-deadline=60s",
        "--leader-elect-retry-period=500ms",
    )
    manager = plane.start_manager("leaving", *patient)
    manager.wait_for("event=leading")
    assert manager.terminate() == 0
    assert "event=released" in manager.log()
    assert "Traceback" not in manager.log()
    again = plane.start_manager("next", *patient)
    again.wait_for("event=leading", timeout_s=60)  # less than the Lease would have lasted
    assert again.terminate() == 0


@pytest.mark.parametrize(
    ("flags", "told"),
    [
        (["--node-monitor-grace-period=400ms"], "--node-monitor-grace-period must be longer"),
        (["--concurrent-gc-syncs=0"], "--concurrent-gc-syncs must be at least 1"),
        (["--root-ca-file=/nowhere/ca.crt"], "/nowhere/ca.crt"),
    ],
)
def test_a_wrong_flag_is_one_clear_line(plane: ControlPlane, flags: list[str], told: str) -> None:
    wrong = plane.start_manager("wrong", *flags)
    assert wrong.wait_end() == 1
    assert told in wrong.log()
    assert "Traceback" not in wrong.log()

"""The control loops against the real API server on a real etcd."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import AsyncIterator, Iterator
from dataclasses import dataclass
from typing import Any

import pytest

from kubraft.api.conditions import conditions_of, find_condition
from kubraft.api.errors import NotFoundError, ServiceUnavailableError
from kubraft.api.gvk import (
    CONFIG_MAP,
    DEPLOYMENT,
    EVENT,
    LEASE,
    NAMESPACE,
    NODE,
    POD,
    REPLICA_SET,
    RESOURCE_QUOTA,
    SERVICE_ACCOUNT,
    GroupVersionKind,
)
from kubraft.api.object import Object, ObjectKey, is_terminating, key_of, uid_of
from kubraft.api.pods import is_pod_ready, node_of
from kubraft.client.client import ApiClient
from kubraft.client.informer import Informer
from tests.agents.controllers.hollow_node import HollowNode, bind_pods, running
from tests.agents.controllers.processes import ControlPlane, Manager, control_plane
from tests.harness.eventually import eventually

pytestmark = [pytest.mark.e2e, pytest.mark.xdist_group("controllers")]


@pytest.fixture(scope="module")
def plane(tmp_path_factory: pytest.TempPathFactory) -> Iterator[ControlPlane]:
    with control_plane(tmp_path_factory.mktemp("plane")) as started:
        yield started


@pytest.fixture
def manager(plane: ControlPlane) -> Manager:
    """The manager that tests share and the only one; made anew where a test has ended it."""
    shared = plane.shared_manager
    plane.kill_managers(but=shared)
    if shared is None or not shared.is_running:
        shared = plane.shared_manager = plane.start_manager("manager")
        shared.wait_for("event=leading")
    shared.resume()
    return shared


@dataclass
class Cluster:
    """What a test looks at: a namespace of its own, and caches of what is in the cluster."""

    client: ApiClient
    namespace: str
    informers: dict[GroupVersionKind, Informer]
    nodes: list[str]

    def get(self, gvk: GroupVersionKind, name: str, namespace: str | None = None) -> Object | None:
        where = self.namespace if namespace is None else namespace
        return self.informers[gvk].get(ObjectKey(where, name))

    def of(self, gvk: GroupVersionKind) -> list[Object]:
        return self.informers[gvk].list(self.namespace)

    def alive(self) -> list[Object]:
        return [pod for pod in self.of(POD) if not is_terminating(pod)]

    def images(self) -> list[str]:
        """The images of the Pods that are ready."""
        ready = [pod for pod in self.alive() if is_pod_ready(pod)]
        return sorted(pod["spec"]["containers"][0]["image"] for pod in ready)

    def status(self, name: str = "web") -> dict[str, Any]:
        found = self.get(DEPLOYMENT, name) or {}
        status: dict[str, Any] = found.get("status") or {}
        return status

    def is_done(self, replicas: int, name: str = "web") -> bool:
        """Whether the Deployment has been seen through, as `rollout status` says."""
        found, status = self.get(DEPLOYMENT, name) or {"metadata": {}}, self.status(name)
        counts = [status.get(f"{c}eplicas", 0) for c in ("r", "updatedR", "availableR")]
        return counts == [replicas] * 3 and status.get("observedGeneration") == found[
            "metadata"
        ].get("generation")

    async def deploy(self, name: str = "web", **spec: Any) -> Object:
        labels = {"app": name}
        image = spec.pop("image", "web:1")
        template = {
            "metadata": {"labels": labels},
            "spec": {
                "containers": [{"name": "main", "image": image}],
                "terminationGracePeriodSeconds": 1,
                "tolerations": [
                    {
                        "key": "node.kubernetes.io/unreachable",
                        "operator": "Exists",
                        "effect": "NoExecute",
                        "tolerationSeconds": 1,
                    }
                ],
            },
        }
        return await self.client.create(
            {
                "apiVersion": "apps/v1",
                "kind": "Deployment",
                "metadata": {"name": name, "namespace": self.namespace},
                "spec": {"selector": {"matchLabels": labels}, "template": template, **spec},
            }
        )

    async def set_image(self, image: str, name: str = "web") -> None:
        containers = [{"name": "main", "image": image}]
        merge = {"spec": {"template": {"spec": {"containers": containers}}}}
        await self.client.patch(DEPLOYMENT, name, merge, self.namespace)

    async def patch_spec(self, spec: dict[str, Any], name: str = "web") -> None:
        await self.client.patch(DEPLOYMENT, name, {"spec": spec}, self.namespace)

    async def messages(self, reason: str) -> list[str]:
        """The messages of the Event objects of that reason."""
        events = (await self.client.list(EVENT, self.namespace)).items
        return [event["message"] for event in events if event["reason"] == reason]

    async def eventually_said(self, reason: str, message: str) -> None:
        deadline = asyncio.get_running_loop().time() + 10
        while message not in (said := await self.messages(reason)):
            assert asyncio.get_running_loop().time() < deadline, said
            await asyncio.sleep(0.1)


FOLLOWED = (DEPLOYMENT, REPLICA_SET, POD, NODE, NAMESPACE, SERVICE_ACCOUNT, CONFIG_MAP)
_counter = iter(range(10_000))


@contextlib.asynccontextmanager
async def cluster_of(plane: ControlPlane, node_count: int = 1) -> AsyncIterator[Cluster]:
    client = plane.api.client()
    number = next(_counter)
    name = f"test-{number}"
    await client.create({"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": name}})
    nodes = [f"node-{number}-{n}" for n in range(node_count)]
    followed = (*FOLLOWED, RESOURCE_QUOTA)
    cluster = Cluster(client, name, {gvk: Informer(client, gvk) for gvk in followed}, nodes)
    work = [
        *(informer.run() for informer in cluster.informers.values()),
        *(HollowNode(plane.api.client(), node).run() for node in nodes),
        bind_pods(client, name, cluster.nodes),
    ]
    async with running(*work):
        for informer in cluster.informers.values():
            await informer.wait_synced()
        try:
            yield cluster
        finally:
            # Or the next test's zones would count them as lost.
            for node in (await client.list(NODE)).items:
                with contextlib.suppress(NotFoundError):
                    await client.delete(NODE, node["metadata"]["name"])
    await client.close()


@pytest.fixture
async def cluster(plane: ControlPlane, manager: Manager) -> AsyncIterator[Cluster]:
    async with cluster_of(plane) as made:
        yield made


async def test_a_deployment_becomes_pods(cluster: Cluster) -> None:
    await cluster.deploy(replicas=3)
    await eventually(lambda: cluster.is_done(3))
    (replica_set,) = cluster.of(REPLICA_SET)
    name = replica_set["metadata"]["name"]
    progressing = find_condition(cluster.status()["conditions"], "Progressing") or {}
    assert progressing["reason"] == "NewReplicaSetAvailable"
    assert progressing["message"] == f'ReplicaSet "{name}" has successfully progressed.'
    await cluster.eventually_said("ScalingReplicaSet", f"Scaled up replica set {name} from 0 to 3")
    pod = cluster.alive()[0]
    await cluster.eventually_said("SuccessfulCreate", f"Created pod: {pod['metadata']['name']}")
    assert pod["metadata"]["generateName"] == f"{name}-"


async def test_a_roll_out_and_its_roll_back(cluster: Cluster) -> None:
    await cluster.deploy(replicas=4)
    await eventually(lambda: cluster.is_done(4))
    fewest = 4

    def watch_ready(_old: Object | None, _new: Object | None) -> None:
        nonlocal fewest
        fewest = min(fewest, len(cluster.images()))

    cluster.informers[POD].add_handler(watch_ready)
    await cluster.set_image("web:2")
    await eventually(lambda: cluster.is_done(4) and cluster.images() == ["web:2"] * 4)
    revision = "deployment.kubernetes.io/revision"
    found = cluster.get(DEPLOYMENT, "web")
    assert found is not None
    assert found["metadata"]["annotations"][revision] == "2"
    await cluster.set_image("web:1")
    await eventually(lambda: cluster.is_done(4) and cluster.images() == ["web:1"] * 4)
    numbers = sorted(rs["metadata"]["annotations"][revision] for rs in cluster.of(REPLICA_SET))
    assert numbers == ["2", "3"]
    assert fewest >= 3  # 25 % of 4 may be missing


async def test_a_broken_image_leaves_the_old_pods_and_tells_of_the_deadline(
    cluster: Cluster,
) -> None:
    await cluster.deploy(replicas=2, progressDeadlineSeconds=1)
    await eventually(lambda: cluster.is_done(2))
    await cluster.set_image("broken:2")
    await eventually(lambda: _reason(cluster) == "ProgressDeadlineExceeded")
    assert cluster.images() == ["web:1"] * 2
    await cluster.set_image("web:1")
    await eventually(lambda: cluster.is_done(2) and len(cluster.alive()) == 2)


def _reason(cluster: Cluster) -> str:
    found = find_condition(cluster.status().get("conditions"), "Progressing") or {}
    return str(found.get("reason"))


async def test_scale_recreate_and_delete(cluster: Cluster) -> None:
    await cluster.deploy(replicas=1, strategy={"type": "Recreate"})
    await cluster.patch_spec({"replicas": 3})
    await eventually(lambda: cluster.is_done(3))
    await cluster.set_image("web:2")
    await eventually(lambda: cluster.is_done(3) and cluster.images() == ["web:2"] * 3)
    await cluster.client.delete(DEPLOYMENT, "web", cluster.namespace)
    await eventually(lambda: not cluster.of(REPLICA_SET) and not cluster.of(POD))


async def test_a_lost_pod_is_replaced_and_a_relabelled_one_released(cluster: Cluster) -> None:
    await cluster.deploy(replicas=2)
    await eventually(lambda: cluster.is_done(2))
    first, second = cluster.alive()
    await cluster.client.delete(POD, first["metadata"]["name"], cluster.namespace)
    merge = {"metadata": {"labels": {"app": "debug"}}}
    await cluster.client.patch(POD, second["metadata"]["name"], merge, cluster.namespace)
    await eventually(lambda: cluster.is_done(2) and len(cluster.alive()) == 3)
    freed = cluster.get(POD, second["metadata"]["name"])
    assert freed is not None
    assert "ownerReferences" not in freed["metadata"]


@pytest.mark.parametrize("propagation", ["Foreground", "Orphan"])
async def test_propagated_deletion(cluster: Cluster, propagation: str) -> None:
    await cluster.deploy(replicas=2)
    await eventually(lambda: cluster.is_done(2))
    await cluster.client.delete(DEPLOYMENT, "web", cluster.namespace, propagation=propagation)
    await eventually(lambda: cluster.get(DEPLOYMENT, "web") is None)
    if propagation == "Foreground":
        # What blocked the owner is gone by now; Pods end after their ReplicaSet began to wait.
        await eventually(lambda: not cluster.of(REPLICA_SET) and not cluster.of(POD))
    else:
        (left,) = cluster.of(REPLICA_SET)
        await eventually(lambda: "ownerReferences" not in cluster.of(REPLICA_SET)[0]["metadata"])
        assert len(cluster.alive()) == 2
        await cluster.client.delete(REPLICA_SET, left["metadata"]["name"], cluster.namespace)


async def test_every_namespace_has_its_account_and_the_ca(cluster: Cluster) -> None:
    await eventually(lambda: cluster.get(SERVICE_ACCOUNT, "default"))
    await eventually(lambda: cluster.get(CONFIG_MAP, "kube-root-ca.crt"))
    await cluster.client.delete(SERVICE_ACCOUNT, "default", cluster.namespace)
    await cluster.client.patch(
        CONFIG_MAP, "kube-root-ca.crt", {"data": {"ca.crt": "forged"}}, cluster.namespace
    )
    await eventually(lambda: cluster.get(SERVICE_ACCOUNT, "default"))
    await eventually(
        lambda: (cluster.get(CONFIG_MAP, "kube-root-ca.crt") or {})["data"]["ca.crt"] != "forged"
    )


async def test_a_namespace_goes_with_all_that_is_in_it(cluster: Cluster) -> None:
    await cluster.deploy(replicas=2)
    await eventually(lambda: cluster.is_done(2))
    await cluster.client.delete(NAMESPACE, cluster.namespace)
    await eventually(lambda: cluster.get(NAMESPACE, cluster.namespace, "") is None, timeout_s=20)
    for gvk in (DEPLOYMENT, REPLICA_SET, POD, SERVICE_ACCOUNT, CONFIG_MAP):
        assert cluster.of(gvk) == []


async def test_a_quota_is_told_what_became_free(cluster: Cluster) -> None:
    await cluster.client.create(
        {
            "apiVersion": "v1",
            "kind": "ResourceQuota",
            "metadata": {"name": "bound", "namespace": cluster.namespace},
            "spec": {"hard": {"pods": "2", "count/deployments.apps": "5"}},
        }
    )

    def used() -> dict[str, str]:
        found = (cluster.get(RESOURCE_QUOTA, "bound") or {}).get("status") or {}
        return found.get("used") or {}

    await eventually(lambda: used() == {"pods": "0", "count/deployments.apps": "0"})
    await cluster.deploy(replicas=3)
    await eventually(lambda: used().get("pods") == "2")
    await eventually(
        lambda: find_condition(cluster.status().get("conditions"), "ReplicaFailure") is not None
    )
    assert len(cluster.alive()) == 2
    await cluster.patch_spec({"replicas": 1})
    await eventually(lambda: cluster.is_done(1) and used().get("pods") == "1", timeout_s=20)
    await eventually(
        lambda: find_condition(cluster.status().get("conditions"), "ReplicaFailure") is None
    )


async def test_pods_of_a_dead_node_come_up_elsewhere(plane: ControlPlane, manager: Manager) -> None:
    async with cluster_of(plane, node_count=1) as cluster:
        dead = f"dead-{cluster.namespace}"
        async with running(HollowNode(plane.api.client(), dead).run()):
            await eventually(lambda: cluster.get(NODE, dead, ""))
            cluster.nodes.append(dead)
            await cluster.deploy(replicas=4)
            await eventually(lambda: cluster.is_done(4))
            assert any(node_of(pod) == dead for pod in cluster.alive())
        cluster.nodes.remove(dead)
        await eventually(lambda: _ready_status(cluster, dead) == "Unknown", timeout_s=20)
        declared = find_condition(conditions_of(cluster.get(NODE, dead, "") or {}), "Ready") or {}
        assert declared["reason"] == "NodeStatusUnknown"
        assert declared["message"] == "Kubelet stopped posting node status."
        await eventually(lambda: _taints(cluster, dead) == {"NoSchedule", "NoExecute"})
        await eventually(
            lambda: cluster.is_done(4) and all(node_of(p) != dead for p in cluster.alive()),
            timeout_s=20,
        )
        # What nobody confirms is removed in the end.
        await eventually(lambda: len(cluster.of(POD)) == 4, timeout_s=20)
        async with running(HollowNode(plane.api.client(), dead).run()):
            await eventually(lambda: _ready_status(cluster, dead) == "True", timeout_s=20)
            await eventually(lambda: not _taints(cluster, dead))
        await cluster.client.delete(NODE, dead)


def _ready_status(cluster: Cluster, node: str) -> str:
    found = find_condition(conditions_of(cluster.get(NODE, node, "") or {}), "Ready") or {}
    return str(found.get("status"))


def _taints(cluster: Cluster, node: str) -> set[str]:
    found = (cluster.get(NODE, node, "") or {}).get("spec") or {}
    return {taint["effect"] for taint in found.get("taints") or ()}


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
        assert _ready_status(cluster, cluster.nodes[0]) == "True"


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
            if new is not None and _ready_status(cluster, key_of(new).name) != "True":
                lost.append(key_of(new).name)

        await eventually(
            lambda: all(_ready_status(cluster, node) == "True" for node in cluster.nodes)
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


def test_a_manager_ends_cleanly_and_gives_its_lease_back(
    plane: ControlPlane, manager: Manager
) -> None:
    assert manager.terminate() == 0
    assert "event=released" in manager.log()
    assert "Traceback" not in manager.log()
    again = plane.shared_manager = plane.start_manager("next")
    again.wait_for("event=leading", timeout_s=2.5)  # less than the Lease would have lasted


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

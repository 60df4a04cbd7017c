"""A namespace with nodes of its own on a real control plane, and what a test asks of it."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import AsyncIterator
from dataclasses import dataclass
from typing import Any

from kubraft.api.conditions import conditions_of, find_condition
from kubraft.api.errors import NotFoundError
from kubraft.api.gvk import (
    CERTIFICATE_SIGNING_REQUEST,
    CONFIG_MAP,
    CONTROLLER_REVISION,
    CRON_JOB,
    DAEMON_SET,
    DEPLOYMENT,
    ENDPOINT_SLICE,
    ENDPOINTS,
    EVENT,
    JOB,
    NAMESPACE,
    NODE,
    PERSISTENT_VOLUME_CLAIM,
    POD,
    POD_DISRUPTION_BUDGET,
    REPLICA_SET,
    RESOURCE_QUOTA,
    SECRET,
    SERVICE_ACCOUNT,
    STATEFUL_SET,
    GroupVersionKind,
)
from kubraft.api.object import Object, ObjectKey, is_terminating
from kubraft.api.pods import is_pod_ready
from kubraft.client.client import ApiClient
from kubraft.client.informer import Informer
from tests.agents.controllers.hollow_node import HollowNode, bind_pods, running
from tests.agents.controllers.processes import ControlPlane


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

    def ready_status(self, node: str) -> str:
        """Status of the node's condition Ready."""
        found = find_condition(conditions_of(self.get(NODE, node, "") or {}), "Ready") or {}
        return str(found.get("status"))

    def taint_effects(self, node: str) -> set[str]:
        spec = (self.get(NODE, node, "") or {}).get("spec") or {}
        return {taint["effect"] for taint in spec.get("taints") or ()}

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


WORKLOADS = (DEPLOYMENT, REPLICA_SET, JOB, CRON_JOB, DAEMON_SET, STATEFUL_SET, POD)
SERVING = (ENDPOINTS, ENDPOINT_SLICE, POD_DISRUPTION_BUDGET, PERSISTENT_VOLUME_CLAIM)
OTHERS = (
    CERTIFICATE_SIGNING_REQUEST,
    CONTROLLER_REVISION,
    NODE,
    NAMESPACE,
    SERVICE_ACCOUNT,
    CONFIG_MAP,
    SECRET,
)
FOLLOWED = (*WORKLOADS, *SERVING, *OTHERS)
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

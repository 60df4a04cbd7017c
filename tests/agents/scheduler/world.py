"""Nodes and Pods for tests of the scheduler."""

from random import Random
from typing import Any, cast

from agents.scheduler.algorithm import Decision, schedule
from agents.scheduler.cluster import Cluster
from agents.scheduler.handle import Handle
from agents.scheduler.pod_info import PodInfo, pod_info
from agents.scheduler.profile import Profile
from agents.scheduler.registry import default_profile
from kubraft.api.object import Object
from kubraft.api.time import ManualClock
from kubraft.client.client import ApiClient


def idle_handle() -> Handle:
    """For plugins whose caches hold what a test puts there; nothing is ever asked or written."""
    return Handle(cast("ApiClient", None), ManualClock(), Random(1))


PROFILE = default_profile(idle_handle())


def node(name: str = "node-0", cpu: str = "4", memory: str = "8Gi", **more: Any) -> Object:
    """`more`: labels, taints, unschedulable, pods (the most it takes), extended (resources)."""
    labels = {"kubernetes.io/hostname": name, **more.get("labels", {})}
    allocatable = {"cpu": cpu, "memory": memory, "pods": str(more.get("pods", 110))}
    spec: dict[str, Any] = {}
    if "taints" in more:
        spec["taints"] = more["taints"]
    if "unschedulable" in more:
        spec["unschedulable"] = more["unschedulable"]
    return {
        "apiVersion": "v1",
        "kind": "Node",
        "metadata": {"name": name, "labels": labels},
        "spec": spec,
        "status": {"allocatable": {**allocatable, **more.get("extended", {})}},
    }


def taint(key: str, effect: str = "NoSchedule", value: str = "") -> dict[str, str]:
    return {"key": key, "value": value, "effect": effect}


def pod(name: str = "p", cpu: str = "", memory: str = "", *, on: str = "", **spec: Any) -> Object:
    """`spec`: fields of the spec, and labels, namespace, owner (a uid), extended (requests)."""
    requests = {k: v for k, v in (("cpu", cpu), ("memory", memory)) if v}
    requests |= spec.pop("extended", {})
    metadata: dict[str, Any] = {
        "namespace": spec.pop("namespace", "default"),
        "name": name,
        "uid": f"uid-{name}",
        "labels": spec.pop("labels", {}),
    }
    if owner := spec.pop("owner", ""):
        metadata["ownerReferences"] = [{"uid": owner, "controller": True, "kind": "ReplicaSet"}]
    container = {"name": "c", "resources": {"requests": requests}, "ports": spec.pop("ports", [])}
    filled = {"containers": [container], **spec}
    if on:
        filled["nodeName"] = on
    return {"apiVersion": "v1", "kind": "Pod", "metadata": metadata, "spec": filled}


def info(*args: Any, **kwargs: Any) -> PodInfo:
    return pod_info(pod(*args, **kwargs))


def cluster(*objects: Object) -> Cluster:
    """A cluster of these Nodes and (bound) Pods."""
    made = Cluster()
    for obj in objects:
        if obj["kind"] == "Node":
            made.set_node(obj)
        else:
            made.set_pod(pod_info(obj))
    return made


def decide(where: Cluster, wanted: Object, seed: int = 0, profile: Profile = PROFILE) -> Decision:
    return schedule(profile, where.snapshot(), pod_info(wanted), rng=Random(seed))

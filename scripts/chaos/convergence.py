"""Whether a cluster is as its users want it: a plain function from a picture to complaints.

Each complaint is a line that names the object and what is not so. None left means converged.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from typing import Any

from kubraft.api.conditions import is_true
from kubraft.api.object import Object, is_terminating, labels_of, uid_of
from kubraft.api.pods import is_pod_ready, is_terminated, node_of
from scripts.chaos.churn import APPLICATION, Wanted
from scripts.chaos.manifests import image


@dataclass(frozen=True, slots=True)
class Picture:
    """What is there: objects of one Namespace by kind, Nodes, and processes by node."""

    workloads: Mapping[str, list[Object]]  # by kind: those of KINDS, and ReplicaSet
    pods: list[Object]
    slices: list[Object]
    nodes: list[Object]
    containers: Mapping[str, int]  # how many a node's runtime runs


def complaints(wanted: Iterable[Wanted], picture: Picture) -> list[str]:
    """All that is not as wanted."""
    found: list[str] = []
    wanted = list(wanted)
    found += _nodes(picture)
    known = {(it.kind, it.name) for it in wanted}
    for kind, objects in picture.workloads.items():
        names = [str(each["metadata"]["name"]) for each in objects]
        if kind != "ReplicaSet":
            gone = [name for name in names if (kind, name) not in known]
            found += [f"{kind} {name}: is deleted, but there" for name in gone]
    for it in wanted:
        if (obj := _find(picture, it)) is None:
            found.append(f"{it.kind} {it.name}: is not there")
        elif it.kind == "Job":
            found += [f"Job {it.name}: {text}" for text in _job(it, obj)]
        else:
            found += [f"{it.kind} {it.name}: {text}" for text in _server(it, obj, picture)]
    found += _pods(picture)
    found += _endpoints(picture)
    found += _processes(picture)
    return found


def _find(picture: Picture, it: Wanted) -> Object | None:
    for obj in picture.workloads.get(it.kind, ()):
        if obj["metadata"]["name"] == it.name:
            return obj
    return None


def _nodes(picture: Picture) -> Iterator[str]:
    for node in picture.nodes:
        name = node["metadata"]["name"]
        if not is_true(node, "Ready"):
            yield f"Node {name}: is not ready"
        for taint in node["spec"].get("taints") or ():
            yield f"Node {name}: has the taint {taint['key']}"


def _server(it: Wanted, obj: Object, picture: Picture) -> Iterator[str]:
    status = obj.get("status") or {}
    if status.get("observedGeneration") != obj["metadata"]["generation"]:
        yield "its controller has not seen its last change"
    count = len(picture.nodes) if it.kind == "DaemonSet" else it.replicas
    daemon = ("desired", "current", "updated")
    fields = {
        "Deployment": ("replicas", "updatedReplicas", "readyReplicas", "availableReplicas"),
        "StatefulSet": ("replicas", "updatedReplicas", "readyReplicas", "availableReplicas"),
        "DaemonSet": (*(f"{what}NumberScheduled" for what in daemon), "numberReady"),
    }[it.kind]
    for field in fields:
        if status.get(field, 0) != count:
            yield f"status.{field} is {status.get(field, 0)}, not {count}"
    pods = [pod for pod in picture.pods if labels_of(pod).get("app") == it.name]
    ready = [pod for pod in pods if is_pod_ready(pod) and not is_terminating(pod)]
    if len(ready) != count:
        yield f"{len(ready)} Pods are ready, not {count}"
    old = [pod for pod in ready if pod["spec"]["containers"][0]["image"] != image(it)]
    if old:
        yield f"{len(old)} Pods do not run {image(it)}"
    if it.kind == "StatefulSet":
        names = {pod["metadata"]["name"] for pod in ready}
        if names != {f"{it.name}-{ordinal}" for ordinal in range(count)}:
            yield f"its Pods are {', '.join(sorted(names)) or 'none'}"
        if status.get("currentRevision") != status.get("updateRevision"):
            yield "its update has not come to its end"


def _job(it: Wanted, obj: Object) -> Iterator[str]:
    status = obj.get("status") or {}
    if not is_true(obj, "Complete"):
        yield "is not complete"
    if status.get("succeeded", 0) != it.replicas:
        yield f"status.succeeded is {status.get('succeeded', 0)}, not {it.replicas}"
    indexes = "0" if it.replicas == 1 else f"0-{it.replicas - 1}" if it.replicas > 2 else "0,1"
    if status.get("completedIndexes") != indexes:
        yield f"status.completedIndexes is {status.get('completedIndexes')}, not {indexes}"
    if status.get("active", 0):
        yield f"{status['active']} Pods are still active"
    uncounted: Mapping[str, Any] = status.get("uncountedTerminatedPods") or {}
    if any(uncounted.values()):
        yield "some of its Pods are not counted yet"


def _pods(picture: Picture) -> Iterator[str]:
    owners = {uid_of(obj) for objects in picture.workloads.values() for obj in objects}
    nodes = {node["metadata"]["name"] for node in picture.nodes}
    for pod in picture.pods:
        name = pod["metadata"]["name"]
        references = pod["metadata"].get("ownerReferences") or ()
        if not any(reference["uid"] in owners for reference in references):
            yield f"Pod {name}: its owner is gone"
        if is_terminating(pod):
            yield f"Pod {name}: is still being deleted"
        elif not is_terminated(pod) and node_of(pod) not in nodes:
            yield f"Pod {name}: is on no node"
        finalizers = pod["metadata"].get("finalizers") or ()
        if is_terminated(pod) and finalizers:
            yield f"Pod {name}: has ended, and has the finalizer {finalizers[0]}"


def _endpoints(picture: Picture) -> Iterator[str]:
    ready = {
        (pod.get("status") or {}).get("podIP", "")
        for pod in picture.pods
        if labels_of(pod).get("app") == APPLICATION and is_pod_ready(pod)
    }
    told = [
        address
        for obj in picture.slices
        for endpoint in obj.get("endpoints") or ()
        if (endpoint.get("conditions") or {}).get("ready")
        for address in endpoint["addresses"]
    ]
    for address in sorted(ready - set(told)):
        yield f"Service {APPLICATION}: does not lead to the ready Pod at {address}"
    for address in sorted(set(told) - ready):
        yield f"Service {APPLICATION}: leads to {address}, where no Pod is ready"
    for address, times in sorted(Counter(told).items()):
        if times > 1:
            yield f"Service {APPLICATION}: has {address} {times} times"


def _processes(picture: Picture) -> Iterator[str]:
    running: Counter[str] = Counter()
    for pod in picture.pods:
        status = pod.get("status") or {}
        for container in status.get("containerStatuses") or ():
            running[node_of(pod)] += "running" in (container.get("state") or {})
    for node, count in sorted(picture.containers.items()):
        if count != running[node]:
            yield f"Node {node}: {count} containers run, and its Pods have {running[node]}"

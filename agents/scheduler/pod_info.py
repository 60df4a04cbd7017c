"""A Pod as the scheduler sees it: what it asks for, read from the object once."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import orjson

from agents.scheduler.pod_affinity import PodAffinity, pod_affinity
from kubraft.api.object import (
    Object,
    ObjectKey,
    controller_of,
    is_terminating,
    key_of,
    labels_of,
    uid_of,
)
from kubraft.api.pods import DEFAULT_SCHEDULER, all_containers, is_sidecar, node_of, pod_requests

# Amounts by resource name in whole numbers: CPU in thousandths, all else in units.
Amounts = dict[str, int]

# For scoring, a container that asks for nothing counts as this much (as upstream does), so that
# such Pods spread too.
DEFAULT_CPU_MILLI = 100
DEFAULT_MEMORY_BYTES = 200 * 1024 * 1024

HostPort = tuple[str, str, int]  # address, protocol, port


@dataclass(frozen=True, slots=True)
class Toleration:
    """A taint that the Pod does not mind; empty key, value or effect as in the API."""

    key: str
    operator: str
    value: str
    effect: str


@dataclass(frozen=True, slots=True, eq=False)
class PodInfo:
    """One version of a Pod. Immutable."""

    obj: Object
    key: ObjectKey
    uid: str
    node_name: str
    scheduler_name: str
    priority: int
    labels: dict[str, str]
    requests: Amounts
    scored: Amounts  # CPU and memory with the defaults for scoring
    tolerations: tuple[Toleration, ...]
    host_ports: tuple[HostPort, ...]
    owner_uid: str  # of its controller; empty for a Pod of its own
    affinity: PodAffinity | None  # to other Pods
    placement: bytes  # its node selector and node affinity; equal where they are the same
    images: tuple[str, ...]  # of its containers, with a tag
    gates: tuple[str, ...]  # names of its scheduling gates

    @property
    def spec(self) -> dict[str, Any]:
        spec: dict[str, Any] = self.obj["spec"]
        return spec

    def takes_the_same(self, other: PodInfo) -> bool:
        """Whether `other`, a version of the same Pod, is the same to whoever looks at its node."""
        return (
            self.uid == other.uid
            and self.labels == other.labels
            and self.requests == other.requests
            and self.scored == other.scored
            and self.host_ports == other.host_ports
            and self.owner_uid == other.owner_uid
            and self.priority == other.priority
            and self.affinity == other.affinity
            and is_terminating(self.obj) == is_terminating(other.obj)
            and self.spec.get("volumes") == other.spec.get("volumes")
        )

    @property
    def namespace(self) -> str:
        return self.key.namespace


def pod_info(pod: Object) -> PodInfo:
    """Read a Pod object."""
    spec = pod["spec"]
    owner = controller_of(pod)
    return PodInfo(
        obj=pod,
        key=key_of(pod),
        uid=uid_of(pod),
        node_name=node_of(pod),
        scheduler_name=spec.get("schedulerName") or DEFAULT_SCHEDULER,
        priority=spec.get("priority") or 0,
        labels=labels_of(pod),
        requests=_requests(pod),
        scored=_scored(spec),
        tolerations=tuple(map(_toleration, spec.get("tolerations") or ())),
        host_ports=_host_ports(spec),
        owner_uid=owner["uid"] if owner else "",
        affinity=pod_affinity(spec, key_of(pod).namespace, labels_of(pod)),
        placement=_placement(spec),
        images=tuple(normalized_image(c["image"]) for c in all_containers(spec) if c.get("image")),
        gates=tuple(gate["name"] for gate in spec.get("schedulingGates") or ()),
    )


def _placement(spec: dict[str, Any]) -> bytes:
    node_affinity = (spec.get("affinity") or {}).get("nodeAffinity")
    if not node_affinity and not spec.get("nodeSelector"):
        return b""
    return orjson.dumps([spec.get("nodeSelector"), node_affinity], option=orjson.OPT_SORT_KEYS)


def normalized_image(name: str) -> str:
    """The image's name as nodes report it: with a tag."""
    return name if name.rfind(":") > name.rfind("/") or "@" in name else f"{name}:latest"


def _requests(pod: Object) -> Amounts:
    requests = pod_requests(pod)
    return {
        name: amount.milli_value() if name == "cpu" else amount.value()
        for name, amount in requests.items()
        if amount
    }


def _scored(spec: dict[str, Any]) -> Amounts:
    assumed = {
        **spec,
        "containers": [_with_defaults(c) for c in spec.get("containers") or ()],
        "initContainers": [_with_defaults(c) for c in spec.get("initContainers") or ()],
    }
    requests = pod_requests({"spec": assumed})
    return {"cpu": requests["cpu"].milli_value(), "memory": requests["memory"].value()}


def _with_defaults(container: dict[str, Any]) -> dict[str, Any]:
    requests = (container.get("resources") or {}).get("requests") or {}
    filled = {"cpu": f"{DEFAULT_CPU_MILLI}m", "memory": DEFAULT_MEMORY_BYTES, **requests}
    return {**container, "resources": {"requests": filled}}


def _toleration(toleration: dict[str, Any]) -> Toleration:
    return Toleration(
        toleration.get("key") or "",
        toleration.get("operator") or "Equal",
        toleration.get("value") or "",
        toleration.get("effect") or "",
    )


def _host_ports(spec: dict[str, Any]) -> tuple[HostPort, ...]:
    init = {id(c) for c in spec.get("initContainers") or () if not is_sidecar(c)}
    return tuple(
        (port.get("hostIP") or "0.0.0.0", port.get("protocol") or "TCP", port["hostPort"])  # noqa: S104
        for container in all_containers(spec)
        if id(container) not in init
        for port in container.get("ports") or ()
        if port.get("hostPort")
    )

"""Pods that must go because the node runs short of something: thresholds, ranking, words. Pure.

Source: Kubernetes documentation, "Node-pressure Eviction"; upstream's texts.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field

from kubraft.api.object import Object, uid_of
from kubraft.api.pods import pod_requests, qos_class
from kubraft.api.quantity import parse_quantity

EVICTED = "Evicted"
# Pods at or above this priority keep the node itself going.
_CRITICAL_PRIORITY = 2_000_000_000
# signal -> the node's condition, the resource that is short
_SIGNALS = {
    "memory.available": ("MemoryPressure", "memory"),
    "nodefs.available": ("DiskPressure", "ephemeral-storage"),
    "nodefs.inodesFree": ("DiskPressure", "inodes"),
    "imagefs.available": ("DiskPressure", "ephemeral-storage"),
    "imagefs.inodesFree": ("DiskPressure", "inodes"),
    "pid.available": ("PIDPressure", "pids"),
}
_THRESHOLD = re.compile(r"([a-zA-Z.]+)<([0-9.]+%|[0-9.]+[a-zA-Z]*)")
HARD_DEFAULT = (
    "memory.available<100Mi,nodefs.available<10%,nodefs.inodesFree<5%,imagefs.available<15%,"
    "imagefs.inodesFree<5%,pid.available<5%"
)


@dataclass(frozen=True, slots=True)
class Threshold:
    """Below `limit` (a quantity, or a part of the whole) there is too little."""

    signal: str
    limit: str
    grace_s: float = 0.0  # how long it must last

    def amount(self, capacity: float) -> float:
        """The limit in the signal's unit."""
        if self.limit.endswith("%"):
            return capacity * float(self.limit[:-1]) / 100
        return parse_quantity(self.limit).value()


@dataclass(frozen=True, slots=True)
class Reading:
    """How much there is of something, and how much there could be."""

    available: float
    capacity: float


def parse_thresholds(text: str, graces: str = "") -> tuple[Threshold, ...]:
    """Read "memory.available<100Mi,nodefs.available<10%"; `graces` as "memory.available=1m30s".

    Raises:
        ValueError: there is no such signal, or the text is none of this.
    """
    periods = dict(part.split("=", 1) for part in graces.split(",") if "=" in part)
    found = []
    for part in filter(None, (part.strip() for part in text.split(","))):
        match = _THRESHOLD.fullmatch(part)
        if match is None:
            raise ValueError(f"invalid eviction threshold syntax {part}, expected <signal><limit>")
        if match[1] not in _SIGNALS:
            raise ValueError(f"unsupported eviction signal {match[1]}")
        found.append(Threshold(match[1], match[2], _seconds(periods.get(match[1], "0s"))))
    return tuple(found)


def _seconds(text: str) -> float:
    units = {"h": 3600, "m": 60, "s": 1}
    return sum(float(n) * units[u] for n, u in re.findall(r"([0-9.]+)([hms])", text))


@dataclass(slots=True)
class Pressure:
    """What is short, over time; a condition lasts a while after its cause has gone."""

    thresholds: tuple[Threshold, ...]
    transition_s: float = 300.0
    _since_s: dict[Threshold, float] = field(default_factory=dict)
    _last_s: dict[str, float] = field(default_factory=dict)

    def look(
        self, readings: Mapping[str, Reading], now_s: float
    ) -> tuple[frozenset[str], tuple[Threshold, Reading] | None]:
        """The node's conditions, and the first threshold for which a Pod has to go now."""
        due = None
        for threshold in self.thresholds:
            reading = readings.get(threshold.signal)
            if reading is None or reading.available >= threshold.amount(reading.capacity):
                self._since_s.pop(threshold, None)
                continue
            since_s = self._since_s.setdefault(threshold, now_s)
            self._last_s[_SIGNALS[threshold.signal][0]] = now_s
            if due is None and now_s - since_s >= threshold.grace_s:
                due = threshold, reading
        last = self._last_s.items()
        return frozenset(c for c, at_s in last if now_s - at_s <= self.transition_s), due


def is_critical(pod: Object) -> bool:
    """Whether the node's pressure leaves it alone."""
    annotations = pod["metadata"].get("annotations") or {}
    static = annotations.get("kubernetes.io/config.source", "api") != "api"
    return static or int(pod["spec"].get("priority") or 0) >= _CRITICAL_PRIORITY


def first_to_go(
    pods: Iterable[Object],
    threshold: Threshold,
    memory: Mapping[str, int],
    processes: Mapping[str, int],
) -> Object | None:
    """Who is evicted first: who uses more than it asked for, is worth least, and uses most.

    Args:
        pods: those that run.
        threshold: what is short.
        memory: bytes by Pod's uid.
        processes: their number by Pod's uid; nobody knows what of the disk is whose.
    """

    def order(pod: Object) -> tuple[bool, int, float]:
        priority = int(pod["spec"].get("priority") or 0)
        resource = _SIGNALS[threshold.signal][1]
        if resource == "pids":
            return False, priority, -processes.get(uid_of(pod), 0)
        if resource != "memory":
            return False, priority, 0.0
        excess = memory.get(uid_of(pod), 0) - _requested(pod)
        return excess <= 0, priority, -excess

    return min((pod for pod in pods if not is_critical(pod)), key=order, default=None)


def _requested(pod: Object) -> int:
    amount = pod_requests(pod).get("memory")
    return amount.value() if amount else 0


def eviction_message(
    pod: Object, threshold: Threshold, reading: Reading, containers: Mapping[str, int]
) -> str:
    """Upstream's words; `containers`: bytes of memory by container's name."""
    resource = _SIGNALS[threshold.signal][1]
    limit = _figure(resource, threshold.amount(reading.capacity))
    available = _figure(resource, reading.available)
    text = f"The node was low on resource: {resource}. "
    text += f"Threshold quantity: {limit}, available: {available}. "
    if resource != "memory":
        return text
    for container in pod["spec"]["containers"]:
        requests = (container.get("resources") or {}).get("requests") or {}
        used, asked = containers.get(container["name"], 0), requests.get("memory") or "0"
        if used > parse_quantity(asked).value():
            text += (
                f"Container {container['name']} was using {_figure(resource, used)}, "
                f"request is {asked}, has larger consumption of {resource}. "
            )
    return text


def _figure(resource: str, amount: float) -> str:
    whole = int(amount)
    if resource in {"memory", "ephemeral-storage"} and whole and whole % 1024 == 0:
        return f"{whole // 1024}Ki"
    return str(whole)


def refusal_under(conditions: frozenset[str], pod: Object) -> str:
    """Why a node under pressure does not take a Pod; "" where it does.

    Short memory keeps out only those that ask for none.
    """
    if not conditions or is_critical(pod):
        return ""
    if conditions == {"MemoryPressure"} and qos_class(pod) != "BestEffort":
        return ""
    return f"The node had condition: [{' '.join(sorted(conditions))}]. "

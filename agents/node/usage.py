"""What a node, its Pods and their containers have used so far: one picture of a moment.

Source: CRI v1, PodSandboxStats; the kubelet's summary of statistics.
"""

from __future__ import annotations

import os
import time
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Final

import psutil

from agents.node.pod_view import CONTAINER_NAME, POD_UID
from kubraft.api.object import Object, key_of, uid_of
from kubraft.pb.criv1 import api_pb2 as cri

_TICKS: Final = os.sysconf("SC_CLK_TCK")
# Of /proc/stat: user, nice, system, irq, softirq, steal; what guests used is in user's.
_BUSY: Final = (1, 2, 3, 6, 7, 8)


@dataclass(frozen=True, slots=True)
class Measured:
    """CPU time since the beginning and memory now; `at_ns` is Unix time."""

    at_ns: int
    cpu_ns: int
    working_set_bytes: int
    usage_bytes: int = 0
    rss_bytes: int = 0
    page_faults: int = 0
    major_page_faults: int = 0


@dataclass(frozen=True, slots=True)
class ContainerUsage:
    """One container; `started` is as its Pod's status has it, or empty."""

    name: str
    id: str
    started: str
    measured: Measured


@dataclass(frozen=True, slots=True)
class PodUsage:
    """One Pod with its containers, by name."""

    namespace: str
    name: str
    uid: str
    started: str
    measured: Measured
    containers: tuple[ContainerUsage, ...]
    processes: int = 0


@dataclass(frozen=True, slots=True)
class NodeUsage:
    """The machine, and the Pods of the node on it, by namespace and name."""

    measured: Measured
    available_bytes: int
    started_s: float
    pods: tuple[PodUsage, ...]
    # What is missing because the runtime did not answer.
    error: str = ""


def measure_node() -> tuple[Measured, int, float]:
    """The machine's usage, the bytes of memory that it has left, and when it was started.

    Raises:
        OSError: /proc says nothing.
    """
    fields = Path("/proc/stat").read_text().partition("\n")[0].split()
    ticks = sum(int(fields[index]) for index in _BUSY if index < len(fields))
    memory = psutil.virtual_memory()
    used = memory.total - memory.available
    measured = Measured(
        at_ns=time.time_ns(),
        cpu_ns=ticks * (1_000_000_000 // _TICKS),
        working_set_bytes=used,
        usage_bytes=memory.total - memory.free,
        rss_bytes=memory.used,
    )
    return measured, memory.available, psutil.boot_time()


def pods_usage(
    stats: Iterable[cri.PodSandboxStats], pods: Mapping[str, Object]
) -> tuple[PodUsage, ...]:
    """What the runtime says of the Pods that are known. Pure.

    Args:
        pods: the node's Pods by uid; sandboxes of others are on their way out.
    """
    found: dict[str, PodUsage] = {}
    for each in stats:
        pod = pods.get(each.attributes.labels.get(POD_UID, each.attributes.metadata.uid))
        if pod is None:
            continue
        made = _pod(each, pod)
        known = found.get(made.uid)
        # Of two sandboxes the one that something runs in counts.
        if known is None or len(made.containers) >= len(known.containers):
            found[made.uid] = made
    return tuple(sorted(found.values(), key=lambda pod: (pod.namespace, pod.name)))


def of_containers(stats: Iterable[cri.ContainerStats]) -> list[cri.PodSandboxStats]:
    """Statistics of Pods from those of their containers, for runtimes that have no others. Pure."""
    found: dict[str, cri.PodSandboxStats] = {}
    for each in stats:
        uid = each.attributes.labels.get(POD_UID, "")
        pod = found.setdefault(uid, cri.PodSandboxStats())
        pod.attributes.labels[POD_UID] = uid
        linux = pod.linux
        linux.containers.append(each)
        linux.cpu.timestamp = max(linux.cpu.timestamp, each.cpu.timestamp)
        linux.cpu.usage_core_nano_seconds.value += each.cpu.usage_core_nano_seconds.value
        for name in ("working_set_bytes", "usage_bytes", "rss_bytes"):
            getattr(linux.memory, name).value += getattr(each.memory, name).value
    return list(found.values())


def _pod(stats: cri.PodSandboxStats, pod: Object) -> PodUsage:
    status = pod.get("status") or {}
    started = _started(status)
    containers = [
        ContainerUsage(
            name=each.attributes.labels.get(CONTAINER_NAME, each.attributes.metadata.name),
            id=each.attributes.id,
            started=started[each.attributes.id],
            measured=_measured(each.cpu, each.memory),
        )
        for each in stats.linux.containers
        if each.attributes.id in started
    ]
    key = key_of(pod)
    return PodUsage(
        namespace=key.namespace,
        name=key.name,
        uid=uid_of(pod),
        started=str(status.get("startTime") or ""),
        measured=_measured(stats.linux.cpu, stats.linux.memory),
        containers=tuple(sorted(containers, key=lambda each: each.name)),
        processes=stats.linux.process.process_count.value,
    )


def _started(status: Object) -> dict[str, str]:
    """When those containers began that run, by their id."""
    found: dict[str, str] = {}
    for field in ("initContainerStatuses", "containerStatuses", "ephemeralContainerStatuses"):
        for each in status.get(field) or ():
            running = (each.get("state") or {}).get("running")
            if running:
                _, _, identifier = str(each.get("containerID") or "").partition("://")
                found[identifier] = str(running.get("startedAt") or "")
    return found


def _measured(cpu: cri.CpuUsage, memory: cri.MemoryUsage) -> Measured:
    return Measured(
        at_ns=cpu.timestamp or memory.timestamp,
        cpu_ns=cpu.usage_core_nano_seconds.value,
        working_set_bytes=memory.working_set_bytes.value,
        usage_bytes=memory.usage_bytes.value,
        rss_bytes=memory.rss_bytes.value,
        page_faults=memory.page_faults.value,
        major_page_faults=memory.major_page_faults.value,
    )

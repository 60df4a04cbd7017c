"""What containers use, read from /proc: CPU time and memory of all their processes."""

from __future__ import annotations

import os
import time
from dataclasses import dataclass
from pathlib import Path

from agents.runtime.process_tree import descendants
from agents.runtime.records import Container, Sandbox
from kubraft.pb.criv1 import api_pb2 as cri

_TICK_NS = 1_000_000_000 // os.sysconf("SC_CLK_TCK")
_PAGE_BYTES = os.sysconf("SC_PAGE_SIZE")


@dataclass(slots=True)
class Usage:
    """Sums over processes; CPU includes those that have ended and were waited for."""

    cpu_ns: int = 0
    rss_bytes: int = 0
    shared_bytes: int = 0
    major_faults: int = 0
    faults: int = 0
    processes: int = 0


def usage_of(init_pid: int) -> Usage:
    """The usage of a container, by its first process; zero where it is gone."""
    usage = Usage()
    for pid in (init_pid, *descendants(init_pid)):
        try:
            text = Path(f"/proc/{pid}/stat").read_text()
            memory = Path(f"/proc/{pid}/statm").read_text().split()
        except OSError:
            continue
        fields = text[text.rindex(")") + 2 :].split()  # from field 3, "state", on
        usage.cpu_ns += sum(map(int, fields[11:15])) * _TICK_NS  # own and waited-for children's
        usage.faults += int(fields[7])
        usage.major_faults += int(fields[9])
        usage.rss_bytes += (int(memory[1]) - int(memory[2])) * _PAGE_BYTES
        usage.shared_bytes = max(usage.shared_bytes, int(memory[2]) * _PAGE_BYTES)
        usage.processes += 1
    return usage


def container_stats(container: Container) -> cri.ContainerStats:
    """A container's statistics; all zero where it does not run."""
    now = time.time_ns()
    return _container(container, _usage(container), now)


def _usage(container: Container) -> Usage:
    return usage_of(container.process.init_pid) if container.process else Usage()


def _container(container: Container, usage: Usage, now: int) -> cri.ContainerStats:
    cpu, memory = _cpu_and_memory(usage, now)
    return cri.ContainerStats(
        attributes=cri.ContainerAttributes(
            id=container.id,
            metadata=container.status.metadata,
            labels=container.status.labels,
            annotations=container.status.annotations,
        ),
        cpu=cpu,
        memory=memory,
    )


def sandbox_stats(sandbox: Sandbox, containers: list[Container]) -> cri.PodSandboxStats:
    """A Pod's statistics, with those of its containers."""
    now = time.time_ns()
    total = Usage()
    usages = [_usage(container) for container in containers]
    for usage in usages:
        total.cpu_ns += usage.cpu_ns
        total.rss_bytes += usage.rss_bytes
        total.shared_bytes += usage.shared_bytes
        total.faults += usage.faults
        total.major_faults += usage.major_faults
        total.processes += usage.processes
    cpu, memory = _cpu_and_memory(total, now)
    return cri.PodSandboxStats(
        attributes=cri.PodSandboxAttributes(
            id=sandbox.id,
            metadata=sandbox.status.metadata,
            labels=sandbox.status.labels,
            annotations=sandbox.status.annotations,
        ),
        linux=cri.LinuxPodSandboxStats(
            cpu=cpu,
            memory=memory,
            process=cri.ProcessUsage(
                timestamp=now, process_count=cri.UInt64Value(value=total.processes)
            ),
            containers=[
                _container(container, usage, now)
                for container, usage in zip(containers, usages, strict=True)
                if container.process is not None
            ],
        ),
    )


def _cpu_and_memory(usage: Usage, now_ns: int) -> tuple[cri.CpuUsage, cri.MemoryUsage]:
    def value(number: int) -> cri.UInt64Value:
        return cri.UInt64Value(value=max(0, number))

    memory_bytes = usage.rss_bytes + usage.shared_bytes
    return (
        cri.CpuUsage(timestamp=now_ns, usage_core_nano_seconds=value(usage.cpu_ns)),
        cri.MemoryUsage(
            timestamp=now_ns,
            working_set_bytes=value(memory_bytes),
            usage_bytes=value(memory_bytes),
            rss_bytes=value(usage.rss_bytes),
            page_faults=value(usage.faults),
            major_page_faults=value(usage.major_faults),
        ),
    )

"""What the processes of a cluster use: CPU time by the kernel's own count, memory by share."""

from __future__ import annotations

import time
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path

import psutil


@dataclass(frozen=True, slots=True)
class Usage:
    """Of some processes: part of one core, proportional set size."""

    cpu_percent: float
    pss_bytes: int


def measured(processes: Iterable[psutil.Process], seconds: float) -> dict[int, Usage]:
    """What each process uses over `seconds`, by pid; those that end meanwhile are left out."""
    before = {process: _cpu_ns(process.pid) for process in processes}
    began_s = time.monotonic()
    time.sleep(seconds)
    elapsed_s = time.monotonic() - began_s
    found = {}
    for process, cpu_ns in before.items():
        try:
            pss = process.memory_full_info().pss
        except psutil.Error:
            continue
        percent = (_cpu_ns(process.pid) - cpu_ns) / 1e7 / elapsed_s
        found[process.pid] = Usage(percent, pss)
    return found


def total(usages: Iterable[Usage]) -> Usage:
    """The sum."""
    listed = list(usages)
    return Usage(sum(u.cpu_percent for u in listed), sum(u.pss_bytes for u in listed))


def _cpu_ns(pid: int) -> int:
    """CPU time of all threads, exact where clock ticks of 10 ms would round it away."""
    spent = 0
    for thread in Path(f"/proc/{pid}/task").glob("*/schedstat"):
        try:
            spent += int(thread.read_text().split()[0])
        except OSError:
            continue  # it has just ended
    return spent

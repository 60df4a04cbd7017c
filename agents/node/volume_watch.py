"""What is said of volumes that cannot be had, or have grown beyond their limit.

Source: upstream's volume manager and eviction manager (messages, periods).
"""

from __future__ import annotations

import asyncio
import contextlib
import os
from collections.abc import Mapping
from pathlib import Path
from typing import Final

from agents.node.plan import Waiting
from agents.node.pod_memory import PodMemory
from agents.node.pod_parts import PodVolumes
from kubraft.api.object import Object, is_terminating
from kubraft.api.pods import is_terminated
from kubraft.api.quantity import parse_quantity
from kubraft.client.events import EventRecorder

# After so long a Pod is told which volumes it waits for. Source: podAttachAndMountTimeout.
TIMEOUT_S: Final = 123.0
# How often the limits of volumes are looked at.
PERIOD_S: Final = 10.0
_BLOCK_BYTES: Final = 512  # of st_blocks


def say_failed(
    recorder: EventRecorder, pod: Object, memory: PodMemory, failure: str, now_s: float
) -> None:
    """Record that a volume cannot be had; now and then, that the Pod still waits for it."""
    recorder.event(pod, "Warning", "FailedMount", failure)
    if memory.volumes_awaited_since_s is None:
        memory.volumes_awaited_since_s = now_s
    elif now_s - memory.volumes_awaited_since_s >= TIMEOUT_S:
        memory.volumes_awaited_since_s = now_s
        names = " ".join(volume["name"] for volume in pod["spec"].get("volumes") or ())
        text = (
            f"Unable to attach or mount volumes: unmounted volumes=[{names}], unattached "
            "volumes=[], failed to process volumes=[]: timed out waiting for the condition"
        )
        recorder.event(pod, "Warning", "FailedMount", text)


def size_limits(pod: Object) -> dict[str, str]:
    """The Pod's empty directories that have a limit."""
    volumes = pod["spec"].get("volumes") or ()
    limits = {v["name"]: (v.get("emptyDir") or {}).get("sizeLimit") for v in volumes}
    return {name: limit for name, limit in limits.items() if limit and parse_quantity(limit)}


async def check_limits(
    volumes: PodVolumes, pod: Object, memory: PodMemory, limits: Mapping[str, str], now_s: float
) -> Waiting | None:
    """Why the Pod is to be evicted: one of its empty directories has more than its limit.

    Looks every PERIOD_S, however often it is called.
    """
    if memory.ended is not None or is_terminating(pod) or is_terminated(pod):
        return None
    if now_s - memory.volumes_measured_at_s < PERIOD_S:
        return None
    memory.volumes_measured_at_s = now_s
    for name, limit in limits.items():
        path = volumes.empty_directory(pod, name)
        if await asyncio.to_thread(size_bytes, path) > parse_quantity(limit).value():
            text = f'Usage of EmptyDir volume "{name}" exceeds the limit "{limit}". '
            return Waiting("Evicted", text)
    return None


def size_bytes(path: Path) -> int:
    """What the files below `path` take on the disk; links are not followed."""
    total = 0
    if not path.is_dir():  # not made yet
        return 0
    for _folder, _names, files, descriptor in os.fwalk(path):
        for name in files:
            with contextlib.suppress(FileNotFoundError):
                found = os.stat(name, dir_fd=descriptor, follow_symlinks=False)
                total += found.st_blocks * _BLOCK_BYTES
    return total

"""Measures this machine."""

from __future__ import annotations

import os
import platform
from pathlib import Path

import psutil

from agents.node.eviction import Reading
from agents.node.node_object import KUBELET_VERSION, Machine, Usage

_ARCHITECTURES = {"x86_64": "amd64", "aarch64": "arm64"}


def measure_machine(
    name: str, root: Path, *, port: int, host_ip: str, pod_cidr: str, pods_max: int, runtime: str
) -> Machine:
    """What does not change; `runtime` is "name://version"."""
    architecture = _ARCHITECTURES.get(platform.machine(), platform.machine())
    return Machine(
        name=name,
        cpus=len(os.sched_getaffinity(0)),
        memory_bytes=psutil.virtual_memory().total,
        disk_bytes=psutil.disk_usage(str(root)).total,
        pods_max=pods_max,
        port=port,
        host_ip=host_ip,
        pod_cidr=pod_cidr,
        architecture=architecture,
        info={
            "architecture": architecture,
            "bootID": _read("/proc/sys/kernel/random/boot_id"),
            "containerRuntimeVersion": runtime,
            "kernelVersion": platform.release(),
            "kubeProxyVersion": "",
            "kubeletVersion": KUBELET_VERSION,
            "machineID": _read("/etc/machine-id"),
            "operatingSystem": "linux",
            "osImage": _os_image(),
            "systemUUID": _read("/etc/machine-id"),
        },
    )


def measure_usage(root: Path, runtime_error: str) -> Usage:
    """What changes."""
    disk = psutil.disk_usage(str(root))
    pids_max = int(_read("/proc/sys/kernel/pid_max") or 32768)
    memory = psutil.virtual_memory()
    pids = len(psutil.pids())
    inodes = os.statvfs(root)
    disk_reading = Reading(disk.free, disk.total)
    inode_reading = Reading(inodes.f_favail, inodes.f_files)
    readings = {
        "memory.available": Reading(memory.available, memory.total),
        "nodefs.available": disk_reading,
        "imagefs.available": disk_reading,
        "pid.available": Reading(pids_max - pids, pids_max),
    }
    if inodes.f_files:  # some file systems have no fixed number of them
        readings |= {"nodefs.inodesFree": inode_reading, "imagefs.inodesFree": inode_reading}
    return Usage(
        readings=readings,
        memory_available_bytes=memory.available,
        disk_available_part=disk.free / disk.total if disk.total else 0.0,
        pids_available_part=1.0 - pids / pids_max,
        runtime_error=runtime_error,
    )


def _read(path: str) -> str:
    try:
        return Path(path).read_text().strip()
    except OSError:
        return ""


def _os_image() -> str:
    try:
        return platform.freedesktop_os_release().get("PRETTY_NAME", "Linux")
    except OSError:
        return "Linux"

"""Start-up and shutdown: files, network, containerd in its machine, and tidying up."""

from __future__ import annotations

import argparse
import asyncio
import contextlib
import fcntl
import os
import shutil
import signal
from dataclasses import dataclass
from pathlib import Path
from typing import Final

import grpc
import grpc.aio

from agents.containerd import network
from agents.containerd.config import Place, containerd_config, network_config, registry_configs
from agents.containerd.images.catalog import Catalog
from agents.containerd.images.layers import Layers
from agents.containerd.images.mirror import Mirror
from agents.containerd.machine import start_machine
from kubraft.containerd_programs import containerd_programs
from kubraft.log import get_logger
from kubraft.pb.criv1 import api_pb2 as cri
from kubraft.pb.criv1 import api_pb2_grpc as cri_grpc

_START_S: Final = 60.0
_STOP_PODS_S: Final = 4.0
_STOP_MACHINE_S: Final = 4.0

log = get_logger("containerd")


class ServeError(Exception):
    """It cannot run; the message is one line for the user."""


@dataclass(slots=True)
class Prepared:
    """What there is before the event loop."""

    place: Place
    keeper: int
    lock: int
    share: int | None


def prepare(flags: argparse.Namespace) -> Prepared:
    """Write what containerd reads, and start it.

    Raises:
        MissingProgramsError: this machine has not got what it takes.
        ServeError: something else is in the way.
    """
    programs = containerd_programs()
    root = _made(flags.root_dir)
    lock = _locked(root)
    socket = Path(flags.listen.removeprefix("unix://"))
    place = Place(root, socket, flags.pod_cidr, flags.bridge, programs.cni)
    cni_state = root / "cni"
    # Whoever had these addresses died with the last machine.
    shutil.rmtree(cni_state, ignore_errors=True)
    for folder in (cni_state, place.network_folder, place.registries):
        folder.mkdir(parents=True, exist_ok=True)
    place.config.write_text(containerd_config(place, flags.snapshotter))
    (place.network_folder / "10-kubraft.conflist").write_text(network_config(place))
    with contextlib.suppress(FileNotFoundError):
        socket.unlink()
    network.remove_network(flags.bridge)
    network.open_way_out(flags.bridge, flags.pod_cidr)
    share = _share(flags)
    try:
        if flags.local_range:
            network.serve_addresses(flags.local_range)
        command = [programs["containerd"], "--config", str(place.config), "--log-level", "warn"]
        keeper = start_machine(command, cni_state)
    except OSError as error:
        raise ServeError(f"cannot start containerd: {error}") from error
    return Prepared(place, keeper, lock, share)


def clean_up(flags: argparse.Namespace, share: int | None = None) -> None:
    """Remove what outlives a machine that was killed: bridge, rules, cgroups, local addresses."""
    network.remove_network(flags.bridge)
    network.remove_cgroups(flags.cgroup_root)
    share = _share(flags) if share is None else share
    if share is not None:
        # Given back before it is asked for alone, so that of several that end at once one gets it.
        fcntl.flock(share, fcntl.LOCK_UN)
        with contextlib.suppress(BlockingIOError):
            fcntl.flock(share, fcntl.LOCK_EX | fcntl.LOCK_NB)
            network.close_addresses(flags.local_range)
        os.close(share)


def _share(flags: argparse.Namespace) -> int | None:
    """A share in the Services' addresses, which all nodes of a cluster use; held while open."""
    if not flags.local_range:
        return None
    folder = flags.image_dir or flags.root_dir
    folder.mkdir(parents=True, exist_ok=True)
    share = os.open(folder / "addresses.lock", os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
    fcntl.flock(share, fcntl.LOCK_SH)
    return share


async def serve(flags: argparse.Namespace, prepared: Prepared) -> None:
    """Serve images and look after containerd until SIGTERM, SIGINT, or its machine's death.

    Raises:
        ServeError: containerd does not answer, or its machine died.
    """
    place = prepared.place
    stopping = asyncio.Event()
    loop = asyncio.get_running_loop()
    for number in (signal.SIGTERM, signal.SIGINT):
        loop.add_signal_handler(number, stopping.set)
    gone = asyncio.create_task(asyncio.to_thread(os.waitpid, prepared.keeper, 0))
    mirror = Mirror(Catalog(Layers(flags.image_dir or place.root / "images")))
    stopped = asyncio.create_task(stopping.wait())
    lost = False
    try:
        await mirror.open()
        _write_registries(place, mirror.url, offline=flags.offline)
        ready = asyncio.create_task(_ready(flags.listen))
        await asyncio.wait({ready, gone, stopped}, return_when=asyncio.FIRST_COMPLETED)
        if ready.done():
            log.info("ready", listen=flags.listen, containerd=ready.result())
            await asyncio.wait({gone, stopped}, return_when=asyncio.FIRST_COMPLETED)
        ready.cancel()
        lost = gone.done()
    finally:
        stopped.cancel()
        mirror.close()
        if not gone.done():
            await _stop(flags.listen, prepared.keeper, gone)
        if not lost:  # else it is started again at once
            await asyncio.to_thread(clean_up, flags, prepared.share)
        os.close(prepared.lock)
    if lost:
        raise ServeError("containerd's machine died, and all containers with it")
    log.info("stopped")


async def _stop(endpoint: str, keeper: int, gone: asyncio.Task[tuple[int, int]]) -> None:
    """End Pods so that plugins undo what they did, then containerd, then all that is left."""
    with contextlib.suppress(TimeoutError, grpc.aio.AioRpcError):
        async with asyncio.timeout(_STOP_PODS_S):
            await _stop_pods(endpoint)
    os.kill(keeper, signal.SIGTERM)
    done, _waiting = await asyncio.wait({gone}, timeout=_STOP_MACHINE_S)
    if not done:
        os.kill(keeper, signal.SIGKILL)
        await gone


async def _stop_pods(endpoint: str) -> None:
    async with grpc.aio.insecure_channel(endpoint) as channel:
        runtime = cri_grpc.RuntimeServiceStub(channel)
        found = await runtime.ListPodSandbox(cri.ListPodSandboxRequest())
        requests = [cri.StopPodSandboxRequest(pod_sandbox_id=each.id) for each in found.items]
        calls = (runtime.StopPodSandbox(request) for request in requests)
        await asyncio.gather(*calls, return_exceptions=True)


async def _ready(endpoint: str) -> str:
    """Wait until containerd serves CRI with a network; its version."""
    request = cri.StatusRequest()
    async with grpc.aio.insecure_channel(endpoint) as channel:
        runtime = cri_grpc.RuntimeServiceStub(channel)
        async with asyncio.timeout(_START_S):
            while True:
                with contextlib.suppress(grpc.aio.AioRpcError):
                    answer = await runtime.Status(request, timeout=5)
                    if all(condition.status for condition in answer.status.conditions):
                        version = await runtime.Version(cri.VersionRequest())
                        return str(version.runtime_version)
                await asyncio.sleep(0.05)


def _write_registries(place: Place, mirror: str, *, offline: bool) -> None:
    shutil.rmtree(place.registries, ignore_errors=True)
    for name, text in registry_configs(mirror, offline=offline).items():
        folder = place.registries / name
        folder.mkdir(parents=True)
        (folder / "hosts.toml").write_text(text)


def _made(path: Path) -> Path:
    try:
        path.mkdir(parents=True, exist_ok=True, mode=0o700)
        return path.resolve()
    except OSError as error:
        raise ServeError(f"--root-dir {path}: {error.strerror}") from error


def _locked(root: Path) -> int:
    """Lock the root directory for as long as this process lives."""
    lock = os.open(root / "lock", os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
    try:
        fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError as error:
        os.close(lock)
        raise ServeError(f"--root-dir {root}: another containerd of ours uses it") from error
    return lock

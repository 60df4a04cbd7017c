"""Start-up and shutdown of the runtime process."""

from __future__ import annotations

import argparse
import asyncio
import contextlib
import fcntl
import os
import secrets
import signal
import sys
import time
from pathlib import Path

import grpc
import grpc.aio

from agents.runtime.cgroups import find_cgroups
from agents.runtime.container_launch import Site
from agents.runtime.image_service import ImageService
from agents.runtime.images import ImageStore
from agents.runtime.leftovers import kill_leftovers
from agents.runtime.runtime import ProcessRuntime
from agents.runtime.service import RuntimeService
from agents.runtime.spawner import Nursery, NurseryGoneError
from agents.runtime.streaming.server import Request, StreamingServer
from agents.runtime.streaming.tokens import Tokens
from kubraft.log import configure, get_logger
from kubraft.pb.criv1 import api_pb2_grpc as cri_grpc

log = get_logger("runtime")
_MESSAGE_BYTES_MAX = 16 * 1024 * 1024
_STOP_GRACE_S = 1.0


class ServeError(Exception):
    """The runtime cannot run; the message is one line for the user."""


async def serve(flags: argparse.Namespace) -> None:
    """Run the runtime until SIGTERM, SIGINT, or the nursery's death.

    Raises:
        ServeError: it cannot start, or its containers' supervisor died.
    """
    configure(flags.log_level)
    root = _take_root(flags.root_dir)
    path = flags.listen.removeprefix("unix://")
    killed = await asyncio.to_thread(kill_leftovers, str(root))
    if killed:
        log.warning("killed processes of an earlier run", count=killed)
    nursery = Nursery()
    try:
        isolation = await nursery.start(str(root), isolation=flags.isolation)
    except (NurseryGoneError, TimeoutError) as error:
        raise ServeError(f"the container supervisor did not start: {error}") from error
    site = Site(root, isolation, _real_paths([str(root), *flags.masked_path]))
    images = ImageStore(_python_path(root))
    cgroups = find_cgroups(os.getpid())
    cgroups.sweep()
    runtime = ProcessRuntime(site, str(flags.pod_cidr), nursery, images, cgroups=cgroups)
    streaming = StreamingServer(runtime, _tokens())
    try:
        await streaming.start()
    except OSError as error:
        raise ServeError(f"the streaming server cannot listen: {error}") from error
    server = grpc.aio.server(
        options=[
            ("grpc.max_receive_message_length", _MESSAGE_BYTES_MAX),
            ("grpc.max_send_message_length", _MESSAGE_BYTES_MAX),
        ]
    )
    # What they leave out gRPC's own base class answers with UNIMPLEMENTED.
    runtime_service = RuntimeService(runtime, streaming)  # type: ignore[abstract]
    image_service = ImageService(images, root)  # type: ignore[abstract]
    cri_grpc.add_RuntimeServiceServicer_to_server(runtime_service, server)
    cri_grpc.add_ImageServiceServicer_to_server(image_service, server)
    await _listen(server, path)
    log.info(
        "ready",
        listen=flags.listen,
        pod_cidr=str(flags.pod_cidr),
        isolated=isolation.available,
        reason=isolation.reason,
        cgroups=cgroups.version,
    )
    stopping = asyncio.Event()
    loop = asyncio.get_running_loop()
    for number in (signal.SIGTERM, signal.SIGINT):
        loop.add_signal_handler(number, stopping.set)
    waits = [asyncio.create_task(stopping.wait()), asyncio.create_task(nursery.gone.wait())]
    await asyncio.wait(waits, return_when=asyncio.FIRST_COMPLETED)
    for task in waits:
        task.cancel()
    lost = nursery.gone.is_set()
    await streaming.stop()
    await runtime.close()
    await server.stop(_STOP_GRACE_S)
    await nursery.stop()
    await asyncio.to_thread(cgroups.close)  # nothing lives in them any more
    with contextlib.suppress(OSError):
        os.unlink(path)
    if lost:
        raise ServeError("the container supervisor died, and all containers with it")
    log.info("stopped")


def _tokens() -> Tokens[Request]:
    return Tokens(time.monotonic, lambda: secrets.token_urlsafe(16))


def _real_paths(paths: list[str]) -> tuple[str, ...]:
    return tuple(os.path.realpath(path) for path in paths)


def _take_root(path: Path) -> Path:
    """Create and lock the root directory; the lock lives as long as this process."""
    try:
        path.mkdir(parents=True, exist_ok=True, mode=0o700)
        root = path.resolve()
        lock = os.open(root / "lock", os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
        fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError as error:
        raise ServeError(f"--root-dir {path}: another runtime uses it") from error
    except OSError as error:
        raise ServeError(f"--root-dir {path}: {error.strerror}") from error
    return root


async def _listen(server: grpc.aio.Server, path: str) -> None:
    """Serve on a socket that only this user may open."""
    old = os.umask(0o177)
    try:
        with contextlib.suppress(FileNotFoundError):
            os.unlink(path)  # the lock on the root directory says that nobody listens on it
        server.add_insecure_port(f"unix://{path}")
        await server.start()
    except (RuntimeError, OSError) as error:
        raise ServeError(f"--listen unix://{path}: {error}") from error
    finally:
        os.umask(old)


def _python_path(root: Path) -> str:
    """A directory with `python` and `python3`, for the image python."""
    folder = root / "python"
    folder.mkdir(exist_ok=True)
    base = getattr(sys, "_base_executable", sys.executable)
    for name in ("python", "python3"):
        link = folder / name
        with contextlib.suppress(FileNotFoundError):
            link.unlink()
        link.symlink_to(os.path.realpath(base))
    return str(folder)

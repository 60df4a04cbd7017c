"""ExecSync: run a program beside a container's own, and wait for it."""

from __future__ import annotations

import asyncio
import contextlib
import os

from agents.runtime.errors import DeadlineFailure, RuntimeFailure
from agents.runtime.launch import Launch
from agents.runtime.output import Capture
from agents.runtime.records import Container
from agents.runtime.spawner import SpawnError, new_pipe
from kubraft.pb.criv1 import api_pb2 as cri

OUTPUT_BYTES_MAX = 16 * 1024 * 1024
_DRAIN_TIMEOUT_S = 1.0


async def exec_sync(
    container: Container, base: Launch, command: tuple[str, ...], *, timeout_s: float
) -> cri.ExecSyncResponse:
    """Run `command` as `base` (the container's own launch) would; 0 s means no time limit.

    Raises:
        DeadlineFailure: it took too long, and was killed.
        RuntimeFailure: it could not be started.
    """
    assert container.process is not None
    launch = base.beside(command)
    with contextlib.ExitStack() as stack:
        (out_read, out_write), (err_read, err_write) = new_pipe(), new_pipe()
        captures = [Capture(fd, OUTPUT_BYTES_MAX) for fd in (out_read, err_read)]
        for capture in captures:
            stack.callback(capture.reader.close)
        with contextlib.ExitStack() as sent:
            fds = (
                launch.to_memory_file(),
                os.open(os.devnull, os.O_RDONLY | os.O_CLOEXEC),
                out_write,
                err_write,
            )
            for fd in fds:
                sent.callback(os.close, fd)
            execution = container.process.execute(fds)
        try:
            await execution.started
            done, _pending = await asyncio.wait({execution.exited}, timeout=timeout_s or None)
        except SpawnError as error:
            raise RuntimeFailure(f"failed to exec in container: {error}") from error
        except asyncio.CancelledError:  # nobody waits for it any more
            execution.kill()
            raise
        if not done:
            execution.kill()
            raise DeadlineFailure(
                f"failed to exec in container: timeout {timeout_s:g}s exceeded: "
                "context deadline exceeded"
            )
        with contextlib.suppress(TimeoutError):  # a background child may keep the pipe open
            async with asyncio.timeout(_DRAIN_TIMEOUT_S):
                for capture in captures:
                    await capture.reader.ended.wait()
        return cri.ExecSyncResponse(
            stdout=bytes(captures[0].data),
            stderr=bytes(captures[1].data),
            exit_code=execution.exited.result(),
        )

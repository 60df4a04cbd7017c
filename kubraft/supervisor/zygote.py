"""A process that has imported what all the others need, and forks them.

Importing gRPC, TLS and the stubs costs each process a third of a second; done once, it also is
memory that all share. The zygote stays single-threaded, opens nothing and runs no event loop, so
that a fork is safe. A forked process is handed over to the supervisor (its subreaper) by forking
twice, so it is the supervisor that reaps it, and the zygote's own end harms nobody.

Messages are JSON objects over a SOCK_SEQPACKET pair:

    to the zygote    {"title", "module", "arguments"} with the log's file descriptor
    from it          {"pid"}

The zygote ends when its socket is closed or its supervisor dies.
"""

from __future__ import annotations

import gc
import importlib
import json
import os
import runpy
import signal
import socket
import struct
import sys
import time
from collections.abc import Sequence
from typing import Any, Final, NoReturn

from kubraft.supervisor.linux import die_with

MESSAGE_BYTES_MAX: Final = 64 << 10

# Imported once for all. None of them starts a thread or opens a file when imported.
PRELOADED: Final = (
    "asyncio",
    "cryptography.x509",
    "cryptography.hazmat.primitives.serialization",
    "google.protobuf.struct_pb2",
    "grpc.aio",
    "grpc_health.v1.health",
    "grpc_reflection.v1alpha.reflection",
    "grpc_status.rpc_status",
    "kubraft.agent_main",
    "kubraft.client.informer",
    "kubraft.pb.criv1.api_pb2_grpc",
    "kubraft.pb.etcdserverpb.rpc_pb2_grpc",
    "kubraft.pb.v1.objects_pb2_grpc",
    "orjson",
    "setproctitle",
    "ssl",
    "structlog",
    "uvloop",
)


def serve(channel: socket.socket, supervisor_pid: int) -> dict[str, Any] | None:
    """Fork a process for each message.

    Returns:
        In each forked process, the message it was made for; in the zygote `None`, at the end.
    """
    while True:
        data, descriptors, _, _ = socket.recv_fds(channel, MESSAGE_BYTES_MAX, maxfds=1)
        if not data:
            return None
        log = descriptors[0]
        pid = _fork_twice(supervisor_pid)
        if pid == 0:
            channel.close()
            os.dup2(log, 1)
            os.dup2(log, 2)
            os.close(log)
            message: dict[str, Any] = json.loads(data)
            return message
        os.close(log)
        channel.send(json.dumps({"pid": pid}).encode())


def run(message: dict[str, Any]) -> NoReturn:
    """Become `python -m module arguments`; what it raises or returns ends the process."""
    import setproctitle  # noqa: PLC0415 - imported before the fork

    arguments: list[str] = message["arguments"]
    setproctitle.setproctitle(message["title"])
    sys.argv = [message["module"], *arguments]
    runpy.run_module(message["module"], run_name="__main__", alter_sys=True)
    sys.exit(0)


def _fork_twice(supervisor_pid: int) -> int:
    """0 in the new process once it is the supervisor's child; its pid in the zygote."""
    reader, writer = os.pipe()
    middle = os.fork()
    if middle == 0:
        middle_pid = os.getpid()
        pid = os.fork()
        if pid:
            os.write(writer, struct.pack("i", pid))
            os._exit(0)
        os.close(reader)
        os.close(writer)
        while os.getppid() == middle_pid:
            time.sleep(0.0002)
        die_with(supervisor_pid)
        os.setsid()
        return 0
    os.close(writer)
    (pid,) = struct.unpack("i", os.read(reader, struct.calcsize("i")))
    os.close(reader)
    os.waitpid(middle, 0)
    return int(pid)


def main(arguments: Sequence[str]) -> NoReturn:
    """`python -m kubraft.supervisor.zygote SOCKET_FD SUPERVISOR_PID`."""
    channel = socket.socket(fileno=int(arguments[0]))
    supervisor_pid = int(arguments[1])
    die_with(supervisor_pid)
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    for module in PRELOADED:
        importlib.import_module(module)
    gc.collect()
    gc.freeze()  # what all share is never traversed again, so its pages stay shared
    message = serve(channel, supervisor_pid)
    if message is None:
        sys.exit(0)
    signal.signal(signal.SIGINT, signal.default_int_handler)
    run(message)


if __name__ == "__main__":
    main(sys.argv[1:])

"""TCP ports on loopback: the fixed ones, a free block of them, and who has one that is taken.

Free ports are taken as one block below the range the kernel gives to outgoing connections, so that
no connection can sit on the port of a member that is down for a moment. A cluster that is up holds
ports of its block; until it is up, the process that chose the block claims it. So two clusters
never share one, not even two that start at the same moment.
"""

from __future__ import annotations

import contextlib
import errno
import os
import random
import socket
import sys
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Final

LOOPBACK: Final = "127.0.0.1"

# The local convention of etcd's own Procfile; the peer port is the next one.
MEMBER_CLIENT_PORTS: Final = (2379, 22379, 32379, 42379, 52379)
REST_PORT: Final = 6443
GRPC_PORT: Final = 6444
GRPC_MTLS_PORT: Final = 6445
DNS_PORT: Final = 53
METRICS_PORT: Final = 4443  # metrics-server's
HOLLOW_PORT: Final = 10251  # of all hollow nodes
PROXY_HEALTH_PORT: Final = 10256  # kube-proxy's
PROXY_METRICS_PORT: Final = 10249
NODE_PORT_FIRST: Final = 10250  # the kubelet's
NODE_PORT_STEP: Final = 100
CONTROLLER_MANAGER_PORT: Final = 10257  # kube-controller-manager's, for probes and figures
CLOUD_CONTROLLER_MANAGER_PORT: Final = 10258  # cloud-controller-manager's
SCHEDULER_PORT: Final = 10259  # kube-scheduler's

_BLOCK_FIRST: Final = 10_048
_BLOCK_SIZE: Final = 96
_BLOCKS: Final = 230  # ends below 32768, where Linux begins to give ports to connections

# A descriptor for each block this process has claimed; they close when it ends, however it ends.
_claims: dict[int, int] = {}


@dataclass(frozen=True, slots=True)
class PortHolder:
    """The process that listens on a port; `name` is empty where we may not see it."""

    pid: int
    name: str

    def __str__(self) -> str:
        return f"pid {self.pid} ({self.name})" if self.name else "a process we may not see"


@dataclass(frozen=True, slots=True)
class PortBlock:
    """Ports nobody used when looked at, in order, with the block's number."""

    index: int
    ports: tuple[int, ...]


def is_free(port: int) -> bool:
    """Whether a listener on loopback may take `port` now."""
    with socket.socket(socket.AF_INET, socket.SOCK_STREAM) as probe:
        # As servers do: connections that are still closing do not count.
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind((LOOPBACK, port))
        except OSError:
            return False
    return True


def may_listen(address: str, port: int) -> bool:
    """Whether this user may listen there at all, be it free or not."""
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as probe:
        try:
            probe.bind((address, port))
        except OSError as error:
            return error.errno == errno.EADDRINUSE
    return True


def free_block(rng: random.Random) -> PortBlock:
    """A block of ports that are all free; no other process is given it while this one lives.

    Raises:
        OSError: no block is free.
    """
    for index in rng.sample(range(_BLOCKS), _BLOCKS):
        first = _BLOCK_FIRST + index * _BLOCK_SIZE
        ports = tuple(range(first, first + _BLOCK_SIZE))
        if not _claim(index):
            continue
        if all(map(is_free, ports)):
            return PortBlock(index, ports)
        os.close(_claims.pop(index))
    raise OSError(f"no {_BLOCK_SIZE} free ports in a row on {LOOPBACK}")


def _claim(index: int) -> bool:
    """Whether nobody, in this process or another, had claimed the block before.

    The claim is a name in the abstract namespace of Unix sockets (unix(7)): like the ports it
    belongs to the network namespace, and the kernel takes it back. Elsewhere than on Linux a
    claim binds this process only.
    """
    if index in _claims:
        return False
    claim = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
    if sys.platform == "linux":
        try:
            claim.bind(f"\0kubraft-port-block-{index}")
        except OSError:
            claim.close()
            return False
    _claims[index] = claim.detach()
    return True


def find_holder(port: int) -> PortHolder | None:
    """Who listens on `port`, or `None` where nobody seems to."""
    import psutil  # noqa: PLC0415 - for an error message only

    with contextlib.suppress(psutil.AccessDenied):
        for connection in psutil.net_connections("tcp"):
            if connection.status != psutil.CONN_LISTEN or tuple(connection.laddr)[1:] != (port,):
                continue
            if connection.pid is None:
                return PortHolder(0, "")
            with contextlib.suppress(psutil.Error):
                return PortHolder(connection.pid, psutil.Process(connection.pid).name())
            return PortHolder(connection.pid, "")
    return None


def first_taken(ports: Iterable[int]) -> int | None:
    """The first of `ports` that is not free."""
    return next((port for port in ports if not is_free(port)), None)

"""Machines of a test: network namespaces joined by virtual cables, gone with the test.

    node = Machine(); client = Machine()
    join(node, "10.9.1.1/24", client, "10.9.1.2/24")
    with client.socket() as s: s.connect(...)

A namespace lives as long as the process that holds it, and that dies with the test's.
"""

from __future__ import annotations

import asyncio
import contextlib
import ctypes
import itertools
import os
import shutil
import socket
import subprocess
from collections.abc import Iterator
from typing import Self

_CLONE_NEWNET = 0x4000_0000
_HELD = "ip link set lo up && echo && exec sleep infinity"
_libc = ctypes.CDLL(None, use_errno=True)
_numbers = itertools.count()


def missing() -> str:
    """Why machines cannot be made here; "" where they can."""
    if os.geteuid():
        return "network namespaces need root"
    programs = ("bridge", "ip", "nft", "nsenter", "setpriv", "unshare")
    absent = [each for each in programs if shutil.which(each) is None]
    return f"not installed: {', '.join(absent)}" if absent else ""


class Machine:
    """A network namespace with its loopback interface up."""

    def __init__(self) -> None:
        self._holder = subprocess.Popen(
            # It dies with this process, however that ends.
            ["setpriv", "--pdeathsig", "KILL", "unshare", "--net", "sh", "-c", _HELD],
            stdout=subprocess.PIPE,
        )
        assert self._holder.stdout is not None
        with self._holder.stdout as out:
            assert out.readline() == b"\n", "no namespace could be made"
        self.pid = self._holder.pid

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.end()

    @property
    def enter(self) -> tuple[str, ...]:
        """The words before a command that is to run on this machine."""
        return ("nsenter", f"--net=/proc/{self.pid}/ns/net")

    def run(self, *command: str, stdin: str = "") -> str:
        """What a command writes; it must succeed."""
        done = subprocess.run(
            [*self.enter, *command],
            input=stdin,
            capture_output=True,
            text=True,
            check=False,
            timeout=60,
        )
        assert done.returncode == 0, f"{' '.join(command)}: {done.stderr}"
        return done.stdout

    @contextlib.contextmanager
    def entered(self) -> Iterator[None]:
        """This thread is on this machine: sockets that it makes are, and stay so."""
        home = os.open("/proc/thread-self/ns/net", os.O_RDONLY | os.O_CLOEXEC)
        there = os.open(f"/proc/{self.pid}/ns/net", os.O_RDONLY | os.O_CLOEXEC)
        try:
            _setns(there)
            try:
                yield
            finally:
                _setns(home)
        finally:
            os.close(home)
            os.close(there)

    def socket(
        self,
        kind: int = socket.SOCK_STREAM,
        family: int = socket.AF_INET,
        protocol: int = 0,
    ) -> socket.socket:
        """A socket of this machine, which does not block."""
        with self.entered():
            return socket.socket(family, kind | socket.SOCK_NONBLOCK, protocol)

    def sysctl(self, name: str, value: object) -> None:
        self.run("sh", "-c", f"echo {value} > /proc/sys/{name.replace('.', '/')}")

    def end(self) -> None:
        """The namespace and its cables are gone."""
        self._holder.kill()
        self._holder.wait()


def _setns(descriptor: int) -> None:
    if _libc.setns(descriptor, _CLONE_NEWNET):
        raise OSError(ctypes.get_errno(), "setns")


def join(one: Machine, address: str, other: Machine, other_address: str) -> str:
    """Lay a cable between two machines; the name of its end at `one`. Addresses may be empty."""
    number = next(_numbers)
    near, far = f"c{number}a", f"c{number}b"
    one.run("ip", "link", "add", near, "type", "veth", "peer", far, "netns", str(other.pid))
    for machine, name, own in ((one, near, address), (other, far, other_address)):
        if own:
            machine.run("ip", "address", "add", own, "dev", name, "nodad")
        machine.run("ip", "link", "set", name, "up")
    return near


async def connect(client: socket.socket, address: str, port: int, timeout_s: float = 5.0) -> None:
    """Connect a socket of a machine, with the system's own errors."""
    async with asyncio.timeout(timeout_s):
        await asyncio.get_running_loop().sock_connect(client, (address, port))

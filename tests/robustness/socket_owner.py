"""Whose socket it is: asked of the kernel for one connection, as its whole list takes too long."""

from __future__ import annotations

import contextlib
import os
import socket
import struct
from collections.abc import Mapping
from pathlib import Path

# Source: linux/netlink.h, linux/sock_diag.h, linux/inet_diag.h.
_NETLINK_SOCK_DIAG = 4
_SOCK_DIAG_BY_FAMILY = 20
_NLM_F_REQUEST = 1
_ALL_STATES = 0xFFFF_FFFF
_NO_COOKIE = 0xFFFF_FFFF
_HEADER = struct.Struct("=IHHII")  # length, type, flags, sequence, port
_REQUEST = struct.Struct("=BBBBI")  # family, protocol, extensions, padding, states
_PORTS = struct.Struct(">HH")  # of the socket that is asked for, and of its other end
_ADDRESSES = struct.Struct(">16s16sIII")  # its own, the other end's, interface, cookie
_INODE_AT = _HEADER.size + 4 + _PORTS.size + _ADDRESSES.size + 16
_LOOPBACK = socket.inet_aton("127.0.0.1")


def owner_of(port: int, other_port: int, processes: Mapping[str, int]) -> str | None:
    """Which of `processes` (pids by name) has the end `port` of a connection on loopback."""
    inode = _inode_of(port, other_port)
    if not inode:
        return None
    wanted = f"socket:[{inode}]"
    for name, pid in processes.items():
        with contextlib.suppress(OSError):
            for file in Path(f"/proc/{pid}/fd").iterdir():
                with contextlib.suppress(OSError):
                    if os.readlink(file) == wanted:  # noqa: PTH115  # many of them
                        return name
    return None


def _inode_of(port: int, other_port: int) -> int:
    """0: there is no such connection any more."""
    body = _REQUEST.pack(socket.AF_INET, socket.IPPROTO_TCP, 0, 0, _ALL_STATES)
    body += _PORTS.pack(port, other_port)
    body += _ADDRESSES.pack(_LOOPBACK, _LOOPBACK, 0, _NO_COOKIE, _NO_COOKIE)
    length = _HEADER.size + len(body)
    header = _HEADER.pack(length, _SOCK_DIAG_BY_FAMILY, _NLM_F_REQUEST, 1, 0)
    with socket.socket(socket.AF_NETLINK, socket.SOCK_DGRAM, _NETLINK_SOCK_DIAG) as asking:
        asking.sendto(header + body, (0, 0))
        answer = asking.recv(4096)
    _, kind, *_ = _HEADER.unpack_from(answer)
    if kind != _SOCK_DIAG_BY_FAMILY:
        return 0
    (inode,) = struct.unpack_from("=I", answer, _INODE_AT)
    return int(inode)

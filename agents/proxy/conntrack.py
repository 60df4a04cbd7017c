"""Flows that the kernel remembers: their list, and forgetting one. Over netlink.

Addresses are translated by the first packet of a flow; over UDP, which has no end, a client that
goes on sending would reach a Pod that is long gone. Those flows are forgotten, so that their next
packet is looked at anew.

Source: Linux, include/uapi/linux/netfilter/nfnetlink_conntrack.h; netlink(7); KEP-3866.
"""

from __future__ import annotations

import errno
import ipaddress
import os
import socket
import struct
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass
from typing import Final, NamedTuple

from agents.proxy.service_ports import Endpoint, ServicePort

_NETLINK_NETFILTER: Final = 12
_GET, _DELETE = 0x101, 0x102
_REQUEST, _ACK, _DUMP = 0x1, 0x4, 0x300
_ERROR, _DONE = 0x2, 0x3
_HEADER: Final = struct.Struct("=IHHII")
_FAMILY: Final = struct.Struct("=BBH")
_ATTRIBUTE: Final = struct.Struct("=HH")
_TUPLE_ORIGINAL, _TUPLE_REPLY, _ZONE = 1, 2, 18
_TUPLE_IP, _TUPLE_PROTOCOL = 1, 2
_SOURCES, _DESTINATIONS = (1, 3), (2, 4)  # IPv4's and IPv6's
_NUMBER, _SOURCE_PORT, _DESTINATION_PORT = 1, 2, 3
_BUFFER: Final = 1 << 18
_TIMEOUT_S: Final = 10.0
_UDP: Final = 17

SocketMaker = Callable[[], socket.socket]


class Flow(NamedTuple):
    """One flow: to where its client sent, and who answers."""

    original: Endpoint
    answering: Endpoint
    key: bytes  # the attributes by which the kernel finds it


@dataclass(frozen=True, slots=True)
class UdpFronts:
    """Who may answer for which UDP address, and for which node port.

    Attributes:
        sockets: the endpoints of each address and port.
        node_ports: those of each node port.
    """

    sockets: Mapping[Endpoint, frozenset[Endpoint]]
    node_ports: Mapping[int, frozenset[Endpoint]]


def udp_fronts(ports: Iterable[ServicePort]) -> UdpFronts:
    """All of these Services' UDP fronts."""
    sockets: dict[Endpoint, frozenset[Endpoint]] = {}
    node_ports: dict[int, frozenset[Endpoint]] = {}
    for port in ports:
        if port.protocol != "UDP":
            continue
        behind = frozenset(port.serving)
        for address in (*port.cluster_ips, *port.external_ips, *port.balancer_ips):
            sockets.setdefault(Endpoint(address, port.port), behind)
        if port.node_port:
            node_ports.setdefault(port.node_port, behind)
    return UdpFronts(sockets, node_ports)


def stale_flows(flows: Iterable[Flow], fronts: UdpFronts) -> Iterator[Flow]:
    """Those that lead where no endpoint is. Pure.

    Flows to a node port count only where they were translated: the same port of another machine is
    none of our business.
    """
    for flow in flows:
        behind = fronts.sockets.get(flow.original)
        if behind is None and flow.original != flow.answering:
            behind = fronts.node_ports.get(flow.original.port)
        if behind is not None and flow.answering not in behind:
            yield flow


def netlink_socket() -> socket.socket:
    """A socket to the kernel's connection tracking, of the network namespace of this thread."""
    return socket.socket(socket.AF_NETLINK, socket.SOCK_RAW, _NETLINK_NETFILTER)


def forget_stale(fronts: UdpFronts, maker: SocketMaker = netlink_socket) -> int:
    """Forget flows that lead where no endpoint is; how many they were.

    Blocks: a flow takes some microseconds.

    Raises:
        OSError: the kernel refuses.
    """
    if not fronts.sockets and not fronts.node_ports:
        return 0
    with maker() as kernel:
        kernel.setblocking(True)
        kernel.settimeout(_TIMEOUT_S)
        kernel.bind((0, 0))
        stale = [
            (family, flow)
            for family in (socket.AF_INET, socket.AF_INET6)
            for flow in stale_flows(_flows(kernel, family), fronts)
        ]
        for family, flow in stale:
            _forget(kernel, family, flow)
    return len(stale)


def _flows(kernel: socket.socket, family: int) -> Iterator[Flow]:
    """All UDP flows of that family."""
    kernel.send(_message(_GET, _REQUEST | _DUMP, family, b""))
    for body in _answers(kernel):
        flow = _flow(body[_FAMILY.size :])
        if flow is not None:
            yield flow


def _forget(kernel: socket.socket, family: int, flow: Flow) -> None:
    kernel.send(_message(_DELETE, _REQUEST | _ACK, family, flow.key))
    try:
        for _ in _answers(kernel):
            pass
    except OSError as error:
        if error.errno != errno.ENOENT:  # it ended by itself
            raise


def _message(kind: int, flags: int, family: int, attributes: bytes) -> bytes:
    body = _FAMILY.pack(family, 0, 0) + attributes
    return _HEADER.pack(_HEADER.size + len(body), kind, flags, 1, 0) + body


def _answers(kernel: socket.socket) -> Iterator[bytes]:
    """The bodies of all messages up to the end of the answer."""
    while True:
        data = kernel.recv(_BUFFER)
        while len(data) >= _HEADER.size:
            length, kind, _, _, _ = _HEADER.unpack_from(data)
            body = data[_HEADER.size : length]
            if kind == _ERROR:
                (code,) = struct.unpack_from("=i", body)
                if code:
                    raise OSError(-code, os.strerror(-code))
                return
            if kind == _DONE:
                return
            yield body
            data = data[(length + 3) & ~3 :]


def _attributes(data: bytes) -> dict[int, bytes]:
    found: dict[int, bytes] = {}
    at = 0
    while at + _ATTRIBUTE.size <= len(data):
        length, kind = _ATTRIBUTE.unpack_from(data, at)
        if length < _ATTRIBUTE.size:
            break
        found[kind & 0x3FFF] = data[at + _ATTRIBUTE.size : at + length]
        at += (length + 3) & ~3
    return found


def _flow(data: bytes) -> Flow | None:
    found = _attributes(data)
    if _TUPLE_ORIGINAL not in found or _TUPLE_REPLY not in found:
        return None
    original, reply = _attributes(found[_TUPLE_ORIGINAL]), _attributes(found[_TUPLE_REPLY])
    protocol, answer = _attributes(original[_TUPLE_PROTOCOL]), _attributes(reply[_TUPLE_PROTOCOL])
    if protocol[_NUMBER][0] != _UDP:
        return None
    key = _attribute(_TUPLE_ORIGINAL | 0x8000, found[_TUPLE_ORIGINAL])
    if _ZONE in found:
        key += _attribute(_ZONE, found[_ZONE])
    return Flow(
        Endpoint(_address(original[_TUPLE_IP], _DESTINATIONS), _port(protocol, _DESTINATION_PORT)),
        Endpoint(_address(reply[_TUPLE_IP], _SOURCES), _port(answer, _SOURCE_PORT)),
        key,
    )


def _attribute(kind: int, value: bytes) -> bytes:
    padding = b"\0" * (-len(value) % 4)
    return _ATTRIBUTE.pack(_ATTRIBUTE.size + len(value), kind) + value + padding


def _address(data: bytes, kinds: tuple[int, int]) -> str:
    found = _attributes(data)
    return str(ipaddress.ip_address(next(found[kind] for kind in kinds if kind in found)))


def _port(attributes: Mapping[int, bytes], kind: int) -> int:
    return int.from_bytes(attributes[kind], "big")

"""A node with Pods behind it and a client before it, each a machine of its own.

client 10.9.1.2 --- 10.9.1.1 node 10.244.0.1 (bridge cni0) --- Pods 10.244.0.2, ...
"""

from __future__ import annotations

import asyncio
import contextlib
import socket
from collections import Counter
from collections.abc import Iterable
from typing import Self

from agents.proxy.conntrack import netlink_socket
from agents.proxy.nft_table import NftProgram, NftTable
from agents.proxy.ruleset import Ruleset, Settings, ruleset_of
from agents.proxy.service_ports import Place
from agents.proxy.service_rules import fragment_of
from kubraft.api.object import Object
from tests.harness.network import Machine, connect, join

NODE = "10.9.1.1"
CLIENT = "10.9.1.2"
PORT = 8080
PODS = "10.244.0.0/24"
SETTINGS = Settings(
    pods=f"ip saddr {PODS}",
    not_pods=f"ip saddr != {PODS}",
    node_port_networks=(NODE,),
)
PATIENCE_S = 30.0
REFUSED, SILENCE = "refused", "silence"


class Pod(Machine):
    """A machine that says its name and who asked, over TCP and UDP, on port 8080."""

    def __init__(self, node: Machine, number: int) -> None:
        super().__init__()
        self.name = "abcdefgh"[number]
        self.address = f"10.244.0.{number + 2}"
        self.connections = 0
        self._node = node
        self._server: asyncio.Server | None = None
        self._udp: asyncio.DatagramTransport | None = None

    async def serve(self) -> None:
        """Be reached through the node, and answer."""
        cable = join(self._node, "", self, f"{self.address}/24")
        self._node.run("ip", "link", "set", cable, "master", "cni0")
        self._node.run("bridge", "link", "set", "dev", cable, "hairpin", "on")
        self.run("ip", "route", "add", "default", "via", "10.244.0.1")
        tcp, udp = self.socket(), self.socket(socket.SOCK_DGRAM)
        tcp.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        for each in (tcp, udp):
            each.bind(("0.0.0.0", PORT))
        self._server = await asyncio.start_server(self._answer, sock=tcp)
        loop = asyncio.get_running_loop()
        self._udp, _ = await loop.create_datagram_endpoint(lambda: _Echo(self.name), sock=udp)

    def stop_listening(self) -> None:
        """Connections go on until their clients end them."""
        assert self._server is not None
        self._server.close()

    async def _answer(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        """A line for each line; the first comes unasked."""
        self.connections += 1
        line = f"{self.name} {writer.get_extra_info('peername')[0]}\n".encode()
        with contextlib.suppress(OSError):
            writer.write(line)
            while await reader.readline():
                writer.write(line)
        writer.close()

    def end(self) -> None:
        if self._server is not None:
            self._server.close()
        if self._udp is not None:
            self._udp.abort()
        super().end()


class _Echo(asyncio.DatagramProtocol):
    def __init__(self, name: str) -> None:
        self._name = name
        self._transport: asyncio.DatagramTransport | None = None

    def connection_made(self, transport: asyncio.DatagramTransport) -> None:  # type: ignore[override]
        self._transport = transport

    def datagram_received(self, data: bytes, addr: tuple[str, int]) -> None:
        assert self._transport is not None
        self._transport.sendto(f"{self._name} {addr[0]}".encode(), addr)


class Lab:
    """One node, one client, some Pods; the table is the node's."""

    def __init__(self, pods: int = 2, settings: Settings = SETTINGS) -> None:
        self.settings = settings
        self._machines = contextlib.ExitStack()
        self.node = self._machines.enter_context(Machine())
        self.client = self._machines.enter_context(Machine())
        self.pods = [self._machines.enter_context(Pod(self.node, each)) for each in range(pods)]
        self.nft = NftProgram((*self.node.enter, "nft"))
        self.table = NftTable("IPv4", self.nft)

    async def __aenter__(self) -> Self:
        try:
            self._wire()
            for pod in self.pods:
                await pod.serve()
        except BaseException:
            self._machines.close()
            raise
        return self

    def _wire(self) -> None:
        join(self.node, f"{NODE}/24", self.client, f"{CLIENT}/24")
        self.client.run("ip", "route", "add", "default", "via", NODE)
        for command in (
            "link add cni0 type bridge",
            "address add 10.244.0.1/24 dev cni0",
            "link set cni0 up",
            # Where packets for addresses that nobody has would go.
            "link add away0 type bridge",
            "link set away0 up",
            "route add default dev away0",
        ):
            self.node.run("ip", *command.split())
        self.node.sysctl("net.ipv4.ip_forward", 1)
        self.node.sysctl("net.ipv4.icmp_ratelimit", 0)  # each refusal is told
        self.node.sysctl("net.bridge.bridge-nf-call-iptables", 1)

    async def __aexit__(self, *_: object) -> None:
        self._machines.close()

    def conntrack_socket(self) -> socket.socket:
        """Of the node, for those that have no thread there."""
        with self.node.entered():
            return netlink_socket()

    def ruleset(
        self, services: Iterable[Object], slices: Iterable[Object], place: Place | None = None
    ) -> Ruleset:
        found = list(slices)
        return ruleset_of(
            self.settings,
            [
                fragment_of(service, _of(service, found), place or Place(), self.settings)
                for service in services
            ],
        )

    async def apply(
        self, services: Iterable[Object], slices: Iterable[Object], place: Place | None = None
    ) -> None:
        await self.table.apply(self.ruleset(services, slices, place))


def _of(service: Object, slices: Iterable[Object]) -> list[Object]:
    name = service["metadata"]["name"]
    label = "kubernetes.io/service-name"
    return [each for each in slices if each["metadata"]["labels"][label] == name]


async def ask(machine: Machine, address: str, port: int, timeout_s: float = PATIENCE_S) -> str:
    """Who answered and whom it saw, or how the connection failed."""
    with machine.socket() as client:
        try:
            await connect(client, address, port, timeout_s)
            async with asyncio.timeout(timeout_s):
                said = await asyncio.get_running_loop().sock_recv(client, 100)
        except ConnectionRefusedError:
            return REFUSED
        except TimeoutError:
            return SILENCE
        except OSError as error:  # nobody has the address
            return error.strerror or "error"
    return said.decode().strip()


async def ask_udp(
    machine: Machine, address: str, port: int, own_port: int = 0, timeout_s: float = PATIENCE_S
) -> str:
    """The same over UDP."""
    with machine.socket(socket.SOCK_DGRAM) as client:
        loop = asyncio.get_running_loop()
        client.bind(("0.0.0.0", own_port))
        try:
            async with asyncio.timeout(timeout_s):
                await loop.sock_connect(client, (address, port))
                await loop.sock_sendall(client, b"?")
                return (await loop.sock_recv(client, 100)).decode()
        except ConnectionRefusedError:
            return REFUSED
        except TimeoutError:
            return SILENCE


async def asked(machine: Machine, address: str, port: int, times: int = 12) -> Counter[str]:
    """The answers of many connections."""
    return Counter([await ask(machine, address, port) for _ in range(times)])

"""What a Service costs: `make bench-services`, about a minute; needs root.

Connections a second and bytes a second to one Pod directly, by rules and through user space, all in
one run, between machines (network namespaces) of its own; and how long rules take to make and to
change. Client, proxy and server share the machine's cores.
"""

from __future__ import annotations

import asyncio
import socket
import statistics
import sys
import time
from collections.abc import Callable, Iterator, Mapping
from multiprocessing import get_context
from multiprocessing.connection import Connection
from typing import Final

from agents.proxy.fronts import Backends, Front
from agents.proxy.listeners import Listeners
from agents.proxy.nft_table import NftProgram, NftTable
from agents.proxy.ruleset import Fragment, Settings, ruleset_of
from agents.proxy.service_ports import Endpoint, Place
from agents.proxy.service_rules import fragment_of
from kubraft.api.object import Object, ObjectKey
from kubraft.api.time import SystemClock
from tests.harness.network import Machine, join, missing

NODE, CLIENT, POD = "10.9.1.1", "10.9.1.2", "10.244.0.2"
IP: Final = "172.30.0.9"
PORT: Final = 8080
PROXY_PORT: Final = 8081
RUN_S: Final = 3.0
RUNS: Final = 3
CHUNK: Final = bytes(1 << 16)
SERVICES, ENDPOINTS = 1_000, 10
SETTINGS: Final = Settings(pods="ip saddr 10.244.0.0/16", not_pods="ip saddr != 10.244.0.0/16")


def serve(machine: Machine, ready: Connection) -> None:
    """One byte to each that asks with one byte; everything to each that asks with another."""

    async def answer(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        asked = await reader.read(1)
        writer.write(b"!")
        try:
            while asked == b"m":
                writer.write(CHUNK)
                await writer.drain()
        except OSError:
            pass
        writer.close()

    async def run() -> None:
        listening = machine.socket()
        listening.bind(("0.0.0.0", PORT))
        await asyncio.start_server(answer, sock=listening, backlog=4096)
        ready.send(None)
        await asyncio.sleep(3600)

    _run(run)


def relay(machine: Machine, ready: Connection) -> None:
    """The user-space mode on the node."""

    async def run() -> None:
        listeners = Listeners(SystemClock())
        backends = Backends(ObjectKey("default", "web"), "uid", (Endpoint(POD, PORT),))
        failed = await listeners.apply({Front("TCP", NODE, PROXY_PORT): backends})
        assert not failed, failed
        ready.send(None)
        await asyncio.sleep(3600)

    with machine.entered():
        _run(run)


def ask(machine: Machine, address: str, port: int, word: bytes, answer: Connection) -> None:
    """How many connections, or bytes, in a second."""

    async def connections() -> float:
        loop = asyncio.get_running_loop()
        done = 0
        end_s = time.monotonic() + RUN_S

        async def one_after_another() -> None:
            nonlocal done
            while time.monotonic() < end_s:
                with _socket() as client:
                    await loop.sock_connect(client, (address, port))
                    await loop.sock_sendall(client, word)
                    await loop.sock_recv(client, 1)
                done += 1

        await asyncio.gather(*(one_after_another() for _ in range(16)))
        return done / RUN_S

    async def transfer() -> float:
        loop = asyncio.get_running_loop()
        count, end_s = 0, time.monotonic() + RUN_S
        buffer = bytearray(1 << 18)
        with _socket() as client:
            await loop.sock_connect(client, (address, port))
            await loop.sock_sendall(client, word)
            while time.monotonic() < end_s:
                count += await loop.sock_recv_into(client, buffer)
        return count / RUN_S

    async def run() -> None:
        answer.send(await (transfer() if word == b"m" else connections()))

    with machine.entered():
        _run(run)


def _socket() -> socket.socket:
    made = socket.socket()
    made.setblocking(False)
    return made


def _run(story: Callable[[], object]) -> None:
    import uvloop

    uvloop.run(story())  # type: ignore[arg-type]


def measured(
    machine: Machine, ways: Mapping[str, tuple[str, int]], word: bytes
) -> dict[str, float]:
    """The median of several runs, each by a process of its own; the ways take turns."""
    context = get_context("fork")
    figures: dict[str, list[float]] = {way: [] for way in ways}
    for way in list(ways) * RUNS:
        mine, theirs = context.Pipe()
        client = context.Process(target=ask, args=(machine, *ways[way], word, theirs))
        client.start()
        figures[way].append(float(mine.recv()))
        client.join()
    return {way: statistics.median(found) for way, found in figures.items()}


def traffic() -> Iterator[str]:
    """Each way beside the direct one."""
    context = get_context("fork")
    with Machine() as node, Machine() as client, Machine() as pod:
        join(node, f"{NODE}/24", client, f"{CLIENT}/24")
        join(node, "10.244.0.1/24", pod, f"{POD}/24")
        client.run("ip", "route", "add", "default", "via", NODE)
        pod.run("ip", "route", "add", "default", "via", "10.244.0.1")
        node.sysctl("net.ipv4.ip_forward", 1)
        for machine in (client, node, pod):
            machine.sysctl("net.ipv4.ip_local_port_range", "1025 65535")
            machine.sysctl("net.ipv4.tcp_tw_reuse", 1)
        servers = []
        for target, machine in ((serve, pod), (relay, node)):
            mine, theirs = context.Pipe()
            servers.append(context.Process(target=target, args=(machine, theirs), daemon=True))
            servers[-1].start()
            mine.recv()
        table = NftTable("IPv4", NftProgram((*node.enter, "nft")))
        asyncio.run(table.apply(ruleset_of(SETTINGS, [_web()])))
        ways = {
            "direct": (POD, PORT),
            "nftables": (IP, 80),
            "userspace": (NODE, PROXY_PORT),
        }
        for what, word, unit, scale in (
            ("connections", b"1", "/s", 1.0),
            ("throughput", b"m", " MiB/s", float(1 << 20)),
        ):
            figures = measured(client, ways, word)
            for way, figure in figures.items():
                share = figure / figures["direct"]
                yield f"| {what} | {way} | {figure / scale:,.0f}{unit} | {share:.0%} |"
        for server in servers:
            server.kill()
            server.join()


def _web() -> Fragment:
    made = _service("web", IP)
    return fragment_of(made, [_slice("web", [POD])], Place(), SETTINGS)


def _service(name: str, address: str) -> Object:
    return {
        "metadata": {"name": name, "namespace": "default"},
        "spec": {"clusterIP": address, "ports": [{"port": 80}]},
    }


def _slice(name: str, addresses: list[str]) -> Object:
    return {
        "metadata": {
            "name": name,
            "namespace": "default",
            "labels": {"kubernetes.io/service-name": name},
        },
        "ports": [{"port": PORT}],
        "endpoints": [{"addresses": [each]} for each in addresses],
    }


def syncs() -> Iterator[str]:
    """A table of 1,000 Services with 10 endpoints each: made, changed, found again."""

    def fragment(number: int, count: int = ENDPOINTS) -> Fragment:
        first = number * ENDPOINTS
        addresses = [
            f"10.{(first + each) >> 16}.{(first + each) >> 8 & 255}.{(first + each) & 255}"
            for each in range(count)
        ]
        name = f"s{number}"
        made = _service(name, f"172.30.{number >> 8}.{number & 255}")
        return fragment_of(made, [_slice(name, addresses)], Place(), SETTINGS)

    with Machine() as node:
        nft = NftProgram((*node.enter, "nft"))
        table = NftTable("IPv4", nft)

        def took(change: Callable[[], list[Fragment]], using: NftTable = table) -> float:
            began_s = time.monotonic()
            asyncio.run(using.apply(ruleset_of(SETTINGS, change())))
            return time.monotonic() - began_s

        all_of_them: list[Fragment] = []

        def make() -> list[Fragment]:
            all_of_them.extend(fragment(number) for number in range(SERVICES))
            return all_of_them

        yield f"| all rules of 1,000 Services x 10 endpoints | nftables | {took(make):.2f} s | |"
        changes = []
        for number in range(5):

            def change(number: int = number) -> list[Fragment]:
                all_of_them[number] = fragment(number, ENDPOINTS - 1)
                return all_of_them

            changes.append(took(change) * 1000)
        median = statistics.median(changes)
        yield f"| one endpoint of them goes | nftables | {median:.0f} ms | |"
        again = took(lambda: all_of_them, NftTable("IPv4", nft))
        yield f"| a new proxy takes the table over | nftables | {again:.2f} s | |"


def main() -> None:
    """Print the table."""
    if why := missing():
        sys.exit(f"bench-services: {why}")
    sys.stdout.write("| what | way | figure | of direct |\n| --- | --- | --: | --: |\n")
    for part in (traffic, syncs):
        for line in part():
            sys.stdout.write(f"{line}\n")
            sys.stdout.flush()


if __name__ == "__main__":
    main()

"""Many clients, slow clients, and clients that stop in the middle of it."""

from __future__ import annotations

import asyncio
import contextlib
import gc
import os
import resource
import socket
import ssl
import subprocess
import sys
from collections.abc import AsyncIterator, Iterator
from pathlib import Path
from typing import cast

import pytest

from kubraft.grpc_server import frames as f
from kubraft.grpc_server import http1
from kubraft.grpc_server.exchange import Exchange, HttpResponse
from kubraft.grpc_server.guard import Limits
from kubraft.grpc_server.server import GrpcServer
from tests.apiserver.harness import make_test_pki
from tests.kubraft.grpc_server.raw import WAIT_S, Client, Served, Site

# A server with few descriptors, as a process of its own: what is short is short for all of one.
PROGRAM = """
import asyncio, resource, ssl, sys
import uvloop
from kubraft.grpc_server.exchange import HttpResponse
from kubraft.grpc_server.guard import Limits
from kubraft.grpc_server.server import GrpcServer
runner, descriptors, folder = sys.argv[1:]
resource.setrlimit(resource.RLIMIT_NOFILE, (int(descriptors), int(descriptors)))
async def handle(exchange):
    await exchange.respond(HttpResponse(200, b"ok"))
async def main():
    tls = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
    tls.load_cert_chain(folder + "/apiserver.crt", folder + "/apiserver.key")
    server = GrpcServer(Limits(idle_s=60.0), http=handle)
    print(server.listen("127.0.0.1", 0, tls), flush=True)
    await server.start()
    await asyncio.Event().wait()
(uvloop if runner == "uvloop" else asyncio).run(main())
"""


@pytest.fixture(scope="module")
def pki(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return make_test_pki(tmp_path_factory.mktemp("tls") / "pki")


@contextlib.contextmanager
def poor_server(runner: str, pki: Path) -> Iterator[int]:
    command = [sys.executable, "-c", PROGRAM, runner, "200", str(pki)]
    with subprocess.Popen(command, stdout=subprocess.PIPE) as process:
        try:
            assert process.stdout is not None
            yield int(process.stdout.readline())
            assert process.poll() is None
        finally:
            process.kill()


def ask(port: int, tls: ssl.SSLContext) -> bytes:
    with (
        socket.create_connection(("127.0.0.1", port), timeout=WAIT_S) as raw,
        tls.wrap_socket(raw, server_hostname="localhost") as line,
    ):
        line.sendall(b"GET / HTTP/1.1\r\nhost: x\r\nconnection: close\r\n\r\n")
        found = b""
        while part := line.recv(4096):
            found += part
        return found


@pytest.mark.parametrize("runner", ["uvloop", "asyncio"])
@pytest.mark.parametrize("silent", [True, False], ids=["no-handshake", "no-request"])
def test_hundreds_of_silent_clients_shut_nobody_out(runner: str, silent: bool, pki: Path) -> None:
    tls = ssl.create_default_context(cafile=pki / "ca.crt")
    with poor_server(runner, pki) as port, contextlib.ExitStack() as held:
        for _ in range(300 if silent else 120):
            line = held.enter_context(socket.create_connection(("127.0.0.1", port), WAIT_S))
            if not silent:
                with contextlib.suppress(OSError):
                    held.enter_context(tls.wrap_socket(line, server_hostname="localhost"))
        for _ in range(5):
            assert ask(port, tls).endswith(b"ok")


async def test_a_process_without_descriptors_goes_on_when_there_are_some() -> None:
    served = Served(http=Site().handle)
    await served.server.start()
    client = socket.socket()
    client.setblocking(False)
    loop = asyncio.get_running_loop()
    before = resource.getrlimit(resource.RLIMIT_NOFILE)
    lowest = os.dup(0)
    os.close(lowest)
    try:
        # No new descriptor can be had, for anybody in this process.
        resource.setrlimit(resource.RLIMIT_NOFILE, (lowest, before[1]))
        await loop.sock_connect(client, ("127.0.0.1", served.port))
        await asyncio.sleep(0.3)
    finally:
        resource.setrlimit(resource.RLIMIT_NOFILE, before)
    try:
        await loop.sock_sendall(client, b"GET / HTTP/1.1\r\nhost: x\r\n\r\n")
        async with asyncio.timeout(WAIT_S):
            assert (await loop.sock_recv(client, 100)).startswith(b"HTTP/1.1 200")
    finally:
        client.close()
        await served.stop()


@contextlib.asynccontextmanager
async def quick(idle_s: float = 0.0) -> AsyncIterator[Served]:
    served = Served(http=Site().handle, limits=Limits(idle_s=idle_s))
    await served.server.start()
    try:
        yield served
    finally:
        await served.stop()


async def test_an_idle_connection_is_ended_and_a_busy_one_is_not() -> None:
    async with quick(0.4) as served:
        busy, idle = await served.client(), await served.client()
        fields = [(":method", "GET"), (":scheme", "http"), (":path", "/hang"), (":authority", "x")]
        busy.send(busy.block(1, fields, f.END_HEADERS | f.END_STREAM))
        await busy.until(f.DATA)
        _, _, _, payload = await idle.until(f.GOAWAY)
        assert int.from_bytes(payload[4:8], "big") == f.NO_ERROR
        assert await idle.ended()
        busy.send(busy.block(3, [(n, "/" if n == ":path" else v) for n, v in fields], 5))
        assert (await busy.until(f.DATA))[2] == 3
        old = await served.client(preface=b"GET / HTTP/1.1\r\nhost: x\r\n\r\n")
        assert (await old.response())[0] == 200
        assert await old.ended()


@pytest.mark.parametrize(
    "first", [b"", b"GET / HTTP/1.1\r\nhost: x\r\n\r\n"], ids=["first-head", "later-head"]
)
async def test_a_head_that_comes_by_and_by_has_its_time(
    first: bytes, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(http1, "HEAD_TIMEOUT_S", 0.5)
    async with quick() as served:
        client = await served.client(preface=first + b"GET / HT")
        if first:
            assert (await client.response())[0] == 200

        async def drip() -> None:
            for sign in b"TP/1.1\r\nx: " + b"y" * 10_000:
                client.send(bytes((sign,)))
                await asyncio.sleep(0.05)

        dripping = asyncio.create_task(drip())
        assert await client.ended()
        dripping.cancel()


async def test_oversized_headers_of_http2_are_431() -> None:
    async with quick() as served:
        fields = [(":method", "GET"), (":scheme", "http"), (":path", "/"), (":authority", "x")]
        repeated = [*fields, *(("x", "y" * 4000) for _ in range(40))]
        for given in (repeated, [*fields, *((f"x-{n}", "ž" * 300) for n in range(300))]):
            client = await served.client()
            block = client.encoder.encode(given)
            pieces = [block[at : at + 16_000] for at in range(0, len(block), 16_000)]
            client.send(f.frame(f.HEADERS, f.END_STREAM, 1, pieces[0]))
            for piece in pieces[1:-1]:
                client.send(f.frame(f.CONTINUATION, 0, 1, piece))
            client.send(f.frame(f.CONTINUATION, f.END_HEADERS, 1, pieces[-1]))
            await check_431(client)


async def check_431(client: Client) -> None:
    _, flags, stream, block = await client.until(f.HEADERS)
    assert (stream, flags & f.END_STREAM) == (1, f.END_STREAM)
    assert client.decoded(block) == {":status": "431"}
    _, _, _, payload = await client.until(f.GOAWAY)
    assert int.from_bytes(payload[4:8], "big") == f.ENHANCE_YOUR_CALM
    assert await client.ended()


def test_who_stops_twice_does_no_harm() -> None:
    async def story() -> None:
        server = GrpcServer(Limits())
        server.listen("127.0.0.1", 0, None)
        await server.start()
        await server.stop(0)
        await server.stop(0)

    asyncio.run(story())


async def test_a_server_that_stopped_has_nothing_open(pki: Path) -> None:
    async def handle(exchange: Exchange) -> None:
        await exchange.respond(HttpResponse(200, b"ok"))

    tls = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
    tls.load_cert_chain(pki / "apiserver.crt", pki / "apiserver.key")
    server = GrpcServer(Limits(), http=handle)
    port = server.listen("127.0.0.1", 0, tls)
    await server.start()
    before = asyncio.all_tasks()
    trusting = ssl.create_default_context(cafile=pki / "ca.crt")
    greeted = [await asyncio.open_connection("127.0.0.1", port, ssl=trusting) for _ in range(3)]
    # It will not say goodbye.
    cast("asyncio.Transport", greeted[0][1].transport).pause_reading()
    silent = [await asyncio.open_connection("127.0.0.1", port) for _ in range(3)]
    async with asyncio.timeout(30):
        await server.stop(0)
        assert asyncio.all_tasks() == before
        assert not server._connections
        cast("asyncio.Transport", greeted[0][1].transport).resume_reading()
        for reader, writer in (*greeted, *silent):
            with contextlib.suppress(ConnectionError):
                assert await reader.read() == b""
            writer.close()
    del server
    gc.collect()  # an open transport would be told of here

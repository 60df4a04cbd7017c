"""The node agent's HTTPS port: who is let in, which paths there are, and what is passed on."""

from __future__ import annotations

import asyncio
import datetime as dt
import ssl
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import aiohttp
import grpc
import grpc.aio
import pytest

from agents.node.cri_client import RuntimeCallError
from agents.node.https_front import HttpsFront, Route, healthz
from agents.node.https_server import Address, listening
from agents.node.log_route import log_route
from agents.node.log_service import NodeAgentService
from agents.node.pod_streams import PodStreams
from agents.node.pod_view import PodView
from kubraft.api.object import Object, ObjectKey
from kubraft.api.time import SystemClock
from kubraft.grpc_server.exchange import Exchange
from kubraft.grpc_server.guard import Limits
from kubraft.grpc_server.server import GrpcServer
from kubraft.pb.criv1 import api_pb2 as cri
from kubraft.pki import make_pki
from tests.agents.node.pods import life, pod, view
from tests.agents.node.test_log_lines import write

WAIT_S = 30
FORBIDDEN = "Forbidden (user=kubernetes-admin, verb=get, resource=nodes, subresource(s)=[proxy])\n"


class Streaming:
    """What a runtime's streaming server is to the agent: upgrades, and an echo."""

    def __init__(self) -> None:
        self.server = GrpcServer(Limits(), http=self.handle)
        self.port = self.server.listen("127.0.0.1", 0, None)
        self.seen: dict[str, str] = {}
        self.ended = asyncio.Event()

    async def handle(self, exchange: Exchange) -> None:
        request = exchange.request
        self.seen = {**dict(request.headers), ":path": request.path, ":method": request.method}
        if request.path == "/gone":
            exchange.start(404, (("content-length", "4"), ("x-why", "late")))
            await exchange.write(b"gone")
            exchange.finish()
            return
        tunnel = exchange.upgrade((("upgrade", request.header("upgrade")), ("x-chosen", "v4")))
        try:
            while data := await tunnel.read():
                await tunnel.write(data.upper())
                if data.endswith(b"."):
                    return
        finally:
            self.ended.set()


class Runtime:
    """Says where streams are, or fails."""

    def __init__(self, url: str) -> None:
        self.url = url
        self.failure: grpc.StatusCode | None = None
        self.asked: Any = None

    async def exec_url(self, request: Any) -> str:
        self.asked = request
        if self.failure is not None:
            nothing = grpc.aio.Metadata()
            raise RuntimeCallError(
                grpc.aio.AioRpcError(self.failure, nothing, nothing, "no such thing", "")
            )
        return self.url

    attach_url = port_forward_url = exec_url

    async def exec_sync(
        self, container_id: str, command: list[str], timeout_s: float
    ) -> tuple[int, str]:
        return 0, f"{container_id}: {command}"


class Port:
    """The port under test, and connections to it."""

    def __init__(self, pki: Path, runtime: Runtime, streaming: Streaming, logs: Path) -> None:
        self.pki, self.runtime, self.streaming = pki, runtime, streaming
        write(logs / "0.log", "one", "two")
        self.view = view(
            life("main", "running", log_path=str(logs / "0.log")), life("old", "exit 0")
        )
        service = NodeAgentService(self.find, self.look, SystemClock(), logs)
        streams = PodStreams(self.find, self.look, runtime)  # type: ignore[arg-type]
        routes = {
            "healthz": Route(healthz),
            "containerLogs": log_route(service.read, SystemClock()),
            **streams.routes(),
        }
        files = (pki / "node-0-server.crt", pki / "node-0-server.key", pki / "ca.crt")
        front = HttpsFront(routes)
        self.server, self.port = listening(Address("127.0.0.1", 0, *files), front.handle)

    def find(self, key: ObjectKey) -> Object | None:
        return pod("main", "old") if key.name == "p" else None

    async def look(self, _uid: str) -> PodView:
        return self.view

    def tls(self, name: str = "apiserver-kubelet-client") -> ssl.SSLContext:
        context = ssl.create_default_context(cafile=self.pki / "ca.crt")
        if name:
            context.load_cert_chain(self.pki / f"{name}.crt", self.pki / f"{name}.key")
        return context

    async def ask(self, method: str, path: str, name: str = "apiserver-kubelet-client") -> Any:
        url = f"https://127.0.0.1:{self.port}{path}"
        async with (
            aiohttp.ClientSession() as session,
            session.request(method, url, ssl=self.tls(name)) as answer,
        ):
            return answer.status, await answer.text()

    async def upgrade(self, path: str) -> tuple[asyncio.StreamReader, asyncio.StreamWriter, str]:
        reader, writer = await asyncio.open_connection("127.0.0.1", self.port, ssl=self.tls())
        fields = "Connection: Upgrade\r\nUpgrade: SPDY/3.1\r\nX-Stream-Protocol-Version: v4\r\n"
        secret = "Authorization: Bearer secret\r\n"
        head = f"POST {path} HTTP/1.1\r\nHost: h\r\n{fields}{secret}Content-Length: 0\r\n\r\n"
        writer.write(head.encode())
        answer = await asyncio.wait_for(reader.readuntil(b"\r\n\r\n"), WAIT_S)
        return reader, writer, answer.decode()


@pytest.fixture(scope="module")
def pki(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("pki")
    make_pki(folder, members=["store-0"], nodes=["node-0"], now=dt.datetime.now(dt.UTC))
    return folder


@pytest.fixture
async def port(pki: Path, tmp_path: Path) -> AsyncIterator[Port]:
    streaming = Streaming()
    await streaming.server.start()
    runtime = Runtime(f"http://127.0.0.1:{streaming.port}/exec/token?x=1")
    port = Port(pki, runtime, streaming, tmp_path)
    await port.server.start()
    yield port
    await port.server.stop(0)
    await streaming.server.stop(0)


@pytest.mark.parametrize(
    ("name", "path", "expected"),
    [
        pytest.param("", "/healthz", (401, "Unauthorized\n"), id="nobody"),
        pytest.param(
            "admin",
            "/healthz",
            (403, FORBIDDEN),
            id="a user of the API",
        ),
        pytest.param("", "/nothing", (401, "Unauthorized\n"), id="nobody, nowhere"),
        pytest.param("apiserver-kubelet-client", "/healthz", (200, "ok"), id="the API server"),
    ],
)
async def test_only_the_api_server_is_let_in(
    port: Port, name: str, path: str, expected: tuple[int, str]
) -> None:
    assert await port.ask("GET", path, name) == expected


@pytest.mark.parametrize(
    ("method", "path", "status", "text"),
    [
        ("GET", "/nothing", 404, "404 page not found"),
        ("GET", "/exec/default/p?output=1", 404, "404 page not found"),
        ("DELETE", "/exec/default/p/main?output=1&command=a", 405, "Method Not Allowed"),
        ("POST", "/containerLogs/default/p/main", 405, "Method Not Allowed"),
        (
            *("GET", "/exec/default/p/main?command=a", 400),
            "you must specify at least 1 of stdin, stdout, stderr",
        ),
        ("GET", "/exec/default/p/main?output=1", 400, "you must specify a command"),
        ("GET", "/exec/default/q/main?output=1&command=a", 404, "pod does not exist"),
        ("GET", "/exec/default/p/else?output=1&command=a", 500, 'container not found ("else")'),
        ("GET", "/exec/default/p/old?output=1&command=a", 500, 'container not found ("old")'),
        ("GET", "/exec/default/p/other-uid/main?output=1&command=a", 404, "pod not found"),
        ("GET", "/exec/default/p/main?output=1&command=a", 400, "Upgrade request required"),
        ("GET", "/attach/default/p/main?input=1", 400, "Upgrade request required"),
        ("POST", "/portForward/default/p", 400, "Upgrade request required"),
        ("POST", "/portForward/default/p?port=0", 400, 'unable to parse "0" as a port'),
        ("POST", "/portForward/default/p?port=80,x", 400, 'unable to parse "80,x" as a port'),
        ("GET", "/containerLogs/default/q/main", 404, 'pods "q" not found'),
        (
            *("GET", "/containerLogs/default/p/nope", 400),
            "container nope is not valid for pod p",
        ),
        ("GET", "/containerLogs/default/p/main?tailLines=x", 400, "Unable to decode query."),
        ("GET", "/containerLogs/default/p/main?sinceTime=x", 400, "Unable to decode query."),
        pytest.param(
            *("GET", "/exec/default/p/main?" + "command=a&" * 5000, 400, "too many parameters"),
            id="too many parameters",
        ),
    ],
)
async def test_refusals(port: Port, method: str, path: str, status: int, text: str) -> None:
    assert await port.ask(method, path) == (status, f"{text}\n")


@pytest.mark.parametrize(
    ("query", "text"),
    [
        ("", "one\ntwo\n"),
        ("?tailLines=1", "two\n"),
        ("?limitBytes=5", "one\nt"),
        ("?sinceTime=2999-01-01T00:00:00Z", ""),
    ],
)
async def test_logs(port: Port, query: str, text: str) -> None:
    assert await port.ask("GET", f"/containerLogs/default/p/main{query}") == (200, text)


async def test_run_answers_with_what_the_command_wrote(port: Port) -> None:
    assert await port.ask("POST", "/run/default/p/main?cmd=echo%20hi") == (
        200,
        "main0: ['echo', 'hi']",
    )


async def test_an_upgrade_is_relayed_to_the_runtimes_url(port: Port) -> None:
    path = "/exec/default/p/main?command=sh&command=-c&command=ls&input=1&output=1&error=1&tty=1"
    reader, writer, head = await port.upgrade(path)
    assert head.startswith("HTTP/1.1 101 Switching Protocols\r\n")
    assert "Upgrade: SPDY/3.1\r\n" in head
    assert "X-Chosen: v4\r\n" in head
    assert port.runtime.asked == cri.ExecRequest(
        container_id="main0", cmd=["sh", "-c", "ls"], stdin=True, stdout=True, tty=True
    )
    seen = port.streaming.seen
    assert (seen[":method"], seen[":path"]) == ("POST", "/exec/token")
    assert seen["x-stream-protocol-version"] == "v4"
    assert "authorization" not in seen
    for word in (b"one", bytes(300_000), b"the end."):
        writer.write(word)
        found = await asyncio.wait_for(reader.readexactly(len(word)), WAIT_S)
        assert found == word.upper()
    assert await asyncio.wait_for(reader.read(), WAIT_S) == b""
    writer.close()


async def test_a_client_that_goes_ends_the_runtimes_stream(port: Port) -> None:
    _reader, writer, head = await port.upgrade("/attach/default/p/main?output=1")
    assert " 101 " in head
    writer.transport.abort()
    await asyncio.wait_for(port.streaming.ended.wait(), WAIT_S)


async def test_port_forward_names_the_sandbox(port: Port) -> None:
    _reader, writer, head = await port.upgrade("/portForward/default/p?port=80&port=443,8080")
    assert " 101 " in head
    asked = cri.PortForwardRequest(pod_sandbox_id="s0", port=[80, 443, 8080])
    assert port.runtime.asked == asked
    writer.transport.abort()


@pytest.mark.parametrize(
    ("code", "status"),
    [
        (grpc.StatusCode.NOT_FOUND, 404),
        (grpc.StatusCode.RESOURCE_EXHAUSTED, 429),
        (grpc.StatusCode.UNKNOWN, 500),
    ],
)
async def test_the_runtimes_refusal_is_passed_on(
    port: Port, code: grpc.StatusCode, status: int
) -> None:
    port.runtime.failure = code
    reader, writer, head = await port.upgrade("/exec/default/p/main?output=1&command=a")
    assert f" {status} " in head.splitlines()[0]
    assert b"desc = no such thing" in await asyncio.wait_for(reader.readline(), WAIT_S)
    writer.close()


async def test_an_answer_that_is_no_upgrade_is_passed_on(port: Port) -> None:
    port.runtime.url = f"http://127.0.0.1:{port.streaming.port}/gone"
    reader, writer, head = await port.upgrade("/exec/default/p/main?output=1&command=a")
    assert " 404 " in head.splitlines()[0]
    assert "X-Why: late" in head
    assert await asyncio.wait_for(reader.readexactly(4), WAIT_S) == b"gone"
    writer.close()


async def test_a_streaming_server_that_is_not_there(port: Port) -> None:
    await port.streaming.server.stop(0)
    reader, writer, head = await port.upgrade("/exec/default/p/main?output=1&command=a")
    assert " 500 " in head.splitlines()[0]
    port_number = urlsplit(port.runtime.url).port
    text = await asyncio.wait_for(reader.readline(), WAIT_S)
    assert text.startswith(f"dial tcp 127.0.0.1:{port_number}: ".encode())
    writer.close()

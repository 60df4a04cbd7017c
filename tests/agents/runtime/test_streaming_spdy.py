"""exec and port-forward for clients of SPDY: older kubectls, and all that forward ports."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from urllib.parse import urlsplit

import aiohttp
import pytest

from kubraft.pb.criv1 import api_pb2 as cri
from kubraft.streaming.spdy import frames as f
from tests.agents.runtime.runtime_process import Cri
from tests.agents.runtime.test_streaming import exec_url, listening, sleeper
from tests.kubraft.streaming.spdy_client import SpdyClient

pytestmark = pytest.mark.e2e

WAIT_S = 30
V4 = "v4.channel.k8s.io"


class Session:
    """A client's connection: `until` reads till something is so."""

    def __init__(
        self, read: Callable[[], Awaitable[bytes]], write: Callable[[bytes], Awaitable[None]]
    ) -> None:
        self._read, self._write = read, write
        self.client = SpdyClient()
        self.over = False

    async def open(self, **headers: str) -> int:
        stream, frame = self.client.open(headers)
        await self._write(frame)
        await self.until(lambda: stream in self.client.replied | self.client.resets.keys())
        return stream

    async def say(self, stream: int, data: bytes, *, fin: bool = False) -> None:
        await self._write(f.data(stream, data, fin=fin))

    async def raw(self, data: bytes) -> None:
        await self._write(data)

    async def ended(self, *streams: int) -> None:
        await self.until(lambda: set(streams) <= self.client.ended)

    async def until(self, condition: Callable[[], object]) -> None:
        while not condition():
            data = await asyncio.wait_for(self._read(), WAIT_S)
            if not data:
                self.over = True
                assert condition(), "the connection ended early"
                return
            self.client.receive(data)


async def upgraded(
    url: str, *versions: str
) -> tuple[str, asyncio.StreamReader, asyncio.StreamWriter]:
    parts = urlsplit(url)
    reader, writer = await asyncio.open_connection(parts.hostname, parts.port)
    head = f"POST {parts.path} HTTP/1.1\r\nHost: h\r\nConnection: Upgrade\r\nUpgrade: SPDY/3.1\r\n"
    head += "".join(f"X-Stream-Protocol-Version: {name}\r\n" for name in versions)
    writer.write(f"{head}Content-Length: 0\r\n\r\n".encode())
    answer = await asyncio.wait_for(reader.readuntil(b"\r\n\r\n"), WAIT_S)
    return answer.decode(), reader, writer


@asynccontextmanager
async def connected(url: str, *versions: str) -> AsyncIterator[Session]:
    answer, reader, writer = await upgraded(url, *versions)
    assert answer.startswith("HTTP/1.1 101 ")
    assert f"X-Stream-Protocol-Version: {versions[0]}\r\n" in answer
    assert "Upgrade: SPDY/3.1\r\n" in answer

    async def write(data: bytes) -> None:
        writer.write(data)
        await writer.drain()

    try:
        yield Session(lambda: reader.read(65_536), write)
    finally:
        writer.transport.abort()


@asynccontextmanager
async def tunnelled(url: str) -> AsyncIterator[Session]:
    name = "SPDY/3.1+portforward.k8s.io"
    async with (
        aiohttp.ClientSession() as session,
        session.ws_connect(url, protocols=(name,), max_msg_size=0) as socket,
    ):
        assert socket.protocol == name

        async def read() -> bytes:
            message = await socket.receive()
            return message.data if message.type is aiohttp.WSMsgType.BINARY else b""

        yield Session(read, socket.send_bytes)


async def test_a_command_over_spdy(client: Cri) -> None:
    container = await sleeper(client)
    url = await exec_url(client, container, "sh", "-c", "cat; echo err >&2; exit 9", stdin=True)
    async with connected(url, V4, "v3.channel.k8s.io") as session:
        error = await session.open(streamType="error")
        streams = {name: await session.open(streamType=name) for name in ("stdin", "stdout")}
        stderr = await session.open(streamType="stderr")
        await session.say(streams["stdin"], b"to and fro")
        await session.say(streams["stdin"], b"", fin=True)
        await session.until(lambda: error in session.client.ended)
        assert session.client.said[streams["stdout"]] == b"to and fro"
        assert session.client.said[stderr] == b"err\n"
        status = json.loads(session.client.said[error])
        assert status["details"]["causes"] == [{"reason": "ExitCode", "message": "9"}]
        assert {streams["stdout"], stderr} <= session.client.ended
        await session.until(lambda: session.client.gone_away == 0)


async def test_a_terminal_over_spdy(client: Cri) -> None:
    container = await sleeper(client)
    # What one stream says may be heard after what another one says later.
    script = 'read x; while [ "$(stty size)" = "0 0" ]; do sleep 0.02; done; stty size'
    url = await exec_url(client, container, "sh", "-c", script, stdin=True, tty=True)
    async with connected(url, V4) as session:
        error = await session.open(streamType="error")
        stdin, stdout, resize = [
            await session.open(streamType=name) for name in ("stdin", "stdout", "resize")
        ]
        await session.say(resize, b'{"Width":99,"Height":44}\n')
        await session.say(stdin, b"go\n")
        await session.until(lambda: error in session.client.ended)
        assert session.client.said[stdout].endswith(b"44 99\r\n")


async def test_before_v4_the_error_stream_has_text(client: Cri) -> None:
    container = await sleeper(client)
    url = await exec_url(client, container, "sh", "-c", "exit 2", stderr=False)
    async with connected(url, "v2.channel.k8s.io") as session:
        error = await session.open(streamType="error")
        await session.open(streamType="stdout")
        await session.until(lambda: error in session.client.ended)
        assert session.client.said[error].startswith(b"command terminated with non-zero exit code")


async def test_streams_that_nobody_wants_are_refused(client: Cri) -> None:
    url = await exec_url(client, await sleeper(client), "true", stderr=False)
    async with connected(url, V4) as session:
        for name in ("nonsense", ""):
            stream = await session.open(streamType=name)
            assert stream in session.client.resets
        await session.open(streamType="error")
        stream = await session.open(streamType="error")
        assert stream in session.client.resets


async def test_broken_frames_end_the_connection_and_nothing_else(client: Cri) -> None:
    container = await sleeper(client)
    url = await exec_url(client, container, "sleep", "97")
    async with connected(url, V4) as session:
        for name in ("error", "stdout", "stderr"):
            await session.open(streamType=name)
        await session.raw(b"\x80\x02" + bytes(30))
        await session.until(lambda: session.client.gone_away == 1)
        await session.until(lambda: session.over)
    assert (await client.execute(container, "echo", "still here")).stdout == b"still here\n"


async def test_no_version_in_common(client: Cri) -> None:
    url = await exec_url(client, await sleeper(client), "true")
    answer, reader, writer = await upgraded(url, "v9.channel.k8s.io")
    assert answer.startswith("HTTP/1.1 403 ")
    assert "X-Accepted-Stream-Protocol-Versions: v4.channel.k8s.io" in answer
    text = await asyncio.wait_for(reader.readline(), WAIT_S)
    assert text.startswith(b"unable to upgrade: unable to negotiate protocol: client supports")
    writer.close()


async def web(client: Cri) -> tuple[str, str]:
    sandbox = await client.sandbox()
    await client.run(sandbox, image="kubraft/web")
    await listening(await client.address(sandbox), 8080)
    request = cri.PortForwardRequest(pod_sandbox_id=sandbox)
    return sandbox, (await client.runtime.PortForward(request)).url


@pytest.mark.parametrize("tunnel", [True, False], ids=["in a WebSocket", "by itself"])
async def test_many_connections_are_forwarded_over_one(client: Cri, *, tunnel: bool) -> None:
    sandbox, url = await web(client)
    opened = tunnelled(url) if tunnel else connected(url, "portforward.k8s.io")
    async with opened as session:
        pairs = []
        for number in range(5):
            named = {"port": "8080", "requestID": str(number)}
            error = await session.open(streamType="error", **named)
            await session.say(error, b"", fin=True)
            pairs.append((error, await session.open(streamType="data", **named)))
        for _error, data in reversed(pairs):
            await session.say(data, b"GET /healthz HTTP/1.0\r\n\r\n")
        for error, data in pairs:
            await session.ended(error, data)
            assert session.client.said[data].endswith(b"\r\n\r\nok\n")
            assert session.client.said[error] == b""
        bad = {"port": "9", "requestID": "bad"}
        error = await session.open(streamType="error", **bad)
        data = await session.open(streamType="data", **bad)
        await session.until(lambda: error in session.client.ended)
        text = session.client.said[error].decode()
        assert text.startswith(f"error forwarding port 9 to pod {sandbox}, uid : ")
        assert text.endswith("connect: connection refused")
        refused = await session.open(streamType="data", port="0", requestID="none")
        assert refused in session.client.resets


async def test_a_connection_that_is_given_up_ends_alone(client: Cri) -> None:
    _sandbox, url = await web(client)
    async with tunnelled(url) as session:
        first = {"port": "8080", "requestID": "0"}
        error = await session.open(streamType="error", **first)
        data = await session.open(streamType="data", **first)
        await session.raw(f.reset(data, f.Reset.CANCEL))
        await session.until(lambda: error in session.client.ended)
        other = {"port": "8080", "requestID": "1"}
        await session.open(streamType="error", **other)
        data = await session.open(streamType="data", **other)
        await session.say(data, b"GET /healthz HTTP/1.0\r\n\r\n")
        await session.until(lambda: data in session.client.ended)
        assert session.client.said[data].endswith(b"ok\n")

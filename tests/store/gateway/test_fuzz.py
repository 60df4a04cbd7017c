"""Requests broken in all ways, to a real member: an answer, never a traceback or a hang."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Iterator
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from store.config import parse
from store.gateway.routes import routes
from store.member import Member
from tests.harness.ports import free_ports

# What changes the cluster for those that come after.
_LEFT_OUT = {"cluster/member/add", "cluster/member/remove", "cluster/member/promote"}
_PATHS = [f"/v3/{path}" for path in sorted(routes()) if path not in _LEFT_OUT]
_OTHER_PATHS = ["/", "/health", "/version", "/readyz?verbose", "/metrics", "/v3/", "/v3", "*", "//"]
_FIELDS = sorted(
    {field.name for route in routes().values() for field in route.request.DESCRIPTOR.fields}
)
_ODD = ["", "YQ==", "!", "1", "-1", "9" * 30, "\ud800", "\x00", "NOPE", 'a"b\\', "é" * 9]


class Site:
    """A member in this process, and what went wrong in its event loop."""

    def __init__(self, runner: asyncio.Runner, directory: str) -> None:
        self.failures: list[Any] = []
        self.runner = runner
        self.port, peer = free_ports(2)
        client_url, peer_url = (f"http://127.0.0.1:{port}" for port in (self.port, peer))
        flags = {
            "data-dir": directory,
            "listen-client-urls": client_url,
            "advertise-client-urls": client_url,
            "listen-peer-urls": peer_url,
            "initial-advertise-peer-urls": peer_url,
            "initial-cluster": f"default={peer_url}",
        }
        arguments = [word for name, value in flags.items() for word in (f"--{name}", value)]
        self.member = Member(parse(arguments, {}))

    def note(self, _: object, context: dict[str, Any]) -> None:
        self.failures.append(context)

    async def start(self) -> None:
        asyncio.get_running_loop().set_exception_handler(self.note)
        await self.member.start()
        async with asyncio.timeout(60):
            # It has no event for that.
            while b'"health":"true"' not in await self.ask(b"GET /health HTTP/1.0\r\n\r\n"):  # noqa: ASYNC110
                await asyncio.sleep(0.05)

    async def ask(self, data: bytes, *, patience_s: float = 30.0) -> bytes:
        """What comes until the member closes, or for so long."""
        reader, writer = await asyncio.open_connection("127.0.0.1", self.port)
        found = b""
        try:
            writer.write(data)
            async with asyncio.timeout(patience_s):
                while part := await reader.read(65_536):
                    found += part
        except (TimeoutError, ConnectionError):
            pass
        finally:
            writer.transport.abort()
        return found

    async def attack(self, data: bytes) -> None:
        answer = await self.ask(data, patience_s=0.05)
        assert answer == b"" or answer.startswith(b"HTTP/1.1 "), answer
        assert b"Traceback" not in answer
        assert b"Internal Server Error\n" not in answer, "a handler raised what it should not"
        alive = await self.ask(b"GET /livez HTTP/1.0\r\n\r\n")
        assert alive.endswith(b"ok\n"), alive
        failures, self.failures = self.failures, []
        assert failures == []


@pytest.fixture(scope="module")
def site(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Site]:
    with asyncio.Runner() as runner:
        site = Site(runner, str(tmp_path_factory.mktemp("fuzz") / "data"))
        runner.run(site.start())
        yield site
        runner.run(site.member.stop())


_VALUES = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.sampled_from(_ODD),
    lambda inner: (
        st.lists(inner, max_size=3) | st.dictionaries(st.sampled_from(_FIELDS), inner, max_size=4)
    ),
    max_leaves=8,
)
_BODIES = (
    st.dictionaries(st.sampled_from(_FIELDS), _VALUES, max_size=5).map(json.dumps).map(str.encode)
    | _VALUES.map(json.dumps).map(str.encode)
    | st.binary(max_size=60)
)


@st.composite
def _bodies(draw: st.DrawFn) -> bytes:
    """A body, perhaps cut off, doubled, or with a byte that is another."""
    body = bytearray(draw(_BODIES))
    match draw(st.sampled_from(["as it is", "cut", "double", "other byte"])):
        case "cut":
            del body[draw(st.integers(0, len(body))) :]
        case "double":
            body *= 2
        case "other byte" if body:
            body[draw(st.integers(0, len(body) - 1))] = draw(st.integers(0, 255))
    return bytes(body)


_HEADERS = st.lists(
    st.sampled_from(
        [
            b"Grpc-Timeout: 20m",
            b"Grpc-Timeout: x",
            b"Authorization: x",
            b"Authorization: \xff\xfe",
            b"Grpc-Metadata-Token: y",
            b"Grpc-Metadata-: ",
            b"Grpc-Metadata-hasleader: true",
            b"Expect: 100-continue",
            b"Connection: Upgrade",
            b"Upgrade: websocket",
            b"Content-Type: application/grpc",
            b"Origin: \x80",
            b"Host: other",
            b"Transfer-Encoding: chunked",
            b"Transfer-Encoding: identity",
            b"Content-Length: 3",
            b"Content-Length: 00000000000000000003",
            b"Content-Length: 99999999999999999999999",
            b": no-name",
            b" folded",
            b"X: " + b"y" * 70_000,
        ]
    ),
    max_size=3,
)


@st.composite
def _requests(draw: st.DrawFn) -> bytes:
    others = [b"GET", b"HEAD", b"OPTIONS", b"CONNECT", b"\x00"]
    method = draw(st.sampled_from([b"POST"] * 6 + others))
    path = draw(st.sampled_from(_PATHS + _OTHER_PATHS)).encode()
    twisted = [path + b"?%zz=%", path + b"/../", b"http://h" + path]
    path = draw(st.sampled_from([path] * 4 + twisted))
    version = draw(st.sampled_from([b"HTTP/1.1"] * 6 + [b"HTTP/1.0", b"HTTP/2.0", b"X", b""]))
    body = draw(_bodies())
    lines = [b"%b %b %b" % (method, path, version), b"Host: h", b"Connection: close"]
    match draw(st.sampled_from(["length", "length", "chunks", "wrong length", "nothing"])):
        case "length":
            lines.append(b"Content-Length: %d" % len(body))
        case "chunks":
            lines.append(b"Transfer-Encoding: chunked")
            body = b"%x\r\n%b\r\n0\r\n\r\n" % (len(body), body) if body else b"0\r\n\r\n"
        case "wrong length":
            lines.append(b"Content-Length: %d" % draw(st.integers(0, 200)))
    return b"\r\n".join([*lines, *draw(_HEADERS), b"", b""]) + body


@given(data=st.data())
@settings(
    max_examples=120,
    deadline=None,
    suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow],
)
def test_no_request_hurts_a_member(site: Site, data: st.DataObject) -> None:
    site.runner.run(site.attack(data.draw(_requests())))


@given(body=_bodies(), path=st.sampled_from(_PATHS))
@settings(
    max_examples=120,
    deadline=None,
    suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow],
)
def test_no_body_hurts_a_member(site: Site, body: bytes, path: str) -> None:
    head = b"POST %b HTTP/1.1\r\nHost: h\r\nConnection: close\r\nContent-Length: %d\r\n\r\n"
    site.runner.run(site.attack(head % (path.encode(), len(body)) + body))

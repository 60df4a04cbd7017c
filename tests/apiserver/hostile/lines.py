"""Raw lines to a server over TLS: what goes over them is up to the test."""

from __future__ import annotations

import asyncio
import json
import ssl
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

from kubraft.grpc_server import frames as f
from tests.apiserver.in_process import ADMIN_TOKEN, Served
from tests.kubraft.grpc_server.raw import Client

DEADLINE_S = 60.0
CONFIG_MAPS = "/api/v1/namespaces/default/configmaps"


@asynccontextmanager
async def line(served: Served, *protocols: str) -> AsyncIterator[Client]:
    """A connection with its handshake done; `protocols` are offered by ALPN."""
    tls = ssl.create_default_context(cafile=served.pki / "ca.crt")
    if protocols:
        tls.set_alpn_protocols(list(protocols))
    reader, writer = await asyncio.open_connection("127.0.0.1", served.port, ssl=tls)
    try:
        yield Client(reader, writer)
    finally:
        writer.transport.abort()


@asynccontextmanager
async def http2(served: Served) -> AsyncIterator[Client]:
    """A connection that speaks HTTP/2, with its settings exchanged."""
    async with line(served, "h2") as client:
        client.send(f.PREFACE, f.settings({}))
        await client.until(f.SETTINGS)
        yield client


def head(method: str, path: str, *headers: str, token: str = ADMIN_TOKEN) -> bytes:
    """The head of a request of HTTP/1.1."""
    lines = [f"{method} {path} HTTP/1.1", "host: x", f"authorization: Bearer {token}", *headers]
    return "\r\n".join([*lines, "", ""]).encode("latin-1")


def request(method: str, path: str, body: bytes = b"", *headers: str) -> bytes:
    """A whole request of HTTP/1.1."""
    kind = ("content-type: application/json", f"content-length: {len(body)}")
    return head(method, path, *kind, *headers) + body


def fields(method: str, path: str, *more: tuple[str, str]) -> list[tuple[str, str]]:
    """The head of a request of HTTP/2."""
    return [
        (":method", method),
        (":scheme", "https"),
        (":path", path),
        (":authority", "x"),
        ("authorization", f"Bearer {ADMIN_TOKEN}"),
        *more,
    ]


async def answer(client: Client) -> tuple[int, Any]:
    """Status and JSON, or text, of what comes next."""
    async with asyncio.timeout(DEADLINE_S):
        status, headers, body = await client.response()
    if headers.get("content-type", "").startswith("application/json"):
        return status, json.loads(body)
    return status, body.decode()


def check_status(found: Any, code: int, message: str = "") -> None:
    """Raises AssertionError: that is no Status with this code."""
    assert (found["kind"], found["apiVersion"]) == ("Status", "v1"), found
    assert (found["status"], found["code"]) == ("Failure", code), found
    assert message in found["message"], found


async def check_serves(served: Served, within_s: float = 30.0) -> None:
    """The server answers others as if nothing had happened."""
    async with asyncio.timeout(within_s):
        assert (await served.ask("GET", "/readyz")).status == 200
        assert (await served.ask("GET", CONFIG_MAPS)).status == 200


async def check_at_rest(served: Served) -> None:
    """Nothing of what was asked goes on: no seat is taken, no handler runs."""
    async with asyncio.timeout(DEADLINE_S):
        while True:
            levels = served.server.flow.levels.values()
            connections = served.server._rest._connections
            running = sum(len(connection.running()) for connection in connections)
            if not running and not sum(level.in_use + level.waiting for level in levels):
                return
            await asyncio.sleep(0.02)

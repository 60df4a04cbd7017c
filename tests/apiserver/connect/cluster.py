"""A server in this process, a node whose agent is as simple as can be, and Pods of one's choice."""

from __future__ import annotations

import asyncio
import contextlib
import ssl
from collections.abc import AsyncIterator, Awaitable, Callable, Sequence
from pathlib import Path
from typing import Any

from tests.apiserver.in_process import ADMIN_TOKEN, DEADLINE_S, Served, serving

PODS = "/api/v1/namespaces/default/pods"
SERVICES = "/api/v1/namespaces/default/services"
# Of this test's node; nothing else listens there.
POD_CIDR = "127.71.3.0/24"
POD_ADDRESS = "127.71.3.9"
WEBSOCKET = (
    ("connection", "Upgrade"),
    ("upgrade", "websocket"),
    ("sec-websocket-key", "AAAAAAAAAAAAAAAAAAAAAA=="),
    ("sec-websocket-version", "13"),
    ("sec-websocket-protocol", "v5.channel.k8s.io"),
)
SPDY = (
    ("connection", "Upgrade"),
    ("upgrade", "SPDY/3.1"),
    ("x-stream-protocol-version", "v4.channel.k8s.io"),
    ("x-stream-protocol-version", "v3.channel.k8s.io"),
    ("content-length", "0"),
)


async def until(condition: Callable[[], Awaitable[bool]]) -> None:
    """Wait for what is true in the end."""
    async with asyncio.timeout(DEADLINE_S):
        while not await condition():  # noqa: ASYNC110 - only asking tells
            await asyncio.sleep(0.02)


class Agent:
    """Speaks TLS, upgrades whatever asks for it, and sends back what it gets in capitals.

    `refusal` is said instead of that.
    """

    def __init__(self) -> None:
        self.port = 0
        self.asked: list[str] = []
        self.peers: list[str] = []
        self.refusal = b""
        self.ended = asyncio.Event()

    async def serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        try:
            head = (await reader.readuntil(b"\r\n\r\n")).decode()
            self.asked.append(head)
            names = writer.get_extra_info("ssl_object").getpeercert()["subject"]
            self.peers += [value for each in names for key, value in each if key == "commonName"]
            if self.refusal:
                writer.write(self.refusal)
                return
            protocol = "SPDY/3.1" if "SPDY/3.1" in head else "websocket"
            writer.write(b"HTTP/1.1 101 Switching Protocols\r\nConnection: Upgrade\r\n")
            writer.write(f"Upgrade: {protocol}\r\nX-Agent: here\r\n\r\nhello ".encode())
            while data := await reader.read(1 << 16):
                writer.write(data.upper())
                await writer.drain()
                if data.endswith(b"bye"):
                    return
        except (ConnectionError, asyncio.IncompleteReadError):
            pass
        finally:
            writer.close()
            self.ended.set()


class Line:
    """A client's connection after its request."""

    def __init__(
        self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter, head: str
    ) -> None:
        self.reader = reader
        self.writer = writer
        self.head = head

    @property
    def status(self) -> int:
        return int(self.head.split()[1])

    async def rest(self) -> bytes:
        async with asyncio.timeout(DEADLINE_S):
            return await self.reader.read(-1)


class Cluster:
    """What the tests of connects have."""

    def __init__(self, served: Served, agent: Agent) -> None:
        self.served = served
        self.agent = agent

    @contextlib.asynccontextmanager
    async def opened(
        self,
        path: str,
        headers: Sequence[tuple[str, str]] = WEBSOCKET,
        *,
        token: str = ADMIN_TOKEN,
        method: str = "",
        early: bytes = b"",
    ) -> AsyncIterator[Line]:
        """A request for an upgrade; the head of its answer has come."""
        method = method or ("POST" if headers == SPDY else "GET")
        lines = [f"{method} {path} HTTP/1.1", "host: api"]
        lines += [f"authorization: Bearer {token}"] if token else []
        lines += [f"{name}: {value}" for name, value in headers]
        context = ssl.create_default_context(cafile=self.served.pki / "ca.crt")
        async with asyncio.timeout(DEADLINE_S):
            reader, writer = await asyncio.open_connection(
                "127.0.0.1", self.served.port, ssl=context
            )
            try:
                writer.write("\r\n".join((*lines, "", "")).encode() + early)
                head = (await reader.readuntil(b"\r\n\r\n")).decode()
                yield Line(reader, writer, head)
            finally:
                writer.close()

    async def pod(self, name: str = "web", **fields: Any) -> dict[str, Any]:
        """A Pod that its node says is running and ready."""
        containers = [{"name": "c", "image": "i", "ports": [{"containerPort": 80, "name": "web"}]}]
        spec = {"nodeName": "node-0", "containers": containers, **fields.pop("spec", {})}
        metadata = {"name": name, "labels": {"app": name}}
        made = await self.served.create(PODS, {"metadata": metadata, "spec": spec})
        address = fields.pop("address", POD_ADDRESS)
        made["status"] |= {
            "phase": "Running",
            "podIP": address,
            "podIPs": [{"ip": address}],
            "conditions": [{"type": "Ready", "status": "True"}],
        }
        answer = await self.served.ask("PUT", f"{PODS}/{name}/status", made)
        assert answer.status == 200, answer.body
        found: dict[str, Any] = answer.json()
        return found


@contextlib.asynccontextmanager
async def running(
    folder: Path, pki: Path, *flags: str, certificate: str = ""
) -> AsyncIterator[Cluster]:
    """`certificate`: the agent's, by the name of its files; its own where it is empty."""
    agent = Agent()
    own = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH, cafile=pki / "ca.crt")
    name = certificate or "node-0-server"
    own.load_cert_chain(pki / f"{name}.crt", pki / f"{name}.key")
    own.verify_mode = ssl.CERT_REQUIRED
    listening = await asyncio.start_server(agent.serve, "127.0.0.1", 0, ssl=own)
    agent.port = listening.sockets[0].getsockname()[1]
    async with serving(folder, pki, *flags) as served:
        await served.create(
            "/api/v1/namespaces/default/serviceaccounts", {"metadata": {"name": "default"}}
        )
        node = {
            "metadata": {"name": "node-0"},
            "spec": {"podCIDR": POD_CIDR, "podCIDRs": [POD_CIDR]},
            "status": {
                "addresses": [{"type": "InternalIP", "address": "127.0.0.1"}],
                "daemonEndpoints": {"kubeletEndpoint": {"Port": agent.port}},
            },
        }
        await served.create("/api/v1/nodes", node)
        try:
            yield Cluster(served, agent)
        finally:
            listening.close()

"""The real proxy beside a real API server: Services come, change and go."""

from __future__ import annotations

import asyncio
import contextlib
import itertools
import socket
from collections.abc import AsyncIterator, Iterator

import pytest

from kubraft.api.gvk import ENDPOINT_SLICE, EVENT, SERVICE
from kubraft.api.object import Object, key_of
from kubraft.client.client import ApiClient
from kubraft.client.informer import Informer
from tests.agents.proxy.objects import endpoint, service, slice_of
from tests.harness.api import ApiUnderTest, ProcessUnderTest
from tests.harness.eventually import eventually
from tests.harness.ports import free_port

pytestmark = [pytest.mark.e2e, pytest.mark.xdist_group("proxy")]

_numbers = itertools.count()


@pytest.fixture(scope="module")
def proxy(api: ApiUnderTest) -> Iterator[ProcessUnderTest]:
    ports = [f"--{name}-bind-address=" for name in ("healthz", "metrics")]
    command = ["agents.proxy", *api.agent_flags("proxy"), *ports]
    proxy = ProcessUnderTest("proxy", command, api.folder)
    proxy.start()
    proxy.wait_ready()
    yield proxy
    proxy.kill()


@pytest.fixture
async def client(api: ApiUnderTest, proxy: ProcessUnderTest) -> AsyncIterator[ApiClient]:
    assert proxy.pid
    client = api.client()
    yield client
    await client.close()


async def answer(address: str, port: int) -> str:
    """What the server there says, or how the connection failed."""
    try:
        async with asyncio.timeout(5):
            reader, writer = await asyncio.open_connection(address, port)
            try:
                said = await reader.read()
            finally:
                writer.close()
    except (OSError, TimeoutError) as error:
        return type(error).__name__
    return said.decode()


async def becomes(address: str, port: int, *expected: str) -> None:
    """Until clients get these answers, and no others, in any order."""
    seen: list[str] = []

    async def look() -> None:
        while set(seen[-6:]) != set(expected) or len(seen) < 6:
            seen.append(await answer(address, port))
            await asyncio.sleep(0.02)

    looking = asyncio.ensure_future(look())
    try:
        await eventually(looking.done, f"{expected} at {address}:{port}", timeout_s=15)
    finally:
        looking.cancel()
        await asyncio.gather(looking, return_exceptions=True)


@contextlib.asynccontextmanager
async def pod(name: str) -> AsyncIterator[int]:
    """A server that says its name; its port."""

    async def say(_: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        writer.write(name.encode())
        writer.close()

    port = free_port()
    server = await asyncio.start_server(say, "127.64.250.1", port)
    try:
        yield port
    finally:
        server.close()


def exposed(port: int) -> Object:
    """A Service on that port, whose address is still to be given."""
    made = service(f"web-{next(_numbers)}")
    del made["metadata"]["uid"], made["spec"]["clusterIP"], made["metadata"]["creationTimestamp"]
    made["spec"]["ports"] = [{"name": "http", "port": port}]
    return made


def slice_for(made: Object, *ports: int, **conditions: bool) -> Object:
    return slice_of(
        key_of(made).name,
        endpoint("127.64.250.1", **conditions),
        ports=tuple({"name": "http", "port": port} for port in ports),
    )


async def test_a_service_leads_to_its_ready_pods_through_all_that_befalls_it(
    client: ApiClient, proxy: ProcessUnderTest
) -> None:
    port = free_port()
    made = await client.create(exposed(port))
    address = made["spec"]["clusterIP"]
    async with pod("a") as first, pod("b") as second:
        await becomes(address, port, "ConnectionRefusedError")
        slice_ = await client.create(slice_for(made, first))
        await becomes(address, port, "a")
        slice_ = await client.update({**slice_, "ports": [{"name": "http", "port": second}]})
        await becomes(address, port, "b")
        not_ready = [endpoint("127.64.250.1", ready=False)]
        slice_ = await client.update({**slice_, "endpoints": not_ready})
        await becomes(address, port, "ConnectionRefusedError")
        slice_ = await client.update({**slice_, "endpoints": [endpoint("127.64.250.1")]})
        await becomes(address, port, "b")
        proxy.kill()
        assert await answer(address, port) == "ConnectionRefusedError"
        proxy.start()
        await becomes(address, port, "b")
        await client.delete(SERVICE, key_of(made).name, "default")
        await becomes(address, port, "ConnectionRefusedError")
        await client.delete(ENDPOINT_SLICE, key_of(slice_).name, "default")


async def test_a_port_that_somebody_has_is_told_of_and_taken_when_it_is_free(
    client: ApiClient,
) -> None:
    port = free_port()
    made = await client.create(exposed(port))
    address = made["spec"]["clusterIP"]
    events = Informer(client, EVENT, namespace="default")
    following = asyncio.ensure_future(events.run())
    uid = made["metadata"]["uid"]
    async with pod("a") as behind:
        with socket.socket() as holder:
            holder.bind((address, port))
            holder.listen()
            await client.create(slice_for(made, behind))
            try:
                await eventually(lambda: _about(events, uid), timeout_s=60)
            finally:
                following.cancel()
                await asyncio.gather(following, return_exceptions=True)
        await becomes(address, port, "a")
    event = _about(events, uid)[0]
    assert event["reason"] == "FailedToListen"
    told = f"Cannot listen on {address}:{port}/TCP: Address already in use"
    assert event["message"] == told
    assert event["source"]["component"] == "kube-proxy"


def _about(events: Informer, uid: str) -> list[Object]:
    return [event for event in events.list() if event["involvedObject"].get("uid") == uid]

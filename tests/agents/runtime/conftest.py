"""Runtimes that many tests use."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager

import pytest

from kubraft.pb.criv1 import api_pb2 as cri
from tests.agents.runtime.runtime_process import Cri, RuntimeProcess


@pytest.fixture(scope="session")
def runtimes(tmp_path_factory: pytest.TempPathFactory) -> Iterator[dict[str, RuntimeProcess]]:
    """One runtime of a kind for all tests; containers are each test's own."""
    started: dict[str, RuntimeProcess] = {}
    try:
        for isolation in ("auto", "none"):
            process = RuntimeProcess(tmp_path_factory.mktemp(isolation), isolation=isolation)
            started[isolation] = process
            asyncio.run(process.start())
        yield started
    finally:
        for process in started.values():
            process.close()


@asynccontextmanager
async def client_of(process: RuntimeProcess) -> AsyncIterator[Cri]:
    client = Cri(process.endpoint, process.logs)
    try:
        yield client
    finally:
        for sandbox in (await client.runtime.ListPodSandbox(cri.ListPodSandboxRequest())).items:
            await client.runtime.RemovePodSandbox(
                cri.RemovePodSandboxRequest(pod_sandbox_id=sandbox.id)
            )
        await client.channel.close(None)


@pytest.fixture(params=["auto", "none"])
async def node(
    request: pytest.FixtureRequest, runtimes: dict[str, RuntimeProcess]
) -> AsyncIterator[Cri]:
    """In namespaces and without."""
    async with client_of(runtimes[request.param]) as client:
        yield client


@pytest.fixture
async def client(runtimes: dict[str, RuntimeProcess]) -> AsyncIterator[Cri]:
    async with client_of(runtimes["auto"]) as client:
        yield client

"""A leader that is stopped for 20 s and wakes up answers no read from what it knew before."""

import asyncio
import random
from pathlib import Path

import grpc
import pytest

from tests.conformance.linearizability import Kind, Operation, check
from tests.e2e.store_client import Recorder, StoreClient
from tests.e2e.store_cluster import StoreCluster

pytestmark = [pytest.mark.e2e, pytest.mark.timeout(180)]

PAUSE_S = 20.0
AWAKE_S = 2.0
WRITES_S_MAX = 5.0
READERS = 10


async def test_a_leader_paused_for_long_serves_no_stale_read(tmp_path: Path) -> None:
    loop = asyncio.get_running_loop()
    with StoreCluster(tmp_path) as cluster:
        cluster.start()
        await asyncio.to_thread(cluster.wait_ready)
        leader = await asyncio.to_thread(cluster.leader)
        others = [name for name in cluster.names if name != leader]
        async with StoreClient(cluster) as client:
            rng = random.Random(3)
            recorder = Recorder(client, rng, ["a", "b", "k"])
            await client.put(leader, "k", "old")
            paused_at = loop.time()
            cluster.pause(leader)
            stop = asyncio.Event()
            # Their requests wait in the paused member's sockets and are answered when it wakes up.
            readers = [asyncio.create_task(_read(client, leader, stop)) for _ in range(READERS)]
            await _write(client, others[0], "k", "new")
            written_at = loop.time()
            assert written_at - paused_at < WRITES_S_MAX
            working = asyncio.Event()
            workers = [asyncio.create_task(_work(recorder, rng, others, working)) for _ in range(3)]
            await asyncio.sleep(paused_at + PAUSE_S - loop.time())
            cluster.resume(leader)
            await asyncio.sleep(AWAKE_S)
            stop.set()
            working.set()
            reads = [read for found in await asyncio.gather(*readers) for read in found]
            await asyncio.gather(*workers)
    old = Operation("k", Kind.WRITE, 0.0, paused_at, "old")
    new = Operation("k", Kind.WRITE, paused_at, written_at, "new")
    history = [old, new, *reads, *recorder.history]
    assert any(read.returned > paused_at + PAUSE_S for read in reads), "it answered nothing"
    assert sum(operation.is_known for operation in recorder.history) > 100
    violations = check(history)
    assert not violations, "\n".join(map(str, violations))


async def _work(
    recorder: Recorder, rng: random.Random, members: list[str], stop: asyncio.Event
) -> None:
    """Go on at the members that are awake, on keys that the readers do not read."""
    last: dict[str, str | None] = {}
    while not stop.is_set():
        await recorder._once(rng.choice(members), rng.choice(["a", "b"]), last)
        await asyncio.sleep(0.2)


async def _read(client: StoreClient, member: str, stop: asyncio.Event) -> list[Operation]:
    """Read at one member, over and over; the reads that were answered."""
    now = asyncio.get_running_loop().time
    found: list[Operation] = []
    while not stop.is_set():
        called = now()
        try:
            value = await client.get(member, "k", timeout_s=2 * PAUSE_S)
            found.append(Operation("k", Kind.READ, called, now(), result=value))
        except grpc.aio.AioRpcError:
            pass  # it has just lost its leadership, and says so
        await asyncio.sleep(0.05)
    return found


async def _write(client: StoreClient, member: str, key: str, value: str) -> None:
    while True:
        try:
            return await client.put(member, key, value)
        except grpc.aio.AioRpcError:
            await asyncio.sleep(0.1)

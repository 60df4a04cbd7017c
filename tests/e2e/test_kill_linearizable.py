"""Members are killed and paused while clients work: nothing is lost, no read is stale."""

import asyncio
import itertools
import random
import sys
from pathlib import Path

import grpc
import pytest

from tests.conformance.linearizability import Kind, check
from tests.e2e.store_client import Recorder, StoreClient, write_until
from tests.e2e.store_cluster import StoreCluster

pytestmark = [pytest.mark.e2e, pytest.mark.timeout(180)]

# The promise is 3 s; a busy machine gets some more before we call it broken.
OUTAGE_S_MAX = 5.0
QUORUM_ERROR_S_MAX = 5.0


async def test_history_is_linearizable_through_kills_and_pauses(tmp_path: Path) -> None:
    rng = random.Random(7)
    with StoreCluster(tmp_path) as cluster:
        cluster.start()
        await asyncio.to_thread(cluster.wait_ready)
        async with StoreClient(cluster) as client:
            recorder = Recorder(client, rng, [f"register-{i}" for i in range(4)])
            stop = asyncio.Event()
            clients = [asyncio.create_task(recorder.run(stop)) for _ in range(5)]
            await _disturb(cluster, rng)
            stop.set()
            await asyncio.gather(*clients)
    done = [operation for operation in recorder.history if operation.is_known]
    assert len(done) > 300, "the clients hardly got to do anything"
    assert any(o.kind is Kind.CAS and o.result for o in done)
    violations = check(recorder.history)
    assert not violations, "\n".join(map(str, violations))


async def _disturb(cluster: StoreCluster, rng: random.Random) -> None:
    """Kill the leader, kill a follower, pause the leader, kill all; let work go on in between."""
    await asyncio.sleep(1.0)
    leader = await asyncio.to_thread(cluster.leader)
    cluster.kill(leader)
    await asyncio.sleep(2.5)
    cluster.start(leader)
    await asyncio.to_thread(cluster.wait_ready)
    follower = rng.choice(await asyncio.to_thread(cluster.followers))
    cluster.kill(follower)
    await asyncio.sleep(1.0)
    cluster.start(follower)
    await asyncio.to_thread(cluster.wait_ready)
    leader = await asyncio.to_thread(cluster.leader)
    cluster.pause(leader)
    await asyncio.sleep(4.0)
    cluster.resume(leader)
    await asyncio.sleep(1.5)
    cluster.kill()
    names = list(cluster.names)
    rng.shuffle(names)
    for name in names:
        cluster.start(name)
        await asyncio.sleep(0.3)
    await asyncio.to_thread(cluster.wait_ready)
    await asyncio.sleep(1.0)


async def test_killing_the_leader_loses_nothing_and_stops_writes_briefly(tmp_path: Path) -> None:
    acknowledged: list[tuple[str, float]] = []
    loop = asyncio.get_running_loop()
    with StoreCluster(tmp_path) as cluster:
        cluster.start()
        await asyncio.to_thread(cluster.wait_ready)
        leader = await asyncio.to_thread(cluster.leader)
        async with StoreClient(cluster) as client:
            stop = asyncio.Event()
            writers = [
                asyncio.create_task(
                    write_until(client, stop, lambda key, at: acknowledged.append((key, at)))
                )
            ]
            await asyncio.sleep(1.0)
            killed_at = loop.time()
            cluster.kill(leader)
            await asyncio.sleep(4.0)
            stop.set()
            await asyncio.gather(*writers)
            survivor = next(name for name in cluster.names if name != leader)
            kept = [await client.get(survivor, key) for key, _ in acknowledged]
    assert kept == [key for key, _ in acknowledged]
    times = [killed_at] + [at for _, at in acknowledged if at > killed_at]
    outage_s = max(later - earlier for earlier, later in itertools.pairwise(times))
    sys.stdout.write(f"no write for {outage_s:.2f} s; {len(acknowledged)} acknowledged\n")
    assert outage_s < OUTAGE_S_MAX


async def test_a_lost_quorum_is_named_and_heals(tmp_path: Path) -> None:
    loop = asyncio.get_running_loop()
    with StoreCluster(tmp_path) as cluster:
        cluster.start()
        await asyncio.to_thread(cluster.wait_ready)
        leader = await asyncio.to_thread(cluster.leader)
        survivor, other = [name for name in cluster.names if name != leader]
        async with StoreClient(cluster) as client:
            await client.put(survivor, "before", "kept")
            # The survivor must have applied it before it is alone.
            assert await client.get(survivor, "before") == "kept"
            cluster.kill(leader, other)
            began = loop.time()
            with pytest.raises(grpc.aio.AioRpcError) as refused:
                await client.put(survivor, "during", "x")
            assert loop.time() - began < QUORUM_ERROR_S_MAX
            assert refused.value.code() is grpc.StatusCode.UNAVAILABLE
            missing = ", ".join(sorted([leader, other]))
            assert refused.value.details() == (
                f"etcdserver: no leader: quorum lost, 1 of 3 members up, missing {missing}"
            )
            with pytest.raises(grpc.aio.AioRpcError):
                await client.get(survivor, "before")
            assert await client.get(survivor, "before", serializable=True) == "kept"
            cluster.kill(survivor)
            for name in (other, survivor, leader):
                cluster.start(name)
                await asyncio.sleep(0.2)
            await asyncio.to_thread(cluster.wait_ready)
            for name in cluster.names:
                assert await client.get(name, "before") == "kept"
            await client.put(leader, "after", "works")

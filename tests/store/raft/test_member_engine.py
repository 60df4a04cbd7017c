import asyncio
import json
import threading
import time
from collections.abc import AsyncIterator
from dataclasses import replace
from pathlib import Path

import pytest
import uvloop

from store.raft.engine import NoLeaderError, UnknownOutcomeError
from store.raft.framing import BOOTSTRAPPED
from store.raft.joining import has_taken_part
from tests.store.raft.cluster import Cluster, eventually
from tests.store.raft.tally import Tally


@pytest.fixture
async def cluster(tmp_path: Path) -> AsyncIterator[Cluster]:
    members = Cluster(tmp_path)
    yield members
    await members.close()


async def test_every_member_proposes_and_gets_its_own_apply(cluster: Cluster) -> None:
    await cluster.start()
    for member in cluster.ids:
        result = await cluster.engines[member].propose(f"by {member}".encode())
        assert result == len(cluster.tallies[member].commands)
    assert await cluster.settled() == ["by 1", "by 2", "by 3"]


async def test_read_on_a_follower_covers_what_the_leader_acknowledged(
    cluster: Cluster,
) -> None:
    await cluster.start()
    leader = await cluster.leader()
    follower = cluster.follower(leader)
    for number in range(20):
        await cluster.engines[leader].propose(str(number).encode())
        await cluster.engines[follower].read_index()
        assert cluster.tallies[follower].commands[-1] == str(number)


async def test_writes_go_on_when_the_leader_stops(cluster: Cluster) -> None:
    await cluster.start()
    leader = await cluster.leader()
    survivor = cluster.engines[cluster.follower(leader)]
    await survivor.propose(b"before")
    stopping = asyncio.create_task(cluster.stop(leader))
    await survivor.propose(b"after")
    await stopping
    assert await cluster.settled() == ["before", "after"]


async def test_without_quorum_writes_and_reads_name_the_missing_peers(cluster: Cluster) -> None:
    await cluster.start()
    await cluster.leader()
    await cluster.stop(1, 2)
    last = cluster.engines[cluster.ids[2]]
    async with asyncio.timeout(4):
        errors = await asyncio.gather(
            last.propose(b"lost"), last.read_index(), return_exceptions=True
        )
    assert isinstance(errors[0], NoLeaderError | UnknownOutcomeError)
    assert isinstance(errors[1], NoLeaderError)
    assert errors[0].missing == errors[1].missing == (1, 2)


async def test_member_that_missed_the_log_is_sent_a_snapshot(cluster: Cluster) -> None:
    await cluster.start()
    leader = await cluster.leader()
    lagging = cluster.follower(leader)
    await cluster.stop(lagging)
    for number in range(300):
        await cluster.engines[leader].propose(str(number).encode())
    await cluster.start(lagging)
    assert await cluster.settled() == [str(number) for number in range(300)]


async def test_member_that_installs_a_large_snapshot_counts_towards_the_quorum(
    cluster: Cluster, monkeypatch: pytest.MonkeyPatch
) -> None:
    cluster.config = replace(cluster.config, proposal_timeout_ms=60_000)
    await cluster.start()
    leader = await cluster.leader()
    lagging = cluster.follower(leader)
    await cluster.stop(lagging)
    for number in range(300):
        await cluster.engines[leader].propose(str(number).encode())
    reading, released = threading.Event(), threading.Event()
    read = Tally.read_snapshot

    def slow(self: Tally, path: Path) -> object:
        reading.set()
        released.wait(60)
        return read(self, path)

    monkeypatch.setattr(Tally, "read_snapshot", slow)
    try:
        await cluster.start(lagging)
        await eventually(reading.is_set)
        (third,) = set(cluster.ids) - {leader, lagging}
        await cluster.stop(third)
        for number in range(300, 320):
            await cluster.engines[leader].propose(str(number).encode())
        assert cluster.tallies[lagging].commands == []
    finally:
        released.set()
    assert await cluster.settled() == [str(number) for number in range(320)]


async def test_stop_in_the_middle_of_an_install_is_finished_at_the_next_start(
    cluster: Cluster, monkeypatch: pytest.MonkeyPatch
) -> None:
    cluster.config = replace(cluster.config, proposal_timeout_ms=60_000)
    await cluster.start()
    leader = await cluster.leader()
    lagging = cluster.follower(leader)
    await cluster.stop(lagging)
    for number in range(300):
        await cluster.engines[leader].propose(str(number).encode())
    reading = threading.Event()

    def stuck(self: Tally, path: Path) -> object:
        reading.set()
        time.sleep(0.2)
        return json.loads(path.read_bytes())

    with monkeypatch.context() as within:
        within.setattr(Tally, "read_snapshot", stuck)
        await cluster.start(lagging)
        await eventually(reading.is_set)
        await cluster.crash(lagging)
    assert cluster.tallies[lagging].commands == []
    await cluster.stop(leader)  # nobody can stream another one
    await cluster.start(lagging)
    assert len(cluster.tallies[lagging].commands) >= 200
    await cluster.start(leader)
    assert await cluster.settled() == [str(number) for number in range(300)]


async def test_members_know_who_has_taken_part_before_anyone_says_so_in_the_log(
    cluster: Cluster,
) -> None:
    await cluster.start(1, 2)
    await cluster.leader()
    urls = [cluster.config.peers[member] for member in cluster.ids]  # the third is down

    async def asked(member_id: int, cluster_id: int = 7) -> str:
        return await has_taken_part(urls, None, cluster_id=cluster_id, member_id=member_id)

    assert await asked(1) == await asked(2) == BOOTSTRAPPED
    assert await asked(3) == ""
    assert await asked(1, cluster_id=8) == ""
    assert await has_taken_part(urls[2:], None, cluster_id=7, member_id=1) == ""


async def test_single_member_serves_alone(tmp_path: Path) -> None:
    single = Cluster(tmp_path, size=1)
    await single.start()
    assert await single.engines[single.ids[0]].propose(b"alone") == 1
    assert await single.engines[single.ids[0]].read_index() > 1
    await single.stop()


def test_wakeup_that_is_late_already_is_made_up_for_on_uvloop(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A loop that was held up plans times that have passed, and uvloop forgets which they were."""
    faults: list[object] = []

    async def late() -> object:
        loop = asyncio.get_running_loop()
        loop.set_exception_handler(lambda _, context: faults.append(context))
        single = Cluster(tmp_path, size=1)
        await single.start()
        engine = single.engines[await single.leader()]
        monkeypatch.setattr(engine._driver, "wakeup", lambda: loop.time() - 1)
        for _ in range(3):
            engine._plan()
        await asyncio.sleep(0.05)
        result = await engine.propose(b"after")
        await single.close()
        return result

    assert uvloop.run(late()) == 1
    assert faults == []

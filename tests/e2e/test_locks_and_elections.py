"""Locks and elections: etcdctl's own, made of keys and leases, and the services on the server."""

import asyncio
import signal
import subprocess
from collections.abc import AsyncIterator, Iterator
from pathlib import Path
from typing import Any

import grpc
import grpc.aio
import pytest

from kubraft.pb.etcdserverpb import rpc_pb2, rpc_pb2_grpc
from kubraft.pb.v3electionpb import v3election_pb2, v3election_pb2_grpc
from kubraft.pb.v3lockpb import v3lock_pb2, v3lock_pb2_grpc
from tests.e2e.store_cluster import TOOLS, StoreCluster, wait_until

pytestmark = pytest.mark.e2e

ANSWER_S = 10.0


@pytest.fixture(scope="module")
def cluster(tmp_path_factory: pytest.TempPathFactory) -> Iterator[StoreCluster]:
    with StoreCluster(tmp_path_factory.mktemp("locks"), tls=False) as cluster:
        cluster.start()
        cluster.wait_ready()
        yield cluster


@pytest.fixture
async def channels(cluster: StoreCluster) -> AsyncIterator[list[grpc.aio.Channel]]:
    channels = [cluster.aio_channel(name) for name in cluster.names]
    yield channels
    for channel in channels:
        await channel.close(None)


class Waiter:
    """`etcdctl lock` or `etcdctl elect` as a process."""

    def __init__(self, cluster: StoreCluster, at: str, file: Path, *arguments: str) -> None:
        self._file = file
        with file.open("wb") as out:
            self.process = subprocess.Popen(
                [str(TOOLS / "etcdctl"), *arguments], env=cluster.environment(at), stdout=out
            )

    def said(self) -> str:
        return self._file.read_text()

    def interrupt(self) -> None:
        """As Ctrl-C does: gives the turn back."""
        self.process.send_signal(signal.SIGINT)
        self.process.wait(10)

    def close(self) -> None:
        self.process.kill()
        self.process.wait(10)


@pytest.mark.parametrize(
    "command",
    [
        pytest.param(("lock", "shared"), id="lock"),
        pytest.param(("elect", "office", "me"), id="elect"),
    ],
)
def test_etcdctl_has_one_holder_and_hands_over(
    cluster: StoreCluster, tmp_path: Path, command: tuple[str, ...]
) -> None:
    first = Waiter(cluster, "store-0", tmp_path / "first", *command)
    try:
        wait_until(first.said, "the first has it")
        second = Waiter(cluster, "store-1", tmp_path / "second", *command)
        try:
            wait_until(
                lambda: len(cluster.etcdctl_json("get", command[1], "--prefix")["kvs"]) == 2,
                "the second stands in line",
            )
            assert not second.said()
            first.interrupt()
            wait_until(second.said, "the second has it")
            assert first.said().split()[0] != second.said().split()[0]
        finally:
            second.interrupt()
            second.close()
    finally:
        first.close()


def test_etcdctl_runs_a_command_under_the_lock(cluster: StoreCluster) -> None:
    ran = cluster.etcdctl("lock", "job", "--", "sh", "-c", "echo held by $ETCD_LOCK_KEY")
    assert ran.stdout.startswith("held by job/")


async def grant(channel: grpc.aio.Channel) -> int:
    stub = rpc_pb2_grpc.LeaseStub(channel)
    granted = await stub.LeaseGrant(rpc_pb2.LeaseGrantRequest(TTL=60), timeout=ANSWER_S)
    return int(granted.ID)


async def keys(channel: grpc.aio.Channel, prefix: bytes) -> list[bytes]:
    request = rpc_pb2.RangeRequest(key=prefix, range_end=prefix + b"\xff", keys_only=True)
    answer = await rpc_pb2_grpc.KVStub(channel).Range(request, timeout=ANSWER_S)
    return [kv.key for kv in answer.kvs]


async def test_a_lock_is_held_by_one_caller_at_a_time_on_all_members(
    channels: list[grpc.aio.Channel],
) -> None:
    holders: list[int] = []

    async def work(number: int) -> None:
        channel = channels[number % len(channels)]
        stub = v3lock_pb2_grpc.LockStub(channel)
        request = v3lock_pb2.LockRequest(name=b"mutex", lease=await grant(channel))
        held = await stub.Lock(request, timeout=ANSWER_S)
        holders.append(number)
        assert holders == [number]
        await asyncio.sleep(0)
        holders.remove(number)
        await stub.Unlock(v3lock_pb2.UnlockRequest(key=held.key), timeout=ANSWER_S)

    await asyncio.gather(*map(work, range(9)))


async def test_who_gives_up_waiting_leaves_the_line(channels: list[grpc.aio.Channel]) -> None:
    stub = v3lock_pb2_grpc.LockStub(channels[0])
    await stub.Lock(v3lock_pb2.LockRequest(name=b"line"), timeout=ANSWER_S)
    with pytest.raises(grpc.aio.AioRpcError) as ended:
        await stub.Lock(v3lock_pb2.LockRequest(name=b"line"), timeout=0.5)
    assert ended.value.code() is grpc.StatusCode.DEADLINE_EXCEEDED
    async with asyncio.timeout(ANSWER_S):
        while len(await keys(channels[1], b"line/")) != 1:  # noqa: ASYNC110  # no event for it
            await asyncio.sleep(0.05)


async def test_observers_see_every_leader(channels: list[grpc.aio.Channel]) -> None:
    observed: Any = v3election_pb2_grpc.ElectionStub(channels[1]).Observe(
        v3election_pb2.LeaderRequest(name=b"chair")
    )
    stub = v3election_pb2_grpc.ElectionStub(channels[0])
    for value in (b"one", b"two"):
        lease = await grant(channels[0])
        request = v3election_pb2.CampaignRequest(name=b"chair", lease=lease, value=value)
        elected = await stub.Campaign(request, timeout=ANSWER_S)
        async with asyncio.timeout(ANSWER_S):
            seen = await observed.read()
        assert (seen.kv.value, seen.kv.key) == (value, elected.leader.key)
        await stub.Proclaim(
            v3election_pb2.ProclaimRequest(leader=elected.leader, value=b"new"), timeout=ANSWER_S
        )
        async with asyncio.timeout(ANSWER_S):
            assert (await observed.read()).kv.value == b"new"
        resign = v3election_pb2.ResignRequest(leader=elected.leader)
        await stub.Resign(resign, timeout=ANSWER_S)
    observed.cancel()

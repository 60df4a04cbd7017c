"""Defragmentation while the members are written to, and while one of them is killed."""

import asyncio
from pathlib import Path

import grpc
import grpc.aio
import pytest

from kubraft.pb.etcdserverpb import rpc_pb2, rpc_pb2_grpc
from tests.e2e.store_cluster import StoreCluster, wait_until

pytestmark = pytest.mark.e2e

WRITERS = 8
DEFRAGMENTATIONS = 15
ANSWER_S = 10.0


class Load:
    """Writers of their own keys, each with rising values, until `stop` is set."""

    def __init__(self, channel: grpc.aio.Channel) -> None:
        self._kv = rpc_pb2_grpc.KVStub(channel)
        self.stop = asyncio.Event()
        self.acknowledged: dict[bytes, int] = {}

    async def write(self, writer: int) -> None:
        number = 0
        while not self.stop.is_set():
            number += 1
            key = b"w%d/%d" % (writer, number % 50)
            request = rpc_pb2.PutRequest(key=key, value=b"%d" % number)
            await self._kv.Put(request, timeout=ANSWER_S)
            self.acknowledged[key] = number


async def values(channel: grpc.aio.Channel) -> dict[bytes, int]:
    request = rpc_pb2.RangeRequest(key=b"w", range_end=b"x")
    answer = await rpc_pb2_grpc.KVStub(channel).Range(request, timeout=ANSWER_S)
    return {kv.key: int(kv.value) for kv in answer.kvs}


async def test_nothing_is_lost_or_differs(tmp_path: Path) -> None:
    flags = ("--backend-batch-interval=20ms", "--snapshot-count=200")
    with StoreCluster(tmp_path, tls=False, flags=flags) as cluster:
        cluster.start()
        await asyncio.to_thread(cluster.wait_ready)
        leader = await asyncio.to_thread(cluster.leader)
        killed, other = await asyncio.to_thread(cluster.followers)
        async with cluster.aio_channel(leader) as first, cluster.aio_channel(other) as second:
            load = Load(first)
            writers = [asyncio.create_task(load.write(number)) for number in range(WRITERS)]
            for number in range(DEFRAGMENTATIONS):
                for channel in (first, second):
                    maintenance = rpc_pb2_grpc.MaintenanceStub(channel)
                    await maintenance.Defragment(rpc_pb2.DefragmentRequest(), timeout=ANSWER_S)
                if number == 3:
                    cluster.kill(killed)
                if number == 8:
                    cluster.start(killed)
            load.stop.set()
            await asyncio.gather(*writers)
            assert await values(first) == load.acknowledged
            cluster.kill(other)
            cluster.start(other)
        await asyncio.to_thread(cluster.wait_ready)
        for name in cluster.names:
            async with cluster.aio_channel(name) as channel:
                assert await values(channel) == load.acknowledged

        def hashes() -> set[int]:
            answers = cluster.etcdctl_json("endpoint", "hashkv")
            return {answer["HashKV"]["hash"] for answer in answers}

        await asyncio.to_thread(wait_until, lambda: len(hashes()) == 1, "equal hashes")

"""Whether what a store costs grows with its age: a million keys, a restart with them, memory."""

from __future__ import annotations

import random
import statistics
import tempfile
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import partial
from pathlib import Path

import grpc
import psutil
import uvloop

from kubraft.pb.etcdserverpb import rpc_pb2
from tests.bench.bench_store_client import call_all, connect
from tests.bench.bench_store_load import Figure, cpu_s, fill, median, rss_mib
from tests.e2e.store_cluster import StoreCluster, wait_until

YOUNG_KEYS = 10_000
OLD_KEYS = 1_000_000
MEMORY_KEYS = 100_000
_PREFIX = b"age/"
_PUTS = 10_000
_ROUNDS = 3


def memory_mib(*, etcd: bool) -> float:
    """Of the largest member, with 100,000 keys of 1 KiB."""
    with (
        tempfile.TemporaryDirectory(prefix="bench-") as directory,
        StoreCluster(Path(directory), tls=False, etcd=etcd) as cluster,
    ):
        url = _start(cluster)
        uvloop.run(fill(url, range(MEMORY_KEYS), size=1024, prefix=_PREFIX))
        time.sleep(1.5)  # for what waits to be flushed
        return rss_mib(cluster)


@dataclass(frozen=True, slots=True)
class Age:
    """Puts to random keys of a young and of an old store; what the old one costs."""

    young: Figure
    old: Figure
    old_rss_mib: float
    # Of one member that was killed, and of all at once: until they read again.
    restart_s: float
    restart_cpu_s: float
    restart_all_s: float


def grow(say: Callable[[str], None]) -> Age:
    """Fill one of two clusters of ours, and measure them by turns."""
    with (
        tempfile.TemporaryDirectory(prefix="bench-") as first,
        tempfile.TemporaryDirectory(prefix="bench-") as second,
        StoreCluster(Path(first), tls=False) as young,
        StoreCluster(Path(second), tls=False) as old,
    ):
        clusters = ((young, _start(young), YOUNG_KEYS), (old, _start(old), OLD_KEYS))
        say(f"filling in {OLD_KEYS:,} keys")
        for _, url, keys in clusters:
            uvloop.run(fill(url, range(keys), size=256, prefix=_PREFIX))
        time.sleep(1.5)
        taken: tuple[list[Figure], list[Figure]] = ([], [])
        for _ in range(_ROUNDS):
            for (cluster, url, keys), figures in zip(clusters, taken, strict=True):
                figures.append(_puts(cluster, url, keys))
        rss = rss_mib(old)
        say("restarting")
        follower = old.followers()[0]
        old.kill(follower)
        restart_s = _restart_s(old, follower)
        times = psutil.Process(old.pid(follower)).cpu_times()
        old.kill()
        restart_all_s = _restart_s(old, *old.names)
        return Age(
            young=median(taken[0]),
            old=median(taken[1]),
            old_rss_mib=rss,
            restart_s=restart_s,
            restart_cpu_s=times.user + times.system,
            restart_all_s=restart_all_s,
        )


def _start(cluster: StoreCluster) -> str:
    cluster.start()
    cluster.wait_ready()
    return cluster.client_url(cluster.leader())


def _restart_s(cluster: StoreCluster, *names: str) -> float:
    """Until each of them answers a linearizable read."""
    began = time.monotonic()
    cluster.start(*names)
    for name in names:
        wait_until(partial(_reads, cluster, name), f"{name} reads", timeout_s=60)
    return time.monotonic() - began


def _reads(cluster: StoreCluster, name: str) -> bool:
    request = rpc_pb2.RangeRequest(key=_PREFIX + b"%012d" % 0)
    with cluster.channel(name) as channel:
        read = channel.unary_unary(
            "/etcdserverpb.KV/Range",
            request_serializer=rpc_pb2.RangeRequest.SerializeToString,
            response_deserializer=rpc_pb2.RangeResponse.FromString,
        )
        try:
            read(request, timeout=0.5)
        except grpc.RpcError:
            return False
        return True


def _puts(cluster: StoreCluster, url: str, keys: int) -> Figure:
    before, began = cpu_s(cluster), time.perf_counter()
    latencies = uvloop.run(_put_at_random(url, keys))
    took, spent = time.perf_counter() - began, cpu_s(cluster) - before
    cuts = statistics.quantiles((1000 * latency for latency in latencies), n=100)
    return Figure(_PUTS / took, cuts[49], cuts[98], 1e6 * spent / _PUTS)


async def _put_at_random(url: str, keys: int) -> list[float]:
    clients = [await connect(url) for _ in range(4)]
    method = "/etcdserverpb.KV/Put"
    latencies = await call_all(clients, method, _requests(keys), in_flight=64)
    for client in clients:
        client.close()
    return latencies


def _requests(keys: int) -> Iterator[bytes]:
    rng = random.Random(keys)
    for _ in range(_PUTS):
        key = _PREFIX + b"%012d" % rng.randrange(keys)
        yield rpc_pb2.PutRequest(key=key, value=b"v" * 256).SerializeToString()

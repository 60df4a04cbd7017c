"""Whether what a store costs grows with its age: a million keys, a restart with them, memory."""

from __future__ import annotations

import random
import statistics
import tempfile
import time
from collections.abc import Callable, Iterator
from functools import partial
from pathlib import Path

import uvloop

from kubraft.pb.etcdserverpb import rpc_pb2
from tests.bench.bench_store_client import call_all, connect
from tests.bench.bench_store_load import Figure, cpu_s, fill, rss_mib
from tests.e2e.store_cluster import StoreCluster, wait_until

YOUNG_KEYS = 10_000
OLD_KEYS = 1_000_000
MEMORY_KEYS = 100_000
_PREFIX = b"age/"
_PUTS = 20_000


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


def grow(say: Callable[[str], None]) -> dict[str, Figure | float]:
    """Puts to random keys of a young and of an old store, and seconds to restart the old one."""
    with (
        tempfile.TemporaryDirectory(prefix="bench-") as directory,
        StoreCluster(Path(directory), tls=False) as cluster,
    ):
        url = _start(cluster)
        uvloop.run(fill(url, range(YOUNG_KEYS), size=256, prefix=_PREFIX))
        found: dict[str, Figure | float] = {"young": _puts(cluster, url, YOUNG_KEYS)}
        say(f"filling in {OLD_KEYS:,} keys")
        uvloop.run(fill(url, range(YOUNG_KEYS, OLD_KEYS), size=256, prefix=_PREFIX))
        time.sleep(1.5)
        found["old"] = _puts(cluster, url, OLD_KEYS)
        found["old_rss_mib"] = rss_mib(cluster)
        say("restarting")
        follower = cluster.followers()[0]
        cluster.kill(follower)
        found["restart_s"] = _restart_s(cluster, follower)
        cluster.kill()
        found["restart_all_s"] = _restart_s(cluster, *cluster.names)
        return found


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
    key = _PREFIX.decode() + f"{0:012}"
    return cluster.etcdctl("get", key, at=name, check=False).returncode == 0


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

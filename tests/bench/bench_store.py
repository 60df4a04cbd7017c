"""What the store does a second beside the real etcd: `python -m tests.bench.bench_store`.

Three members each, mutual TLS, fsync on, the same disk and the same client in this process; prints
one JSON document. Only ratios from one run mean something on a shared machine.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import statistics
import sys
import tempfile
import time
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Any

import psutil
import uvloop

from kubraft.pb.etcdserverpb import rpc_pb2
from tests.e2e.store_cluster import StoreCluster

VALUE = b"v" * 256
KEYS = 1000

Call = Callable[[int], Awaitable[object]]


async def measure(call: Call, *, in_flight: int, seconds: float) -> dict[str, float]:
    """Calls a second and latency in milliseconds with so many callers at once."""
    latencies: list[float] = []
    end = time.perf_counter() + seconds
    numbers = iter(range(1 << 62))

    async def caller() -> None:
        while (began := time.perf_counter()) < end:
            await call(next(numbers))
            latencies.append(time.perf_counter() - began)

    began = time.perf_counter()
    await asyncio.gather(*(caller() for _ in range(in_flight)))
    took = time.perf_counter() - began
    cuts = statistics.quantiles(latencies, n=100)
    return {
        "per_second": round(len(latencies) / took, 1),
        "p50_ms": round(cuts[49] * 1000, 3),
        "p99_ms": round(cuts[98] * 1000, 3),
    }


async def measure_cluster(cluster: StoreCluster, seconds: float) -> dict[str, Any]:
    cluster.start()
    await asyncio.to_thread(cluster.wait_ready)
    leader = await asyncio.to_thread(cluster.leader)
    results: dict[str, Any] = {}
    async with cluster.aio_channel(leader) as channel:
        put = channel.unary_unary("/etcdserverpb.KV/Put", None, None)
        range_ = channel.unary_unary("/etcdserverpb.KV/Range", None, None)
        keys = [b"key/%06d" % number for number in range(KEYS)]
        puts = [rpc_pb2.PutRequest(key=k, value=VALUE).SerializeToString() for k in keys]
        reads = {
            kind: [
                rpc_pb2.RangeRequest(key=k, serializable=local).SerializeToString() for k in keys
            ]
            for kind, local in (("linearizable", False), ("serializable", True))
        }
        for request in puts:
            await put(request)
        for in_flight in (1, 64):
            results[f"put_{in_flight}"] = await measure(
                lambda n: put(puts[n % KEYS]), in_flight=in_flight, seconds=seconds
            )
        for kind, requests in reads.items():
            for in_flight in (1, 64):
                results[f"range_{kind}_{in_flight}"] = await measure(
                    lambda n, requests=requests: range_(requests[n % KEYS]),  # type: ignore[misc]
                    in_flight=in_flight,
                    seconds=seconds,
                )
    rss = [psutil.Process(cluster.pid(name)).memory_info().rss for name in cluster.names]
    results["rss_mib"] = [round(size / (1 << 20), 1) for size in rss]
    return results


async def compare(seconds: float) -> dict[str, Any]:
    found: dict[str, Any] = {}
    for name, etcd in (("etcd", True), ("kubraft", False)):
        with (
            tempfile.TemporaryDirectory(prefix=f"bench-{name}-") as directory,
            StoreCluster(Path(directory), etcd=etcd) as cluster,
        ):
            found[name] = await measure_cluster(cluster, seconds)
    found["ratio"] = {
        key: round(ours["per_second"] / found["etcd"][key]["per_second"], 3)
        for key, ours in found["kubraft"].items()
        if isinstance(ours, dict)
    }
    return found


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--seconds", type=float, default=3.0, help="per figure")
    arguments = parser.parse_args()
    json.dump(uvloop.run(compare(arguments.seconds)), sys.stdout, indent=2)
    sys.stdout.write("\n")


if __name__ == "__main__":
    main()

"""The store under h2load beside the real etcd: `python -m tests.bench.bench_store_load`.

Three members each on the same disk, fsync on, and a load generator in C that is not the
bottleneck. Prints one JSON document: calls a second, latency, and the processor time that all
members together spend on a call, which says more than the clock on a machine that is shared.
Needs `h2load` (Debian: nghttp2-client).
"""

from __future__ import annotations

import argparse
import json
import os
import re
import shutil
import subprocess
import sys
import tempfile
import time
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import psutil

from kubraft.pb.etcdserverpb import rpc_pb2
from tests.e2e.store_cluster import StoreCluster

VALUE = b"v" * 256
KEY = b"key/000001"
TICK_S = 1 / os.sysconf("SC_CLK_TCK")
_UNITS_MS = {"us": 0.001, "ms": 1.0, "s": 1000.0}


@dataclass(frozen=True, slots=True)
class Case:
    """One figure: a request, how many are in flight at once, and whether at all members."""

    name: str
    method: str
    request: bytes
    in_flight: int
    spread: bool = False


def cases() -> list[Case]:
    put = rpc_pb2.PutRequest(key=KEY, value=VALUE).SerializeToString()
    read = rpc_pb2.RangeRequest(key=KEY).SerializeToString()
    local = rpc_pb2.RangeRequest(key=KEY, serializable=True).SerializeToString()
    found = [Case(f"put_{n}", "Put", put, n) for n in (1, 16, 64, 128)]
    found.append(Case("put_128_spread", "Put", put, 128, spread=True))
    for n in (1, 128):
        found.append(Case(f"range_linearizable_{n}", "Range", read, n, spread=n > 1))
        found.append(Case(f"range_serializable_{n}", "Range", local, n, spread=n > 1))
    return found


def measure(cluster: StoreCluster, leader: str, case: Case, seconds: float) -> dict[str, float]:
    targets = list(cluster.names) if case.spread else [leader]
    with tempfile.TemporaryDirectory(prefix="bench-") as directory, ExitStack() as running:
        body = Path(directory) / "body"
        body.write_bytes(b"\0" + len(case.request).to_bytes(4, "big") + case.request)
        before, began = _cpu_s(cluster), time.perf_counter()
        shares = [
            case.in_flight // len(targets) + (number < case.in_flight % len(targets))
            for number in range(len(targets))
        ]
        processes = [
            running.enter_context(
                subprocess.Popen(
                    _command(cluster.client_url(target), case, body, share, seconds),
                    stdout=subprocess.PIPE,
                    stderr=subprocess.STDOUT,
                    text=True,
                )
            )
            for target, share in zip(targets, shares, strict=True)
        ]
        outputs = [process.communicate()[0] for process in processes]
        took, spent = time.perf_counter() - began, _cpu_s(cluster) - before
    calls = sum(_done(output) for output in outputs)
    return {
        "per_second": round(calls / took, 1),
        "mean_ms": round(max(_mean_ms(output) for output in outputs), 3),
        "cpu_us": round(1e6 * spent / max(calls, 1), 1),
    }


def _command(url: str, case: Case, body: Path, in_flight: int, seconds: float) -> list[str]:
    connections = min(in_flight, 8)
    return [
        "h2load",
        *(f"--duration={seconds:g}", "--threads=1", f"--data={body}"),
        *(f"--clients={connections}", f"--max-concurrent-streams={in_flight // connections}"),
        *("--header=content-type: application/grpc", "--header=te: trailers"),
        f"{url}/etcdserverpb.KV/{case.method}",
    ]


def _cpu_s(cluster: StoreCluster) -> float:
    """Processor time that the members have used so far."""
    total = 0.0
    for name in cluster.names:
        times = psutil.Process(cluster.pid(name)).cpu_times()
        total += times.user + times.system
    return total


def _done(output: str) -> int:
    found = re.search(r"(\d+) succeeded, (\d+) failed, (\d+) errored", output)
    if found is None or int(found[3]):
        raise SystemExit(f"h2load failed:\n{output}")
    return int(found[1])


def _mean_ms(output: str) -> float:
    found = re.search(r"time for request:\s+\S+\s+\S+\s+([\d.]+)(us|ms|s)", output)
    return float(found[1]) * _UNITS_MS[found[2]] if found else 0.0


def measure_cluster(cluster: StoreCluster, seconds: float, only: str) -> dict[str, Any]:
    cluster.start()
    cluster.wait_ready()
    leader = cluster.leader()
    time.sleep(1.0)
    before, began = _cpu_s(cluster), time.perf_counter()
    time.sleep(3.0)
    idle = (_cpu_s(cluster) - before) / (time.perf_counter() - began) / len(cluster.names)
    found: dict[str, Any] = {"idle_cpu_percent": round(100 * idle, 2)}
    for case in cases():
        if re.search(only, case.name):
            found[case.name] = measure(cluster, leader, case, seconds)
    rss = [psutil.Process(cluster.pid(name)).memory_info().rss for name in cluster.names]
    found["rss_mib"] = [round(size / (1 << 20), 1) for size in rss]
    return found


def compare(seconds: float, only: str, *, etcd: bool) -> dict[str, Any]:
    found: dict[str, Any] = {}
    for name, real in (("etcd", True), ("kubraft", False)):
        if real and not etcd:
            continue
        with (
            tempfile.TemporaryDirectory(prefix=f"bench-{name}-") as directory,
            StoreCluster(Path(directory), etcd=real, tls=False) as cluster,
        ):
            found[name] = measure_cluster(cluster, seconds, only)
    if etcd:
        found["ratio"] = {
            key: round(ours["per_second"] / found["etcd"][key]["per_second"], 3)
            for key, ours in found["kubraft"].items()
            if isinstance(ours, dict)
        }
    return found


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--seconds", type=int, default=3, help="per figure")
    parser.add_argument("--only", default="", help="regular expression over names of figures")
    parser.add_argument("--no-etcd", action="store_true", help="measure ours alone")
    arguments = parser.parse_args()
    if shutil.which("h2load") is None:
        raise SystemExit("h2load is missing (Debian: nghttp2-client)")
    found = compare(arguments.seconds, arguments.only, etcd=not arguments.no_etcd)
    json.dump(found, sys.stdout, indent=2)
    sys.stdout.write("\n")


if __name__ == "__main__":
    main()

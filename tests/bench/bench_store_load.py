"""Calls of one kind at a store cluster, with a load generator that is not the bottleneck.

That is `h2load` (Debian: nghttp2-client); without it the client of bench_store_client.py, which
does a third as much. Processor time is that of all members together: it says more than the clock
on a machine that is shared.
"""

from __future__ import annotations

import re
import shutil
import statistics
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from contextlib import ExitStack
from dataclasses import astuple, dataclass
from pathlib import Path

import psutil
import uvloop

from kubraft.pb.etcdserverpb import rpc_pb2
from tests.bench.bench_store_client import call_all, connect
from tests.e2e.store_cluster import StoreCluster

KEY = b"key/000001"
LIST_KEYS = 10_000
_LIST_PREFIX = b"list/"
# Of one generator; more would only cost it time.
_CONNECTIONS_MAX = 8


@dataclass(frozen=True, slots=True)
class Case:
    """One figure: a request, how many are in flight at once, and whether at all members."""

    name: str
    method: str
    request: bytes
    in_flight: int
    spread: bool = False
    writes: bool = False


@dataclass(frozen=True, slots=True)
class Figure:
    """What a case gave; the processor time is a call's, of all members together."""

    per_second: float
    p50_ms: float
    p99_ms: float
    cpu_us: float


def median(figures: list[Figure]) -> Figure:
    """Of each part by itself."""
    return Figure(*map(statistics.median, zip(*map(astuple, figures), strict=True)))


def cases() -> Iterator[Case]:
    for size, named in ((256, "256 B"), (4096, "4 KiB")):
        put = rpc_pb2.PutRequest(key=KEY, value=b"v" * size).SerializeToString()
        for n in (1, 16, 128, 512):
            yield Case(f"Put {named}, {n} in flight", "Put", put, n, writes=True)
    put = rpc_pb2.PutRequest(key=KEY, value=b"v" * 256).SerializeToString()
    yield Case("Put 256 B, 128 over all members", "Put", put, 128, spread=True, writes=True)
    for kind, local in (("linearizable", False), ("serializable", True)):
        read = rpc_pb2.RangeRequest(key=KEY, serializable=local).SerializeToString()
        yield Case(f"Range {kind}, 1 in flight", "Range", read, 1)
        yield Case(f"Range {kind}, 128 at one member", "Range", read, 128)
        yield Case(f"Range {kind}, 128 over all members", "Range", read, 128, spread=True)
    for n in (1, 8):
        yield Case(f"List of {LIST_KEYS:,} keys, {n} in flight", "Range", _list(), n)
    for n in (1, 128):
        yield Case(f"Txn compare-and-swap, {n} in flight", "Txn", _swap(), n, writes=True)


def _list() -> bytes:
    request = rpc_pb2.RangeRequest(key=_LIST_PREFIX, range_end=b"list0")
    return request.SerializeToString()


def _swap() -> bytes:
    """Put the key if it exists; it always does."""
    request = rpc_pb2.TxnRequest()
    compare = request.compare.add()
    compare.key = KEY
    compare.target, compare.result = rpc_pb2.Compare.VERSION, rpc_pb2.Compare.GREATER
    request.success.add().request_put.CopyFrom(rpc_pb2.PutRequest(key=KEY, value=b"v" * 256))
    return request.SerializeToString()


def transactions(keys: range, *, size: int, prefix: bytes, each: int = 50) -> Iterator[bytes]:
    """Txns that put so many keys each."""
    for first in keys[::each]:
        request = rpc_pb2.TxnRequest()
        for number in range(first, min(first + each, keys.stop)):
            put = request.success.add().request_put
            put.key = prefix + b"%012d" % number
            put.value = (b"%012d" % (number * 7919)) * (size // 12 + 1)
            put.value = put.value[:size]
        yield request.SerializeToString()


async def fill(url: str, keys: range, *, size: int, prefix: bytes) -> None:
    client = await connect(url)
    requests = transactions(keys, size=size, prefix=prefix)
    await call_all([client], "/etcdserverpb.KV/Txn", requests, in_flight=16)
    client.close()


def prepare(cluster: StoreCluster) -> None:
    """What the cases read and swap."""
    url = cluster.client_url(cluster.leader())
    uvloop.run(fill(url, range(LIST_KEYS), size=256, prefix=_LIST_PREFIX))
    put = rpc_pb2.PutRequest(key=KEY, value=b"v" * 256).SerializeToString()

    async def once() -> None:
        client = await connect(url)
        await call_all([client], "/etcdserverpb.KV/Put", iter([put]), in_flight=1)
        client.close()

    uvloop.run(once())


def has_h2load() -> bool:
    return shutil.which("h2load") is not None


def measure(cluster: StoreCluster, leader: str, case: Case, seconds: int) -> Figure:
    """Run one case.

    Raises:
        SystemExit: the generator failed, or calls did not do what they should.
    """
    targets = list(cluster.names) if case.spread else [leader]
    shares = [
        case.in_flight // len(targets) + (number < case.in_flight % len(targets))
        for number in range(len(targets))
    ]
    revision = cluster.status(leader).header.revision
    with tempfile.TemporaryDirectory(prefix="bench-") as directory, ExitStack() as running:
        folder = Path(directory)
        (folder / "request").write_bytes(case.request)
        framed = b"\0" + len(case.request).to_bytes(4, "big") + case.request
        (folder / "body").write_bytes(framed)
        before = cpu_s(cluster)
        processes = [
            running.enter_context(
                subprocess.Popen(
                    _command(
                        cluster.client_url(target),
                        case,
                        folder,
                        number=number,
                        in_flight=shares[number],
                        seconds=seconds,
                    ),
                    stdout=(folder / f"{number}.out").open("wb"),
                    stderr=subprocess.STDOUT,
                )
            )
            for number, target in enumerate(targets)
        ]
        for process in processes:
            process.wait()
        spent = cpu_s(cluster) - before
        latencies = sorted(
            latency for number in range(len(targets)) for latency in _latencies(folder, number)
        )
    if case.writes and cluster.status(leader).header.revision - revision < len(latencies):
        raise SystemExit(f"{case.name}: calls were answered and wrote nothing")
    if not latencies:
        return Figure(0.0, 0.0, 0.0, 0.0)
    last = len(latencies) - 1
    return Figure(
        per_second=len(latencies) / seconds,
        p50_ms=latencies[last // 2],
        p99_ms=latencies[99 * last // 100],
        cpu_us=1e6 * spent / len(latencies),
    )


def _command(
    url: str, case: Case, folder: Path, *, number: int, in_flight: int, seconds: int
) -> list[str]:
    method = f"/etcdserverpb.KV/{case.method}"
    if not has_h2load():
        return [
            *(sys.executable, "-m", "tests.bench.bench_store_client"),
            *(f"--url={url}", f"--method={method}", f"--request={folder / 'request'}"),
            *(f"--in-flight={in_flight}", f"--seconds={seconds}"),
        ]
    connections = min(in_flight, _CONNECTIONS_MAX)
    return [
        *("h2load", f"--duration={seconds}", "--threads=1", f"--data={folder / 'body'}"),
        *(f"--clients={connections}", f"--max-concurrent-streams={in_flight // connections}"),
        *("--header=content-type: application/grpc", "--header=te: trailers"),
        *(f"--log-file={folder / str(number)}.log", url + method),
    ]


def _latencies(folder: Path, number: int) -> list[float]:
    """Of all calls of one generator, in milliseconds."""
    output = (folder / f"{number}.out").read_text()
    if not has_h2load():
        return [float(line) for line in output.splitlines()]
    found = re.search(r"(\d+) failed, (\d+) errored", output)
    if found is None or int(found[2]):
        raise SystemExit(f"h2load failed:\n{output}")
    rows = (row.split("\t") for row in (folder / f"{number}.log").read_text().splitlines())
    return [int(latency) / 1000 for _, status, latency, *_ in rows if status == "200"]


def cpu_s(cluster: StoreCluster) -> float:
    """Processor time that the members have used so far."""
    total = 0.0
    for name in cluster.names:
        times = psutil.Process(cluster.pid(name)).cpu_times()
        total += times.user + times.system
    return total


def rss_mib(cluster: StoreCluster) -> float:
    """Resident memory of the largest member."""
    sizes = [psutil.Process(cluster.pid(name)).memory_info().rss for name in cluster.names]
    return max(sizes) / (1 << 20)

"""Measure the API over gRPC: writes, reads, lists and watch fan-out; prints one JSON object.

    python -m tests.bench.bench_objects --server 127.0.0.1:6444 --ca-file ca.crt --token TOKEN

Without --server it starts a real etcd (or uses --etcd-servers) and an API server of its own.
"""

from __future__ import annotations

import argparse
import asyncio
import contextlib
import statistics
import tempfile
import time
from collections.abc import Awaitable, Callable, Iterator
from pathlib import Path
from typing import Any

import grpc
import grpc.aio
import orjson
import uvloop

from kubraft.pb.v1 import objects_pb2 as pb
from kubraft.pb.v1 import objects_pb2_grpc

PODS_LISTED = 5_000
WATCHERS = 100
FAN_OUT_EVENTS = 50
NAMESPACE = "bench"


def pod(name: str) -> bytes:
    container = {
        "name": "app",
        "image": "kubraft/web:1",
        "env": [{"name": "A", "value": "1"}, {"name": "B", "value": "2"}],
        "ports": [{"containerPort": 8080}],
        "resources": {"requests": {"cpu": "10m", "memory": "16Mi"}},
    }
    obj = {
        "apiVersion": "v1",
        "kind": "Pod",
        "metadata": {"name": name, "namespace": NAMESPACE, "labels": {"app": "bench"}},
        # No scheduler has this name: the API is measured here, and no node runs the Pods.
        "spec": {
            "containers": [container],
            "automountServiceAccountToken": False,
            "schedulerName": "bench",
        },
    }
    return orjson.dumps(obj)


def config_map(name: str) -> bytes:
    obj = {
        "apiVersion": "v1",
        "kind": "ConfigMap",
        "metadata": {"name": name, "namespace": NAMESPACE},
        "data": {"key": "x" * 256},
    }
    return orjson.dumps(obj)


class Load:
    """Calls to one API server."""

    def __init__(self, channel: grpc.aio.Channel, token: str) -> None:
        self.stub: Any = objects_pb2_grpc.ObjectsStub(channel)
        self.metadata = (("authorization", f"Bearer {token}"),)

    async def put(self, json: bytes) -> None:
        await self.stub.Put(pb.PutRequest(json=json), metadata=self.metadata)

    async def get(self, kind: str, name: str) -> None:
        request = pb.GetRequest(
            kind=kind, namespace=NAMESPACE, name=name, encoding=pb.ENCODING_JSON
        )
        await self.stub.Get(request, metadata=self.metadata)

    async def delete(self, kind: str, name: str) -> None:
        request = pb.DeleteRequest(
            kind=kind, namespace=NAMESPACE, name=name, encoding=pb.ENCODING_JSON
        )
        await self.stub.Delete(request, metadata=self.metadata)

    async def patch(self, kind: str, name: str, label: str) -> None:
        json = orjson.dumps({"metadata": {"labels": {"n": label}}})
        request = pb.PatchRequest(kind=kind, namespace=NAMESPACE, name=name, json=json)
        await self.stub.Patch(request, metadata=self.metadata)

    async def list(self, kind: str) -> int:
        request = pb.ListRequest(kind=kind, namespace=NAMESPACE, encoding=pb.ENCODING_JSON)
        return len((await self.stub.List(request, metadata=self.metadata)).items)

    def watch(self, kind: str) -> Any:
        request = pb.WatchRequest(
            kind=kind, namespace=NAMESPACE, encoding=pb.ENCODING_JSON, send_initial_events=True
        )
        return self.stub.Watch(request, metadata=self.metadata)


async def rate(
    count: int, in_flight: int, work: Callable[[int], Awaitable[None]]
) -> dict[str, Any]:
    """Run `work` for 0..count-1 with so many at once."""
    numbers = iter(range(count))
    latencies_ms: list[float] = []

    async def worker() -> None:
        for number in numbers:
            began = time.perf_counter()
            await work(number)
            latencies_ms.append((time.perf_counter() - began) * 1000)

    began = time.perf_counter()
    await asyncio.gather(*(worker() for _ in range(in_flight)))
    elapsed_s = time.perf_counter() - began
    cuts = statistics.quantiles(latencies_ms, n=100)
    return {
        "per_second": round(count / elapsed_s),
        "p50_ms": round(cuts[49], 2),
        "p99_ms": round(cuts[98], 2),
    }


async def fan_out(load: Load) -> dict[str, float]:
    """Time from the begin of a write to its event at the last of all watchers."""
    streams = [load.watch("ConfigMap") for _ in range(WATCHERS)]
    for stream in streams:
        while not (await stream.read()).initial_events_end:
            pass
    times_ms: list[float] = []
    for number in range(FAN_OUT_EVENTS):
        began = time.perf_counter()
        reads = asyncio.gather(*(stream.read() for stream in streams))
        await load.put(config_map(f"fan-{number}"))
        await reads
        times_ms.append((time.perf_counter() - began) * 1000)
    for stream in streams:
        stream.cancel()
    cuts = statistics.quantiles(times_ms, n=100)
    return {"p50_ms": round(cuts[49], 2), "p99_ms": round(cuts[98], 2)}


async def _by_verb(load: Load, in_flight: int, count: int) -> dict[str, Any]:
    def name(number: int) -> str:
        return f"{in_flight}-{number}"

    verbs: dict[str, Callable[[int], Awaitable[None]]] = {
        "create_config_map": lambda n: load.put(config_map(name(n))),
        "create_pod": lambda n: load.put(pod(name(n))),
        "get": lambda n: load.get("Pod", name(n)),
        "patch": lambda n: load.patch("Pod", name(n), str(n)),
        "delete_config_map": lambda n: load.delete("ConfigMap", name(n)),
    }
    return {f"{verb}_{in_flight}": await rate(count, in_flight, w) for verb, w in verbs.items()}


async def measure(load: Load, scale: float) -> dict[str, Any]:
    """All figures; `scale` below 1 makes every part shorter."""
    many, few = int(3000 * scale), int(500 * scale)
    figures: dict[str, Any] = {}
    namespace = {"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": NAMESPACE}}
    account = {"name": "default", "namespace": NAMESPACE}  # as its controller would make it
    for obj in (namespace, {"apiVersion": "v1", "kind": "ServiceAccount", "metadata": account}):
        with contextlib.suppress(grpc.aio.AioRpcError):
            await load.put(orjson.dumps(obj))
    for in_flight, count in ((1, few), (64, many)):
        figures |= await _by_verb(load, in_flight, count)
    missing = int(PODS_LISTED * scale) - many - few
    await rate(max(missing, 1), 64, lambda n: load.put(pod(f"fill-{n}")))
    times_ms = []
    listed = 0
    for _ in range(7):
        began = time.perf_counter()
        listed = await load.list("Pod")
        times_ms.append((time.perf_counter() - began) * 1000)
    figures["list"] = {"pods": listed, "median_ms": round(statistics.median(times_ms), 1)}
    figures["watch_to_last_of_100"] = await fan_out(load)
    return figures


async def bench(target: str, ca: bytes, token: str, scale: float) -> dict[str, Any]:
    """Measure the server at `target`; `ca` is its authority, PEM."""
    options = [("grpc.max_receive_message_length", -1)]
    credentials = grpc.ssl_channel_credentials(ca)
    async with grpc.aio.secure_channel(target, credentials, options) as channel:
        load = Load(channel, token)
        try:
            return await measure(load, scale)
        finally:
            # On a whole cluster its controller then removes all that was made here.
            request = pb.DeleteRequest(kind="Namespace", name=NAMESPACE)
            await load.stub.Delete(request, metadata=load.metadata)


@contextlib.contextmanager
def own_server(etcd_servers: str) -> Iterator[tuple[str, Path, str]]:
    """An API server for the time of the bench, on the store given or on an etcd of its own."""
    from tests.apiserver.process import ApiProcess
    from tests.conformance.storage.etcd import running_etcd

    with contextlib.ExitStack() as stack:
        folder = Path(stack.enter_context(tempfile.TemporaryDirectory()))
        url = etcd_servers or stack.enter_context(running_etcd(folder))
        process = stack.enter_context(ApiProcess(folder, url))
        process.wait_ready()
        yield process.target, process.pki / "ca.crt", process.admin_token


def main() -> None:
    """The command line."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--server", default="")
    parser.add_argument("--ca-file", type=Path)
    parser.add_argument("--token", default="")
    parser.add_argument("--etcd-servers", default="")
    parser.add_argument("--scale", type=float, default=1.0)
    given = parser.parse_args()
    with contextlib.ExitStack() as stack:
        if given.server:
            target, ca_file, token = given.server, given.ca_file, given.token
        else:
            target, ca_file, token = stack.enter_context(own_server(given.etcd_servers))
        figures = uvloop.run(bench(target, ca_file.read_bytes(), token, given.scale))
    print(orjson.dumps(figures, option=orjson.OPT_INDENT_2).decode())  # noqa: T201


if __name__ == "__main__":
    main()

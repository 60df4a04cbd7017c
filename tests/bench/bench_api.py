"""`make bench-api`: the API server of a whole cluster under HTTPS load, beside kube-apiserver.

The peer is kube-apiserver 1.20.2 with three etcd members; it is not run here. Its figures were
taken on two cores that it shared with the load generator, so ratios mean something on a quiet
machine of two cores only; the processor time of a request says more on any other.
"""

from __future__ import annotations

import argparse
import asyncio
import dataclasses
import json
import os
import ssl
import subprocess
import sys
import tempfile
import time
from dataclasses import dataclass
from pathlib import Path
from typing import Any, NamedTuple
from urllib.parse import urlsplit

import orjson
import psutil
import uvloop

from kubraft.api.time import parse_time
from tests.bench.http_load import Ask, Done, Target, connect, drive
from tests.e2e.cluster import ROOT, Cluster

NAMESPACE, NODE = "bench-api", "bench-api-node"
CORE = "/api/v1"
HOME = f"{CORE}/namespaces/{NAMESPACE}"
PODS, MAPS = f"{HOME}/pods", f"{HOME}/configmaps"
MERGE = "application/merge-patch+json"
HEADINGS = ("", "peer", "ours", "ratio", "bar", "p50 / p99 ms", "apiserver µs")


class Peer(NamedTuple):
    """The peer's figure, and what the ratio to it must reach; slower ones are the worse ones."""

    value: float
    unit: str
    bar: float = 0.0

    @property
    def slower(self) -> bool:
        return self.unit in ("ms", "MiB", "s")


PEER = {
    "create of a Pod, one at a time": Peer(3.5, "ms", 1.5),
    "get, one at a time": Peer(0.95, "ms"),
    "patch, one at a time": Peer(3.4, "ms"),
    "delete, one at a time": Peer(5.9, "ms"),
    "Pods created, 64 in flight": Peer(1388, "/s", 0.4),
    "ConfigMaps created, 64 in flight": Peer(1963, "/s", 0.4),
    "GETs, 64 in flight": Peer(4387, "/s", 0.5),
    "LIST of the Pods": Peer(121, "ms", 2.0),
    "LIST of the Pods, resourceVersion=0": Peer(90, "ms", 2.0),
    "event at the last of 100 watchers, p50": Peer(3.2, "ms"),
    "event at the last of 100 watchers, p99": Peer(8.8, "ms", 2.0),
    "resident memory, idle": Peer(616, "MiB", 1.0),
    "resident memory, after the load": Peer(1166, "MiB", 1.0),
    "ready after": Peer(3.3, "s", 1.0),
}


@dataclass
class Bench:
    """A running cluster, and what was measured of it."""

    target: Target
    servers: list[psutil.Process]
    pods: int

    def tell(self, name: str, value: float, latency: str = "", cpu_us: float = 0.0) -> None:
        """Add and print a row of the table."""
        peer = PEER.get(name)
        ratio = bar = theirs = ""
        unit = peer.unit if peer else ""
        if peer:
            ratio, theirs = f"{value / peer.value:.2f}", f"{peer.value:,g} {unit}"
            if peer.bar:
                bar = f"{'<=' if peer.slower else '>='} {peer.bar:g}"
        shown = f"{value:,.0f}" if value >= 100 else f"{value:.2f}"
        cpu = f"{cpu_us:.0f}" if cpu_us else ""
        say(line(name, theirs, f"{shown} {unit}".strip(), ratio, bar, latency, cpu))

    async def measure(self, name: str, asks: list[Ask], in_flight: int) -> list[Done]:
        before = cpu_s(self.servers)
        done, seconds = await drive(self.target, asks, in_flight)
        spent = cpu_s(self.servers) - before
        failed = [each.status for each in done if each.status >= 300]
        if failed:
            raise SystemExit(f"{name}: {len(failed)} of {len(done)} failed, {failed[0]}")
        p50, p99 = quantiles([each.seconds * 1000 for each in done])
        peer = PEER.get(name)
        value = p50 if peer is None or peer.unit == "ms" else len(done) / seconds
        self.tell(name, value, f"{p50:.2f} / {p99:.2f}", spent / len(done) * 1e6)
        return done

    async def run(self) -> None:
        """All figures."""
        one = [f"s{number}" for number in range(200)]
        for verb, asks in (
            ("create of a Pod", [Ask("POST", PODS, pod(name)) for name in one]),
            ("get", [Ask("GET", f"{PODS}/{name}") for name in one]),
            ("patch", [Ask("PATCH", f"{PODS}/{n}", _LABEL, MERGE) for n in one]),
            ("delete", [Ask("DELETE", f"{PODS}/{n}?gracePeriodSeconds=0") for n in one]),
        ):
            await self.measure(f"{verb}, one at a time", asks, 1)
        pods = [Ask("POST", PODS, pod(f"p{number}")) for number in range(self.pods)]
        await self.measure("Pods created, 64 in flight", pods, 64)
        maps = [Ask("POST", MAPS, config_map(f"c{number}")) for number in range(2000)]
        await self.measure("ConfigMaps created, 64 in flight", maps, 64)
        await self.measure("LIST of the Pods", [Ask("GET", PODS)] * 5, 1)
        cached = [Ask("GET", f"{PODS}?resourceVersion=0")] * 5
        await self.measure("LIST of the Pods, resourceVersion=0", cached, 1)
        await self.measure("GETs, 64 in flight", [Ask("GET", f"{PODS}/p0")] * 10_000, 64)
        p50, p99 = quantiles(await self.fan_out(100, 200))
        self.tell("event at the last of 100 watchers, p50", p50)
        self.tell("event at the last of 100 watchers, p99", p99)
        self.tell("resident memory, after the load", mib(self.servers))

    async def fan_out(self, watchers: int, events: int, rate: float = 20.0) -> list[float]:
        """From a create's answer to its event at the last watcher, in ms each."""
        version = orjson.loads(await self.body(f"{MAPS}?limit=1"))["metadata"]["resourceVersion"]
        path = f"{MAPS}?watch=true&resourceVersion={version}&timeoutSeconds=300"
        process = await asyncio.create_subprocess_exec(
            *(sys.executable, "-m", "tests.bench.api_watchers"),
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            cwd=ROOT,
            limit=1 << 24,
        )
        assert process.stdin
        assert process.stdout
        asked = {"path": path, "watchers": watchers, "events": events}
        asked["target"] = dataclasses.asdict(self.target)
        process.stdin.write(json.dumps(asked).encode() + b"\n")
        assert await process.stdout.readline() == b"ready\n"
        tag = f"w{watchers}"
        names = [f"{tag}-{number}" for number in range(events)]
        asks = [Ask("POST", MAPS, config_map(name)) for name in names]
        done, _ = await drive(self.target, asks, 1, pause_s=1 / rate)
        found = json.loads(await process.stdout.readline())
        await process.wait()
        if found["seen"] != found["expected"]:
            raise SystemExit(f"watchers saw {found['seen']} of {found['expected']} events")
        ends = zip(names, done, strict=True)
        return [max(0.0, found["last"][name] - each.at) * 1000 for name, each in ends]

    async def body(self, path: str) -> bytes:
        tls = ssl.create_default_context(cafile=self.target.ca_file)
        made = await connect(self.target, tls)
        await made.ask(Ask("GET", path))
        made.transport.abort()
        return made.body

    async def scale(self, objects: int, watchers: int) -> None:
        """Many objects and many watchers: nothing breaks, and what it costs."""
        asks = [Ask("POST", MAPS, config_map(f"m{number}")) for number in range(objects)]
        await self.measure(f"ConfigMaps created up to {objects:,}, 64 in flight", asks, 64)
        await self.measure(f"LIST of {objects:,}", [Ask("GET", MAPS)] * 3, 1)
        p50, p99 = quantiles(await self.fan_out(watchers, 50, rate=5.0))
        self.tell(f"event at the last of {watchers:,} watchers, p50, ms", p50)
        self.tell(f"event at the last of {watchers:,} watchers, p99, ms", p99)
        self.tell("resident memory with all of them, MiB", mib(self.servers))


_LABEL = b'{"metadata":{"labels":{"x":"y"}}}'


def pod(name: str) -> bytes:
    """A small Pod that is bound to a node which does not run it."""
    spec = {
        "nodeName": NODE,
        "terminationGracePeriodSeconds": 0,
        "automountServiceAccountToken": False,
        "tolerations": [{"operator": "Exists"}],
        "containers": [{"name": "c", "image": "registry.invalid/pause:1"}],
    }
    return _object("Pod", name, spec=spec)


def config_map(name: str) -> bytes:
    return _object("ConfigMap", name, data={"key": "x" * 200})


def _object(kind: str, name: str, **more: Any) -> bytes:
    return orjson.dumps({"apiVersion": "v1", "kind": kind, "metadata": {"name": name}, **more})


def quantiles(values: list[float]) -> tuple[float, float]:
    ordered = sorted(values)
    return ordered[len(ordered) // 2], ordered[int(len(ordered) * 0.99)]


def cpu_s(processes: list[psutil.Process]) -> float:
    times = [process.cpu_times() for process in processes]
    return float(sum(each.user + each.system for each in times))


def mib(processes: list[psutil.Process]) -> float:
    return float(sum(process.memory_info().rss for process in processes)) / (1 << 20)


def line(*cells: str) -> str:
    return f"| {' | '.join(cells)} |"


def say(text: str) -> None:
    print(text, flush=True)  # noqa: T201


async def prepare(target: Target) -> None:
    """Namespace, Node, and the ServiceAccount that Pods of the namespace need."""
    asks = [
        Ask("POST", f"{CORE}/namespaces", _object("Namespace", NAMESPACE)),
        Ask("POST", f"{CORE}/nodes", _object("Node", NODE)),
    ]
    done, _ = await drive(target, asks, 1)
    assert {each.status for each in done} == {201}, done
    deadline = time.monotonic() + 30
    while time.monotonic() < deadline:
        done, _ = await drive(target, [Ask("GET", f"{HOME}/serviceaccounts/default")], 1)
        if done[0].status == 200:
            return
        await asyncio.sleep(0.1)
    raise SystemExit("the controller manager made no default ServiceAccount")


def run(cluster: Cluster, options: argparse.Namespace) -> None:
    cluster.kubraft("up", f"--apiservers={options.apiservers}")
    status = cluster.status()
    address = urlsplit(status["rest"])
    assert address.hostname
    assert address.port
    token = Path(status["token_file"]).read_text().strip()
    target = Target(address.hostname, address.port, token, str(status["ca_file"]))
    servers = [
        psutil.Process(int(each["pid"]))
        for each in status["processes"]
        if each["name"].startswith("apiserver-")
    ]
    say(line(*HEADINGS))
    say("|---" * len(HEADINGS) + "|")
    bench = Bench(target, servers, options.pods)
    bench.tell("resident memory, idle", mib(servers))
    bench.tell("ready after", ready_after(cluster, servers[0]))
    uvloop.run(_measure(bench, options))


async def _measure(bench: Bench, options: argparse.Namespace) -> None:
    await prepare(bench.target)
    await bench.run()
    if options.scale:
        await bench.scale(50_000, 1_000)


def ready_after(cluster: Cluster, process: psutil.Process) -> float:
    """Seconds from the start of the API server's process to its being ready, by its log."""
    log = (Path(cluster.environment["KUBRAFT_HOME"]) / "logs" / "apiserver-0.log").read_text()
    ready = next(text for text in log.splitlines() if "event=ready" in text)
    stamp = next(part for part in ready.split() if part.startswith("time=")).removeprefix("time=")
    return parse_time(stamp).timestamp() - process.create_time()


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--pods", type=int, default=5000)
    parser.add_argument("--apiservers", type=int, default=1)
    parser.add_argument("--scale", action="store_true", help="50,000 objects, 1,000 watchers too")
    options = parser.parse_args()
    memory = psutil.virtual_memory().total >> 30
    busy = psutil.cpu_percent(interval=2.0)
    say(
        f"{os.cpu_count()} cores, {memory} GiB, Python {sys.version.split()[0]}; the machine was "
        f"{busy:.0f} % busy before: {'quiet' if busy < 5 else 'NOT quiet, ratios mean little'}\n"
    )
    with tempfile.TemporaryDirectory(prefix="kubraft-bench-") as temporary:
        cluster = Cluster(Path(temporary) / "home")
        try:
            run(cluster, options)
        finally:
            cluster.end()


if __name__ == "__main__":
    main()

"""`make bench-crowd`: one API server with many objects, many watchers and many idle connections.

It must not break, and what each of them costs is printed; smaller crowds by --objects and the like.
"""

from __future__ import annotations

import argparse
import asyncio
import ssl
import tempfile
from pathlib import Path
from urllib.parse import urlsplit

import orjson
import psutil
import uvloop

from tests.bench.bench_api import (
    CORE,
    MAPS,
    NAMESPACE,
    Bench,
    config_map,
    line,
    mib,
    quantiles,
    say,
)
from tests.bench.http_load import Ask, Connection, Target, connect, drive
from tests.e2e.cluster import Cluster

# Handshakes at once, when many connections are opened.
_AT_ONCE = 20
_PAGE = 500


class Crowd:
    """What is measured of one cluster."""

    def __init__(self, bench: Bench, options: argparse.Namespace) -> None:
        self._bench = bench
        self._options = options

    async def run(self) -> None:
        space = orjson.dumps({"metadata": {"name": NAMESPACE}})
        await drive(self._bench.target, [Ask("POST", f"{CORE}/namespaces", space)], 1)
        self._tell("memory before, MiB", mib(self._bench.servers))
        await self._objects(self._options.objects)
        await self._watchers(self._options.watchers)
        await self._idle(self._options.connections)
        self._tell("memory at last, MiB", mib(self._bench.servers))

    async def _objects(self, count: int) -> None:
        before = mib(self._bench.servers)
        asks = [Ask("POST", MAPS, config_map(f"m{number}")) for number in range(count)]
        done, seconds = await drive(self._bench.target, asks, 64)
        assert {each.status for each in done} == {201}
        self._tell(f"{count:,} ConfigMaps, created a second", count / seconds)
        grown = mib(self._bench.servers) - before
        self._tell("memory of one of them, KiB", grown * 1024 / count)
        for name, path in (
            ("LIST of all", MAPS),
            ("LIST of all, resourceVersion=0", f"{MAPS}?resourceVersion=0"),
            (f"LIST of a page of {_PAGE}", f"{MAPS}?limit={_PAGE}"),
        ):
            done, _ = await drive(self._bench.target, [Ask("GET", path)] * 5, 1)
            self._latency(name, [each.seconds for each in done])
        done, _ = await drive(self._bench.target, [Ask("GET", MAPS)] * 10, 10)
        self._latency("LIST of all, 10 at once", [each.seconds for each in done])

    async def _watchers(self, count: int) -> None:
        before = mib(self._bench.servers)
        found = await self._bench.fan_out(count, 50, rate=5.0)
        self._latency(f"event at the last of {count:,} watchers", [each / 1000 for each in found])
        self._tell("memory grew by, MiB", mib(self._bench.servers) - before)

    async def _idle(self, count: int) -> None:
        before = mib(self._bench.servers)
        tls = ssl.create_default_context(cafile=self._bench.target.ca_file)
        lines: list[Connection] = []
        for _ in range(0, count, _AT_ONCE):
            made = (connect(self._bench.target, tls) for _ in range(_AT_ONCE))
            lines += await asyncio.gather(*made)
        one = [Ask("GET", f"{MAPS}/m0")] * 200
        assert await lines[0].ask(one[0]) == 200
        grown = mib(self._bench.servers) - before
        self._tell(f"memory of one of {count:,} idle connections, KiB", grown * 1024 / count)
        done, _ = await drive(self._bench.target, one, 1)
        self._latency("GET meanwhile", [each.seconds for each in done])
        for each in lines:
            each.transport.abort()

    def _tell(self, name: str, value: float) -> None:
        say(line(name, f"{value:,.0f}" if value >= 100 else f"{value:.2f}"))

    def _latency(self, name: str, seconds: list[float]) -> None:
        p50, p99 = quantiles([each * 1000 for each in seconds])
        say(line(f"{name}, ms, p50 / p99", f"{p50:,.1f} / {p99:,.1f}"))


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--objects", type=int, default=50_000)
    parser.add_argument("--watchers", type=int, default=1_000)
    parser.add_argument("--connections", type=int, default=2_000)
    options = parser.parse_args()
    say(f"the machine was {psutil.cpu_percent(interval=2.0):.0f} % busy before\n")
    with tempfile.TemporaryDirectory(prefix="kubraft-crowd-") as temporary:
        cluster = Cluster(Path(temporary) / "home")
        try:
            cluster.kubraft("up")
            status = cluster.status()
            address = urlsplit(status["rest"])
            assert address.hostname
            assert address.port
            token = Path(status["token_file"]).read_text().strip()
            target = Target(address.hostname, address.port, token, str(status["ca_file"]))
            pids = [p["pid"] for p in status["processes"] if p["name"].startswith("apiserver-")]
            servers = [psutil.Process(int(pid)) for pid in pids]
            uvloop.run(Crowd(Bench(target, servers, 0), options).run())
        finally:
            cluster.end()


if __name__ == "__main__":
    main()

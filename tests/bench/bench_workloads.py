"""How fast and how frugal a whole cluster is: `make bench-workloads`, about six minutes.

It starts clusters of its own as a user does, by `kubraft up`, and drives them with the real
kubectl. Figures are medians of several runs, each with its bar. `--hollow` adds a cluster of
1,000 hollow nodes and 5,000 Pods.
"""

from __future__ import annotations

import argparse
import asyncio
import contextlib
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import AsyncIterator, Callable, Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

import orjson
import psutil

from kubraft.api.gvk import NODE, POD
from kubraft.api.object import Object, is_terminating, labels_of
from kubraft.api.pods import is_pod_ready
from kubraft.client.informer import Informer
from kubraft.supervisor.pid_file import find_running
from tests.bench.processes import Usage, measured, total
from tests.e2e.cluster import TOOLS, Cluster, web

_MIB: Final = 1 << 20
_SETTLE_S: Final = 30.0
_DEADLINE_S: Final = 300.0
_STARTS, _THREES, _IDLES = 3, 5, 3
_PODS: Final = 100
_HOLLOW_NODES, _HOLLOW_PODS = 1000, 5000


@dataclass(frozen=True, slots=True)
class Row:
    """One figure: the median of `values`; `bar` is the most it may be."""

    what: str
    values: tuple[float, ...]
    unit: str
    bar: float | None = None

    @property
    def is_met(self) -> bool:
        """Whether the bar holds."""
        return self.bar is None or statistics.median(self.values) <= self.bar

    def line(self) -> str:
        """For the table."""
        figure = f"{statistics.median(self.values):.3g} {self.unit}"
        spread = f"{min(self.values):.3g} to {max(self.values):.3g}" if len(self.values) > 1 else ""
        bar = "" if self.bar is None else f"< {self.bar:g} {self.unit}"
        missed = "" if self.is_met else " MISSED"
        return f"| {self.what} | {figure} | {spread} | {bar}{missed} |"


class Stage:
    """A cluster, the real kubectl, and its Pods as a program follows them."""

    def __init__(self, cluster: Cluster) -> None:
        self.cluster = cluster
        self.client = cluster.client()
        self.pods = Informer(self.client, POD)
        self._changed = asyncio.Event()
        self.pods.add_handler(lambda _old, _new: self._changed.set())

    def ready(self, app: str, version: str = "") -> int:
        """How many Pods of an application are ready, of those of a version."""
        return sum(
            is_pod_ready(pod)
            and not is_terminating(pod)
            and pod["spec"]["containers"][0]["image"].endswith(version)
            for pod in self._of(app)
        )

    def ready_is(self, app: str, count: int) -> Callable[[], bool]:
        """Whether so many are, for `until`."""
        return lambda: self.ready(app) == count

    def count(self, app: str) -> int:
        """How many there are, in whatever state."""
        return len(self._of(app))

    def _of(self, app: str) -> list[Object]:
        return [pod for pod in self.pods.list() if labels_of(pod).get("app") == app]

    async def until(self, condition: Callable[[], bool]) -> None:
        """Return as soon as an event makes `condition` true."""
        async with asyncio.timeout(_DEADLINE_S):
            while not condition():
                self._changed.clear()
                await self._changed.wait()

    async def kubectl(self, *words: str, stdin: Object | None = None) -> None:
        """Run it; it must succeed."""
        process = await asyncio.create_subprocess_exec(
            str(TOOLS / "kubectl"),
            f"--kubeconfig={self.cluster.home.kubeconfig}",
            *words,
            stdin=subprocess.PIPE,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.PIPE,
        )
        _, error = await process.communicate(orjson.dumps(stdin) if stdin else b"")
        if process.returncode:
            raise RuntimeError(f"kubectl {' '.join(words)}: {error.decode().strip()}")

    async def apply(self, obj: Object) -> None:
        """`kubectl apply` of one object."""
        await self.kubectl("apply", "-f", "-", stdin=obj)

    async def delete(self, app: str) -> None:
        """Delete a Deployment, and wait until its Pods are gone."""
        await self.kubectl("delete", "deployment", app, "--wait=false")
        await self.until(lambda: self.count(app) == 0)

    async def usage(self, seconds: float) -> Usage:
        """What everything below the supervisor uses, and the supervisor."""
        return total((await self.usages(seconds)).values())

    async def usages(self, seconds: float) -> dict[str, Usage]:
        """The same by process; containers and what starts them count as one, "runtimes"."""
        processes = self.cluster.descendants()
        supervisor = find_running(self.cluster.home.pid_file)
        assert supervisor is not None
        processes.append(psutil.Process(supervisor))
        found = await asyncio.to_thread(measured, processes, seconds)
        named = {view["pid"]: view["name"] for view in _views(self.cluster)}
        result: dict[str, Usage] = {}
        for pid, usage in found.items():
            name = named.get(pid, "others")
            result[name] = total([usage, result.get(name, Usage(0, 0))])
        return result


def _views(cluster: Cluster) -> list[dict[str, Any]]:
    status = cluster.status()
    return [*status["members"], *status["processes"]]


@contextlib.asynccontextmanager
async def staged(*flags: str) -> AsyncIterator[tuple[Stage, float]]:
    """A new cluster, and the moment at which its start began."""
    with tempfile.TemporaryDirectory(prefix="kubraft-bench-") as folder:
        cluster = Cluster(Path(folder) / "home")
        try:
            began_s = time.monotonic()
            await asyncio.to_thread(cluster.kubraft, "up", *flags)
            stage = Stage(cluster)
            following = asyncio.ensure_future(stage.pods.run())
            try:
                yield stage, began_s
            finally:
                following.cancel()
                await asyncio.gather(following, return_exceptions=True)
                await stage.client.close()
        finally:
            await asyncio.to_thread(cluster.end)


def service(name: str, replicas: int, version: str = "v1") -> Object:
    """The Deployment that is measured: the built-in web server, which ends when it is told."""
    obj = web(name, "default", replicas=replicas, version=version, lame_duck_s=0)
    obj["spec"]["strategy"] = {"rollingUpdate": {"maxUnavailable": "25%", "maxSurge": "25%"}}
    return obj


async def starts(runs: int) -> Row:
    """From `kubraft up` in an empty directory to the first ready Pod."""
    found = []
    for _ in range(runs):
        async with staged() as (stage, began_s):
            await stage.apply(service("first", 1))
            await stage.until(stage.ready_is("first", 1))
            found.append(time.monotonic() - began_s)
    return Row("from `kubraft up` to the first ready Pod", tuple(found), "s", 10)


async def idle(stage: Stage, runs: int, seconds: float) -> list[Row]:
    """What a cluster of three members and two nodes uses at rest."""
    await asyncio.sleep(_SETTLE_S)
    found = [await stage.usage(seconds) for _ in range(runs)]
    return [
        Row("idle: CPU of one core", tuple(u.cpu_percent for u in found), "%", 5),
        Row("idle: memory (PSS)", tuple(u.pss_bytes / _MIB for u in found), "MiB", 500),
    ]


async def threes(stage: Stage, runs: int) -> Row:
    """From `kubectl apply` of three replicas to all of them ready."""
    found = []
    for run in range(runs):
        app = f"three{run}"
        began_s = time.monotonic()
        await stage.apply(service(app, 3))
        await stage.until(stage.ready_is(app, 3))
        found.append(time.monotonic() - began_s)
        await stage.delete(app)
    return Row("from `kubectl apply` of 3 replicas to all ready", tuple(found), "s", 2)


async def hundred(stage: Stage) -> list[Row]:
    """A hundred Pods: start, memory, rest, roll-out."""
    before = await stage.usage(1)
    began_s = time.monotonic()
    await stage.apply(service("many", _PODS))
    await stage.until(lambda: stage.ready("many") == _PODS)
    started_s = time.monotonic() - began_s
    await asyncio.sleep(_SETTLE_S)
    resting = await stage.usages(30)
    whole = total(resting.values())
    hottest = max(resting.items(), key=lambda item: item[1].cpu_percent)
    began_s = time.monotonic()
    await stage.apply(service("many", _PODS, "v2"))
    await stage.until(lambda: stage.ready("many", ":v2") == _PODS == stage.count("many"))
    rolled_s = time.monotonic() - began_s
    per_pod = (whole.pss_bytes - before.pss_bytes) / _PODS / _MIB
    return [
        Row(f"{_PODS} Pods: all ready", (started_s,), "s"),
        Row(f"{_PODS} Pods: memory of each", (per_pod,), "MiB"),
        Row(f"{_PODS} Pods at rest, their probes every second: CPU", (whole.cpu_percent,), "%"),
        Row(f"{_PODS} Pods at rest: of it {hottest[0]}", (hottest[1].cpu_percent,), "%"),
        Row(f"{_PODS} Pods: rolled out anew", (rolled_s,), "s"),
    ]


async def hollow() -> list[Row]:
    """A thousand hollow nodes, five thousand Pods."""
    rows = []
    async with staged(f"--hollow-nodes={_HOLLOW_NODES}") as (stage, began_s):
        rows.append(Row(f"{_HOLLOW_NODES} nodes: all up", (time.monotonic() - began_s,), "s"))
        assert len((await stage.client.list(NODE)).items) == _HOLLOW_NODES + 2
        await asyncio.sleep(_SETTLE_S)
        rows += _by_process(f"{_HOLLOW_NODES} nodes at rest", await stage.usages(30))
        obj = service("crowd", _HOLLOW_PODS)
        spec = obj["spec"]["template"]["spec"]
        spec["tolerations"] = [{"key": "kubraft.io/hollow", "operator": "Exists"}]
        spec["nodeSelector"] = {"kubraft.io/hollow": "true"}
        applied_s = time.monotonic()
        await stage.apply(obj)
        await stage.until(stage.ready_is("crowd", _HOLLOW_PODS))
        took_s = time.monotonic() - applied_s
        rows.append(Row(f"{_HOLLOW_PODS} Pods there: all ready", (took_s,), "s"))
        await asyncio.sleep(2 * _SETTLE_S)
        rows += _by_process(f"{_HOLLOW_PODS} Pods at rest", await stage.usages(30))
    return rows


def _by_process(what: str, usages: dict[str, Usage]) -> list[Row]:
    groups: dict[str, Usage] = {}
    for name, usage in usages.items():
        group = name.rpartition("-")[0] or name
        groups[group] = total([usage, groups.get(group, Usage(0, 0))])
    rows = []
    for name in ("store", "apiserver", "controller-manager", "scheduler", "hollow"):
        usage = groups.get(name, Usage(0, 0))
        rows.append(Row(f"{what}: {name}, CPU", (usage.cpu_percent,), "%"))
        rows.append(Row(f"{what}: {name}, memory", (usage.pss_bytes / _MIB,), "MiB"))
    whole = total(usages.values())
    rows.append(Row(f"{what}: all, CPU", (whole.cpu_percent,), "%"))
    rows.append(Row(f"{what}: all, memory", (whole.pss_bytes / _MIB,), "MiB"))
    return rows


def show(rows: Iterable[Row]) -> bool:
    """Print rows; whether all bars are met."""
    listed = list(rows)
    for row in listed:
        print(row.line(), flush=True)  # noqa: T201
    return all(row.is_met for row in listed)


async def run(*, with_hollow: bool, quick: bool) -> bool:
    """All of it, printed as it is measured."""
    print("| | median | from, to | bar |\n| --- | --: | --- | --- |", flush=True)  # noqa: T201
    met = show([await starts(1 if quick else _STARTS)])
    async with staged() as (stage, _):
        met &= show(await idle(stage, 1 if quick else _IDLES, 20 if quick else 60))
        met &= show([await threes(stage, _THREES)])
        met &= show(await hundred(stage))
    if with_hollow:
        met &= show(await hollow())
    return met


def main() -> int:
    """Status 1 where a bar is missed."""
    parser = argparse.ArgumentParser(prog="python -m tests.bench.bench_workloads")
    parser.add_argument("--hollow", action="store_true", help="1,000 hollow nodes as well")
    parser.add_argument("--quick", action="store_true", help="one run of each")
    given = parser.parse_args()
    return 0 if asyncio.run(run(with_hollow=given.hollow, quick=given.quick)) else 1


if __name__ == "__main__":
    sys.exit(main())

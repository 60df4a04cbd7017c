"""One run: a cluster, its clients and users, faults one after another, and the judgement."""

from __future__ import annotations

import asyncio
import contextlib
import os
import random
import signal
import time
from collections.abc import Awaitable, Callable
from dataclasses import dataclass, field
from typing import Any, Final

import psutil

from agents.runtime.leftovers import marked_processes
from kubraft.api.errors import ApiError, NotFoundError
from kubraft.api.gvk import (
    DAEMON_SET,
    DEPLOYMENT,
    ENDPOINT_SLICE,
    JOB,
    NAMESPACE,
    NODE,
    POD,
    REPLICA_SET,
    STATEFUL_SET,
)
from kubraft.api.object import Object
from kubraft.cli.cluster_probe import hashes
from kubraft.cli.cluster_status import read_status
from kubraft.client.client import ApiClient
from kubraft.home import Home
from kubraft.supervisor.specs import cluster_processes
from scripts.chaos.churn import Step, churn, declared
from scripts.chaos.convergence import Picture, complaints
from scripts.chaos.declarer import Declarer, is_away
from scripts.chaos.faults import Fault, Kind, Targets, draw
from scripts.chaos.manifests import NAMESPACE as WHERE
from scripts.chaos.manifests import namespace, service
from scripts.chaos.traffic import Traffic
from scripts.demo.narrator import ClaimError, Narrator, until
from scripts.workload import Writer

HEAL_S_MAX: Final = 60.0
CONVERGE_S_MAX: Final = 120.0
END_S_MAX: Final = 240.0  # thousands of written objects go too
REST_S: Final = 6.0  # after which nothing may have changed, converged as it is
_QUIET_S: Final = (1.0, 6.0)  # between faults
_KINDS: Final = (DEPLOYMENT, REPLICA_SET, STATEFUL_SET, DAEMON_SET, JOB)


@dataclass(slots=True)
class Soak:
    """What a run has at hand; faults and steps are drawn from the seed, each row by itself."""

    home: Home
    tell: Narrator
    client: ApiClient
    seed: int
    seconds: float
    faults: list[tuple[float, Fault]] = field(default_factory=list)

    async def run(self) -> None:
        """Hurt, heal, judge.

        Raises:
            ClaimError: something that the cluster promises did not hold.
        """
        steps = list(churn(random.Random(f"{self.seed} churn"), self.seconds))  # noqa: S311
        declarer, writer = Declarer(self.client), Writer(self.client, WHERE)
        traffic = await self._prepare(declarer, steps[0])
        began_s = time.monotonic()
        async with asyncio.TaskGroup() as load:
            lasting = [load.create_task(traffic.run()), load.create_task(writer.run())]
            user = load.create_task(declarer.run(steps[1:], began_s))
            await self._hurt(began_s)
            await user
            try:
                await self._converged(declared(steps))
            finally:
                for task in lasting:
                    task.cancel()
        self._report(traffic, declarer, began_s)
        await self._judge_rest(declared(steps))
        await self._judge_store(writer)
        await self._judge_end()

    async def _prepare(self, declarer: Declarer, first: Step) -> Traffic:
        await self.client.create(namespace())
        made = await self.client.create(service())
        await declarer.do(first)
        await self._converged([first.wanted], quiet=True)
        return Traffic(made["spec"]["clusterIP"])

    # Faults

    async def _hurt(self, began_s: float) -> None:
        rng = random.Random(f"{self.seed} faults")  # noqa: S311 - replayed by its seed
        cluster = self.home.get_cluster()
        names = [spec.name for spec in cluster_processes(self.home, cluster)]
        nodes = [node.name for node in cluster.nodes]
        targets = Targets.of(names, nodes, [node.runtime_name for node in cluster.nodes])
        while time.monotonic() < began_s + self.seconds:
            await asyncio.sleep(rng.uniform(*_QUIET_S))
            fault = draw(rng, targets)
            self.tell.say(f"{time.monotonic() - began_s:6.1f} s  {fault}")
            self.faults.append((time.monotonic(), fault))
            await self._inflict(fault)

    async def _inflict(self, fault: Fault) -> None:
        status = await asyncio.to_thread(read_status, self.home)
        views = {view["name"]: view for view in [*status["members"], *status["processes"]]}
        leader = next((m["name"] for m in status["members"] if m["role"] == "leader"), "store-0")
        targets = [leader if name == "leader" else name for name in fault.targets]
        if fault.kind is Kind.KILL:
            for name in targets:
                await self.tell.command("kill", name, quiet=True, silent=True)
            await asyncio.sleep(fault.seconds)
            # All at once: two of three members need each other to become ready.
            starts = (self.tell.command("start", name, quiet=True, silent=True) for name in targets)
            await asyncio.gather(*starts)
            return
        number = signal.SIGKILL if fault.kind is Kind.CRASH else signal.SIGSTOP
        pids = [views[name]["pid"] for name in targets if views[name]["pid"]]
        _send(pids, number)
        if fault.kind is Kind.PAUSE:
            try:
                await asyncio.sleep(fault.seconds)
            finally:
                _send(pids, signal.SIGCONT)

    # Judgement

    async def _converged(self, wanted: list[Any], *, quiet: bool = False) -> None:
        left: list[str] = ["nothing could be read"]

        async def condition() -> bool:
            nonlocal left
            try:
                left = complaints(wanted, await self.picture())
            except ApiError as error:
                if not is_away(error):
                    raise
                left = [error.message]
            return not left

        try:
            _, took_s = await until(condition, "", timeout_s=CONVERGE_S_MAX)
        except ClaimError as error:
            for line in left:
                self.tell.say(f"  {line}")
            raise ClaimError(f"not converged: {'; '.join(left[:3])}") from error
        if not quiet:
            self.tell.holds(f"all {len(wanted)} declared objects converged, {took_s:.1f} s later")

    async def picture(self) -> Picture:
        """What is there now; parts of it may be some milliseconds apart."""
        kinds = await asyncio.gather(*(self.client.list(kind, WHERE) for kind in _KINDS))
        pods = await self.client.list(POD, WHERE)
        slices = await self.client.list(
            ENDPOINT_SLICE, WHERE, label_selector="kubernetes.io/service-name=web"
        )
        nodes = await self.client.list(NODE)
        return Picture(
            {kind.kind: found.items for kind, found in zip(_KINDS, kinds, strict=True)},
            pods.items,
            slices.items,
            nodes.items,
            await asyncio.to_thread(self._containers),
        )

    def _containers(self) -> dict[str, int]:
        """How many containers each node's runtime runs."""
        return {
            node.name: len(containers_of(str(self.home.data(node.runtime_name).absolute())))
            for node in self.home.get_cluster().nodes
        }

    def _report(self, traffic: Traffic, declarer: Declarer, began_s: float) -> None:
        self.tell.holds(
            f"{len(self.faults)} faults, {len(declarer.done)} changes by users "
            f"({declarer.tries_failed} tries had to be repeated)"
        )
        faults = [str(fault) for at_s, fault in self.faults if at_s <= traffic.gap_ended_at_s]
        after = faults[-1] if faults else "no fault"
        self.tell.say(
            f"the application's clients: {traffic.asked} requests, {traffic.failed} failed, "
            f"{traffic.availability:.3%} available; longest time without an answer "
            f"{traffic.longest_gap_s:.1f} s (after: {after})"
        )
        for fault, count in self._blame(traffic)[:5]:
            self.tell.say(f"  {count} failed after: {fault}")
        self.tell.say(f"  in {time.monotonic() - began_s:.0f} s")

    def _blame(self, traffic: Traffic) -> list[tuple[str, int]]:
        """Which faults the failures came after, most first."""
        counts: dict[str, int] = {}
        for failure in traffic.failures:
            before = [fault for at_s, fault in self.faults if at_s <= failure.at_s]
            name = f"{['no fault', *before][-1]}: {failure.why}"
            counts[name] = counts.get(name, 0) + 1
        return sorted(counts.items(), key=lambda pair: -pair[1])

    async def _judge_rest(self, wanted: list[Any]) -> None:
        """Nothing is written again and again once all is as wanted: no controller runs hot.

        What is slow on a busy machine may come late; what runs hot never rests.
        """
        moved: list[str] = []

        async def rests() -> bool:
            nonlocal moved
            before = _versions(await self.picture())
            await asyncio.sleep(REST_S)
            after = _versions(await self.picture())
            moved = sorted(name for name, version in after.items() if before.get(name) != version)
            return not moved

        try:
            await until(rests, "", timeout_s=HEAL_S_MAX)
        except ClaimError as error:
            raise ClaimError(f"written again and again: {', '.join(moved[:5])}") from error
        self.tell.holds(f"at rest: nothing written in {REST_S:.0f} s")
        left = complaints(wanted, await self.picture())
        self.tell.check(not left, "still converged", "; ".join(left[:3]))

    async def _judge_store(self, writer: Writer) -> None:
        lost = await writer.lost()
        self.tell.check(
            not lost,
            f"all {len(writer.acknowledged)} acknowledged writes are there, {writer.failed} failed",
            f"lost: {lost[:5]}",
        )

        async def same() -> bool:
            cluster = self.home.get_cluster()
            found = await hashes(self.home, cluster)
            return len(found) == len(cluster.members) and len(set(found.values())) == 1

        await until(same, "the same bytes on all members", timeout_s=HEAL_S_MAX)
        self.tell.holds("all members hold the same bytes")

    async def _judge_end(self) -> None:
        """What is deleted leaves nothing behind, no object and no process."""
        await self.client.delete(NAMESPACE, WHERE)
        _, took_s = await until(self._gone(), "the Namespace is gone", timeout_s=END_S_MAX)
        left = {node: count for node, count in self._containers().items() if count}
        self.tell.check(
            not left, f"deleted in {took_s:.0f} s: no object and no process is left", f"{left}"
        )

    def _gone(self) -> Callable[[], Awaitable[bool]]:
        async def condition() -> bool:
            try:
                await self.client.get(NAMESPACE, WHERE)
            except NotFoundError:
                return not any(self._containers().values())
            except ApiError:
                return False
            return False

        return condition


def containers_of(runtime_root: str) -> list[int]:
    """The pids of the first processes of the containers below a runtime, orphans included."""
    found = []
    for pid in marked_processes(runtime_root):
        with contextlib.suppress(psutil.Error):
            process = psutil.Process(pid)
            if process.name() == "container-init" and not _is_init(process.ppid()):
                found.append(pid)
    return found


def _is_init(pid: int) -> bool:
    """A container that has no program of its own is a child of its first process."""
    return bool(psutil.Process(pid).name() == "container-init")


def _send(pids: list[int], number: signal.Signals) -> None:
    for pid in pids:
        with contextlib.suppress(ProcessLookupError):
            os.kill(pid, number)


def _versions(picture: Picture) -> dict[str, str]:
    objects: list[Object] = [
        *(obj for found in picture.workloads.values() for obj in found),
        *picture.pods,
        *picture.slices,
    ]
    return {
        f"{obj.get('kind', '')} {obj['metadata']['name']}": obj["metadata"]["resourceVersion"]
        for obj in objects
    }

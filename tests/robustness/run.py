"""One round: a cluster of its own, traffic, faults drawn from a seed, and a judgement.

The seed draws the faults and what each client does; processes and the machine keep their own time,
so the same seed gives the same kind of run, and the history that is kept tells what really was.
"""

from __future__ import annotations

import asyncio
import random
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path

from tests.robustness.client import Client, Connections
from tests.robustness.faults import FAULTS, Fault, Scene
from tests.robustness.history import History
from tests.robustness.relayed_cluster import RelayedCluster, log_lines
from tests.robustness.traffic import COLLECTORS, TRAFFIC, Load, collect
from tests.robustness.validate import Violation, judge

SNAPSHOT_COUNT = 100
_QUIET_S_MAX = 30.0
# The share of plans with five members.
_FIVE_MEMBERS = 0.2


@dataclass(frozen=True, slots=True)
class Plan:
    """What a round does; times in seconds."""

    seed: int
    faults: tuple[Fault, ...]
    fault_s: float = 3.0
    rest_s: float = 2.0
    # A client's pause between requests, on average.
    pause_s: float = 0.04
    members: int = 3


def draw(seed: int, count: int) -> Plan:
    """The plan of a seed; no fault comes again before all have been."""
    rng = random.Random(seed)
    chosen: list[Fault] = []
    while len(chosen) < count:
        chosen += rng.sample(FAULTS, len(FAULTS))
    fault_s = rng.uniform(1.5, 4.0)
    members = 5 if rng.random() < _FIVE_MEMBERS else 3
    return Plan(seed, tuple(chosen[:count]), fault_s=fault_s, members=members)


@dataclass(slots=True)
class Outcome:
    plan: Plan
    history: History
    violations: list[Violation] = field(default_factory=list)
    snapshots: int = 0


async def run(plan: Plan, directory: Path) -> Outcome:
    """Play a plan on a cluster whose data and logs are in `directory`."""
    rng = random.Random(plan.seed)
    outcome = Outcome(plan, History())
    flags = ("--snapshot-count", str(SNAPSHOT_COUNT))
    with RelayedCluster(directory, members=plan.members, flags=flags) as cluster:
        await cluster.open_relays()
        try:
            cluster.start()
            await asyncio.to_thread(cluster.wait_ready)
            async with Connections(cluster, outcome.history) as connections:
                await _play(outcome, cluster, connections, rng)
        finally:
            await cluster.close_relays()
        outcome.snapshots = log_lines(cluster, "snapshot installed")
    outcome.violations += await asyncio.to_thread(judge, outcome.history)
    return outcome


async def _play(
    outcome: Outcome, cluster: RelayedCluster, connections: Connections, rng: random.Random
) -> None:
    plan, history = outcome.plan, outcome.history
    load = Load(connections, random.Random(rng.random()), asyncio.Event(), plan.pause_s)
    scene = Scene(cluster, rng, plan.fault_s)
    async with asyncio.TaskGroup() as clients:
        collectors = [
            clients.create_task(
                collect(
                    load,
                    connections.client(rng),
                    lambda reached: 0 < history.final_revision <= reached,
                )
            )
            for _ in range(COLLECTORS)
        ]
        programs = [
            clients.create_task(program(load, connections.client(load.rng)))
            for program, count in TRAFFIC
            for _ in range(count)
        ]
        try:
            await _hurt(scene, plan)
        except AssertionError as error:
            outcome.violations.append(Violation("heals", str(error)))
        load.stop.set()
        await asyncio.wait(programs)
        try:
            async with asyncio.timeout(_QUIET_S_MAX):
                await _finish(connections.client(rng), history, cluster.names)
                await asyncio.wait(collectors)
        except TimeoutError:
            what = f"members or watches do not come to rest within {_QUIET_S_MAX} s"
            outcome.violations.append(Violation("heals", what))
        for collector in collectors:
            collector.cancel()


async def _hurt(scene: Scene, plan: Plan) -> None:
    await asyncio.sleep(plan.rest_s)
    for fault in plan.faults:
        await fault(scene)
        await asyncio.sleep(plan.rest_s)


async def _finish(client: Client, history: History, members: Sequence[str]) -> None:
    """Wait until leases have ended, and read what each member holds."""
    while True:
        state = await client.read("\0", "\0")
        if state.succeeded and not any(kv.lease for kv in state.kvs):
            break
        await asyncio.sleep(0.2)
    for client.member in members:
        await _await_all(client)
        held = await client.read("\0", "\0", serializable=True, at_revision=state.revision)
        if held.succeeded:
            history.final[client.member] = held.kvs
    history.final_revision = state.revision


async def _await_all(client: Client) -> None:
    """Until the client's member has all that was ever acknowledged."""
    while True:
        if (await client.read("\0")).succeeded:
            return
        await asyncio.sleep(0.2)

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

from kubraft.pb.etcdserverpb import rpc_pb2, rpc_pb2_grpc
from tests.robustness.client import Client, Connections
from tests.robustness.faults import Fault, Scene, possible
from tests.robustness.history import History
from tests.robustness.relayed_cluster import RelayedCluster, log_lines
from tests.robustness.traffic import COLLECTORS, TRAFFIC, Load
from tests.robustness.traffic.watching import collect
from tests.robustness.validate import Violation, judge

# Short logs, so that members that were away get snapshots; small responses, so that watches get
# fragments.
FLAGS = ("--snapshot-count", "100", "--max-request-bytes", "20000")
_QUIET_S_MAX = 60.0
_HASH_S_MAX = 20.0
# The share of plans with five members.
_FIVE_MEMBERS = 0.2
# And with TLS between members and to clients.
_TLS = 0.3


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
    tls: bool = False


def draw(seed: int, count: int) -> Plan:
    """The plan of a seed; no fault comes again before all have been."""
    rng = random.Random(seed)
    chosen: list[Fault] = []
    while len(chosen) < count:
        chosen += rng.sample(possible(), len(possible()))
    fault_s = rng.uniform(1.5, 4.0)
    members = 5 if rng.random() < _FIVE_MEMBERS else 3
    tls = rng.random() < _TLS
    return Plan(seed, tuple(chosen[:count]), fault_s=fault_s, members=members, tls=tls)


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
    cluster = RelayedCluster(directory, members=plan.members, spares=1, tls=plan.tls, flags=FLAGS)
    with cluster:
        await cluster.open_relays()
        try:
            cluster.start()
            await asyncio.to_thread(cluster.wait_ready)
            async with Connections(cluster, outcome.history) as connections:
                await _play(outcome, cluster, connections, rng)
        except AssertionError as error:
            outcome.violations.append(Violation("starts", str(error)))
        finally:
            # Nobody may dial any more when the relays go.
            await asyncio.to_thread(cluster.close)
            await cluster.close_relays()
        outcome.snapshots = log_lines(cluster, "snapshot installed")
        if log_lines(cluster, "Traceback"):
            outcome.violations.append(Violation("no crash", "a member's log has a traceback"))
    outcome.violations += await asyncio.to_thread(judge, outcome.history)
    return outcome


async def _play(
    outcome: Outcome, cluster: RelayedCluster, connections: Connections, rng: random.Random
) -> None:
    plan, history = outcome.plan, outcome.history
    load = Load(connections, random.Random(rng.random()), asyncio.Event(), plan.pause_s)
    scene = Scene(cluster, rng, plan.fault_s, connections.client(rng), load)
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
        history.hashes[client.member] = await _hash(client, state.revision)
    history.final_revision = state.revision


async def _hash(client: Client, revision: int) -> int:
    """What the client's member says of its whole history up to a revision."""
    stub = rpc_pb2_grpc.MaintenanceStub(client.channel(client.member))
    answer = await stub.HashKV(rpc_pb2.HashKVRequest(revision=revision), timeout=_HASH_S_MAX)
    return int(answer.hash)


async def _await_all(client: Client) -> None:
    """Until the client's member has all that was ever acknowledged."""
    while True:
        if (await client.read("\0")).succeeded:
            return
        await asyncio.sleep(0.2)

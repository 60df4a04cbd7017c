"""One seed: faults and load for a while, then faults off, and progress must resume."""

from __future__ import annotations

import random
from dataclasses import dataclass, replace
from functools import partial

from store.raft.membership import present
from tests.sim.checkers import Violation
from tests.sim.cluster import Cluster
from tests.sim.faults import Faults
from tests.sim.leases import LeaseClient
from tests.sim.member import OPTIONS
from tests.sim.workload import Workload

FAULTY_S = 8.0
# After the faults a leader must be found and everyone catch up within this.
HEALING_S = 6.0
# Then every lease that is renewed no more must be gone after this: its time once more after an
# election, and a second try to expire it.
_EXPIRING_S = 6.0
# A snapshot that jumps over a proposal leaves its outcome unknown, and rightly so.
_FOR_SNAPSHOTS = replace(OPTIONS, compact_entries=6, retained_entries=2)
_FOR_RESETS = replace(OPTIONS, proposal_s=3.5, retained_entries=100_000)


@dataclass(frozen=True)
class Report:
    """What happened under one seed."""

    seed: int
    profile: str
    violations: tuple[Violation, ...]
    acknowledged: int
    reads: int
    crashes: int
    faults: int
    messages: int
    leaders: int
    changes: int
    # Installed, and expired.
    snapshots: int
    leases: int

    def __str__(self) -> str:
        lines = [f"seed {self.seed} profile {self.profile}"]
        lines += [f"  {v.kind} at {v.time}: {v.detail}" for v in self.violations]
        lines.append(f"  replay: python -m tests.sim --seed {self.seed} --profile {self.profile}")
        return "\n".join(lines)


def simulate(seed: int, profile: str, *, faulty_s: float = FAULTY_S) -> Report:
    """Run one seed; the same seed and profile give the same report, in every process."""
    rng = random.Random(f"{profile}/{seed}")
    members = profile in ("members", "learner")
    ids = list(range(1, 6 if members else rng.choice((3, 3, 5)) + 1))
    latencies = (0.005, 0.03, 0.1) if profile == "churn" else (0.001, 0.005, 0.02, 0.05)
    cluster = Cluster(
        rng,
        ids=ids,
        voters=ids[:3] if members else ids,
        latency=rng.choice(latencies),
        options={"resets": _FOR_RESETS, "snapshots": _FOR_SNAPSHOTS}.get(profile, OPTIONS),
    )
    cluster.network.jitter = profile != "calm"
    faults = Faults(cluster, profile)
    load = Workload(
        cluster, transfers=profile != "calm", members=members, learners=profile == "learner"
    )
    for member in ids:
        cluster.start(member)
    load.begin()
    leases = LeaseClient(cluster)
    if profile in ("leases", "snapshots"):
        leases.begin()
    cluster.clock.after(1.2, faults.begin)
    cluster.clock.run_until(cluster.clock.now + faulty_s)
    load.stop()
    leases.stop()
    faults.stop()
    cluster.clock.run_until(cluster.clock.now + HEALING_S)
    if profile == "resets" and load.unknown:
        cluster.checkers.fail("unknown outcome, though all ran", cluster.clock.now, load.unknown)
    _check_progress(cluster, load)
    if leases.granted:
        cluster.clock.run_until(cluster.clock.now + _EXPIRING_S)
        leases.check()
    cluster.checkers.at_the_end(cluster.clock.now)
    return Report(
        seed,
        profile,
        tuple(cluster.checkers.violations),
        acknowledged=len(cluster.checkers.acknowledged),
        reads=cluster.checkers.reads,
        crashes=cluster.crashes,
        faults=faults.count,
        messages=cluster.network.messages,
        leaders=len(cluster.checkers.leaders),
        changes=load.changes,
        snapshots=cluster.snapshots,
        leases=leases.expired,
    )


def _check_progress(cluster: Cluster, load: Workload) -> None:
    """A write through every member is acknowledged, and all agree in the end, learners too."""
    leaders = cluster.leaders()
    if len(leaders) != 1:
        cluster.checkers.fail("no leader after healing", cluster.clock.now, len(leaders))
        return
    members = sorted(present(leaders[0].driver.core.members()))
    answers: dict[int, object] = {}
    for member in members:
        load.write(cluster.members[member], partial(answers.__setitem__, member))
    cluster.clock.run_until(cluster.clock.now + 1.5)
    if not all(isinstance(answers.get(member), int) for member in members):
        cluster.checkers.fail("no progress after healing", cluster.clock.now, answers)
    states = {cluster.members[member].machine.state for member in members}
    if len(states) != 1:
        cluster.checkers.fail("members differ after healing", cluster.clock.now, states)

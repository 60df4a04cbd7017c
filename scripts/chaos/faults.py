"""The faults, each drawn from a seed: what is done, to whom, and how it is undone."""

from __future__ import annotations

import random
from dataclasses import dataclass
from enum import StrEnum

from kubraft.cluster_config import ClusterConfig


class Kind(StrEnum):
    """What happens to a process."""

    CRASH = "crash"  # SIGKILL from outside; the supervisor starts it again
    KILL = "kill"  # down for a while, then `kubraft start`
    PAUSE = "pause"  # SIGSTOP for a while, then SIGCONT


@dataclass(frozen=True, slots=True)
class Fault:
    """One fault. `targets` are process names; "leader" is whoever leads the store then."""

    kind: Kind
    targets: tuple[str, ...]
    seconds: float

    def __str__(self) -> str:
        lasts = f" for {self.seconds:.1f} s" if self.kind is not Kind.CRASH else ""
        return f"{self.kind} {', '.join(self.targets)}{lasts}"


def draw(rng: random.Random, cluster: ClusterConfig) -> Fault:
    """The next fault; a quorum of members may be lost, but not for long."""
    members = [member.name for member in cluster.members]
    nodes = [node.name for node in cluster.nodes]
    apiservers = [f"apiserver-{index}" for index in range(cluster.apiservers)]
    agents = ["scheduler-0", "controller-manager-0", "proxy-0", "dns-0", *nodes]
    choices = (
        (3, Fault(Kind.CRASH, ("leader",), 0)),
        (2, Fault(Kind.CRASH, (rng.choice(members),), 0)),
        (1, Fault(Kind.CRASH, tuple(members), 0)),
        (2, Fault(Kind.KILL, ("leader",), rng.uniform(1, 4))),
        (1, Fault(Kind.KILL, tuple(rng.sample(members, len(members) // 2 + 1)), rng.uniform(1, 3))),
        (3, Fault(Kind.PAUSE, ("leader",), rng.uniform(2, 6))),
        (3, Fault(Kind.CRASH, (rng.choice(apiservers),), 0)),
        (3, Fault(Kind.CRASH, (rng.choice(agents),), 0)),
        (2, Fault(Kind.KILL, (rng.choice(nodes),), rng.uniform(2, 12))),
    )
    weights = [weight for weight, _ in choices]
    return rng.choices([fault for _, fault in choices], weights)[0]

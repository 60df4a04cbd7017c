"""The faults, each drawn from a seed: what is done, to whom, and how it is undone."""

from __future__ import annotations

import random
from collections.abc import Iterable
from dataclasses import dataclass
from enum import StrEnum


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


@dataclass(frozen=True, slots=True)
class Targets:
    """The names of a cluster's processes, by what their death means."""

    members: tuple[str, ...]
    nodes: tuple[str, ...]
    runtimes: tuple[str, ...]
    others: tuple[str, ...]  # apiservers, and agents that keep no state

    @classmethod
    def of(cls, names: Iterable[str], nodes: Iterable[str], runtimes: Iterable[str]) -> Targets:
        """All that run, `names`, whatever is added to a cluster one day."""
        known_nodes, known_runtimes = tuple(sorted(nodes)), tuple(sorted(runtimes))
        members = tuple(sorted(name for name in names if name.startswith("store-")))
        others = sorted(set(names) - {*members, *known_nodes, *known_runtimes})
        return cls(members, known_nodes, known_runtimes, tuple(others))


def draw(rng: random.Random, targets: Targets) -> Fault:
    """The next fault; a quorum of members may be lost, but not for long."""
    members, nodes = targets.members, targets.nodes
    majority = len(members) // 2 + 1
    choices = (
        (2, Fault(Kind.CRASH, ("leader",), 0)),
        (1, Fault(Kind.CRASH, (rng.choice(members),), 0)),
        (1, Fault(Kind.CRASH, members, 0)),
        (2, Fault(Kind.KILL, ("leader",), rng.uniform(1, 4))),
        (1, Fault(Kind.KILL, tuple(rng.sample(members, majority)), rng.uniform(1, 3))),
        (2, Fault(Kind.PAUSE, ("leader",), rng.uniform(2, 6))),
        (1, Fault(Kind.PAUSE, (rng.choice(members),), rng.uniform(2, 6))),
        (6, Fault(Kind.CRASH, (rng.choice(targets.others),), 0)),
        (3, Fault(Kind.PAUSE, (rng.choice(targets.others),), rng.uniform(1, 8))),
        (2, Fault(Kind.KILL, (rng.choice(targets.others),), rng.uniform(1, 5))),
        (3, Fault(Kind.CRASH, (rng.choice(nodes),), 0)),
        (2, Fault(Kind.KILL, (rng.choice(nodes),), rng.uniform(2, 14))),
        (2, Fault(Kind.PAUSE, (rng.choice(nodes),), rng.uniform(2, 14))),
        (2, Fault(Kind.CRASH, (rng.choice(targets.runtimes),), 0)),
        (1, Fault(Kind.PAUSE, (rng.choice(targets.runtimes),), rng.uniform(2, 8))),
    )
    weights = [weight for weight, _ in choices]
    return rng.choices([fault for _, fault in choices], weights)[0]

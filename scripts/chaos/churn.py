"""What users declare while the cluster is hurt: a list of steps, drawn from a seed.

Deployments, StatefulSets and a DaemonSet come, are scaled and rolled out, and go; Jobs come. The
application `web`, which clients use all the while, is only scaled and rolled out.
"""

from __future__ import annotations

import random
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from typing import Final

APPLICATION: Final = "web"
APPLICATION_REPLICAS: Final = (3, 4, 5)
OBJECTS_MAX: Final = {"Deployment": 3, "StatefulSet": 2, "DaemonSet": 1, "Job": 12}


@dataclass(frozen=True, slots=True)
class Wanted:
    """One workload as its user wants it; a Job's `replicas` are its completions."""

    kind: str
    name: str
    replicas: int
    version: int = 1


@dataclass(frozen=True, slots=True)
class Step:
    """What is declared at a moment: that it be so, or that it be gone."""

    at_s: float
    wanted: Wanted
    delete: bool = False

    def __str__(self) -> str:
        it = self.wanted
        if self.delete:
            return f"delete {it.kind} {it.name}"
        return f"apply {it.kind} {it.name}: {it.replicas} of v{it.version}"


def first_step() -> Step:
    """The application, before anything else happens."""
    return Step(0.0, Wanted("Deployment", APPLICATION, APPLICATION_REPLICAS[0]))


def churn(rng: random.Random, seconds: float) -> Iterator[Step]:
    """The steps of a run, in order of time; the first is the application."""
    first = first_step()
    yield first
    live = {(first.wanted.kind, first.wanted.name): first.wanted}
    at_s, number = 0.0, 0
    while True:
        at_s += rng.uniform(1.0, 4.0)
        if at_s >= seconds:
            return
        number += 1
        step = _draw(rng, at_s, number, list(live.values()))
        key = (step.wanted.kind, step.wanted.name)
        if step.delete:
            del live[key]
        else:
            live[key] = step.wanted
        yield step


def declared(steps: Iterable[Step]) -> list[Wanted]:
    """What is wanted after all `steps`."""
    live: dict[tuple[str, str], Wanted] = {}
    for step in steps:
        key = (step.wanted.kind, step.wanted.name)
        if step.delete:
            live.pop(key, None)
        else:
            live[key] = step.wanted
    return list(live.values())


def _draw(rng: random.Random, at_s: float, number: int, live: list[Wanted]) -> Step:
    kind = rng.choice(sorted(OBJECTS_MAX))
    there = [it for it in live if it.kind == kind]
    if len([it for it in there if it.name != APPLICATION]) < OBJECTS_MAX[kind] and (
        rng.random() < 0.5 or not there
    ):
        return Step(at_s, Wanted(kind, f"{kind.lower()}-{number}", rng.randint(1, 4)))
    if kind == "Job" and there:  # what a Job is cannot be changed
        return Step(at_s, rng.choice(there), delete=True)
    chosen = rng.choice(there)
    action = rng.random()
    if chosen.name == APPLICATION:
        replicas = rng.choice(APPLICATION_REPLICAS)
        return Step(at_s, Wanted(kind, chosen.name, replicas, chosen.version + 1))
    if action < 0.35:
        return Step(at_s, chosen, delete=True)
    if action < 0.7:
        return Step(at_s, Wanted(kind, chosen.name, chosen.replicas, chosen.version + 1))
    return Step(at_s, Wanted(kind, chosen.name, rng.randint(0, 5), chosen.version))

"""The next steps of a StatefulSet, in order, and what its status says.

One after another (podManagementPolicy OrderedReady): a Pod is made when all before it are
available, ended when all after it are gone. In parallel: all at once. An update ends Pods of old
revisions from the highest ordinal down, as many at a time as may be unavailable.

Source: Kubernetes documentation, "StatefulSets, Deployment and Scaling Guarantees", "Update
strategies"; upstream's stateful set control.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from agents.controllers.share import share_of
from agents.controllers.stateful_set.identity import (
    ordinal_of,
    ordinals_of,
    replicas_of,
    revision_of,
    start_of,
)
from kubraft.api.object import Object, is_terminating
from kubraft.api.pods import is_pod_available, is_pod_ready, is_terminated, phase_of


@dataclass(frozen=True, slots=True)
class MakePod:
    """Make the Pod of this ordinal, with its claims, of that revision."""

    ordinal: int
    revision: str


@dataclass(frozen=True, slots=True)
class EndPod:
    """Delete the Pod; `replaced` says that it has ended by itself and is made anew."""

    pod: Object
    replaced: bool = False


Step = MakePod | EndPod


@dataclass(frozen=True, slots=True)
class Revisions:
    """Names: that of the last complete update, and that of the present template."""

    current: str
    update: str


def plan(owner: Object, pods: Sequence[Object], revisions: Revisions, now: datetime) -> list[Step]:
    """The steps that may be taken now."""
    if is_terminating(owner):
        return []
    present = {n: pod for pod in pods if (n := ordinal_of(owner, pod)) is not None}
    ordered = owner["spec"].get("podManagementPolicy") != "Parallel"
    steps, waits = _fill(owner, present, revisions, now, ordered=ordered)
    if waits:
        return steps
    more, waits = _condemned(owner, present, ordered=ordered)
    steps += more
    if waits or _strategy(owner).get("type") == "OnDelete" or any(_is_make(s) for s in steps):
        return steps
    return [*steps, *_outdated(owner, present, revisions, now)]


def status(
    owner: Object,
    pods: Iterable[Object],
    revisions: Revisions,
    collisions: int | None,
    now: datetime,
) -> dict[str, Any]:
    """What the status says of these Pods."""
    pods = list(pods)
    alive = [pod for pod in pods if not is_terminating(pod)]
    of_update = sum(revision_of(pod) == revisions.update for pod in alive)
    of_current = sum(revision_of(pod) == revisions.current for pod in alive)
    ready = sum(is_pod_ready(pod) and not is_terminated(pod) for pod in pods)
    current, count = revisions.current, len(pods)
    rolls = _strategy(owner).get("type") != "OnDelete"
    if rolls and of_update == count == replicas_of(owner) and ready == count:
        current, of_current = revisions.update, of_update
    fresh: dict[str, Any] = {
        "replicas": count,
        "availableReplicas": sum(_is_available(owner, pod, now) for pod in pods),
        "observedGeneration": owner["metadata"].get("generation", 0),
        "currentRevision": current,
        "updateRevision": revisions.update,
    }
    rest = {
        "readyReplicas": ready,
        "currentReplicas": of_current,
        "updatedReplicas": of_update,
        "collisionCount": collisions,
    }
    fresh.update({name: number for name, number in rest.items() if number})
    conditions = (owner.get("status") or {}).get("conditions")
    return {**fresh, "conditions": conditions} if conditions else fresh


def _fill(
    owner: Object,
    present: Mapping[int, Object],
    revisions: Revisions,
    now: datetime,
    *,
    ordered: bool,
) -> tuple[list[Step], bool]:
    """Make the Pods that are missing; whether the first that is not available holds up the rest."""
    steps: list[Step] = []
    for ordinal in ordinals_of(owner):
        pod = present.get(ordinal)
        if pod is None:
            steps.append(MakePod(ordinal, _revision_for(owner, ordinal, revisions)))
        elif is_terminated(pod) and not is_terminating(pod):
            steps.append(EndPod(pod, replaced=True))
        elif _is_available(owner, pod, now):
            continue
        if ordered:
            return steps, True
    return steps, False


def _condemned(
    owner: Object, present: Mapping[int, Object], *, ordered: bool
) -> tuple[list[Step], bool]:
    """End the Pods beyond those wanted, from the last; whether the rest has to wait."""
    steps: list[Step] = []
    wanted = ordinals_of(owner)
    gone = sorted((n for n in present if n not in wanted), reverse=True)
    for ordinal in gone:
        pod = present[ordinal]
        if not is_terminating(pod):
            steps.append(EndPod(pod))
        if ordered:
            return steps, True
    return steps, False


def _outdated(
    owner: Object, present: Mapping[int, Object], revisions: Revisions, now: datetime
) -> list[Step]:
    """End Pods of old revisions, from the last, while not too many are unavailable.

    The last one of all may go whatever those before it are like, so that an update mends what is
    broken.
    """
    rolling = _strategy(owner).get("rollingUpdate") or {}
    first = start_of(owner) + (rolling.get("partition") or 0)
    most = max(share_of(rolling.get("maxUnavailable") or 1, replicas_of(owner)), 1)
    down = {n for n in ordinals_of(owner) if not _serves(owner, present.get(n), now)}
    ends: list[Step] = []
    waits = 0
    for ordinal in reversed(ordinals_of(owner)):
        if ordinal < first or len(ends) + waits >= most:
            break
        pod = present.get(ordinal)
        if pod is not None and not is_terminating(pod) and revision_of(pod) != revisions.update:
            down.add(ordinal)
            if (ends or waits) and len(down) > most:
                break
            ends.append(EndPod(pod))
        elif ordinal in down:
            waits += 1
    return ends


def _revision_for(owner: Object, ordinal: int, revisions: Revisions) -> str:
    """Of which revision a missing Pod is made: below the partition it is the current one."""
    strategy = _strategy(owner)
    if strategy.get("type") == "OnDelete":
        return revisions.update
    kept = (strategy.get("rollingUpdate") or {}).get("partition") or 0
    return revisions.current if ordinal < start_of(owner) + kept else revisions.update


def _strategy(owner: Object) -> dict[str, Any]:
    return owner["spec"].get("updateStrategy") or {}


def _is_available(owner: Object, pod: Object, now: datetime) -> bool:
    """Whether the Pod runs, is ready for long enough, and stays."""
    if is_terminating(pod) or phase_of(pod) != "Running":
        return False
    return is_pod_available(pod, owner["spec"].get("minReadySeconds", 0), now)


def _serves(owner: Object, pod: Object | None, now: datetime) -> bool:
    return pod is not None and _is_available(owner, pod, now)


def _is_make(step: Step) -> bool:
    return isinstance(step, MakePod)

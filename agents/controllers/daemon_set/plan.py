"""Which Pods a DaemonSet makes or ends now, and what its status says.

Source: Kubernetes documentation, "Perform a Rolling Update on a DaemonSet"; upstream's daemon
controller (surge, unavailability, which Pods go first).
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from agents.controllers.daemon_set.placement import HASH, Fit, target_of
from agents.controllers.share import share_of
from kubraft.api.object import Object, is_terminating, labels_of
from kubraft.api.pods import is_pod_available, is_pod_ready, is_terminated, phase_of


@dataclass(frozen=True, slots=True)
class Plan:
    """Create a Pod on each of these nodes, and delete these Pods; `ended` are among them."""

    create: tuple[str, ...] = ()
    delete: tuple[Object, ...] = ()
    ended: tuple[Object, ...] = ()


@dataclass(frozen=True, slots=True)
class Picture:
    """A DaemonSet, how each node suits it, and its Pods by node, oldest first."""

    daemon_set: Object
    fits: Mapping[str, Fit]
    pods: Mapping[str, list[Object]]
    digest: str  # of the newest revision

    def is_updated(self, pod: Object) -> bool:
        """Whether the Pod is of the present template."""
        return labels_of(pod).get(HASH) == self.digest

    def is_available(self, pod: Object, now: datetime) -> bool:
        """Whether the Pod has been ready for `minReadySeconds`."""
        return is_pod_available(pod, self.daemon_set["spec"].get("minReadySeconds", 0), now)


def look(
    daemon_set: Object, fits: Mapping[str, Fit], pods: Sequence[Object], digest: str
) -> Picture:
    """Sort the Pods by the nodes that they are on or meant for."""
    by_node: dict[str, list[Object]] = {}
    for pod in sorted(pods, key=_age):
        by_node.setdefault(target_of(pod), []).append(pod)
    return Picture(daemon_set, fits, by_node, digest)


def manage(picture: Picture, now: datetime) -> Plan:
    """One Pod on each node that should have one, none elsewhere; ended ones are made anew."""
    create: list[str] = []
    delete: list[Object] = []
    ended: list[Object] = []
    for name in sorted(picture.fits.keys() | picture.pods.keys()):
        fit = picture.fits.get(name, Fit(run=False, stay=False))
        pods = picture.pods.get(name, [])
        if fit.run and not pods:
            create.append(name)
        alive = [pod for pod in pods if not is_terminating(pod)]
        if not fit.stay:
            delete += alive
            continue
        over = [pod for pod in alive if is_terminated(pod)]
        ended += over
        delete += [*over, *_spare(picture, [p for p in alive if not is_terminated(p)], now)]
    return Plan(tuple(create), tuple(delete), tuple(ended))


def update(picture: Picture, now: datetime) -> Plan:
    """The next step of a rolling update; nothing where Pods are replaced on deletion only."""
    strategy = picture.daemon_set["spec"].get("updateStrategy") or {}
    if strategy.get("type") == "OnDelete":
        return Plan()
    rolling = strategy.get("rollingUpdate") or {}
    desired = sum(fit.run for fit in picture.fits.values())
    surge = share_of(rolling.get("maxSurge", 0), desired)
    if surge:
        return _with_surge(picture, surge, now)
    return _one_after_another(picture, share_of(rolling.get("maxUnavailable", 1), desired), now)


def status(picture: Picture, collisions: int | None, now: datetime) -> dict[str, Any]:
    """What the DaemonSet's status says of this picture."""
    first: list[Object] = []
    desired = current = misplaced = 0
    for name, fit in picture.fits.items():
        pods = picture.pods.get(name, [])
        desired += fit.run
        current += bool(fit.run and pods)
        misplaced += bool(not fit.run and pods)
        if fit.run and pods:
            first.append(_oldest_alive(pods))
    available = sum(picture.is_available(pod, now) for pod in first)
    fresh: dict[str, Any] = {
        "desiredNumberScheduled": desired,
        "currentNumberScheduled": current,
        "numberMisscheduled": misplaced,
        "numberReady": sum(map(is_pod_ready, first)),
        "observedGeneration": picture.daemon_set["metadata"].get("generation", 0),
    }
    rest = {
        "updatedNumberScheduled": sum(
            any(picture.is_updated(pod) for pod in picture.pods.get(name, []))
            for name, fit in picture.fits.items()
            if fit.run
        ),
        "numberAvailable": available,
        "numberUnavailable": desired - available,
        "collisionCount": collisions,
    }
    fresh.update({name: count for name, count in rest.items() if count})
    conditions = (picture.daemon_set.get("status") or {}).get("conditions")
    return {**fresh, "conditions": conditions} if conditions else fresh


def _spare(picture: Picture, running: list[Object], now: datetime) -> list[Object]:
    """Pods of one node beyond the one that it should have, or the two of a surge."""
    if len(running) <= 1:
        return []
    old = [pod for pod in running if not picture.is_updated(pod)]
    new = [pod for pod in running if picture.is_updated(pod)]
    rolling = (picture.daemon_set["spec"].get("updateStrategy") or {}).get("rollingUpdate") or {}
    if rolling.get("maxSurge") in (None, 0, "0%"):
        return running[1:]
    if old and new:
        gone = [*old[1:], *new[1:]]
        # The old one has done its duty once the new one can take over.
        return [old[0], *gone] if picture.is_available(new[0], now) else gone
    return running[1:]


def _one_after_another(picture: Picture, most: int, now: datetime) -> Plan:
    """Delete old Pods, never more than `most` nodes without an available one."""
    missing = 0
    free: list[Object] = []  # their end takes nothing away
    candidates: list[Object] = []
    for name in sorted(name for name, fit in picture.fits.items() if fit.run):
        alive = [p for p in picture.pods.get(name, []) if not is_terminating(p)]
        if len(alive) != 1:
            missing += 1
            continue
        (pod,) = alive
        available = picture.is_available(pod, now)
        missing += not available
        if not picture.is_updated(pod):
            (candidates if available else free).append(pod)
    return Plan(delete=(*free, *candidates[: max(most - missing, 0)]))


def _with_surge(picture: Picture, most: int, now: datetime) -> Plan:
    """Create new Pods beside old ones, at most `most` such pairs."""
    pairs = 0
    free: list[str] = []
    candidates: list[str] = []
    for name in sorted(name for name, fit in picture.fits.items() if fit.run):
        alive = [p for p in picture.pods.get(name, []) if not is_terminating(p)]
        old = [pod for pod in alive if not picture.is_updated(pod)]
        if not old:
            continue
        if len(alive) > len(old):
            pairs += 1
        elif picture.is_available(old[0], now):
            candidates.append(name)
        else:
            free.append(name)
    return Plan(create=(*free, *candidates[: max(most - pairs, 0)]))


def _oldest_alive(pods: Sequence[Object]) -> Object:
    return next((pod for pod in pods if not is_terminating(pod)), pods[0])


def _age(pod: Object) -> tuple[str, bool, str]:
    metadata = pod["metadata"]
    return metadata.get("creationTimestamp") or "", phase_of(pod) == "Pending", metadata["name"]

"""How soon a daemon's Pod that ended on a node is replaced there: each time later.

Source: upstream's daemon controller: 1 s, twice as long each time, at most 15 min.
"""

from __future__ import annotations

from dataclasses import dataclass

from agents.controllers.daemon_set.placement import target_of
from kubraft.api.backoff import exponential_s
from kubraft.api.object import Object, uid_of
from kubraft.api.time import Clock

BASE_S, MAX_S = 1.0, 900.0


@dataclass(slots=True)
class _Ended:
    pod: str  # uid of the last one
    count: int
    since_s: float


class EndedPods:
    """The Pods that ended, by DaemonSet and node."""

    def __init__(self, clock: Clock) -> None:
        self._clock = clock
        self._by_owner: dict[str, dict[str, _Ended]] = {}

    def wait_s(self, daemon_set: Object, pod: Object) -> float:
        """Seconds until the Pod, which has ended, may be replaced; 0 where that is now.

        The first of a node may be at once; a node where none ended for long begins anew.
        """
        now_s, uid = self._clock.monotonic_s(), uid_of(pod)
        nodes = self._by_owner.setdefault(uid_of(daemon_set), {})
        known = nodes.get(target_of(pod))
        if known is None or now_s - known.since_s > 2 * MAX_S:
            nodes[target_of(pod)] = _Ended(uid, 0, now_s)
            return 0.0
        if known.pod != uid:
            known.pod, known.count, known.since_s = uid, known.count + 1, now_s
        if not known.count:
            return 0.0
        delay_s = exponential_s(known.count - 1, BASE_S, MAX_S)
        return max(known.since_s + delay_s - now_s, 0.0)

    def forget(self, owner_uid: str) -> None:
        """The DaemonSet is gone."""
        self._by_owner.pop(owner_uid, None)

"""When each node was last heard of, by this process's own monotonic clock.

A node is heard of when its Lease is renewed or its kubelet writes a new heartbeat into its status.
The times in those objects are only compared for change, never with our clock: clocks differ between
machines and jump. A process that was stopped, or could not read, has not heard what was said
meanwhile; it grants every node a new start rather than declare the living dead.
"""

from __future__ import annotations

from collections.abc import Set as AbstractSet
from dataclasses import dataclass
from typing import Final

from kubraft.api.conditions import conditions_of, find_condition
from kubraft.api.object import Object, uid_of

_PATIENCE_PER_LEASE: Final = 1.25
PATIENCE_S_MAX: Final = 120.0


@dataclass(frozen=True, slots=True)
class _Heard:
    since_s: float
    sign: tuple[str, ...]  # what would be different if the node had been heard of again


class Heartbeats:
    """One entry a node."""

    def __init__(self) -> None:
        self._heard: dict[str, _Heard] = {}

    def observe(self, node: Object, lease: Object | None, now_s: float) -> float:
        """Look at the node's signs of life.

        Returns:
            For how many seconds they have not changed.
        """
        name, sign = node["metadata"]["name"], signs_of_life(node, lease)
        heard = self._heard.get(name)
        if heard is None or heard.sign != sign:
            heard = self._heard[name] = _Heard(now_s, sign)
        return now_s - heard.since_s

    def silence_s(self, name: str, now_s: float) -> float:
        """For how long nothing was heard of a node, as far as was observed; cheap."""
        heard = self._heard.get(name)
        return now_s - heard.since_s if heard else 0.0

    def grant(self, name: str, now_s: float) -> None:
        """Count the silence of one node from now on."""
        if heard := self._heard.get(name):
            self._heard[name] = _Heard(now_s, heard.sign)

    def grant_all(self, now_s: float) -> None:
        """Count every node's silence from now on: this process was deaf."""
        for name in self._heard:
            self.grant(name, now_s)

    def keep_only(self, names: AbstractSet[str]) -> None:
        """Forget the nodes that are gone."""
        self._heard = {name: heard for name, heard in self._heard.items() if name in names}


def patience_s(lease: Object | None, grace_s: float) -> float:
    """For how long a node may be silent: `grace_s`, or longer where its Lease lasts longer.

    A node that renews every ten seconds is not lost after six. Upstream's defaults (a Lease of
    40 s, a grace of 50) are the measure; what a Lease claims counts up to `PATIENCE_S_MAX`.
    """
    claimed = ((lease or {}).get("spec") or {}).get("leaseDurationSeconds") or 0
    return max(grace_s, min(_PATIENCE_PER_LEASE * claimed, PATIENCE_S_MAX))


def signs_of_life(node: Object, lease: Object | None) -> tuple[str, ...]:
    """The node's uid, its Lease's renewal and its status's last heartbeat, as text to compare."""
    ready = find_condition(conditions_of(node), "Ready") or {}
    renewed = ((lease or {}).get("spec") or {}).get("renewTime") or ""
    # Our own verdict must not count as a sign of life, so only the heartbeat is taken.
    return uid_of(node), renewed, ready.get("lastHeartbeatTime") or ""

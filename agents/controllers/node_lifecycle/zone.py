"""How fast nodes may be declared lost, by how many of a zone's are.

When most of a zone falls silent at once, the network or this process is more likely at fault than
the nodes. Then evictions slow down, and where no node at all is ready they stop.

Source: Kubernetes documentation, "Nodes, Rate limits on eviction".
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from enum import Enum

from agents.controllers.node_lifecycle.health import readiness
from kubraft.api.object import Object, labels_of

# Fewer silent nodes than this are never a disruption of the zone. Source: upstream's computation
# of the zone state ("more than two").
_SILENT_MIN = 3


class Disruption(Enum):
    """How much of a zone is not ready."""

    NORMAL = "Normal"
    PARTIAL = "PartialDisruption"
    FULL = "FullDisruption"


@dataclass(frozen=True, slots=True)
class Limits:
    """The controller manager's flags of the same names; rates are nodes a second."""

    node_eviction_rate: float = 0.1
    secondary_node_eviction_rate: float = 0.01
    large_cluster_size_threshold: int = 50
    unhealthy_zone_threshold: float = 0.55


def zone_of(node: Object) -> str:
    """Region and zone of `node` as one key, empty where it names none."""
    labels = labels_of(node)
    region = labels.get("topology.kubernetes.io/region", "")
    zone = labels.get("topology.kubernetes.io/zone", "")
    return f"{region}/{zone}" if region or zone else ""


class Census:
    """How many nodes of each zone are ready and how many are not, kept as they change.

    Counting anew at every change would take the square of their number when all come or go.
    """

    def __init__(self, nodes: Iterable[Object] = ()) -> None:
        self._counts: dict[str, list[int]] = {}
        for node in nodes:
            self.change(None, node)

    def change(self, old: Object | None, new: Object | None) -> None:
        """A node came, changed or went."""
        for node, step in ((old, -1), (new, 1)):
            if node is None:
                continue
            zone = zone_of(node)
            count = self._counts.setdefault(zone, [0, 0])
            count[readiness(node) != "True"] += step
            if not any(count):
                del self._counts[zone]

    def sizes(self) -> dict[str, int]:
        """How many nodes each zone has."""
        return {zone: sum(count) for zone, count in self._counts.items()}

    def disruptions(self, limits: Limits) -> dict[str, Disruption]:
        """The state of every zone that has nodes."""
        return {
            zone: _disruption(ready, silent, limits)
            for zone, (ready, silent) in self._counts.items()
        }


def rates(
    zones: Mapping[str, Disruption], sizes: Mapping[str, int], limits: Limits
) -> dict[str, float]:
    """How many nodes a second may get a NoExecute taint, by zone; 0 stops it.

    Args:
        zones: the state of each.
        sizes: how many nodes each has.
        limits: as flags say.
    """
    if zones and all(state is Disruption.FULL for state in zones.values()):
        return dict.fromkeys(zones, 0.0)
    large = limits.large_cluster_size_threshold
    slow = {
        zone: limits.secondary_node_eviction_rate if sizes[zone] > large else 0.0 for zone in zones
    }
    return {
        zone: slow[zone] if state is Disruption.PARTIAL else limits.node_eviction_rate
        for zone, state in zones.items()
    }


def _disruption(ready: int, silent: int, limits: Limits) -> Disruption:
    if ready == 0 and silent > 0:
        return Disruption.FULL
    if silent >= _SILENT_MIN and silent / (ready + silent) >= limits.unhealthy_zone_threshold:
        return Disruption.PARTIAL
    return Disruption.NORMAL


@dataclass(slots=True)
class Throttle:
    """Lets one pass at once, and the next no earlier than 1/`rate` seconds later; at 0, none."""

    rate: float
    _passed_s: float | None = None
    _before_s: float | None = None

    def try_pass(self, now_s: float) -> bool:
        """Whether one may pass now."""
        if self.rate <= 0:
            return False
        if self._passed_s is not None and now_s - self._passed_s < 1 / self.rate:
            return False
        self._before_s, self._passed_s = self._passed_s, now_s
        return True

    def take_back(self) -> None:
        """The last pass came to nothing: let another have it."""
        self._passed_s = self._before_s

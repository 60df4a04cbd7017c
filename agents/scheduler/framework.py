"""The points at which plugins take part in a decision, and the table that names them.

A plugin is any object with a `name` and the methods of the points that it takes part in. Plugins
are pure: they see one snapshot and answer from it alone.

    queue sort    which Pod is first
    filter        prepare(pod, snapshot) > check(node): may it run there, or why not
    score         score(pod, snapshot, nodes): 0 to 100 a node, among those that passed
    reserve       told once a node is chosen, before binding, and when that is taken back
    bind          makes it so

`prepare` answers None where the plugin has nothing to say about a Pod, so that most Pods cost only
the few checks that concern them.

Source: Kubernetes documentation, "Scheduling Framework".
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass
from enum import Flag, auto
from typing import NamedTuple, Protocol

from agents.scheduler.cluster import Snapshot
from agents.scheduler.node_info import NodeInfo
from agents.scheduler.pod_info import PodInfo

SCORE_MAX = 100


class Rejection(NamedTuple):
    """Why a node does not suit a Pod."""

    reasons: tuple[str, ...]  # upstream's words
    resolvable: bool = True  # whether the node might suit if Pods left it


Check = Callable[[NodeInfo], Rejection | None]


class Change(Flag):
    """What may happen in a cluster that could make a Pod schedulable."""

    NODE_ADDED = auto()
    NODE_ALLOCATABLE = auto()
    NODE_LABELS = auto()
    NODE_TAINTS = auto()  # spec.unschedulable too
    POD_GONE = auto()  # from a node: ended, deleted or never arrived
    POD_PLACED = auto()  # on a node
    POD_LABELS = auto()  # of a Pod on a node
    POD_UPDATED = auto()  # the waiting Pod itself
    TIME = auto()  # it has waited long enough


NODE_CHANGES = Change.NODE_ADDED | Change.NODE_ALLOCATABLE | Change.NODE_LABELS | Change.NODE_TAINTS


class FilterPlugin(Protocol):
    """Keeps Pods off nodes that do not suit them."""

    name: str
    requeue_on: Change  # what may turn its rejection around

    def prepare(self, pod: PodInfo, snapshot: Snapshot) -> Check | None:
        """The check of one node for `pod`, or None where every node passes."""
        ...

    def may_help(self, pod: PodInfo, node: NodeInfo) -> bool:
        """Whether a change of `node`, one of `requeue_on`, could have turned a rejection around."""
        ...


class ScorePlugin(Protocol):
    """Says which of the nodes that suit a Pod suit it best."""

    name: str

    def score(
        self, pod: PodInfo, snapshot: Snapshot, nodes: Sequence[NodeInfo]
    ) -> Sequence[float] | None:
        """From 0 to `SCORE_MAX` for each of `nodes`, or None where all are the same."""
        ...


class ReservePlugin(Protocol):
    """Keeps account of something that a Pod takes with its node."""

    name: str

    def reserve(self, pod: PodInfo, node_name: str) -> str | None:
        """Set it aside; the answer is why it cannot be, or None."""
        ...

    def unreserve(self, pod: PodInfo, node_name: str) -> None:
        """Give it back: the Pod does not go there after all. Must be safe to repeat."""
        ...


# Sorts the queue: the Pod, and when it was first queued, in seconds; smallest first.
QueueSort = Callable[[PodInfo, float], tuple[float, ...]]
Permit = Callable[[PodInfo, str], Awaitable[str | None]]


def by_priority(pod: PodInfo, queued_s: float) -> tuple[float, ...]:
    """Higher priority first; of the same the one that waited longer."""
    return (-pod.priority, queued_s)


class Weighted(NamedTuple):
    """A score plugin and how much it counts."""

    plugin: ScorePlugin
    weight: float


@dataclass(frozen=True, slots=True)
class Profile:
    """The plugins that decide for the Pods of one `schedulerName`, in order."""

    filters: tuple[FilterPlugin, ...]
    scores: tuple[Weighted, ...]
    queue_sort: QueueSort = by_priority
    reserves: tuple[ReservePlugin, ...] = ()
    permits: tuple[Permit, ...] = ()
    scheduler_name: str = "default-scheduler"

    def filter_named(self, name: str) -> FilterPlugin:
        """The filter plugin of that name; raises KeyError."""
        for plugin in self.filters:
            if plugin.name == name:
                return plugin
        raise KeyError(name)

"""The points at which plugins take part in a decision, and the class that they begin from.

A plugin takes part in the points whose methods it overrides, named here as in a configuration:

    queueSort            sort_key     which Pod is first
    preEnqueue           pre_enqueue  whether the Pod may be tried at all, or why not yet
    preFilter, filter    pre_filter   reads the Pod once, and answers with the check of one node
                         filter       the same for plugins that need no preparation
    postFilter           post_filter  no node suits: what could be done about it
    preScore, score      score        0 to 100 for each node that passed
                         score_node   the same for plugins that need not compare nodes
    reserve              reserve      a node is chosen: set something aside; `unreserve` gives back
    permit               permit       hold the Pod back before it is bound, or refuse
    preBind              pre_bind     make ready what the Pod needs on its node
    bind                 bind         make it so
    postBind             post_bind    told that it is so

Points up to reserve are pure: they see one snapshot (and caches that do not change meanwhile) and
answer at once. Permit, preBind and bind are coroutines and run beside the next decisions.

Source: Kubernetes documentation, "Scheduling Framework".
"""

from __future__ import annotations

from collections.abc import Hashable, Mapping, Sequence
from dataclasses import dataclass
from enum import Flag, auto
from typing import TYPE_CHECKING, NamedTuple, Protocol

from agents.scheduler.cluster import Snapshot
from agents.scheduler.node_info import NodeInfo
from agents.scheduler.pod_info import PodInfo
from kubraft.api.gvk import GroupVersionKind
from kubraft.api.object import Object

if TYPE_CHECKING:
    from agents.scheduler.profile import Profile

SCORE_MAX = 100


class Rejection(NamedTuple):
    """Why a node does not suit a Pod."""

    reasons: tuple[str, ...]  # upstream's words
    resolvable: bool = True  # whether the node might suit if Pods left it


class Check(Protocol):
    """Whether a node suits the Pod that it was made for; the answer is why not, or None.

    A check that depends on other nodes' Pods has a method `revised(before, after)` too: the check
    as it were if `after` stood in place of the node `before`.
    """

    def __call__(self, node: NodeInfo, /) -> Rejection | None: ...


@dataclass(frozen=True, slots=True)
class Only:
    """An answer of pre-filter: no node but these can suit, and of them those that pass `check`."""

    names: frozenset[str]
    check: Check | None = None


def revised(check: Check, before: NodeInfo, after: NodeInfo) -> Check:
    """`check` as it were with `after` in place of `before`."""
    revise = getattr(check, "revised", None)
    if revise is None:
        return check
    changed: Check = revise(before, after)
    return changed


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


class Attempt(NamedTuple):
    """A decision that found no node: what post-filter plugins begin from."""

    profile: Profile
    snapshot: Snapshot
    checks: Sequence[tuple[str, Check]]  # with their plugins' names
    resolvable: Sequence[str]  # nodes that might suit if Pods left them


@dataclass(frozen=True, slots=True)
class Remedy:
    """What a post-filter plugin found: Pods to evict for the sake of this one, or why nothing."""

    node_name: str = ""  # where the Pod is to go then; empty: nothing can be done
    victims: tuple[PodInfo, ...] = ()
    message: str = ""
    keeps_nomination: bool = False  # what was found earlier is still under way


class Plugin:
    """Takes part in nothing yet: override the methods of the points that concern you.

    Attributes:
        name: as configurations and messages call it.
        requeue_on: which changes of nodes, and of the Pods on them, may turn its rejection around.
        watches: kinds of other objects whose changes may. The scheduler follows them.
    """

    name: str = ""
    requeue_on: Change = NODE_CHANGES | Change.POD_GONE | Change.POD_PLACED | Change.POD_UPDATED
    watches: tuple[GroupVersionKind, ...] = ()

    def may_help(self, pod: PodInfo, node: NodeInfo) -> bool:
        """Whether a change of `node`, one of `requeue_on`, could have turned a rejection around."""
        return True

    def object_may_help(
        self, pod: PodInfo, kind: GroupVersionKind, old: Object | None, new: Object | None
    ) -> bool:
        """Whether a change of an object of a kind in `watches` could have turned it around."""
        return True

    def signature(self, pod: PodInfo) -> Hashable | None:
        """Names all in the Pod that its check, and `score_node`, depend on.

        For two Pods of one signature one and the same value of a node is looked at once. None:
        always look, for the answer depends on other nodes or objects, too.
        """
        return None

    def sort_key(self, pod: PodInfo, queued_s: float) -> tuple[float, ...]:
        """Sorts the queue, smallest first; `queued_s` is when the Pod was first seen."""
        return (queued_s,)

    def pre_enqueue(self, pod: PodInfo) -> str | None:
        """Why the Pod may not be tried yet, or None. Asked again when the Pod changes."""
        return None

    def pre_filter(self, pod: PodInfo, snapshot: Snapshot) -> Check | Only | Rejection | None:
        """Read the Pod, and the cluster, once for all nodes.

        Returns:
            The check of one node; None where every node passes, so that most Pods cost only the
            few checks that concern them; `Only` where few nodes come into question; a Rejection
            where none does.
        """

        def check(node: NodeInfo) -> Rejection | None:
            return self.filter(pod, node)

        return check

    def filter(self, pod: PodInfo, node: NodeInfo) -> Rejection | None:
        """Why the node does not suit the Pod, or None."""
        return None

    def post_filter(self, pod: PodInfo, attempt: Attempt) -> Remedy | None:
        """What could be done for a Pod that no node suits; None: no opinion."""
        return None

    def score(
        self, pod: PodInfo, snapshot: Snapshot, nodes: Sequence[NodeInfo]
    ) -> Sequence[float] | None:
        """From 0 to `SCORE_MAX` for each of `nodes`, or None where all are the same."""
        return [self.score_node(pod, node) for node in nodes]

    def score_node(self, pod: PodInfo, node: NodeInfo) -> float:
        """From 0 to `SCORE_MAX`, for plugins that need not compare nodes."""
        return 0

    def reserve(self, pod: PodInfo, node_name: str) -> str | None:
        """Set aside what the Pod takes with its node; the answer is why it cannot be, or None."""
        return None

    def unreserve(self, pod: PodInfo, node_name: str) -> None:
        """Give it back: the Pod does not go there after all. Must be safe to repeat."""

    async def permit(self, pod: PodInfo, node_name: str) -> str | None:
        """Return once the Pod may be bound; the answer is why it may not, or None."""
        return None

    async def pre_bind(self, pod: PodInfo, node_name: str) -> str | None:
        """Make ready what the Pod needs on its node; the answer is why it failed, or None."""
        return None

    async def bind(self, pod: PodInfo, node_name: str) -> bool:
        """Bind the Pod; False leaves it to the next plugin. Raises ApiError where it failed."""
        return False

    def post_bind(self, pod: PodInfo, node_name: str) -> None:
        """The Pod is bound."""


# Names of points as in a KubeSchedulerConfiguration, with the methods that make them.
POINTS: Mapping[str, tuple[str, ...]] = {
    "queueSort": ("sort_key",),
    "preEnqueue": ("pre_enqueue",),
    "preFilter": ("pre_filter", "filter"),
    "filter": ("pre_filter", "filter"),
    "postFilter": ("post_filter",),
    "preScore": ("score", "score_node"),
    "score": ("score", "score_node"),
    "reserve": ("reserve",),
    "permit": ("permit",),
    "preBind": ("pre_bind",),
    "bind": ("bind",),
    "postBind": ("post_bind",),
}


def takes_part(plugin: Plugin, point: str) -> bool:
    """Whether `plugin` overrides a method of `point`."""
    return any(
        getattr(type(plugin), method) is not getattr(Plugin, method) for method in POINTS[point]
    )


class Weighted(NamedTuple):
    """A score plugin and how much it counts."""

    plugin: Plugin
    weight: float

"""A profile: which plugins decide for the Pods of one `schedulerName`, in which order."""

from __future__ import annotations

from collections.abc import Hashable, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property

from agents.scheduler.framework import Plugin, Weighted, takes_part
from agents.scheduler.pod_info import PodInfo
from kubraft.api.gvk import GroupVersionKind
from kubraft.api.pods import DEFAULT_SCHEDULER

# Different signatures that are remembered.
MARKS_MAX = 4096


def _overrides(plugin: Plugin, method: str) -> bool:
    return getattr(type(plugin), method) is not getattr(Plugin, method)


@dataclass(frozen=True)
class Profile:
    """The plugins of each point, in the order in which they are asked."""

    filters: tuple[Plugin, ...]
    scores: tuple[Weighted, ...]
    queue_sort: Plugin
    pre_enqueues: tuple[Plugin, ...] = ()
    post_filters: tuple[Plugin, ...] = ()
    reserves: tuple[Plugin, ...] = ()
    permits: tuple[Plugin, ...] = ()
    pre_binds: tuple[Plugin, ...] = ()
    binds: tuple[Plugin, ...] = ()
    post_binds: tuple[Plugin, ...] = ()
    scheduler_name: str = DEFAULT_SCHEDULER
    percentage_of_nodes_to_score: int = 0  # 0: fewer of them the more nodes there are

    @cached_property
    def plugins(self) -> dict[str, Plugin]:
        """All plugins by name."""
        points = (
            self.filters, [w.plugin for w in self.scores], [self.queue_sort], self.pre_enqueues,
            self.post_filters, self.reserves, self.permits, self.pre_binds, self.binds,
            self.post_binds,
        )  # fmt: skip
        return {plugin.name: plugin for point in points for plugin in point}

    @cached_property
    def watches(self) -> frozenset[GroupVersionKind]:
        """The kinds, besides Pods and Nodes, whose changes may make a Pod schedulable."""
        return frozenset(kind for plugin in self.plugins.values() for kind in plugin.watches)

    def mark(self, signature: Hashable) -> object:
        """An object that stands for `signature`, cheap to look up by: always the same for equals.

        After many different ones all get new marks, which only costs what was remembered by them.
        """
        found = self._marks.get(signature)
        if found is None:
            if len(self._marks) >= MARKS_MAX:
                self._marks.clear()
            found = self._marks[signature] = object()
        return found

    @cached_property
    def _marks(self) -> dict[Hashable, object]:
        return {}

    @cached_property
    def alone_scores(self) -> tuple[Weighted, ...]:
        """Those of `scores` that look at one node at a time, and may be remembered by signature."""
        return tuple(w for w in self.scores if not _overrides(w.plugin, "score"))

    @cached_property
    def compared_scores(self) -> tuple[Weighted, ...]:
        """Those of `scores` that compare nodes."""
        return tuple(w for w in self.scores if _overrides(w.plugin, "score"))

    def blocked(self, pod: PodInfo) -> str:
        """The plugin that does not let the Pod be tried yet, or ""."""
        for plugin in self.pre_enqueues:
            if plugin.pre_enqueue(pod) is not None:
                return plugin.name
        return ""


def profile_of(
    points: Mapping[str, Sequence[Weighted]],
    scheduler_name: str = DEFAULT_SCHEDULER,
    percentage_of_nodes_to_score: int = 0,
) -> Profile:
    """The profile of the plugins wanted at each point, of those that take part in it.

    Raises:
        ValueError: not exactly one of them sorts the queue.
    """

    def at(point: str, with_point: str = "") -> tuple[Weighted, ...]:
        """Where preparation and check are one, both points must be wanted."""
        also = {w.plugin.name for w in points.get(with_point or point, ())}
        return tuple(
            wanted
            for wanted in points.get(point, ())
            if wanted.plugin.name in also and takes_part(wanted.plugin, point)
        )

    def plugins(point: str, with_point: str = "") -> tuple[Plugin, ...]:
        return tuple(wanted.plugin for wanted in at(point, with_point))

    sorts = plugins("queueSort")
    if len(sorts) != 1:
        raise ValueError(
            f"profile {scheduler_name}: exactly one queue sort plugin is needed, not {len(sorts)}"
        )
    return Profile(
        filters=plugins("filter", "preFilter"),
        scores=tuple(Weighted(w.plugin, w.weight or 1) for w in at("score", "preScore")),
        queue_sort=sorts[0],
        pre_enqueues=plugins("preEnqueue"),
        post_filters=plugins("postFilter"),
        reserves=plugins("reserve"),
        permits=plugins("permit"),
        pre_binds=plugins("preBind"),
        binds=plugins("bind"),
        post_binds=plugins("postBind"),
        scheduler_name=scheduler_name,
        percentage_of_nodes_to_score=percentage_of_nodes_to_score,
    )

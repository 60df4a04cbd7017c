"""Pods that wait for a node: those to try now, those that back off, those that nothing suits yet.

    put > ACTIVE > pop > bound
                       > no node suits: UNSCHEDULABLE > a change that may help > BACKOFF > ACTIVE
                       > failed to bind: BACKOFF > ACTIVE

A Pod that was rejected waits until something happens that could turn the rejection around (each
plugin says what), at most `UNSCHEDULABLE_S_MAX`. Pure: the caller passes the time in.

Source: kube-scheduler's scheduling queue (the three parts and the durations).
"""

from __future__ import annotations

import heapq
from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from enum import Enum, auto

from agents.scheduler.framework import Change, Plugin
from agents.scheduler.node_info import NodeInfo
from agents.scheduler.pod_info import PodInfo
from agents.scheduler.profile import Profile
from kubraft.api.backoff import exponential_s
from kubraft.api.gvk import GroupVersionKind
from kubraft.api.object import Object, ObjectKey

BACKOFF_S_MIN = 1.0
BACKOFF_S_MAX = 10.0
UNSCHEDULABLE_S_MAX = 300.0


class Part(Enum):
    """Where a Pod waits."""

    ACTIVE = auto()
    BACKOFF = auto()
    UNSCHEDULABLE = auto()
    GATED = auto()
    POPPED = auto()  # a decision is being made, or carried out


@dataclass(slots=True, eq=False)
class _Waiting:
    pod: PodInfo
    queued_s: float
    part: Part
    attempts: int = 0
    since_s: float = 0.0  # when it came into its part
    rejected_by: frozenset[str] = frozenset()
    ticket: int = 0  # its valid entry in a heap; older ones are skipped


_Entry = tuple[tuple[float, ...], int, ObjectKey]


class SchedulingQueue:
    """All Pods without a node that one of some profiles is responsible for."""

    def __init__(
        self,
        profiles: Sequence[Profile],
        *,
        backoff_s_min: float = BACKOFF_S_MIN,
        backoff_s_max: float = BACKOFF_S_MAX,
    ) -> None:
        """At least one profile; all sort the queue alike, so the first one's order counts."""
        self._profiles = {profile.scheduler_name: profile for profile in profiles}
        self._queue_sort = profiles[0].queue_sort
        self._backoff_s_min = backoff_s_min
        self._backoff_s_max = backoff_s_max
        # Which plugins, of any profile, a change may concern; found out once each.
        self._concerned: dict[Change, frozenset[str]] = {}
        self._waiting: dict[ObjectKey, _Waiting] = {}
        self._active: list[_Entry] = []
        self._backoff: list[_Entry] = []
        self._unschedulable: dict[ObjectKey, _Waiting] = {}
        # Of those: how many each plugin rejected, and how many met no node at all.
        self._rejections: Counter[str] = Counter()
        self._without_nodes = 0
        self._tickets = 0

    def __len__(self) -> int:
        return len(self._waiting)

    def part_of(self, key: ObjectKey) -> Part | None:
        """Where the Pod waits, or None where it does not."""
        waiting = self._waiting.get(key)
        return waiting.part if waiting else None

    def counts(self) -> dict[Part, int]:
        """How many Pods wait in each part."""
        found = dict.fromkeys(Part, 0)
        for waiting in self._waiting.values():
            found[waiting.part] += 1
        return found

    def put(self, pod: PodInfo, now_s: float) -> None:
        """Take in a Pod without a node, or its new version.

        A change of what it asks for may make it schedulable; one of its status does not.
        """
        waiting = self._waiting.get(pod.key)
        if waiting is not None and waiting.pod.uid == pod.uid:
            self._update(waiting, pod, now_s)
            return
        if waiting is not None:
            self.remove(pod.key)
        part = Part.GATED if self._blocked(pod) else Part.ACTIVE
        waiting = self._waiting[pod.key] = _Waiting(pod, now_s, part)
        if part is Part.ACTIVE:
            self._activate(waiting, now_s)

    def remove(self, key: ObjectKey) -> None:
        """Drop a Pod: it has a node, ended, or is gone."""
        self._waiting.pop(key, None)
        self._drop_unschedulable(key)

    def waiting_pod(self, key: ObjectKey) -> PodInfo | None:
        """The Pod of that key, wherever it waits."""
        waiting = self._waiting.get(key)
        return waiting.pod if waiting else None

    def history(self, key: ObjectKey) -> tuple[int, float]:
        """How often the Pod, which waits, was tried, and when it was first seen."""
        waiting = self._waiting[key]
        return waiting.attempts, waiting.queued_s

    def pop(self, now_s: float) -> PodInfo | None:
        """The Pod to decide about next, which counts as an attempt; None where all wait."""
        self._tick(now_s)
        while self._active:
            _, ticket, key = heapq.heappop(self._active)
            waiting = self._waiting.get(key)
            if waiting and waiting.part is Part.ACTIVE and waiting.ticket == ticket:
                waiting.part = Part.POPPED
                waiting.attempts += 1
                return waiting.pod
        return None

    def next_s(self) -> float | None:
        """When `pop` may have a Pod again, if nothing else happens; None: not by itself."""
        times = [self._backoff[0][0][0]] if self._backoff else []
        if self._unschedulable:
            oldest = next(iter(self._unschedulable.values()))
            times.append(oldest.since_s + UNSCHEDULABLE_S_MAX)
        return min(times, default=None)

    def reject(self, pod: PodInfo, rejected_by: frozenset[str], now_s: float) -> None:
        """No node suits the Pod that was popped: wait for a change that may help."""
        waiting = self._popped(pod)
        if waiting is None:
            return
        waiting.part, waiting.since_s = Part.UNSCHEDULABLE, now_s
        waiting.rejected_by = rejected_by
        self._unschedulable[pod.key] = waiting
        self._rejections.update(rejected_by)
        self._without_nodes += not rejected_by

    def retry(self, pod: PodInfo, now_s: float) -> None:
        """The Pod that was popped could not be bound: try again after its back-off."""
        waiting = self._popped(pod)
        if waiting is not None:
            waiting.since_s = now_s
            self._back_off(waiting, now_s)

    def changed(self, change: Change, node: NodeInfo | None, now_s: float) -> None:
        """Something happened in the cluster, on `node` where it is one: who may be helped?"""
        # Most changes are of no interest to any Pod that waits.
        concerned = self._concerned.get(change)
        if concerned is None:
            concerned = self._concerned[change] = frozenset(
                plugin.name
                for profile in self._profiles.values()
                for plugin in profile.plugins.values()
                if change & plugin.requeue_on
            )

        def helps(plugin: Plugin, pod: PodInfo) -> bool:
            return node is None or plugin.may_help(pod, node)

        self._reconsider(concerned, helps, now_s)

    def object_changed(
        self, kind: GroupVersionKind, old: Object | None, new: Object | None, now_s: float
    ) -> None:
        """Some other object, of a kind that plugins watch, was added, changed or removed."""
        concerned = frozenset(
            plugin.name
            for profile in self._profiles.values()
            for plugin in profile.plugins.values()
            if kind in plugin.watches
        )

        def helps(plugin: Plugin, pod: PodInfo) -> bool:
            return plugin.object_may_help(pod, kind, old, new)

        self._reconsider(concerned, helps, now_s)
        for waiting in [w for w in self._waiting.values() if w.part is Part.GATED]:
            if not self._blocked(waiting.pod):
                self._activate(waiting, now_s)

    def _reconsider(
        self, concerned: frozenset[str], helps: Callable[[Plugin, PodInfo], bool], now_s: float
    ) -> None:
        """Let those try again of whom a plugin that rejected them says that it may help."""
        if self._without_nodes == 0 and not any(self._rejections[name] for name in concerned):
            return
        for waiting in list(self._unschedulable.values()):
            plugins = self._profile(waiting.pod).plugins
            # Without a plugin that rejected it, there was no node at all.
            if not waiting.rejected_by or any(
                name in concerned and helps(plugins[name], waiting.pod)
                for name in waiting.rejected_by
            ):
                self._leave_unschedulable(waiting, now_s)

    def _profile(self, pod: PodInfo) -> Profile:
        return self._profiles[pod.scheduler_name]

    def _blocked(self, pod: PodInfo) -> bool:
        return bool(self._profile(pod).blocked(pod))

    def _update(self, waiting: _Waiting, pod: PodInfo, now_s: float) -> None:
        old, waiting.pod = waiting.pod, pod
        if waiting.part is Part.GATED:
            if not self._blocked(pod):
                self._activate(waiting, now_s)
        elif waiting.part is Part.UNSCHEDULABLE and _asks_differently(old, pod):
            self._leave_unschedulable(waiting, now_s)

    def _popped(self, pod: PodInfo) -> _Waiting | None:
        waiting = self._waiting.get(pod.key)
        if waiting and waiting.part is Part.POPPED and waiting.pod.uid == pod.uid:
            return waiting
        return None

    def _drop_unschedulable(self, key: ObjectKey) -> None:
        if waiting := self._unschedulable.pop(key, None):
            self._rejections.subtract(waiting.rejected_by)
            self._without_nodes -= not waiting.rejected_by

    def _leave_unschedulable(self, waiting: _Waiting, now_s: float) -> None:
        self._drop_unschedulable(waiting.pod.key)
        self._back_off(waiting, now_s)

    def _back_off(self, waiting: _Waiting, now_s: float) -> None:
        delay_s = exponential_s(waiting.attempts - 1, self._backoff_s_min, self._backoff_s_max)
        due_s = waiting.since_s + delay_s
        if due_s <= now_s:
            self._activate(waiting, now_s)
            return
        waiting.part = Part.BACKOFF
        heapq.heappush(self._backoff, ((due_s,), self._ticket(waiting), waiting.pod.key))

    def _activate(self, waiting: _Waiting, now_s: float) -> None:
        waiting.part, waiting.since_s = Part.ACTIVE, now_s
        order = self._queue_sort.sort_key(waiting.pod, waiting.queued_s)
        heapq.heappush(self._active, (order, self._ticket(waiting), waiting.pod.key))

    def _ticket(self, waiting: _Waiting) -> int:
        self._tickets += 1
        waiting.ticket = self._tickets
        return self._tickets

    def _tick(self, now_s: float) -> None:
        """Move on the Pods whose time has come."""
        while self._backoff and self._backoff[0][0][0] <= now_s:
            _, ticket, key = heapq.heappop(self._backoff)
            waiting = self._waiting.get(key)
            if waiting and waiting.part is Part.BACKOFF and waiting.ticket == ticket:
                self._activate(waiting, now_s)
        for waiting in list(self._unschedulable.values()):
            if waiting.since_s + UNSCHEDULABLE_S_MAX > now_s:
                break  # the dictionary is in the order in which they came
            self._leave_unschedulable(waiting, now_s)


def _asks_differently(old: PodInfo, new: PodInfo) -> bool:
    return (
        old.labels != new.labels
        or old.obj.get("spec") != new.obj.get("spec")
        or old.requests != new.requests
    )

"""Turns what the informers see into the cluster's picture and the queue. No I/O."""

from __future__ import annotations

from collections.abc import Callable

from agents.scheduler.cluster import Cluster
from agents.scheduler.framework import Change
from agents.scheduler.pod_info import PodInfo, pod_info
from agents.scheduler.queue import SchedulingQueue
from kubraft.api.gvk import GroupVersionKind
from kubraft.api.object import Object, ObjectKey, is_terminating, key_of, labels_of
from kubraft.api.pods import DEFAULT_SCHEDULER, is_terminated, node_of
from kubraft.api.time import Clock
from kubraft.client.informer import Handler


class Intake:
    """The handlers of the Pod and Node informers.

    `wake` is called whenever there may be a Pod to schedule.
    """

    def __init__(
        self,
        cluster: Cluster,
        queue: SchedulingQueue,
        clock: Clock,
        wake: Callable[[], None],
        scheduler_names: frozenset[str] = frozenset({DEFAULT_SCHEDULER}),
    ) -> None:
        self._cluster = cluster
        self._queue = queue
        self._clock = clock
        self._wake = wake
        self._scheduler_names = scheduler_names

    def pod(self, old: Object | None, new: Object | None) -> None:
        """Handle one change of a Pod."""
        if new is None or is_terminated(new):
            self._gone(key_of(new or old or {}))
        elif node_of(new):
            self._placed(old, pod_info(new))
        elif is_terminating(new):
            self._gone(key_of(new))
        elif self._is_ours(new):
            waiting = pod_info(new)
            # Ours is newer than what the API server shows until that has it, too.
            if _nominated(new) or (old is not None and _nominated(old)):
                self._cluster.nominate(waiting, _nominated(new))
            self._queue.put(waiting, self._clock.monotonic_s())
            self._wake()

    def node(self, old: Object | None, new: Object | None) -> None:
        """Handle one change of a Node; heartbeats change nothing."""
        if new is None:
            if old is not None:
                self._cluster.remove_node(old["metadata"]["name"])
            return
        change = _node_change(old, new)
        if change:
            self._cluster.set_node(new)
            self.changed(change, new["metadata"]["name"])

    def handler_of(self, kind: GroupVersionKind) -> Handler:
        """The handler of the informer of some other kind that plugins watch."""

        def changed(old: Object | None, new: Object | None) -> None:
            self._queue.object_changed(kind, old, new, self._clock.monotonic_s())
            self._wake()

        return changed

    def changed(self, change: Change, node_name: str) -> None:
        """Let Pods that `change` may help try again."""
        node = self._cluster.node(node_name)
        self._queue.changed(change, node, self._clock.monotonic_s())
        self._wake()

    def _is_ours(self, pod: Object) -> bool:
        return (pod["spec"].get("schedulerName") or DEFAULT_SCHEDULER) in self._scheduler_names

    def _gone(self, key: ObjectKey) -> None:
        self._queue.remove(key)
        pod = self._cluster.remove_pod(key)
        if pod is not None:
            self.changed(Change.POD_GONE, pod.node_name)

    def _placed(self, old: Object | None, pod: PodInfo) -> None:
        self._queue.remove(pod.key)
        known = bool(self._cluster.node_of(pod.key)) and not self._cluster.is_assumed(pod.key)
        self._cluster.set_pod(pod)
        if not known:
            self.changed(Change.POD_PLACED, pod.node_name)
        elif old is not None and labels_of(old) != pod.labels:
            self.changed(Change.POD_LABELS, pod.node_name)
        elif old is not None and old["spec"] != pod.spec:
            self.changed(Change.POD_GONE, pod.node_name)  # it may ask for less now


def _nominated(pod: Object) -> str:
    name: str = (pod.get("status") or {}).get("nominatedNodeName") or ""
    return name


def _node_change(old: Object | None, new: Object) -> Change:
    if old is None:
        return Change.NODE_ADDED
    change = Change(0)
    for name in ("allocatable", "capacity"):
        if (old.get("status") or {}).get(name) != (new.get("status") or {}).get(name):
            change |= Change.NODE_ALLOCATABLE
    if labels_of(old) != labels_of(new):
        change |= Change.NODE_LABELS
    if _kept_away(old) != _kept_away(new):
        change |= Change.NODE_TAINTS
    return change


def _kept_away(node: Object) -> tuple[object, bool]:
    spec = node.get("spec") or {}
    return spec.get("taints") or [], bool(spec.get("unschedulable"))

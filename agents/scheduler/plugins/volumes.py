"""Volumes that are for one Pod only, or of one zone.

Source: kube-scheduler's VolumeRestrictions and VolumeZone.
"""

from __future__ import annotations

from collections.abc import Iterable

from agents.scheduler.cluster import Snapshot
from agents.scheduler.framework import Change, Check, Plugin, Rejection
from agents.scheduler.handle import Handle
from agents.scheduler.node_info import NodeInfo
from agents.scheduler.pod_info import PodInfo
from agents.scheduler.volume_binding import (
    Store,
)
from kubraft.api import storage
from kubraft.api.gvk import (
    PERSISTENT_VOLUME,
    PERSISTENT_VOLUME_CLAIM,
    STORAGE_CLASS,
    GroupVersionKind,
)
from kubraft.api.object import Object, ObjectKey, labels_of


def store_of(handle: Handle) -> Store:
    """The caches of a running scheduler."""
    claims, volumes = handle.informer(PERSISTENT_VOLUME_CLAIM), handle.informer(PERSISTENT_VOLUME)
    classes = handle.informer(STORAGE_CLASS)
    return Store(
        claims.get,
        lambda name: volumes.get(ObjectKey("", name)),
        volumes.list,
        lambda name: classes.get(ObjectKey("", name)),
    )


def has_claims(pod: PodInfo) -> bool:
    """Whether the Pod has a volume that is a claim."""
    return next(storage.claims_of_pod(pod.obj), None) is not None


class OfClaims(Plugin):
    """A plugin that only changes of claims, volumes and classes, and other nodes, help."""

    requeue_on = Change.NODE_ADDED | Change.NODE_LABELS | Change.POD_UPDATED
    watches = (PERSISTENT_VOLUME_CLAIM, PERSISTENT_VOLUME, STORAGE_CLASS)

    def __init__(self, store: Store) -> None:
        self._store = store

    def object_may_help(
        self, pod: PodInfo, kind: GroupVersionKind, old: Object | None, new: Object | None
    ) -> bool:
        if kind != PERSISTENT_VOLUME_CLAIM:
            return True
        metadata = (new or old or {})["metadata"]
        names = {name for _volume, name, _own in storage.claims_of_pod(pod.obj)}
        return metadata["namespace"] == pod.namespace and metadata["name"] in names


_ONE_POD = "node has pod using PersistentVolumeClaim with the same name and ReadWriteOncePod"
_IN_USE = Rejection((f"{_ONE_POD} access mode",))


class VolumeRestrictions(OfClaims):
    """Keeps a second Pod off a claim that is for one Pod only."""

    name = "VolumeRestrictions"
    requeue_on = Change.POD_GONE | Change.POD_UPDATED

    def pre_filter(self, pod: PodInfo, snapshot: Snapshot) -> Check | None:
        names = self._exclusive(pod)
        if not names:
            return None
        users = sum(_users(node, pod, names) for node in snapshot.node_list)
        return _Exclusive(pod, names, users) if users else None

    def may_help(self, pod: PodInfo, node: NodeInfo) -> bool:
        return True

    def _exclusive(self, pod: PodInfo) -> frozenset[str]:
        """The Pod's claims that one Pod alone may use."""
        names = {name for _volume, name, _own in storage.claims_of_pod(pod.obj)}
        claims = ((n, self._store.find_claim(ObjectKey(pod.namespace, n))) for n in names)
        return frozenset(
            name
            for name, claim in claims
            if claim and "ReadWriteOncePod" in (claim["spec"].get("accessModes") or ())
        )


class _Exclusive:
    """The same answer for all nodes, until the Pods that use the claims are gone."""

    def __init__(self, pod: PodInfo, names: frozenset[str], users: int) -> None:
        self._pod = pod
        self._names = names
        self._users = users

    def __call__(self, node: NodeInfo) -> Rejection | None:
        return _IN_USE if self._users else None

    def revised(self, before: NodeInfo, after: NodeInfo) -> _Exclusive:
        count = _users(after, self._pod, self._names) - _users(before, self._pod, self._names)
        return _Exclusive(self._pod, self._names, self._users + count)


def _users(node: NodeInfo, pod: PodInfo, names: frozenset[str]) -> int:
    """How many Pods of the node use one of these claims of the Pod's namespace."""
    return sum(
        other.namespace == pod.namespace
        and any(name in names for _volume, name, _own in storage.claims_of_pod(other.obj))
        for other in node.pods.values()
    )


_WRONG_ZONE = Rejection(("node(s) had no available volume zone",), resolvable=False)
_ZONES = (
    "topology.kubernetes.io/zone",
    "topology.kubernetes.io/region",
    "failure-domain.beta.kubernetes.io/zone",
    "failure-domain.beta.kubernetes.io/region",
)


class VolumeZone(OfClaims):
    """Keeps Pods in the zone and region that the labels of their volumes name."""

    name = "VolumeZone"

    def pre_filter(self, pod: PodInfo, snapshot: Snapshot) -> Check | None:
        wanted = list(self._wanted(pod))
        if not wanted:
            return None

        def check(node: NodeInfo) -> Rejection | None:
            if not any(zone in node.labels for zone in _ZONES):
                return None  # a cluster without zones
            met = all(node.labels.get(label) in values for label, values in wanted)
            return None if met else _WRONG_ZONE

        return check

    def _wanted(self, pod: PodInfo) -> Iterable[tuple[str, frozenset[str]]]:
        for _volume, name, _own in storage.claims_of_pod(pod.obj):
            claim = self._store.find_claim(ObjectKey(pod.namespace, name))
            bound_to = claim["spec"].get("volumeName") if claim else ""
            volume = self._store.find_volume(bound_to) if bound_to else None
            labels = labels_of(volume) if volume else {}
            for label in _ZONES:
                if label in labels:
                    yield label, frozenset(labels[label].split("__"))

"""Which volumes a Pod's claims could have on a node, and what must be written to get them. Pure.

A claim of a class that waits for its first consumer is bound here: to a volume that is there and
that the node reaches, or, where its class has a provisioner, by telling that one the node.

Source: Kubernetes documentation, "Storage Classes, Volume Binding Mode"; kube-scheduler's
VolumeBinding (order, messages).
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from enum import Enum

from agents.scheduler.pod_info import PodInfo
from kubraft.api import storage
from kubraft.api.node_selector import selects_node
from kubraft.api.object import Object, ObjectKey, annotations_of, is_terminating, key_of

Place = tuple[str, Mapping[str, str]]  # a node's name and labels

UNBOUND = "pod has unbound immediate PersistentVolumeClaims"


class Conflict(Enum):
    """Why a node does not do for a Pod's claims, in upstream's words."""

    AFFINITY = "node(s) didn't match PersistentVolume's node affinity"
    NO_VOLUME = "node(s) didn't find available persistent volumes to bind"
    GONE = "node(s) unavailable due to one or more pvc(s) bound to non-existent pv(s)"


@dataclass(frozen=True, slots=True)
class Store:
    """The claims, volumes and classes that there are, as far as is known."""

    find_claim: Callable[[ObjectKey], Object | None]
    find_volume: Callable[[str], Object | None]
    volumes: Callable[[], Iterable[Object]]
    find_class: Callable[[str], Object | None]


@dataclass(frozen=True, slots=True)
class PodClaims:
    """A Pod's claims, sorted by what is still to be done for them; smallest first."""

    bound: tuple[Object, ...] = ()
    unbound: tuple[Object, ...] = ()  # of classes that wait for their first consumer


class UnusableError(Exception):
    """A claim of the Pod does for no node; the message is upstream's."""


def claims_of(pod: PodInfo, store: Store) -> PodClaims:
    """Read a Pod's claims.

    Raises:
        UnusableError: one is not there, is going, is another Pod's, or is bound by others.
    """
    bound, unbound, waits = [], [], False
    for name, own in sorted({(n, own) for _v, n, own in storage.claims_of_pod(pod.obj)}):
        claim = _usable(pod, name, own, store)
        storage_class = store.find_class(storage.class_of(claim))
        if storage.is_bound(claim):
            bound.append(claim)
        elif storage.waits_for_consumer(storage_class) and not claim["spec"].get("volumeName"):
            unbound.append(claim)
        else:
            waits = True
    if waits:
        raise UnusableError(UNBOUND)
    unbound.sort(key=lambda claim: (storage.requested(claim).nano, claim["metadata"]["name"]))
    return PodClaims(tuple(bound), tuple(unbound))


def _usable(pod: PodInfo, name: str, own: bool, store: Store) -> Object:  # noqa: FBT001 - as read
    claim = store.find_claim(ObjectKey(pod.namespace, name))
    if claim is None:
        if own:
            raise UnusableError(
                "waiting for ephemeral volume controller to create the persistentvolumeclaim "
                f'"{name}"'
            )
        raise UnusableError(f'persistentvolumeclaim "{name}" not found')
    if storage.phase_of(claim) == "Lost":
        volume = claim["spec"].get("volumeName", "")
        raise UnusableError(
            f'persistentvolumeclaim "{name}" bound to non-existent persistentvolume "{volume}"'
        )
    if is_terminating(claim):
        raise UnusableError(f'persistentvolumeclaim "{name}" is being deleted')
    if own and not storage.is_made_for(claim, pod.obj):
        where = f"{pod.namespace}/{name}"
        raise UnusableError(f"PVC {where} was not created for pod {pod.key} (pod is not owner)")
    return claim


@dataclass(frozen=True, slots=True)
class Bindings:
    """What a node would give a Pod's claims: volumes that are there, and such as are to be made."""

    volumes: tuple[tuple[Object, Object], ...] = ()  # volume, claim
    provisioned: tuple[Object, ...] = ()  # claims
    shared: tuple[Object, ...] = ()  # claims that another Pod is getting a volume for


@dataclass(frozen=True, slots=True)
class Promise:
    """What one Pod on its way to a node will take."""

    node: str
    bindings: Bindings
    labels: Mapping[str, str]  # of the node

    @property
    def given(self) -> list[Object]:
        """The claims that this Pod's binding gets their volumes, as they were at that moment."""
        return [*self.bindings.provisioned, *(claim for _volume, claim in self.bindings.volumes)]


@dataclass(slots=True)
class Promised:
    """What Pods on their way will take, by their uid, until the caches show it."""

    bindings: dict[str, Promise] = field(default_factory=dict)

    def node_of(self, claim: ObjectKey) -> str:
        """The node that a claim is promised to, or ""."""
        for promise in self.bindings.values():
            if any(key_of(each) == claim for each in promise.given):
                return promise.node
        return ""

    def volumes(self) -> set[str]:
        """The names of the volumes that are promised."""
        return {
            volume["metadata"]["name"]
            for promise in self.bindings.values()
            for volume, _claim in promise.bindings.volumes
        }


def find_bindings(
    claims: PodClaims, at: Place, store: Store, promised: Promised
) -> Bindings | tuple[Conflict, ...]:
    """What the node gives the claims; or all that speaks against it."""
    conflicts = list(_bound_conflicts(claims.bound, at, store))
    found: list[tuple[Object, Object]] = []
    provisioned: list[Object] = []
    shared: list[Object] = []
    taken = promised.volumes()
    for claim in claims.unbound:
        promise = promised.node_of(key_of(claim))
        chosen = promise or annotations_of(claim).get(storage.SELECTED_NODE)
        if chosen and chosen != at[0]:
            conflicts.append(Conflict.NO_VOLUME)
            continue
        if chosen:
            (shared if promise else provisioned).append(claim)
            continue
        volume = storage.best_volume(store.volumes(), claim, node=at, taken=taken)
        if volume is not None:
            taken.add(volume["metadata"]["name"])
            found.append((volume, claim))
        elif _may_provision(claim, at, store):
            provisioned.append(claim)
        else:
            conflicts.append(Conflict.NO_VOLUME)
    if conflicts:
        return tuple(dict.fromkeys(conflicts))
    return Bindings(tuple(found), tuple(provisioned), tuple(shared))


def _bound_conflicts(claims: Sequence[Object], at: Place, store: Store) -> Iterable[Conflict]:
    for claim in claims:
        volume = store.find_volume(claim["spec"]["volumeName"])
        if volume is None:
            yield Conflict.GONE
        elif not storage.reaches(volume, *at):
            yield Conflict.AFFINITY


def _may_provision(claim: Object, at: Place, store: Store) -> bool:
    """Whether the class has a provisioner, and may have its volumes where the node is."""
    storage_class = store.find_class(storage.class_of(claim))
    if storage_class is None or storage_class["provisioner"] == storage.NO_PROVISIONER:
        return False
    topologies = storage_class.get("allowedTopologies")
    if not topologies:
        return True
    terms = [
        {
            "matchExpressions": [
                {"key": each["key"], "operator": "In", "values": each["values"]}
                for each in term.get("matchLabelExpressions") or ()
            ]
        }
        for term in topologies
    ]
    return selects_node({"nodeSelectorTerms": terms}, *at)


def volume_given(volume: Object, claim: Object) -> Object:
    """The volume, set aside for the claim."""
    metadata = dict(volume["metadata"])
    if not volume["spec"].get("claimRef"):
        metadata["annotations"] = {**annotations_of(volume), storage.BOUND_BY_CONTROLLER: "yes"}
    spec = {**volume["spec"], "claimRef": storage.reference_to(claim)}
    return {**volume, "metadata": metadata, "spec": spec}


def claim_placed(claim: Object, node: str) -> Object:
    """The claim, with the node on which it is to have its volume."""
    annotations = {**annotations_of(claim), storage.SELECTED_NODE: node}
    return {**claim, "metadata": {**claim["metadata"], "annotations": annotations}}


def progress(promise: Promise, store: Store, promised: Promised) -> tuple[bool, str]:
    """Whether all claims have their volumes now; and what went wrong for good, or "".

    To be asked again after each change of a claim or volume.
    """
    done = True
    for before in (*promise.given, *promise.bindings.shared):
        key = key_of(before)
        claim = store.find_claim(key)
        if claim is None or is_terminating(claim):
            return False, f'PVC "{key}" is being deleted'
        if storage.is_bound(claim):
            volume = store.find_volume(claim["spec"]["volumeName"])
            if volume is not None and not storage.reaches(volume, promise.node, promise.labels):
                name = volume["metadata"]["name"]
                return False, f'pv "{name}" node affinity doesn\'t match node "{promise.node}"'
            # Its node's agent goes by the phase, which is written last.
            done = done and storage.phase_of(claim) == "Bound"
            continue
        done = False
        if storage.SELECTED_NODE not in annotations_of(claim) and _is_given_up(
            claim, before, promise, promised
        ):
            return False, f'provisioning failed for PVC "{key.name}"'
    return done, ""


def _is_given_up(claim: Object, before: Object, promise: Promise, promised: Promised) -> bool:
    """Whether the provisioner gave the choice back, or the Pod that shares the claim did."""
    if before in promise.bindings.shared:
        return not promised.node_of(key_of(claim))
    return before in promise.bindings.provisioned and _newer(claim, before)


def _newer(claim: Object, before: Object) -> bool:
    """ResourceVersions of one kind compare as numbers. Source: KEP-5504."""
    return int(claim["metadata"]["resourceVersion"]) > int(before["metadata"]["resourceVersion"])

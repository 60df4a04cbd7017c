"""A roll-out in the making: the ReplicaSets as they will be, and the actions that make them so."""

from __future__ import annotations

from dataclasses import dataclass, field

from agents.controllers.action import Action, Emit, Update
from agents.controllers.deployment.revision import DESIRED_REPLICAS, MAX_REPLICAS
from agents.controllers.deployment.strategy import Bounds, replicas_of
from kubraft.api.object import Object, annotations_of, uid_of


@dataclass(slots=True)
class Rollout:
    """What one plan works on. Objects are replaced here, never changed: the cache owns them.

    `bounds` are those of the Deployment's spec. `new` is the ReplicaSet of its template, `old` are
    the others, oldest first.
    """

    deployment: Object
    bounds: Bounds
    old: list[Object]
    new: Object | None = None
    actions: list[Action] = field(default_factory=list)

    @property
    def all(self) -> list[Object]:
        """Every ReplicaSet of the Deployment."""
        return [*self.old, self.new] if self.new is not None else list(self.old)

    @property
    def active_old(self) -> list[Object]:
        """The old ReplicaSets that want Pods, oldest first."""
        return [rs for rs in self.old if replicas_of(rs) > 0]

    def scale(self, replica_set: Object, replicas: int) -> bool:
        """Let `replica_set` want `replicas` Pods; False where it does and knows the bounds."""
        notes = scale_annotations(self.bounds)
        before = replicas_of(replica_set)
        if before == replicas and notes.items() <= annotations_of(replica_set).items():
            return False
        scaled = with_annotations(replica_set, {**annotations_of(replica_set), **notes})
        scaled["spec"] = {**replica_set["spec"], "replicas": replicas}
        self.replace(scaled)
        if before != replicas:
            self.note_scaled(replica_set["metadata"]["name"], before, replicas)
        return before != replicas

    def replace(self, replica_set: Object) -> None:
        """Write `replica_set` in the place of the one of its uid."""
        self.actions = [
            a
            for a in self.actions
            if not (isinstance(a, Update) and uid_of(a.obj) == uid_of(replica_set))
        ]
        self.actions.append(Update(replica_set))
        if self.new is not None and uid_of(self.new) == uid_of(replica_set):
            self.new = replica_set
        else:
            self.old = [replica_set if uid_of(rs) == uid_of(replica_set) else rs for rs in self.old]

    def note_scaled(self, name: str, before: int, after: int) -> None:
        """Record an Event object that says how a ReplicaSet was scaled, in upstream's words."""
        direction = "up" if after > before else "down"
        message = f"Scaled {direction} replica set {name} from {before} to {after}"
        self.actions.append(Emit(self.deployment, "Normal", "ScalingReplicaSet", message))


def scale_annotations(bounds: Bounds) -> dict[str, str]:
    """What a ReplicaSet notes about its Deployment's size, to tell scaling from rolling later."""
    return {DESIRED_REPLICAS: str(bounds.replicas), MAX_REPLICAS: str(bounds.pods_max)}


def with_annotations(obj: Object, annotations: dict[str, str]) -> Object:
    """A shallow copy of `obj` with these annotations."""
    return {**obj, "metadata": {**obj["metadata"], "annotations": annotations}}


def wanted(replica_sets: list[Object]) -> int:
    """The Pods that they want in all."""
    return sum(map(replicas_of, replica_sets))


def available(replica_set: Object) -> int:
    """Pods of it that are available and will stay: a scale-down not yet reported is subtracted."""
    reported: int = (replica_set.get("status") or {}).get("availableReplicas", 0)
    return min(reported, replicas_of(replica_set))

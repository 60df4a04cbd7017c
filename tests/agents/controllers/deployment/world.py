"""A Deployment, its ReplicaSets and their Pods as numbers: what plans are run against.

The ReplicaSet side is a model (Pods are counts of ready and unready ones); the Deployment side is
the real core. Reads come from a cache that may lag, writes are refused when what was read is stale.
"""

from __future__ import annotations

import copy
from dataclasses import dataclass, field
from datetime import timedelta

from agents.controllers.action import Action, Create, Delete, Emit, Update
from agents.controllers.deployment.plan import Plan, plan
from agents.controllers.deployment.strategy import replicas_of
from agents.controllers.own_writes import OwnWrites
from kubraft.api.object import Object, ObjectKey, key_of, uid_of
from tests.agents.controllers.objects import NOW, at


class StaleError(Exception):
    """The write names an old resourceVersion."""


@dataclass
class World:
    deployment: Object
    replica_sets: dict[str, Object] = field(default_factory=dict)
    cache: dict[str, Object] = field(default_factory=dict)
    pods: dict[str, list[int]] = field(default_factory=dict)  # uid: [ready, unready]
    events: list[str] = field(default_factory=list)
    elapsed_s: float = 0.0
    version: int = 1
    own_writes: OwnWrites = field(default_factory=OwnWrites)

    # The deployment controller.

    def step(self) -> Plan:
        """One reconcile from the cache; what it writes shows in the cache only after `observe`."""
        if not self.own_writes.seen(key_of(self.deployment), self._cached, self.elapsed_s):
            return Plan(())
        now = NOW + timedelta(seconds=self.elapsed_s)
        decided = plan(
            copy.deepcopy(self.deployment), copy.deepcopy(list(self.cache.values())), {}, now
        )
        for action in decided.actions:
            try:
                self._perform(action)
            except StaleError:
                break
        return decided

    def _cached(self, key: ObjectKey) -> Object | None:
        return self.cache.get(f"uid-{key.name}")

    def _perform(self, action: Action) -> None:
        self.version += 1
        match action:
            case Emit():
                self.events.append(action.message)
            case Create(obj):
                uid = f"uid-{obj['metadata']['name']}"
                if uid in self.replica_sets:
                    raise StaleError
                obj = copy.deepcopy(obj)
                obj["metadata"] |= {
                    "uid": uid,
                    "resourceVersion": str(self.version),
                    "creationTimestamp": at(self.version),
                    "generation": 1,
                }
                self.replica_sets[uid] = obj
                self.pods[uid] = [0, 0]
                self._note(obj, created=True)
            case Delete():
                del self.replica_sets[action.uid]
                assert self.pods.pop(action.uid) == [0, 0]
            case Update(obj, "status"):
                self.deployment = {**obj, "spec": self.deployment["spec"]}
            case Update(obj):
                stored = self.replica_sets[uid_of(obj)]
                if obj["metadata"]["resourceVersion"] != stored["metadata"]["resourceVersion"]:
                    raise StaleError
                changed = {**copy.deepcopy(obj), "status": stored.get("status", {})}
                changed["metadata"]["resourceVersion"] = str(self.version)
                if changed["spec"] != stored["spec"]:
                    changed["metadata"]["generation"] += 1
                self.replica_sets[uid_of(obj)] = changed
                self._note(changed, created=False)

    def _note(self, answer: Object, *, created: bool) -> None:
        owner = key_of(self.deployment)
        self.own_writes.note(owner, answer, created=created, now_s=self.elapsed_s)

    def observe(self, uid: str | None = None) -> None:
        """Let the cache catch up, on one ReplicaSet or on all."""
        for each in [uid] if uid else [*self.replica_sets, *self.cache]:
            if each in self.replica_sets:
                self.cache[each] = self.replica_sets[each]
            else:
                self.cache.pop(each, None)

    # The ReplicaSet controller, the nodes, the user.

    def run_replica_set(self, uid: str) -> None:
        """Create what lacks; delete what is too many, unready ones first."""
        counts, wanted = self.pods[uid], replicas_of(self.replica_sets[uid])
        surplus = sum(counts) - wanted
        counts[1] += max(0, -surplus)
        unready = min(counts[1], max(0, surplus))
        counts[1] -= unready
        counts[0] -= max(0, surplus) - unready

    def report(self, uid: str) -> None:
        """Write the ReplicaSet's status."""
        ready, unready = self.pods[uid]
        stored = copy.deepcopy(self.replica_sets[uid])
        self.version += 1
        stored["metadata"]["resourceVersion"] = str(self.version)
        stored["status"] = {
            "replicas": ready + unready,
            "readyReplicas": ready,
            "availableReplicas": ready,
            "observedGeneration": stored["metadata"]["generation"],
        }
        self.replica_sets[uid] = stored

    def become_ready(self, uid: str, count: int) -> None:
        counts = self.pods[uid]
        count = min(count, counts[1])
        counts[0] += count
        counts[1] -= count

    def fail(self, uid: str, count: int) -> None:
        counts = self.pods[uid]
        count = min(count, counts[0])
        counts[0] -= count
        counts[1] += count

    def edit(self, changed: Object) -> None:
        """What a user writes: all but status and annotations."""
        metadata = {**self.deployment["metadata"], "generation": changed["metadata"]["generation"]}
        self.deployment = {**self.deployment, "metadata": metadata, "spec": changed["spec"]}

    def settle(self, rounds: int = 60) -> None:
        """Let everything run fairly until nothing changes."""
        for _ in range(rounds):
            before = self.version
            self.observe()
            self.step()
            for uid in list(self.replica_sets):
                known = copy.deepcopy(self.replica_sets[uid].get("status"))
                self.run_replica_set(uid)
                self.become_ready(uid, 1)
                self.report(uid)
                if self.replica_sets[uid]["status"] == known:
                    self.version -= 1
            self.observe()
            if self.version == before:
                return
        raise AssertionError("the world did not settle")

    @property
    def wanted(self) -> int:
        return sum(map(replicas_of, self.replica_sets.values()))

    @property
    def ready(self) -> int:
        return sum(ready for ready, _ in self.pods.values())

    def sizes(self) -> dict[str, int]:
        """What each image's ReplicaSet wants."""
        return {
            rs["spec"]["template"]["spec"]["containers"][0]["image"]: replicas_of(rs)
            for rs in self.replica_sets.values()
        }

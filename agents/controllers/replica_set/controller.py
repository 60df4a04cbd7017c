"""Runs the plans of ReplicaSets: creates and deletes Pods, reports status."""

from __future__ import annotations

from collections.abc import Sequence

from agents.controllers.adoption import settle
from agents.controllers.context import Context
from agents.controllers.informers import BY_CONTROLLER, ORPHANS
from agents.controllers.own_writes import OwnWrites
from agents.controllers.ownership import claim
from agents.controllers.pod_control import AMBIGUOUS, PodControl, Wanted
from agents.controllers.pod_template import name_prefix, pod_of_template
from agents.controllers.replica_set.plan import Failure, next_check_s, plan, status
from agents.controllers.status import same_status
from kubraft.api.errors import ApiError
from kubraft.api.gvk import POD, REPLICA_SET, GroupVersionKind
from kubraft.api.labels import LabelSelector, selector_from_object
from kubraft.api.object import Object, ObjectKey, controller_of, key_of, labels_of, uid_of
from kubraft.api.pods import is_active
from kubraft.client.controller import Controller


class ReplicaSetController:
    """Reconciles one ReplicaSet at a time per worker, by key."""

    KIND: GroupVersionKind = REPLICA_SET
    NAME = "replicaset-controller"

    def __init__(self, context: Context) -> None:
        self._client = context.client
        self._clock = context.clock
        self._recorder = context.recorder(self.NAME)
        self._replica_sets = context.informers.of(self.KIND)
        self._pods = context.informers.of(POD)
        self._control = PodControl(context, self._recorder, self.KIND)
        self._written = OwnWrites()
        self._controller = Controller(
            self.NAME,
            self.reconcile,
            workers=self.workers(context),
            clock=context.clock,
        )
        self._replica_sets.add_handler(self._on_replica_set)
        self._pods.add_handler(self._on_pod)

    async def run(self) -> None:
        await self._controller.run()

    @staticmethod
    def workers(context: Context) -> int:
        """How many are worked on at once."""
        return context.options.concurrent_replicaset_syncs

    @staticmethod
    def selector(owner: Object) -> LabelSelector:
        """What the owner's Pods have in common."""
        return selector_from_object(owner["spec"].get("selector"))

    async def reconcile(self, key: ObjectKey) -> float | None:
        """Create or delete what is needed, then report; returns when to look again, if so."""
        replica_set = self._replica_sets.get(key)
        if replica_set is None:
            return None
        selector = self.selector(replica_set)
        candidates = self._pods.by_index(BY_CONTROLLER, uid_of(replica_set))
        candidates += self._pods.by_index(ORPHANS, key.namespace)
        active = [pod for pod in candidates if is_active(pod)]
        owned = await settle(self._client, replica_set, claim(replica_set, selector, active))
        failure, error = None, None
        if await self._control.settled(replica_set):
            failure, error = await self._manage(replica_set, owned)
        await self._report(replica_set, owned, failure)
        if error is not None:
            raise error
        return next_check_s(replica_set, owned, self._clock.now())

    async def _manage(
        self, replica_set: Object, owned: Sequence[Object]
    ) -> tuple[Failure | None, ApiError | None]:
        """Carry out the plan; returns what to report and to raise where it failed."""
        decided = plan(
            replica_set, owned, related=self._related(replica_set), now=self._clock.now()
        )
        if decided.create:
            prefix = name_prefix(replica_set)
            wanted = Wanted(prefix, lambda name: pod_of_template(replica_set, name))
            error = (await self._control.create(replica_set, [wanted] * decided.create)).error
            reason = "FailedCreate"
        else:
            error = (await self._control.delete(replica_set, decided.delete)).error
            reason = "FailedDelete"
        if error is None:
            return None, None
        # Only what the server refused is a condition; a lost connection says nothing of the Pods.
        told = None if isinstance(error, AMBIGUOUS) else Failure(reason, error.message)
        return told, error

    async def _report(
        self, replica_set: Object, owned: Sequence[Object], failure: Failure | None
    ) -> None:
        key, now_s = key_of(replica_set), self._clock.monotonic_s()
        fresh = status(replica_set, owned, failure, self._clock.now())
        if same_status(replica_set.get("status"), fresh):
            return
        # What was reported last is not in the cache yet: its event brings this key back.
        if not self._written.seen(key, self._replica_sets.get, now_s):
            return
        answer = await self._client.update({**replica_set, "status": fresh}, "status")
        self._written.note(key, answer, created=False, now_s=now_s)

    def _related(self, replica_set: Object) -> list[Object]:
        """The Pods of all ReplicaSets of the same owner."""
        owner = controller_of(replica_set)
        siblings = (
            self._replica_sets.by_index(BY_CONTROLLER, owner["uid"])
            if owner is not None
            else [replica_set]
        )
        uids = map(uid_of, siblings)
        return [pod for uid in uids for pod in self._pods.by_index(BY_CONTROLLER, uid)]

    def _on_replica_set(self, old: Object | None, new: Object | None) -> None:
        key = key_of(new or old or {})
        if new is None:
            self._control.forget(key)
            self._written.forget(key)
        self._controller.queue.add(key)

    def _on_pod(self, old: Object | None, new: Object | None) -> None:
        for pod in (old, new):
            if pod is not None and (key := self._control.owner_key(pod)):
                self._control.observe(key, pod, gone=new is None)
                self._controller.queue.add(key)
        if new is not None and controller_of(new) is None and is_active(new):
            for replica_set in self._replica_sets.list(key_of(new).namespace):
                if self.selector(replica_set).matches(labels_of(new)):
                    self._controller.queue.add(key_of(replica_set))

"""Runs the plans of ReplicaSets: creates and deletes Pods, reports status."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import Sequence

from agents.controllers.adoption import settle
from agents.controllers.context import Context
from agents.controllers.executor import namespace_is_ending
from agents.controllers.expectations import Expectations
from agents.controllers.informers import BY_CONTROLLER, ORPHANS
from agents.controllers.own_writes import OwnWrites
from agents.controllers.ownership import claim
from agents.controllers.replica_set.plan import Failure, batches, next_check_s, plan, status
from agents.controllers.replica_set.pod import name_prefix, pod_of_template
from agents.controllers.status import same_status
from kubraft.api.errors import (
    AlreadyExistsError,
    ApiError,
    NotFoundError,
    ServiceUnavailableError,
    TimeoutError_,
)
from kubraft.api.gvk import POD, REPLICA_SET
from kubraft.api.labels import selector_from_object
from kubraft.api.names import generate_name
from kubraft.api.object import (
    Object,
    ObjectKey,
    controller_of,
    is_terminating,
    key_of,
    labels_of,
    uid_of,
)
from kubraft.api.pods import is_active
from kubraft.client.controller import Controller

# After this the answer to a write is not known: it may have happened.
_AMBIGUOUS = (ServiceUnavailableError, TimeoutError_)
# A bound on names drawn for one create, should each be taken.
_NAME_ATTEMPTS = 8


class ReplicaSetController:
    """Reconciles one ReplicaSet at a time per worker, by key."""

    def __init__(self, context: Context) -> None:
        self._client = context.client
        self._clock = context.clock
        self._rng = context.rng
        self._recorder = context.recorder("replicaset-controller")
        self._replica_sets = context.informers.of(REPLICA_SET)
        self._pods = context.informers.of(POD)
        self._expectations = Expectations()
        self._written = OwnWrites()
        self._controller = Controller(
            "replicaset-controller",
            self.reconcile,
            workers=context.options.concurrent_replicaset_syncs,
            clock=context.clock,
        )
        self._replica_sets.add_handler(self._on_replica_set)
        self._pods.add_handler(self._on_pod)

    async def run(self) -> None:
        await self._controller.run()

    async def reconcile(self, key: ObjectKey) -> float | None:
        """Create or delete what is needed, then report; returns when to look again, if so."""
        replica_set = self._replica_sets.get(key)
        if replica_set is None:
            return None
        selector = selector_from_object(replica_set["spec"]["selector"])
        candidates = self._pods.by_index(BY_CONTROLLER, uid_of(replica_set))
        candidates += self._pods.by_index(ORPHANS, key.namespace)
        active = [pod for pod in candidates if is_active(pod)]
        owned = await settle(self._client, replica_set, claim(replica_set, selector, active))
        await self._settle_disputes(replica_set)
        failure, error = None, None
        if self._expectations.satisfied(key, self._clock.monotonic_s()):
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
            error = await self._create(replica_set, decided.create)
            reason = "FailedCreate"
        else:
            error = await self._delete(replica_set, decided.delete)
            reason = "FailedDelete"
        if error is None or namespace_is_ending(error):
            return None, None
        # Only what the server refused is a condition; a lost connection says nothing of the Pods.
        told = None if isinstance(error, _AMBIGUOUS) else Failure(reason, error.message)
        return told, error

    async def _create(self, replica_set: Object, count: int) -> ApiError | None:
        key = key_of(replica_set)
        doubtful = set(self._expectations.doubtful(key))
        names = self._names(replica_set, count)
        for size in batches(count):
            batch, names = names[:size], names[size:]
            self._expectations.expect_created(key, batch, self._clock.monotonic_s())
            creates = (self._create_one(replica_set, n, repeated=n in doubtful) for n in batch)
            results = await asyncio.gather(*creates)
            if failed := [error for error in results if error is not None]:
                return failed[0]
        return None

    def _names(self, replica_set: Object, count: int) -> list[str]:
        """Names for so many Pods: first those whose create got no answer, then new ones."""
        names = self._expectations.doubtful(key_of(replica_set))[:count]
        prefix, namespace = name_prefix(replica_set), key_of(replica_set).namespace
        while len(names) < count:
            for _ in range(_NAME_ATTEMPTS):
                name = generate_name(prefix, self._rng)
                if name not in names and not self._pods.get(ObjectKey(namespace, name)):
                    break
            names.append(name)
        return names

    async def _create_one(
        self, replica_set: Object, name: str, *, repeated: bool
    ) -> ApiError | None:
        """Create one Pod; `repeated` says that an earlier create of that name got no answer."""
        key = key_of(replica_set)
        try:
            created = await self._client.create(pod_of_template(replica_set, name))
        except _AMBIGUOUS as error:
            self._expectations.in_doubt(key, name)
            return error
        except AlreadyExistsError as error:
            return await self._on_name_taken(replica_set, name, error)
        except ApiError as error:
            if repeated and await self._may_exist(key, name):
                self._expectations.in_doubt(key, name)
                return error
            self._expectations.not_created(key, name)
            if not namespace_is_ending(error):
                text = f"Error creating: {error.message}"
                self._recorder.event(replica_set, "Warning", "FailedCreate", text)
            return error
        self._expectations.answered(key, name, uid_of(created))
        self._recorder.event(replica_set, "Normal", "SuccessfulCreate", f"Created pod: {name}")
        return None

    async def _may_exist(self, key: ObjectKey, name: str) -> bool:
        """Whether a create that got no answer may have happened: false only if surely not."""
        try:
            await self._client.get(POD, name, key.namespace)
        except NotFoundError:
            return False
        except ApiError:
            return True
        return True

    async def _on_name_taken(
        self, replica_set: Object, name: str, error: AlreadyExistsError
    ) -> ApiError | None:
        """It is ours, by a create whose answer was lost; or another's: the next try draws anew."""
        key = key_of(replica_set)
        try:
            live = await self._client.get(POD, name, key.namespace)
        except ApiError as failure:
            self._expectations.in_doubt(key, name)
            return failure
        if _owned_by(live, replica_set):
            self._settle(key, live)
            return None
        self._expectations.not_created(key, name)
        return error

    async def _settle_disputes(self, replica_set: Object) -> None:
        """Ask the server for Pods whose creates went without an answer more than once."""
        key = key_of(replica_set)
        for name in self._expectations.disputed(key):
            with contextlib.suppress(NotFoundError):
                live = await self._client.get(POD, name, key.namespace)
                if _owned_by(live, replica_set):
                    self._settle(key, live)
                else:
                    self._expectations.not_created(key, name)

    def _settle(self, key: ObjectKey, live: Object) -> None:
        """Expect the Pod that the server has, unless the cache has it already."""
        self._expectations.answered(key, key_of(live).name, uid_of(live))
        if cached := self._pods.get(key_of(live)):
            self._expectations.observed(key, key_of(live).name, uid_of(cached))

    async def _delete(self, replica_set: Object, victims: Sequence[Object]) -> ApiError | None:
        if not victims:
            return None
        uids = [uid_of(pod) for pod in victims]
        now_s = self._clock.monotonic_s()
        self._expectations.expect_deleted(key_of(replica_set), uids, now_s)
        results = await asyncio.gather(*(self._delete_one(replica_set, pod) for pod in victims))
        return next((error for error in results if error is not None), None)

    async def _delete_one(self, replica_set: Object, pod: Object) -> ApiError | None:
        key, name = key_of(pod), pod["metadata"]["name"]
        try:
            await self._client.delete(POD, key.name, key.namespace, uid=uid_of(pod))
        except ApiError as error:
            self._expectations.deleted(key_of(replica_set), uid_of(pod))
            if isinstance(error, NotFoundError):
                return None
            text = f"Error deleting: {error.message}"
            self._recorder.event(replica_set, "Warning", "FailedDelete", text)
            return error
        self._recorder.event(replica_set, "Normal", "SuccessfulDelete", f"Deleted pod: {name}")
        return None

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
            self._expectations.forget(key)
            self._written.forget(key)
        self._controller.queue.add(key)

    def _on_pod(self, old: Object | None, new: Object | None) -> None:
        for pod in (old, new):
            if pod is not None and (key := _owner_key(pod)):
                self._observe(key, pod, gone=new is None)
                self._controller.queue.add(key)
        if new is not None and controller_of(new) is None and is_active(new):
            for replica_set in self._replica_sets.list(key_of(new).namespace):
                selector = selector_from_object(replica_set["spec"].get("selector"))
                if selector.matches(labels_of(new)):
                    self._controller.queue.add(key_of(replica_set))

    def _observe(self, key: ObjectKey, pod: Object, *, gone: bool) -> None:
        self._expectations.observed(key, pod["metadata"]["name"], uid_of(pod))
        if gone or is_terminating(pod):
            self._expectations.deleted(key, uid_of(pod))


def _owned_by(pod: Object, replica_set: Object) -> bool:
    owner = controller_of(pod)
    return owner is not None and owner["uid"] == uid_of(replica_set)


def _owner_key(pod: Object) -> ObjectKey | None:
    owner = controller_of(pod)
    if owner is None or owner["kind"] != REPLICA_SET.kind:
        return None
    return ObjectKey(key_of(pod).namespace, owner["name"])

"""Runs the plans of StatefulSets.

Names are fixed, so a late cache or a lost answer can make nothing twice: the server refuses it.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from agents.controllers.adoption import settle
from agents.controllers.context import Context
from agents.controllers.executor import namespace_is_ending
from agents.controllers.history.controller import History
from agents.controllers.history.controller import Revisions as Kept
from agents.controllers.history.revision import name_of, template_of
from agents.controllers.informers import BY_CONTROLLER, ORPHANS
from agents.controllers.own_writes import OwnWrites
from agents.controllers.ownership import Claim, claim
from agents.controllers.replica_set.plan import next_check_s
from agents.controllers.stateful_set.identity import (
    claim_name,
    claims_of,
    ordinal_of,
    ordinals_of,
    retained,
    revision_of,
    stateful_pod,
)
from agents.controllers.stateful_set.plan import EndPod, MakePod, Revisions, Step, plan, status
from agents.controllers.status import same_status
from kubraft.api.errors import AlreadyExistsError, ApiError, ConflictError, NotFoundError
from kubraft.api.gvk import CONTROLLER_REVISION, PERSISTENT_VOLUME_CLAIM, POD, STATEFUL_SET
from kubraft.api.labels import selector_from_object
from kubraft.api.object import (
    Object,
    ObjectKey,
    controller_of,
    is_terminating,
    key_of,
    labels_of,
    uid_of,
)
from kubraft.api.pods import phase_of
from kubraft.client.controller import Controller

# The cache shows own writes within milliseconds; this is for the case that an event is lost.
_CACHE_LAG_S = 1.0


class StatefulSetController:
    """Reconciles one StatefulSet at a time per worker, by key."""

    def __init__(self, context: Context) -> None:
        self._client = context.client
        self._clock = context.clock
        self._recorder = context.recorder("statefulset-controller")
        self._sets = context.informers.of(STATEFUL_SET)
        self._pods = context.informers.of(POD)
        self._claims = context.informers.of(PERSISTENT_VOLUME_CLAIM)
        self._history = History(context)
        self._written = OwnWrites()  # Pods
        self._written_self = OwnWrites()
        self._controller = Controller(
            "statefulset-controller",
            self.reconcile,
            workers=context.options.concurrent_statefulset_syncs,
            clock=context.clock,
        )
        self._sets.add_handler(self._on_set)
        self._pods.add_handler(self._on_pod)
        context.informers.of(CONTROLLER_REVISION).add_handler(self._on_revision)

    async def run(self) -> None:
        await self._controller.run()

    async def reconcile(self, key: ObjectKey) -> float | None:
        """Take the next steps; returns after how many seconds to look again, if no event comes."""
        owner = self._sets.get(key)
        if owner is None:
            return None
        now_s = self._clock.monotonic_s()
        if not (
            self._history.seen(key)
            and self._written.seen(key, self._pods.get, now_s)
            and self._written_self.seen(key, self._sets.get, now_s)
        ):
            return _CACHE_LAG_S
        pods = await self._owned(owner)
        kept = await self._history.sync(owner)
        revisions = _revisions(owner, kept)
        error: ApiError | None = None
        for step in plan(owner, pods, revisions, self._clock.now()):
            error = await self._take(owner, step, kept)
            if error is not None:
                break
        await self._retain(owner, pods)
        await self._report(owner, pods, revisions, kept.collisions)
        if error is not None:
            raise error
        live = {revision_of(pod) for pod in pods} | {revisions.current, revisions.update}
        await self._history.truncate(owner, kept, live)
        return next_check_s(owner, pods, self._clock.now())

    async def _owned(self, owner: Object) -> list[Object]:
        """The owner's Pods; one is adopted only if its name is one of the owner's."""
        candidates = self._pods.by_index(BY_CONTROLLER, uid_of(owner))
        candidates += self._pods.by_index(ORPHANS, key_of(owner).namespace)
        found = claim(owner, selector_from_object(owner["spec"].get("selector")), candidates)
        adopt = tuple(pod for pod in found.adopt if ordinal_of(owner, pod) is not None)
        return await settle(self._client, owner, Claim(found.owned, adopt, found.release))

    async def _take(self, owner: Object, step: Step, kept: Kept) -> ApiError | None:
        if isinstance(step, EndPod):
            return await self._end(owner, step)
        return await self._make(owner, step, kept)

    async def _make(self, owner: Object, step: MakePod, kept: Kept) -> ApiError | None:
        template = next(
            (template_of(r) for r in kept.all if name_of(r) == step.revision),
            owner["spec"]["template"],
        )
        pod = stateful_pod(owner, template, step.ordinal, step.revision)
        name, of = pod["metadata"]["name"], owner["metadata"]["name"]
        try:
            for wanted in claims_of(owner, step.ordinal):
                await self._make_claim(owner, wanted, name)
            answer = await self._client.create(pod)
        except AlreadyExistsError as error:
            return await self._on_name_taken(owner, name, error)
        except ApiError as error:
            if namespace_is_ending(error):
                return None
            text = f"create Pod {name} in StatefulSet {of} failed error: {error.message}"
            self._recorder.event(owner, "Warning", "FailedCreate", text)
            return error
        self._note(owner, answer, created=True)
        text = f"create Pod {name} in StatefulSet {of} successful"
        self._recorder.event(owner, "Normal", "SuccessfulCreate", text)
        return None

    async def _make_claim(self, owner: Object, wanted: Object, pod: str) -> None:
        """Make the claim unless it is there: it outlives its Pods.

        Raises:
            ConflictError: it is going, and the Pod must not get it.
        """
        known = self._claims.get(key_of(wanted))
        name, of = wanted["metadata"]["name"], owner["metadata"]["name"]
        if known is not None:
            if is_terminating(known):
                raise ConflictError(f"PersistentVolumeClaim {name} is being deleted")
            return
        made = retained(owner, wanted, None, condemned=False) or wanted
        try:
            await self._client.create(made)
        except AlreadyExistsError:
            return
        text = f"create Claim {name} Pod {pod} in StatefulSet {of} success"
        self._recorder.event(owner, "Normal", "SuccessfulCreate", text)

    async def _on_name_taken(
        self, owner: Object, name: str, error: AlreadyExistsError
    ) -> ApiError | None:
        """It is ours, by a create whose answer was lost, or another's, which is in the way."""
        try:
            live = await self._client.get(POD, name, key_of(owner).namespace)
        except ApiError as failure:
            return failure
        holder = controller_of(live)
        if holder is not None and holder["uid"] == uid_of(owner):
            self._note(owner, live, created=True)
            return None
        return error

    async def _end(self, owner: Object, step: EndPod) -> ApiError | None:
        pod = step.pod
        key, of = key_of(pod), owner["metadata"]["name"]
        if step.replaced:
            failed = phase_of(pod) == "Failed"
            reason = "RecreatingFailedPod" if failed else "RecreatingTerminatedPod"
            text = f"StatefulSet {key_of(owner)} is recreating {phase_of(pod).lower()} Pod"
            type_ = "Warning" if failed else "Normal"
            self._recorder.event(owner, type_, reason, f"{text} {key.name}")
        try:
            answer = await self._client.delete(POD, key.name, key.namespace, uid=uid_of(pod))
        except NotFoundError:
            return None
        except ApiError as error:
            text = f"delete Pod {key.name} in StatefulSet {of} failed error: {error.message}"
            self._recorder.event(owner, "Warning", "FailedDelete", text)
            return error
        self._note(owner, answer, created=False)
        text = f"delete Pod {key.name} in StatefulSet {of} successful"
        self._recorder.event(owner, "Normal", "SuccessfulDelete", text)
        return None

    async def _retain(self, owner: Object, pods: Sequence[Object]) -> None:
        """Let claims go with their Pod or with the set, where the policy says so."""
        templates = owner["spec"].get("volumeClaimTemplates") or ()
        wanted = ordinals_of(owner)
        for pod in pods:
            ordinal = ordinal_of(owner, pod)
            if ordinal is None:
                continue
            for template in templates:
                key = ObjectKey(key_of(owner).namespace, claim_name(owner, template, ordinal))
                known = self._claims.get(key)
                if known is None:
                    continue
                fresh = retained(owner, known, pod, condemned=ordinal not in wanted)
                if fresh is not None:
                    await self._client.update(fresh)

    async def _report(
        self, owner: Object, pods: Sequence[Object], revisions: Revisions, collisions: int | None
    ) -> None:
        fresh: dict[str, Any] = status(owner, pods, revisions, collisions, self._clock.now())
        if not same_status(owner.get("status"), fresh):
            answer = await self._client.update({**owner, "status": fresh}, "status")
            now_s = self._clock.monotonic_s()
            self._written_self.note(key_of(owner), answer, created=False, now_s=now_s)

    def _note(self, owner: Object, answer: Object, *, created: bool) -> None:
        now_s = self._clock.monotonic_s()
        self._written.note(key_of(owner), answer, created=created, now_s=now_s)

    def _on_set(self, old: Object | None, new: Object | None) -> None:
        key = key_of(new or old or {})
        if new is None:
            for known in (self._written, self._written_self, self._history):
                known.forget(key)
        self._controller.queue.add(key)

    def _on_pod(self, old: Object | None, new: Object | None) -> None:
        for pod in (old, new):
            if pod is not None and (key := _owner_key(pod)):
                self._controller.queue.add(key)
        if new is not None and controller_of(new) is None:
            for owner in self._sets.list(key_of(new).namespace):
                selector = selector_from_object(owner["spec"].get("selector"))
                if selector.matches(labels_of(new)):
                    self._controller.queue.add(key_of(owner))

    def _on_revision(self, old: Object | None, new: Object | None) -> None:
        if key := _owner_key(new or old or {"metadata": {}}):
            self._controller.queue.add(key)


def _revisions(owner: Object, kept: Kept) -> Revisions:
    """The names of the two revisions; a set that has none yet begins with its present template."""
    names = {name_of(revision) for revision in kept.all}
    current = (owner.get("status") or {}).get("currentRevision") or ""
    newest = name_of(kept.newest)
    return Revisions(current if current in names else newest, newest)


def _owner_key(obj: Object) -> ObjectKey | None:
    owner = controller_of(obj)
    if owner is None or owner["kind"] != STATEFUL_SET.kind:
        return None
    return ObjectKey(key_of(obj).namespace, owner["name"])

"""Runs the plans of Deployments."""

from __future__ import annotations

from agents.controllers.action import Action, Create, Emit, Update
from agents.controllers.adoption import settle
from agents.controllers.context import Context
from agents.controllers.deployment.plan import after_collision, after_failed_create, plan
from agents.controllers.deployment.strategy import is_rolling_update
from agents.controllers.deployment.template import same_template
from agents.controllers.executor import Executor, namespace_is_ending
from agents.controllers.informers import BY_CONTROLLER, ORPHANS
from agents.controllers.own_writes import OwnWrites
from agents.controllers.ownership import claim
from kubraft.api.errors import (
    AlreadyExistsError,
    ApiError,
    ConflictError,
    ServiceUnavailableError,
    TimeoutError_,
)
from kubraft.api.gvk import DEPLOYMENT, POD, REPLICA_SET
from kubraft.api.labels import selector_from_object
from kubraft.api.object import Object, ObjectKey, controller_of, key_of, labels_of, uid_of
from kubraft.api.pods import is_terminated
from kubraft.client.controller import Controller

# The cache shows own writes within milliseconds; this is for the case that an event is lost.
_CACHE_LAG_S = 1.0
_EVERYTHING = "This deployment is selecting all pods. A non-empty selector is required."


class DeploymentController:
    """Reconciles one Deployment at a time per worker, by key."""

    def __init__(self, context: Context) -> None:
        self._client = context.client
        self._clock = context.clock
        self._executor = Executor(context.client, context.recorder("deployment-controller"))
        self._deployments = context.informers.of(DEPLOYMENT)
        self._replica_sets = context.informers.of(REPLICA_SET)
        self._pods = context.informers.of(POD)
        self._written = OwnWrites()
        self._written_self = OwnWrites()
        self._controller = Controller(
            "deployment-controller",
            self.reconcile,
            workers=context.options.concurrent_deployment_syncs,
            clock=context.clock,
        )
        self._deployments.add_handler(self._on_deployment)
        self._replica_sets.add_handler(self._on_replica_set)
        self._pods.add_handler(self._on_pod)

    async def run(self) -> None:
        await self._controller.run()

    async def reconcile(self, key: ObjectKey) -> float | None:
        """Take one step; returns after how many seconds to look again, if no event comes."""
        deployment = self._deployments.get(key)
        now_s = self._clock.monotonic_s()
        if deployment is None:
            self._written.forget(key)
            self._written_self.forget(key)
            return None
        if not (
            self._written.seen(key, self._replica_sets.get, now_s)
            and self._written_self.seen(key, self._deployments.get, now_s)
        ):
            return _CACHE_LAG_S
        selector = selector_from_object(deployment["spec"]["selector"])
        if selector.is_everything():
            await self._executor.perform(Emit(deployment, "Warning", "SelectingAll", _EVERYTHING))
            return None
        candidates = self._replica_sets.by_index(BY_CONTROLLER, uid_of(deployment))
        candidates += self._replica_sets.by_index(ORPHANS, key.namespace)
        owned = await settle(self._client, deployment, claim(deployment, selector, candidates))
        pods = {uid_of(rs): self._pods.by_index(BY_CONTROLLER, uid_of(rs)) for rs in owned}
        decided = plan(deployment, owned, pods, self._clock.now())
        for action in decided.actions:
            if not await self._perform(deployment, action):
                return _CACHE_LAG_S
        return decided.requeue_s

    async def _perform(self, deployment: Object, action: Action) -> bool:
        """Do one action; False where the rest of the plan no longer holds."""
        key = key_of(deployment)
        if isinstance(action, Create):
            return await self._create(deployment, action)
        answer = await self._executor.perform(action)
        if answer is not None and isinstance(action, Update):
            written = self._written if answer["kind"] == REPLICA_SET.kind else self._written_self
            written.note(key, answer, created=False, now_s=self._clock.monotonic_s())
        return True

    async def _create(self, deployment: Object, action: Create) -> bool:
        key, name = key_of(deployment), action.obj["metadata"]["name"]
        try:
            answer = await self._client.create(action.obj)
        except AlreadyExistsError:
            await self._on_name_taken(deployment, action.obj)
            return False
        except (ServiceUnavailableError, TimeoutError_, ConflictError):
            raise
        except ApiError as error:
            if namespace_is_ending(error):
                return False
            now = self._clock.now()
            await self._executor.perform_all(
                after_failed_create(deployment, name, error.message, now)
            )
            raise
        self._written.note(key, answer, created=True, now_s=self._clock.monotonic_s())
        return True

    async def _on_name_taken(self, deployment: Object, wanted: Object) -> None:
        """It is ours, made by a try whose answer was lost; or another's: take the next hash."""
        key = key_of(deployment)
        live = await self._client.get(REPLICA_SET, wanted["metadata"]["name"], key.namespace)
        owner = controller_of(live)
        same = same_template(live["spec"]["template"], wanted["spec"]["template"])
        now_s = self._clock.monotonic_s()
        if owner is not None and owner["uid"] == uid_of(deployment) and same:
            self._written.note(key, live, created=True, now_s=now_s)
            return
        answer = await self._executor.perform(after_collision(deployment))
        if answer is not None:
            self._written_self.note(key, answer, created=False, now_s=now_s)

    def _on_deployment(self, old: Object | None, new: Object | None) -> None:
        self._controller.queue.add(key_of(new or old or {}))

    def _on_replica_set(self, old: Object | None, new: Object | None) -> None:
        for replica_set in (old, new):
            if replica_set is not None and (key := _owner_key(replica_set)):
                self._controller.queue.add(key)
        if new is not None and controller_of(new) is None:
            self._wake_selecting(new)

    def _wake_selecting(self, orphan: Object) -> None:
        """An orphan may be adopted by each Deployment that selects it."""
        for deployment in self._deployments.list(key_of(orphan).namespace):
            selector = selector_from_object(deployment["spec"].get("selector"))
            if selector.matches(labels_of(orphan)):
                self._controller.queue.add(key_of(deployment))

    def _on_pod(self, old: Object | None, new: Object | None) -> None:
        """The end of an old Pod is what strategy Recreate waits for."""
        pod = old if new is None else new
        if pod is None or (new is not None and not is_terminated(new)):
            return
        owner = controller_of(pod)
        if owner is None or owner["kind"] != REPLICA_SET.kind:
            return
        key = ObjectKey(key_of(pod).namespace, owner["name"])
        replica_set = self._replica_sets.get(key)
        deployment_key = _owner_key(replica_set) if replica_set else None
        deployment = self._deployments.get(deployment_key) if deployment_key else None
        if deployment is not None and not is_rolling_update(deployment):
            self._controller.queue.add(key_of(deployment))


def _owner_key(replica_set: Object) -> ObjectKey | None:
    owner = controller_of(replica_set)
    if owner is None or owner["kind"] != DEPLOYMENT.kind:
        return None
    return ObjectKey(key_of(replica_set).namespace, owner["name"])

"""Runs the plans of DaemonSets."""

from __future__ import annotations

from agents.controllers.adoption import settle
from agents.controllers.context import Context
from agents.controllers.daemon_set.backoff import EndedPods
from agents.controllers.daemon_set.placement import daemon_pod, fit
from agents.controllers.daemon_set.plan import Picture, Plan, look, manage, status, update
from agents.controllers.history.controller import History
from agents.controllers.history.revision import hash_of, name_of
from agents.controllers.informers import BY_CONTROLLER, ORPHANS
from agents.controllers.own_writes import OwnWrites
from agents.controllers.ownership import claim
from agents.controllers.pod_control import PodControl, Wanted
from agents.controllers.pod_template import name_prefix
from agents.controllers.replica_set.plan import next_check_s
from agents.controllers.status import same_status
from kubraft.api.gvk import CONTROLLER_REVISION, DAEMON_SET, NODE, POD
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
_EVERYTHING = "This daemon set is selecting all pods. A non-empty selector is required."


class DaemonSetController:
    """Reconciles one DaemonSet at a time per worker, by key."""

    def __init__(self, context: Context) -> None:
        self._client = context.client
        self._clock = context.clock
        self._recorder = context.recorder("daemonset-controller")
        self._daemon_sets = context.informers.of(DAEMON_SET)
        self._pods = context.informers.of(POD)
        self._nodes = context.informers.of(NODE)
        self._control = PodControl(context, self._recorder, DAEMON_SET)
        self._history = History(context)
        self._written = OwnWrites()
        self._backoff = EndedPods(context.clock)
        self._controller = Controller(
            "daemonset-controller",
            self.reconcile,
            workers=context.options.concurrent_daemonset_syncs,
            clock=context.clock,
        )
        self._daemon_sets.add_handler(self._on_daemon_set)
        self._pods.add_handler(self._on_pod)
        self._nodes.add_handler(self._on_node)
        context.informers.of(CONTROLLER_REVISION).add_handler(self._on_revision)

    async def run(self) -> None:
        await self._controller.run()

    async def reconcile(self, key: ObjectKey) -> float | None:
        """Take one step; returns after how many seconds to look again, if no event comes."""
        daemon_set = self._daemon_sets.get(key)
        if daemon_set is None:
            return None
        if not self._history.seen(key):
            return _CACHE_LAG_S
        selector = selector_from_object(daemon_set["spec"].get("selector"))
        if selector.is_everything():
            self._recorder.event(daemon_set, "Warning", "SelectingAll", _EVERYTHING)
            return None
        candidates = self._pods.by_index(BY_CONTROLLER, uid_of(daemon_set))
        candidates += self._pods.by_index(ORPHANS, key.namespace)
        pods = await settle(self._client, daemon_set, claim(daemon_set, selector, candidates))
        revisions = await self._history.sync(daemon_set)
        fits = {key_of(node).name: fit(daemon_set, node) for node in self._nodes.list()}
        picture = look(daemon_set, fits, pods, hash_of(revisions.newest))
        if is_terminating(daemon_set):
            return None
        wait_s: float | None = None
        if await self._control.settled(daemon_set):
            decided = manage(picture, self._clock.now())
            if not (decided.create or decided.delete):
                decided = update(picture, self._clock.now())
            wait_s = await self._carry_out(picture, decided)
        await self._report(picture, revisions.collisions)
        live = {labels_of(pod).get("controller-revision-hash") for pod in pods}
        kept = {name_of(r) for r in revisions.all if hash_of(r) in live}
        await self._history.truncate(daemon_set, revisions, kept | {name_of(revisions.newest)})
        ready_s = next_check_s(daemon_set, pods, self._clock.now())
        return min((s for s in (wait_s, ready_s) if s is not None), default=None)

    async def _carry_out(self, picture: Picture, decided: Plan) -> float | None:
        """Do it; returns when Pods that ended too often may be replaced."""
        daemon_set = picture.daemon_set
        waits = {uid_of(pod): self._backoff.wait_s(daemon_set, pod) for pod in decided.ended}
        for pod in decided.ended:
            if waits[uid_of(pod)]:
                continue
            place = f"{key_of(pod)} on node {pod['spec'].get('nodeName', '')}"
            if phase_of(pod) == "Failed":
                text = f"Found failed daemon pod {place}, will try to kill it"
                self._recorder.event(daemon_set, "Warning", "FailedDaemonPod", text)
            else:
                text = f"Found succeeded daemon pod {place}, will try to delete it"
                self._recorder.event(daemon_set, "Normal", "SucceededDaemonPod", text)
        victims = [pod for pod in decided.delete if not waits.get(uid_of(pod))]
        deleted = await self._control.delete(daemon_set, victims)
        wanted = [self._wanted(picture, node) for node in decided.create]
        created = await self._control.create(daemon_set, wanted)
        if error := deleted.error or created.error:
            raise error
        return min((wait_s for wait_s in waits.values() if wait_s), default=None)

    def _wanted(self, picture: Picture, node: str) -> Wanted:
        daemon_set = picture.daemon_set

        def build(name: str) -> Object:
            return daemon_pod(daemon_set, name, node, picture.digest)

        return Wanted(name_prefix(daemon_set), build, node)

    async def _report(self, picture: Picture, collisions: int | None) -> None:
        daemon_set, now_s = picture.daemon_set, self._clock.monotonic_s()
        key, fresh = key_of(daemon_set), status(picture, collisions, self._clock.now())
        if same_status(daemon_set.get("status"), fresh):
            return
        # What was reported last is not in the cache yet: its event brings this key back.
        if self._written.seen(key, self._daemon_sets.get, now_s):
            answer = await self._client.update({**daemon_set, "status": fresh}, "status")
            self._written.note(key, answer, created=False, now_s=now_s)

    def _on_daemon_set(self, old: Object | None, new: Object | None) -> None:
        key = key_of(new or old or {})
        if new is None:
            self._control.forget(key)
            self._history.forget(key)
            self._backoff.forget(uid_of(old or {"metadata": {}}))
            self._written.forget(key)
        self._controller.queue.add(key)

    def _on_pod(self, old: Object | None, new: Object | None) -> None:
        for pod in (old, new):
            if pod is not None and (key := self._control.owner_key(pod)):
                self._control.observe(key, pod, gone=new is None)
                self._controller.queue.add(key)
        if new is not None and controller_of(new) is None:
            for daemon_set in self._daemon_sets.list(key_of(new).namespace):
                selector = selector_from_object(daemon_set["spec"].get("selector"))
                if selector.matches(labels_of(new)):
                    self._controller.queue.add(key_of(daemon_set))

    def _on_node(self, old: Object | None, new: Object | None) -> None:
        """Only what decides who runs there: labels and taints."""
        for daemon_set in self._daemon_sets.list():
            before = fit(daemon_set, old) if old else None
            after = fit(daemon_set, new) if new else None
            if before != after:
                self._controller.queue.add(key_of(daemon_set))

    def _on_revision(self, old: Object | None, new: Object | None) -> None:
        if key := self._control.owner_key(new or old or {"metadata": {}}):
            self._controller.queue.add(key)

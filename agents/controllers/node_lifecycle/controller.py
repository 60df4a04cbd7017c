"""Watches the nodes' signs of life, and marks nodes and their Pods by what they show."""

from __future__ import annotations

import asyncio

from agents.controllers.context import Context
from agents.controllers.informers import BY_NODE
from agents.controllers.node_lifecycle.health import lost, not_ready, readiness
from agents.controllers.node_lifecycle.heartbeat import Heartbeats, patience_s, signs_of_life
from agents.controllers.node_lifecycle.taint import tainted, untainted
from agents.controllers.node_lifecycle.zone import Census, Disruption, Throttle, rates, zone_of
from kubraft.api.conditions import conditions_of, find_condition
from kubraft.api.errors import ApiError, ConflictError, NotFoundError
from kubraft.api.gvk import LEASE, NODE, POD
from kubraft.api.object import Object, ObjectKey, key_of
from kubraft.client.controller import Controller
from kubraft.log import get_logger

LEASE_NAMESPACE = "kube-node-lease"
_WORKERS = 4
# A node whose turn to be tainted has not come is looked at again after this.
_TURN_S = 1.0


class NodeLifecycleController:
    """A loop that looks for silence, and a reconciler of one node at a time, by name."""

    def __init__(self, context: Context) -> None:
        self._client = context.client
        self._clock = context.clock
        self._options = context.options
        self._recorder = context.recorder("node-controller")
        self._nodes = context.informers.of(NODE)
        self._leases = context.informers.of(LEASE)
        self._pods = context.informers.of(POD)
        self._beats = Heartbeats()
        self._known: set[str] = set()
        self._census = Census()
        self._zones: dict[str, Disruption] = {}
        self._throttles: dict[str, Throttle] = {}
        self._log = get_logger("node-lifecycle-controller")
        self._controller = Controller(
            "node-lifecycle-controller", self.reconcile, workers=_WORKERS, clock=context.clock
        )
        self._nodes.add_handler(self._on_node)
        self._leases.add_handler(self._on_lease)

    async def run(self) -> None:
        self._beats.grant_all(self._clock.monotonic_s())
        self._judge_zones()
        async with asyncio.TaskGroup() as group:
            group.create_task(self._controller.run())
            group.create_task(self._monitor())

    async def _monitor(self) -> None:
        period_s = self._options.node_monitor_period_s
        looked_s = self._clock.monotonic_s()
        while True:
            await self._clock.sleep(period_s)
            now_s = self._clock.monotonic_s()
            if now_s - looked_s > period_s + self._options.node_monitor_grace_s / 2:
                # This process was stopped: what the nodes said meanwhile is not read yet.
                self._log.info("was_deaf", seconds=round(now_s - looked_s, 1))
                self._beats.grant_all(now_s)
            looked_s = now_s
            await self.look()

    async def look(self) -> None:
        """Declare the nodes Unknown that have been silent for their grace period."""
        nodes = {key_of(node).name: node for node in self._nodes.list()}
        self._beats.keep_only(nodes.keys())
        # All that was heard has been observed; what is nobody's grace yet needs no closer look.
        now_s, options = self._clock.monotonic_s(), self._options
        least_s = min(options.node_monitor_grace_s, options.node_startup_grace_s)
        quiet = [n for name, n in nodes.items() if self._beats.silence_s(name, now_s) > least_s]
        silent = [node for node in quiet if self._is_silent(node)]
        await asyncio.gather(*(self._declare_lost(node) for node in silent))

    def _is_silent(self, node: Object) -> bool:
        known = find_condition(conditions_of(node), "Ready") is not None
        options = self._options
        lease = self._lease(node)
        grace_s = (
            patience_s(lease, options.node_monitor_grace_s)
            if known
            else options.node_startup_grace_s
        )
        silent_s = self._beats.observe(node, lease, self._clock.monotonic_s())
        return silent_s > grace_s and lost(node, self._clock.now()) is not None

    def _lease(self, node: Object) -> Object | None:
        return self._leases.get(ObjectKey(LEASE_NAMESPACE, key_of(node).name))

    async def _declare_lost(self, node: Object) -> None:
        name = key_of(node).name
        try:
            if await self._was_heard(node):
                return
            changed = lost(node, self._clock.now())
            if changed is None:
                return
            await self._client.update(changed, "status")
        except (ConflictError, NotFoundError):
            return  # it wrote just now, or is gone
        except ApiError as error:
            # Who cannot reach the API server has not heard what the nodes told it.
            self._log.warning("not_declared_lost", node=name, cause=error.message)
            self._beats.grant(name, self._clock.monotonic_s())
            return
        self._log.warning("node_lost", node=name)
        if readiness(node) == "True":
            text = f"Node {name} status is now: NodeNotReady"
            self._recorder.event(node, "Normal", "NodeNotReady", text)

    async def _was_heard(self, node: Object) -> bool:
        """Whether a live read shows a sign of life that the cache lacks."""
        name = key_of(node).name
        try:
            live = await self._client.get(LEASE, name, LEASE_NAMESPACE)
        except NotFoundError:
            live = None
        cached = self._leases.get(ObjectKey(LEASE_NAMESPACE, name))
        if signs_of_life(node, live) == signs_of_life(node, cached):
            return False
        self._beats.grant(name, self._clock.monotonic_s())
        return True

    async def reconcile(self, name: str) -> float | None:
        """Bring the node's taints, and its Pods' readiness, in line with its conditions."""
        node = self._nodes.get(ObjectKey("", name))
        if node is None:
            self._known.discard(name)
            return None
        if name not in self._known:
            self._known.add(name)
            text = f"Node {name} event: Registered Node {name} in Controller"
            self._recorder.event(node, "Normal", "RegisteredNode", text)
        if readiness(node) == "Unknown" and find_condition(conditions_of(node), "Ready"):
            await self._mark_pods(name)
        if self._is_stopped():
            bare = untainted(node)
            changed = tainted(bare or node, evict=False, now=self._clock.now()) or bare
            if changed is not None:
                await self._client.update(changed)
            return None
        return await self._taint(node)

    async def _taint(self, node: Object) -> float | None:
        """Write the node's taints; returns when its turn to drive Pods off may come."""
        now = self._clock.now()
        patient, driving = tainted(node, evict=False, now=now), tainted(node, evict=True, now=now)
        if patient == driving:
            if driving is not None:
                await self._client.update(driving)
            return None
        throttle = self._throttles.get(zone_of(node))
        if throttle is None or not throttle.try_pass(self._clock.monotonic_s()):
            if patient is not None:
                await self._client.update(patient)
            return _TURN_S
        assert driving is not None
        try:
            await self._client.update(driving)
        except ApiError:
            throttle.take_back()
            raise
        return None

    async def _mark_pods(self, name: str) -> None:
        for pod in self._pods.by_index(BY_NODE, name):
            changed = not_ready(pod, self._clock.now())
            if changed is None:
                continue
            try:
                await self._client.update(changed, "status")
            except NotFoundError:
                continue
            self._recorder.event(pod, "Warning", "NodeNotReady", "Node is not ready")

    def _is_stopped(self) -> bool:
        """Whether no node at all is ready: then it is not the nodes that failed."""
        return bool(self._zones) and all(z is Disruption.FULL for z in self._zones.values())

    def _judge_zones(self) -> None:
        """Find out how much of each zone is lost, and what that allows."""
        was_stopped, before = self._is_stopped(), self._zones
        self._zones = self._census.disruptions(self._options.limits)
        sizes = self._census.sizes()
        for zone, rate in rates(self._zones, sizes, self._options.limits).items():
            self._throttles.setdefault(zone, Throttle(rate)).rate = rate
        if was_stopped and not self._is_stopped():
            self._beats.grant_all(self._clock.monotonic_s())
        if self._zones != before:
            self._log.info("zones", **{zone or "all": z.value for zone, z in self._zones.items()})
            for node in self._nodes.list():
                self._controller.queue.add(key_of(node).name)

    def _on_node(self, old: Object | None, new: Object | None) -> None:
        self._census.change(old, new)
        if new is not None:
            self._beats.observe(new, self._lease(new), self._clock.monotonic_s())
            self._controller.queue.add(key_of(new).name)
        if old is None or new is None or readiness(old) != readiness(new):
            self._judge_zones()

    def _on_lease(self, old: Object | None, new: Object | None) -> None:  # noqa: ARG002
        if new is None or key_of(new).namespace != LEASE_NAMESPACE:
            return
        node = self._nodes.get(ObjectKey("", key_of(new).name))
        if node is not None:
            self._beats.observe(node, new, self._clock.monotonic_s())

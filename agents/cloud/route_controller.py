"""Keeps the ways to Nodes' Pods, and says on each Node whether there is one.

All routes are looked at together, when a Node's range or address changes and every period.

Source: k8s.io/cloud-provider, controllers/route (order, condition, Events and their words).
"""

from __future__ import annotations

import asyncio
from collections.abc import Coroutine, Iterable, Sequence
from typing import Any, Final, TypeVar

from agents.cloud import route_plan
from agents.cloud.provider import CloudError, Route, Routes
from kubraft.agent_main import first_cause
from kubraft.api.conditions import conditions_of, find_condition, with_condition
from kubraft.api.errors import ConflictError, NotFoundError
from kubraft.api.gvk import NODE
from kubraft.api.networks import Network, pod_cidrs
from kubraft.api.object import Object, key_of, uid_of
from kubraft.api.time import Clock, format_time
from kubraft.client.client import ApiClient
from kubraft.client.controller import Controller
from kubraft.client.events import EventRecorder
from kubraft.client.informer import Informer
from kubraft.log import get_logger

PERIOD_S: Final = 10.0  # upstream: --route-reconciliation-period
_AT_ONCE: Final = 200  # calls of the provider, as upstream
_WRITES_MAX: Final = 5  # of one condition, while others write the Node too
_ALL: Final = "routes"  # the one key

T = TypeVar("T")


class RouteController:
    """Reconciles all routes of the cluster at once."""

    def __init__(
        self,
        client: ApiClient,
        nodes: Informer,
        routes: Routes,
        recorder: EventRecorder,
        clock: Clock,
        *,
        ranges: Sequence[Network],
        period_s: float = PERIOD_S,
    ) -> None:
        """`ranges` are the cluster's, of Pods' addresses; routes elsewhere are not touched."""
        self._client = client
        self._nodes = nodes
        self._routes = routes
        self._recorder = recorder
        self._clock = clock
        self._ranges = tuple(ranges)
        self._period_s = period_s
        self._slots = asyncio.Semaphore(_AT_ONCE)
        self._log = get_logger("node-route-controller")
        self._controller = Controller(
            "node-route-controller", self.reconcile, workers=1, clock=clock
        )
        nodes.add_handler(self._on_node)

    async def run(self) -> None:
        self._controller.queue.add(_ALL)
        await self._controller.run()

    async def reconcile(self, _: str) -> float | None:
        """Make the routes as they should be, then the Nodes' conditions."""
        try:
            routes = await self._routes.list()
        except CloudError as error:
            self._log.warning("routes_not_listed", cause=str(error))
            return self._period_s
        nodes = sorted(self._nodes.list(), key=key_of)
        plan = route_plan.plan_of(nodes, routes, self._ranges)
        await _together(self._delete(route) for route in plan.delete)
        failures = [(route, _outside(self._ranges)) for route in plan.refused]
        tried = await _together(self._create(route) for route in plan.create)
        failures += [failure for failure in tried if failure is not None]
        await self._tell(nodes, failures)
        return self._period_s

    async def _delete(self, route: Route) -> None:
        async with self._slots:
            try:
                await self._routes.delete(route)
            except CloudError as error:
                self._log.warning(
                    "route_not_deleted", cidr=route.destination_cidr, cause=str(error)
                )
            else:
                self._log.info("route_deleted", cidr=route.destination_cidr, node=route.node_name)

    async def _create(self, route: Route) -> tuple[Route, str] | None:
        """Returns the route and why it is not there, None where it is."""
        async with self._slots:
            try:
                await self._routes.create(route)
            except CloudError as error:
                return route, str(error)
        self._log.info("route_created", cidr=route.destination_cidr, node=route.node_name)
        return None

    async def _tell(self, nodes: Sequence[Object], failures: Sequence[tuple[Route, str]]) -> None:
        """Events for what failed, then conditions."""
        uids = {key_of(node).name: uid_of(node) for node in nodes}
        for route, why in failures:
            name = route.node_name
            message = (
                f"Could not create route {uids[name]} {route.destination_cidr} for node {name}: "
                f"{why}"
            )
            # As upstream: the Event's Node has its name for a uid.
            about = {"kind": "Node", "name": name, "uid": name}
            self._recorder.event(about, "Warning", "FailedToCreateRoute", message)
        without = {route.node_name for route, _ in failures}
        await _together(
            self._write_condition(node, has_routes=key_of(node).name not in without)
            for node in nodes
            if pod_cidrs(node)
        )

    async def _write_condition(self, node: Object, *, has_routes: bool) -> None:
        async with self._slots:
            for _ in range(_WRITES_MAX):
                condition = route_plan.condition_due(node, has_routes=has_routes)
                if condition is None:
                    return
                try:
                    await self._put_condition(node, condition)
                except ConflictError:
                    try:
                        node = await self._client.get(NODE, key_of(node).name)
                    except NotFoundError:
                        return
                except NotFoundError:
                    return
                else:
                    return

    async def _put_condition(self, node: Object, condition: dict[str, Any]) -> None:
        # The whole list is replaced, so only where nobody has changed it meanwhile.
        now = self._clock.now()
        condition["lastHeartbeatTime"] = format_time(now)
        conditions = with_condition(conditions_of(node), condition, now)
        await self._client.patch(
            NODE,
            key_of(node).name,
            {"status": {"conditions": conditions}},
            subresource="status",
            resource_version=node["metadata"]["resourceVersion"],
        )

    def _on_node(self, old: Object | None, new: Object | None) -> None:
        if _concerns(old) != _concerns(new):
            self._controller.queue.add(_ALL)


async def _together(works: Iterable[Coroutine[Any, Any, T]]) -> list[T]:
    """All at once; the first failure ends the others, and is raised as it is."""
    try:
        async with asyncio.TaskGroup() as group:
            tasks = [group.create_task(work) for work in works]
    except BaseExceptionGroup as failed:
        raise first_cause(failed) from failed
    return [task.result() for task in tasks]


def _concerns(node: Object | None) -> object:
    """What of a Node its routes and its condition depend on; None where there is nothing."""
    if node is None or not (wanted := route_plan.routes_of(node)):
        return None
    condition = find_condition(conditions_of(node), route_plan.CONDITION) or {}
    return uid_of(node), wanted, condition.get("status")


def _outside(ranges: Sequence[Network]) -> str:
    return f"it is not within the cluster's range, {', '.join(map(str, ranges))}"

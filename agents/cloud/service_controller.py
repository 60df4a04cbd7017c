"""Gives Services of type LoadBalancer their load balancer, and takes it away.

A finalizer is on the Service before the provider is asked for anything, so that nothing is left
behind whenever this process dies.

Source: k8s.io/cloud-provider, controllers/service (order of writes, Events and their words).
"""

from __future__ import annotations

from typing import Any

from agents.cloud import service_plan
from agents.cloud.node_plan import takes_traffic
from agents.cloud.provider import CloudError, LoadBalancers
from kubraft.api.errors import NotFoundError
from kubraft.api.object import Object, ObjectKey, key_of, uid_of
from kubraft.api.time import Clock
from kubraft.client.client import ApiClient
from kubraft.client.controller import Controller
from kubraft.client.events import EventRecorder
from kubraft.client.informer import Informer

_RETRY_S_MIN, _RETRY_S_MAX = 5.0, 300.0


class ServiceController:
    """Reconciles one Service at a time."""

    def __init__(
        self,
        client: ApiClient,
        services: Informer,
        nodes: Informer,
        balancers: LoadBalancers,
        recorder: EventRecorder,
        *,
        clock: Clock,
    ) -> None:
        self._client = client
        self._services = services
        self._nodes = nodes
        self._balancers = balancers
        self._recorder = recorder
        # By uid: what this process has seen done. Lost with it, and then done again.
        self._done: dict[str, tuple[dict[str, Any], list[str]]] = {}
        self._failures: dict[ObjectKey, int] = {}
        self._controller: Controller[ObjectKey] = Controller(
            "service-lb-controller", self.reconcile, clock=clock
        )
        services.add_handler(self._on_service)
        nodes.add_handler(self._on_node)

    async def run(self) -> None:
        await self._controller.run()

    async def reconcile(self, key: ObjectKey) -> float | None:
        """Make the load balancer and what the Service says of it as they should be."""
        service = self._services.get(key)
        if service is None:
            self._failures.pop(key, None)
            return None
        try:
            if service_plan.wants_balancer(service):
                await self._ensure(service)
            elif service_plan.had_balancer(service):
                await self._delete(service)
        except CloudError as error:
            message = f"Error syncing load balancer: {error}"
            self._recorder.event(service, "Warning", "SyncLoadBalancerFailed", message)
            failures = self._failures[key] = self._failures.get(key, 0) + 1
            return float(min(_RETRY_S_MIN * 2 ** min(failures - 1, 10), _RETRY_S_MAX))
        except NotFoundError:
            return None  # it is gone, and its finalizer was not ours any more
        self._failures.pop(key, None)
        return None

    async def _ensure(self, service: Object) -> None:
        if not service_plan.has_finalizer(service):
            service = await self._client.update(service_plan.with_finalizer(service))
        nodes = sorted(filter(takes_traffic, self._nodes.list()), key=key_of)
        names = [key_of(node).name for node in nodes]
        wish = service_plan.wish(service)
        known_wish, known_names = self._done.get(uid_of(service), (None, names))
        is_new = wish != known_wish
        if is_new and not service_plan.ingress_of(service):
            event = ("Normal", "EnsuringLoadBalancer", "Ensuring load balancer")
            self._recorder.event(service, *event)
        if not nodes:
            message = "There are no available nodes for LoadBalancer"
            self._recorder.event(service, "Warning", "UnAvailableLoadBalancer", message)
        found = service_plan.ingress_status(await self._balancers.ensure(service, nodes))
        had = service_plan.ingress_of(service)
        if found != had:
            await self._write_status(service, found)
        if found != had or (known_wish is not None and is_new):
            self._recorder.event(service, "Normal", "EnsuredLoadBalancer", "Ensured load balancer")
        elif known_names != names:
            message = "Updated load balancer with new hosts"
            self._recorder.event(service, "Normal", "UpdatedLoadBalancer", message)
        self._done[uid_of(service)] = wish, names

    async def _delete(self, service: Object) -> None:
        self._recorder.event(service, "Normal", "DeletingLoadBalancer", "Deleting load balancer")
        await self._balancers.delete(service)
        self._done.pop(uid_of(service), None)
        if service_plan.ingress_of(service):
            service = await self._write_status(service, [])
        await self._client.update(service_plan.without_finalizer(service))
        self._recorder.event(service, "Normal", "DeletedLoadBalancer", "Deleted load balancer")

    async def _write_status(self, service: Object, ingress: list[dict[str, Any]]) -> Object:
        status = {**(service.get("status") or {}), "loadBalancer": {"ingress": ingress}}
        if not ingress:
            status["loadBalancer"] = {}
        return await self._client.update({**service, "status": status}, subresource="status")

    def _on_service(self, old: Object | None, new: Object | None) -> None:
        if new is None:
            if old is not None:
                self._done.pop(uid_of(old), None)
        elif service_plan.wants_balancer(new) or service_plan.had_balancer(new):
            self._controller.queue.add(key_of(new))

    def _on_node(self, old: Object | None, new: Object | None) -> None:
        if (old is not None and takes_traffic(old)) == (new is not None and takes_traffic(new)):
            return
        for service in self._services.list():
            if service_plan.wants_balancer(service):
                self._controller.queue.add(key_of(service))

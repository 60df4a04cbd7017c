"""Keeps the Endpoints object of each Service with a selector, for those who still read it."""

from __future__ import annotations

from agents.controllers.context import Context
from agents.controllers.endpoints.membership import affected, selects, selects_pods
from agents.controllers.endpoints.subsets import MANAGED_BY, MANAGER, endpoints_of, is_same
from agents.controllers.executor import namespace_is_ending
from kubraft.api.errors import AlreadyExistsError, ApiError, ConflictError, NotFoundError
from kubraft.api.gvk import ENDPOINTS, POD, SERVICE
from kubraft.api.object import Object, ObjectKey, is_terminating, key_of, labels_of, uid_of
from kubraft.client.controller import Controller


class EndpointsController:
    """Reconciles one Service at a time per worker, by key.

    A stale cache does no harm: an object of the Service's name is made once, and changed only at
    the version that was read.
    """

    def __init__(self, context: Context) -> None:
        self._client = context.client
        self._recorder = context.recorder("endpoint-controller")
        self._services = context.informers.of(SERVICE)
        self._pods = context.informers.of(POD)
        self._endpoints = context.informers.of(ENDPOINTS)
        self._controller = Controller(
            "endpoints-controller",
            self.reconcile,
            workers=context.options.concurrent_endpoint_syncs,
            clock=context.clock,
        )
        self._services.add_handler(self._on_named)
        self._endpoints.add_handler(self._on_named)
        self._pods.add_handler(self._on_pod)

    async def run(self) -> None:
        await self._controller.run()

    async def reconcile(self, key: ObjectKey) -> float | None:
        """Bring the object to the Service's Pods; it goes with the Service."""
        service, known = self._services.get(key), self._endpoints.get(key)
        if service is None:
            await self._forget(key, known)
            return None
        if not selects_pods(service) or is_terminating(service):
            return None
        pods = [pod for pod in self._pods.list(key.namespace) if selects(service, pod)]
        fresh = endpoints_of(service, pods, known)
        if known is not None and is_same(known, fresh):
            return None
        try:
            await (self._client.update(fresh) if known else self._client.create(fresh))
        except (ConflictError, AlreadyExistsError):
            raise  # the cache lags: nothing to trouble anybody with
        except ApiError as error:
            if namespace_is_ending(error):
                return None
            verb = "update" if known else "create"
            reason = f"FailedTo{verb.capitalize()}Endpoint"
            text = f"Failed to {verb} endpoint {key}: {error.message}"
            self._recorder.event(service, "Warning", reason, text)
            raise
        return None

    async def _forget(self, key: ObjectKey, known: Object | None) -> None:
        """Delete what this controller made, if the Service is gone for sure."""
        if known is None or labels_of(known).get(MANAGED_BY) != MANAGER:
            return
        try:
            await self._client.get(SERVICE, key.name, key.namespace)
        except NotFoundError:
            try:
                await self._client.delete(ENDPOINTS, key.name, key.namespace, uid=uid_of(known))
            except NotFoundError:
                return

    def _on_named(self, old: Object | None, new: Object | None) -> None:
        """A Service and its Endpoints have one name."""
        self._controller.queue.add(key_of(new or old or {}))

    def _on_pod(self, old: Object | None, new: Object | None) -> None:
        for service in affected(self._services.list, old, new):
            self._controller.queue.add(key_of(service))

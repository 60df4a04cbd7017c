"""The ServiceAccount `default`, which every Namespace has.

Source: Kubernetes documentation, "Managing Service Accounts, ServiceAccount controller".
"""

from __future__ import annotations

from agents.controllers.context import Context
from agents.controllers.executor import create_if_absent
from kubraft.api.gvk import NAMESPACE, SERVICE_ACCOUNT
from kubraft.api.object import Object, ObjectKey, is_terminating, key_of
from kubraft.client.controller import Controller

_NAME = "default"


class ServiceAccountController:
    """Reconciles one Namespace at a time, by its name."""

    def __init__(self, context: Context) -> None:
        self._client = context.client
        self._namespaces = context.informers.of(NAMESPACE)
        self._accounts = context.informers.of(SERVICE_ACCOUNT)
        self._controller = Controller(
            "serviceaccount-controller",
            self.reconcile,
            workers=context.options.concurrent_serviceaccount_syncs,
            clock=context.clock,
        )
        self._namespaces.add_handler(self._on_namespace)
        self._accounts.add_handler(self._on_account)

    async def run(self) -> None:
        await self._controller.run()

    async def reconcile(self, namespace: str) -> float | None:
        """Create the account where it is missing."""
        found = self._namespaces.get(ObjectKey("", namespace))
        if found is None or is_terminating(found):
            return None
        if self._accounts.get(ObjectKey(namespace, _NAME)):
            return None
        await create_if_absent(
            self._client,
            {
                "apiVersion": SERVICE_ACCOUNT.api_version,
                "kind": SERVICE_ACCOUNT.kind,
                "metadata": {"name": _NAME, "namespace": namespace},
            },
        )
        return None

    def _on_namespace(self, old: Object | None, new: Object | None) -> None:
        if new is not None and old is None:
            self._controller.queue.add(key_of(new).name)

    def _on_account(self, old: Object | None, new: Object | None) -> None:
        if new is None and old is not None and key_of(old).name == _NAME:
            self._controller.queue.add(key_of(old).namespace)

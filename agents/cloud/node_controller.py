"""Tells Nodes what the cloud knows of their machines, and deletes those whose machine is gone.

Source: k8s.io/cloud-provider, controllers node and nodelifecycle (what is done when, and Events).
"""

from __future__ import annotations

from typing import Final

from agents.cloud import node_plan
from agents.cloud.provider import CloudError, InstanceNotFoundError, Instances
from kubraft.api.errors import NotFoundError
from kubraft.api.gvk import NODE
from kubraft.api.object import Object, ObjectKey, is_terminating, key_of
from kubraft.api.time import Clock
from kubraft.client.client import ApiClient
from kubraft.client.controller import Controller
from kubraft.client.events import EventRecorder
from kubraft.client.informer import Informer
from kubraft.log import get_logger

# How often the machine of a Node that is not ready is looked for. Upstream: --node-monitor-period.
MONITOR_S: Final = 5.0
_RETRY_S: Final = 5.0


class NodeController:
    """Reconciles one Node at a time, by its name."""

    def __init__(
        self,
        client: ApiClient,
        nodes: Informer,
        instances: Instances,
        recorder: EventRecorder,
        clock: Clock,
        *,
        monitor_s: float = MONITOR_S,
    ) -> None:
        self._client = client
        self._nodes = nodes
        self._instances = instances
        self._recorder = recorder
        self._monitor_s = monitor_s
        self._log = get_logger("cloud-node-controller")
        self._controller = Controller("cloud-node-controller", self.reconcile, clock=clock)
        nodes.add_handler(self._on_node)

    async def run(self) -> None:
        await self._controller.run()

    async def reconcile(self, name: str) -> float | None:
        """Do what is due for that Node; asks the provider only where something may have changed."""
        node = self._nodes.get(ObjectKey("", name))
        if node is None or is_terminating(node):
            return None
        try:
            if node_plan.needs_metadata(node):
                await self._initialize(node)
            elif not node_plan.is_ready(node):
                await self._look_for_machine(node)
                return self._monitor_s
            elif node_plan.has_taint(node, node_plan.SHUTDOWN):
                await self._client.update(node_plan.turned_on(node))
        except InstanceNotFoundError as error:
            self._log.info("no_machine", node=name, cause=str(error))
        except CloudError as error:
            self._recorder.event(node, "Warning", "CloudProviderFailed", str(error))
            return _RETRY_S
        return None

    async def _initialize(self, node: Object) -> None:
        found = await self._instances.metadata(node)
        addresses = node_plan.with_addresses(node, found)
        if addresses is not None:
            change = {"status": {"addresses": addresses}}
            node = await self._client.patch(NODE, key_of(node).name, change, subresource="status")
        await self._client.update(node_plan.initialized(node, found))
        self._recorder.event(node, "Normal", "Synced", "Node synced successfully")

    async def _look_for_machine(self, node: Object) -> None:
        name = key_of(node).name
        if not await self._instances.exists(node):
            message = f"Deleting node {name} because it does not exist in the cloud provider"
            self._recorder.event(node, "Normal", "DeletingNode", message)
            try:
                await self._client.delete(NODE, name)
            except NotFoundError:
                return
        elif await self._instances.is_shut_down(node) and not node_plan.has_taint(
            node, node_plan.SHUTDOWN
        ):
            await self._client.update(node_plan.shut_down(node))

    def _on_node(self, old: Object | None, new: Object | None) -> None:
        if new is None:
            return
        if old is None or _concerns(old) != _concerns(new):
            self._controller.queue.add(key_of(new).name)


def _concerns(node: Object) -> tuple[bool, bool, bool]:
    return (
        node_plan.needs_metadata(node),
        node_plan.is_ready(node),
        node_plan.has_taint(node, node_plan.SHUTDOWN),
    )

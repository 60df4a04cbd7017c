"""Tells Nodes what the cloud knows of their machines, and deletes those whose machine is gone.

Source: k8s.io/cloud-provider, controllers node and nodelifecycle (what is done when, and Events).
"""

from __future__ import annotations

from typing import Final

from agents.cloud import node_plan
from agents.cloud.provider import CloudError, InstanceMetadata, InstanceNotFoundError, Instances
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
# How often addresses are asked for again. Upstream: --node-status-update-frequency.
ADDRESSES_S: Final = 300.0
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
        addresses_s: float = ADDRESSES_S,
    ) -> None:
        self._client = client
        self._nodes = nodes
        self._instances = instances
        self._clock = clock
        self._recorder = recorder
        self._monitor_s = monitor_s
        self._addresses_s = addresses_s
        # By name: when a Node's addresses were last asked for.
        self._asked_s: dict[str, float] = {}
        self._log = get_logger("cloud-node-controller")
        self._controller = Controller("cloud-node-controller", self.reconcile, clock=clock)
        nodes.add_handler(self._on_node)

    async def run(self) -> None:
        await self._controller.run()

    async def reconcile(self, name: str) -> float | None:
        """Do what is due for that Node; asks the provider only where something may have changed."""
        node = self._nodes.get(ObjectKey("", name))
        if node is None or is_terminating(node):
            self._asked_s.pop(name, None)
            return None
        try:
            if node_plan.needs_metadata(node):
                await self._initialize(node)
                self._asked_s[name] = self._clock.monotonic_s()
                return self._addresses_s
            if not node_plan.is_ready(node):
                await self._look_for_machine(node)
                return self._monitor_s
            if node_plan.has_taint(node, node_plan.SHUTDOWN):
                await self._client.update(node_plan.turned_on(node))
            return await self._ask_addresses(node)
        except InstanceNotFoundError as error:
            self._log.info("no_machine", node=name, cause=str(error))
            return None
        except CloudError as error:
            self._recorder.event(node, "Warning", "CloudProviderFailed", str(error))
            return _RETRY_S

    async def _ask_addresses(self, node: Object) -> float:
        """Write those that the machine has now, where it is time; returns when it is again."""
        name, now_s = key_of(node).name, self._clock.monotonic_s()
        due_s = self._asked_s.setdefault(name, now_s) + self._addresses_s
        if now_s < due_s:
            return due_s - now_s
        self._asked_s[name] = now_s
        await self._write_addresses(node, await self._instances.metadata(node))
        return self._addresses_s

    async def _write_addresses(self, node: Object, found: InstanceMetadata) -> Object:
        addresses = node_plan.with_addresses(node, found)
        if addresses is None:
            return node
        change = {"status": {"addresses": addresses}}
        return await self._client.patch(NODE, key_of(node).name, change, subresource="status")

    async def _initialize(self, node: Object) -> None:
        found = await self._instances.metadata(node)
        node = await self._write_addresses(node, found)
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

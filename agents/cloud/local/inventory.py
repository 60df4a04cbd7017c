"""The machines of a local cluster: the nodes of `cluster.json`, and whether their processes run.

`kubraft add-node` and `kubraft remove-node` change which there are; `kubraft kill node-1` turns one
off.
"""

from __future__ import annotations

import asyncio
from typing import Final

from agents.cloud.node_plan import provider_id
from agents.cloud.provider import CloudError, InstanceMetadata, InstanceNotFoundError
from kubraft.api.object import Object, key_of
from kubraft.cluster_config import ClusterConfig
from kubraft.home import Home, HomeError
from kubraft.ports import LOOPBACK
from kubraft.supervisor.control import ControlError, ask

REGION: Final = "local"
ZONE: Final = "local-a"
INSTANCE_TYPE: Final = "process"
_OFF: Final = ("killed", "stopped")


class Inventory:
    """Instances of one cluster's home."""

    def __init__(self, home: Home) -> None:
        self._home = home

    async def exists(self, node: Object) -> bool:
        """Whether the machine is in the cluster's file; a Node of no machine of ours stays."""
        cluster = await self._cluster()
        if provider_id(node) != _id(cluster, key_of(node).name):
            return True
        return key_of(node).name in _names(cluster)

    async def is_shut_down(self, node: Object) -> bool:
        """Whether it has been killed, and not only crashed."""
        cluster = await self._cluster()
        name = key_of(node).name
        if name not in _names(cluster):
            return False
        try:
            answer = await asyncio.to_thread(ask, self._home.control_socket, "status")
        except ControlError as error:
            raise CloudError(str(error)) from error
        return any(view["name"] == name and view["state"] in _OFF for view in answer["processes"])

    async def metadata(self, node: Object) -> InstanceMetadata:
        cluster = await self._cluster()
        name = key_of(node).name
        if name not in _names(cluster):
            raise InstanceNotFoundError(f"{name} is no machine of this cluster")
        return InstanceMetadata(
            _id(cluster, name),
            addresses=(("InternalIP", LOOPBACK), ("Hostname", name)),
            instance_type=INSTANCE_TYPE,
            zone=ZONE,
            region=REGION,
        )

    async def _cluster(self) -> ClusterConfig:
        try:
            return await asyncio.to_thread(self._home.get_cluster)
        except HomeError as error:
            raise CloudError(str(error)) from error


def _names(cluster: ClusterConfig) -> set[str]:
    return {node.name for node in cluster.nodes}


def _id(cluster: ClusterConfig, name: str) -> str:
    return f"local://{cluster.token}/{name}"

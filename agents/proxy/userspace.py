"""The mode without rules: a listener for each front, on addresses that anybody may listen on."""

from __future__ import annotations

from typing import Final

from agents.proxy.figures import Figures
from agents.proxy.fronts import Backends, Front, fronts_of
from agents.proxy.listeners import CONNECTIONS_MAX, Listeners
from agents.proxy.picture import Picture
from kubraft.api.object import ObjectKey
from kubraft.api.time import Clock
from kubraft.client.events import EventRecorder
from kubraft.log import get_logger

# A port that was taken may be free again.
RETRY_S: Final = 5.0


class UserspaceMode:
    """Keeps the open sockets as Services and EndpointSlices say."""

    name = "userspace"

    def __init__(
        self,
        clock: Clock,
        recorder: EventRecorder,
        figures: Figures,
        node_address: str,
        connections_max: int = CONNECTIONS_MAX,
    ) -> None:
        self._recorder = recorder
        self._node_address = node_address
        refused = figures.refused
        self._listeners = Listeners(
            clock, connections_max, lambda cause: refused.labels(cause).inc()
        )
        figures.connections.set_function(lambda: self._listeners.connection_count)
        self._failed: dict[Front, str] = {}
        self._log = get_logger("proxy")

    @property
    def fronts(self) -> frozenset[Front]:
        """What clients can connect to now."""
        return self._listeners.fronts

    async def sync(self, picture: Picture, _changed: frozenset[ObjectKey]) -> float | None:
        """Make the sockets those of the picture; after how long to try again, None for never."""
        table = fronts_of(picture.services(), picture.slices(), self._node_address, picture.place())
        failed = await self._listeners.apply(table)
        for front, cause in failed.items():
            if self._failed.get(front) != cause:
                self._report(table[front], front, cause)
        self._failed = failed
        return RETRY_S if failed else None

    async def close(self) -> None:
        """Close all sockets and end all connections; the log says how many."""
        if count := self._listeners.connection_count:
            self._log.warning("connections_cut", count=count)
        self._listeners.close()

    def _report(self, backends: Backends, front: Front, cause: str) -> None:
        self._log.warning("not_listening", front=str(front), cause=cause)
        service = {
            "kind": "Service",
            "apiVersion": "v1",
            "namespace": backends.service.namespace,
            "name": backends.service.name,
            "uid": backends.uid,
        }
        message = f"Cannot listen on {front}: {cause}{_advice(front, cause)}"
        self._recorder.event(service, "Warning", "FailedToListen", message)


def _advice(front: Front, cause: str) -> str:
    if cause == "Permission denied":
        return (
            f"; a port below 1024 needs root, or `sysctl net.ipv4.ip_unprivileged_port_start="
            f"{front.port}`"
        )
    if cause == "Cannot assign requested address":
        return "; an address that is not this machine's needs root, and --proxy-mode=nftables"
    return ""

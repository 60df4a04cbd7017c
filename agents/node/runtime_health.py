"""Whether the container runtime can run Pods: asked every few seconds, as the kubelet does.

A runtime that answers nothing (it hangs, or is gone) is down after a while; one that answers says
itself what it lacks, for example a network. Texts are upstream's.
"""

from __future__ import annotations

from collections.abc import Callable

from agents.node.cri_client import CriClient, RuntimeCallError
from kubraft.api.time import Clock
from kubraft.log import get_logger
from kubraft.pb.criv1 import api_pb2 as cri

DOWN = "container runtime is down"
_PERIOD_S = 5.0
_REQUIRED = {
    "RuntimeReady": "container runtime not ready",
    "NetworkReady": "container runtime network not ready",
}

log = get_logger("node.runtime")


def missing(status: cri.RuntimeStatus) -> str:
    """What a runtime that answers says it lacks; "" where it can run Pods."""
    found = {condition.type: condition for condition in status.conditions}
    for type_, words in _REQUIRED.items():
        condition = found.get(type_)
        if condition is None or not condition.status:
            reason = condition.reason if condition else ""
            message = condition.message if condition else ""
            return f"{words}: {type_}=false reason:{reason} message:{message}"
    return ""


class RuntimeHealth:
    """`on_health` gets why the runtime cannot run Pods, or "" when it can."""

    def __init__(
        self,
        runtime: CriClient,
        clock: Clock,
        on_health: Callable[[str], None],
        down_after_s: float,
    ) -> None:
        self._runtime = runtime
        self._clock = clock
        self._on_health = on_health
        self._down_after_s = down_after_s
        self._answered_at_s = clock.monotonic_s()

    async def run(self) -> None:
        """Ask until cancelled."""
        period_s = min(_PERIOD_S, self._down_after_s / 3)
        while True:
            await self.look(timeout_s=self._down_after_s / 2)
            await self._clock.sleep(period_s)

    async def look(self, timeout_s: float = _PERIOD_S) -> None:
        """Ask once."""
        try:
            status = await self._runtime.status(timeout_s)
        except RuntimeCallError as error:
            if self._clock.monotonic_s() - self._answered_at_s >= self._down_after_s:
                log.warning("the runtime does not answer", cause=str(error))
                self._on_health(DOWN)
        else:
            self._answered_at_s = self._clock.monotonic_s()
            self._on_health(missing(status.status))

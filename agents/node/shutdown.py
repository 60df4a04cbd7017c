"""The node's own end: Pods are stopped before it, the ordinary ones first, the critical ones last.

Source: Kubernetes documentation, "Node Shutdowns", graceful node shutdown.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable

from agents.node.eviction import is_critical
from agents.node.plan import Waiting
from kubraft.api.object import Object, uid_of
from kubraft.api.time import Clock
from kubraft.log import get_logger

NOT_READY = "node is shutting down"
TERMINATED = Waiting("Terminated", "Pod was terminated in response to imminent node shutdown.")
REJECTED = Waiting("NodeShutdown", "Pod was rejected as the node is shutting down.")
_LOOK_S = 0.1

log = get_logger("node.shutdown")


async def end_pods(
    running: Callable[[], Iterable[Object]],
    evict: Callable[[str, Waiting, float], None],
    clock: Clock,
    *,
    grace_s: float,
    critical_grace_s: float,
) -> None:
    """Stop all Pods and wait until they have ended.

    Args:
        running: the Pods that have not ended.
        evict: gets a Pod's uid, what its status says, and its seconds to stop.
        clock: for waiting.
        grace_s: for all of it.
        critical_grace_s: the part of it that is kept for critical Pods.
    """
    for critical, seconds in ((False, grace_s - critical_grace_s), (True, critical_grace_s)):
        until_s = clock.monotonic_s() + max(0.0, seconds)
        mine = {uid_of(pod) for pod in running() if is_critical(pod) is critical}
        log.info("stopping Pods", count=len(mine), critical=critical, grace_s=seconds)
        for uid in mine:
            evict(uid, TERMINATED, max(0.0, seconds))
        while mine & {uid_of(pod) for pod in running()} and clock.monotonic_s() < until_s + 2:
            await clock.sleep(_LOOK_S)

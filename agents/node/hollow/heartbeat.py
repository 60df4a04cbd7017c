"""The signs of life of many nodes, spread evenly over their period and sent in small batches.

A batch is one commit of the store, where as many single renewals would be many.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Sequence
from typing import Final

from agents.node.hollow.node import HollowNode
from kubraft.api.errors import ApiError
from kubraft.api.time import Clock
from kubraft.log import get_logger

TICK_S: Final = 0.25
# What is asked of the API server at once, whatever has piled up. One that is overloaded must still
# take all in turn before a node's silence is too long.
BATCH_MAX: Final = 256
REGISTERED_AT_ONCE: Final = 64

log = get_logger("hollow.heartbeat")


class Heartbeat:
    """Sees to each node once a period, and sooner to those whose status must be written."""

    def __init__(
        self, nodes: Sequence[HollowNode], clock: Clock, *, period_s: float, report_s: float
    ) -> None:
        self._nodes = nodes
        self._clock = clock
        self._period_s = period_s
        self._rounds_per_report = max(1, round(report_s / period_s))
        self._failing = ""

    async def register_all(self) -> None:
        """Register every node, for as long as it takes: the API server may be away."""
        waiting = list(self._nodes)
        while waiting:
            batch = waiting[:REGISTERED_AT_ONCE]
            done = await self._each(batch, _register)
            waiting = [node for node in waiting if node not in done]
            if not done:
                await self._clock.sleep(1.0)

    async def run(self) -> None:
        """Beat until cancelled."""
        began_s, sent = self._clock.monotonic_s(), 0
        while True:
            await self._clock.sleep(TICK_S)
            elapsed_s = self._clock.monotonic_s() - began_s
            due = round(elapsed_s * len(self._nodes) / self._period_s)
            # After a pause of this process nothing is made up for: each node beats once.
            sent = max(sent, due - len(self._nodes))
            while sent < due:
                count = min(BATCH_MAX, due - sent)
                turn = [self._turn(sent + n) for n in range(count)]
                await self._each([node for node in turn if not node.is_gone], HollowNode.beat)
                sent += count
            late = [node for node in self._nodes if node.is_due and not node.is_gone]
            if late:
                await self._each(late[:BATCH_MAX], HollowNode.report)

    def _turn(self, number: int) -> HollowNode:
        """Whose turn it is; in some rounds its status is due as well, for each in another one."""
        rounds, index = divmod(number, len(self._nodes))
        node = self._nodes[index]
        node.is_due = node.is_due or (rounds + index) % self._rounds_per_report == 0
        return node

    async def _each(
        self, nodes: Sequence[HollowNode], work: Callable[[HollowNode], Awaitable[None]]
    ) -> set[HollowNode]:
        """Do `work` for all of `nodes` at once; returns those where it was taken."""
        answers = await asyncio.gather(*map(work, nodes), return_exceptions=True)
        failures = [answer for answer in answers if isinstance(answer, BaseException)]
        for failure in failures:
            if not isinstance(failure, ApiError):
                raise failure
        cause = str(failures[0]) if failures else ""
        if cause and cause != self._failing:  # once, however often it is tried
            log.warning("not written", nodes=len(failures), cause=cause)
        self._failing = cause
        return {node for node, answer in zip(nodes, answers, strict=True) if answer is None}


async def _register(node: HollowNode) -> None:
    await node.report()
    await node.beat()

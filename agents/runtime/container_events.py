"""The stream of container events, for any number of readers."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator

from agents.runtime.errors import ExhaustedFailure
from kubraft.pb.criv1 import api_pb2 as cri

_QUEUE_MAX = 1000


class ContainerEvents:
    """Fans events out; a reader that falls too far behind is cut off and must list again."""

    def __init__(self) -> None:
        self._queues: set[asyncio.Queue[cri.ContainerEventResponse | None]] = set()

    @property
    def wanted(self) -> bool:
        """Whether anyone reads, so that building an event makes sense."""
        return bool(self._queues)

    def publish(self, event: cri.ContainerEventResponse) -> None:
        """Give `event` to every reader."""
        for queue in list(self._queues):
            if queue.qsize() >= _QUEUE_MAX:
                self._queues.discard(queue)
                queue.put_nowait(None)
            else:
                queue.put_nowait(event)

    async def stream(self) -> AsyncIterator[cri.ContainerEventResponse]:
        """Every event from now on.

        Raises:
            ExhaustedFailure: the reader was too slow; events are missing.
        """
        queue: asyncio.Queue[cri.ContainerEventResponse | None] = asyncio.Queue()
        self._queues.add(queue)
        try:
            while (event := await queue.get()) is not None:
                yield event
        finally:
            self._queues.discard(queue)
        raise ExhaustedFailure("the reader of container events is too slow")

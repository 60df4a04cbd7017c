"""Runs a reconciler: workers take keys from a queue, failures come back later.

`reconcile(key)` looks at the state (never at an event) and moves it towards what is wanted; it may
be called at any time, any number of times. It returns None, or after how many seconds to look
again.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from typing import Generic

from kubraft.api.errors import ApiError, ConflictError, ServiceUnavailableError, TimeoutError_
from kubraft.api.time import Clock, SystemClock
from kubraft.client.leader_election import LeadershipLostError
from kubraft.client.work_queue import BASE_DELAY_S, MAX_DELAY_S, K, QueueClosedError, WorkQueue
from kubraft.log import get_logger

# While the API server is away there is no point in waiting ever longer: it is a local outage.
_UNAVAILABLE_DELAY_S = 1.0


class Controller(Generic[K]):
    """Owns the queue and the workers of one reconciler.

    No failure of a key ends it, save a lost Lease.
    """

    def __init__(
        self,
        name: str,
        reconcile: Callable[[K], Awaitable[float | None]],
        *,
        workers: int = 2,
        clock: Clock | None = None,
        base_delay_s: float = BASE_DELAY_S,
        max_delay_s: float = MAX_DELAY_S,
    ) -> None:
        self.name = name
        self.queue: WorkQueue[K] = WorkQueue(
            clock or SystemClock(), base_delay_s, max_delay_s, name=name
        )
        self.reconciled_count = 0
        self.failed_count = 0
        self._reconcile = reconcile
        self._workers = workers
        self._log = get_logger(name)

    async def run(self) -> None:
        """Work until cancelled."""
        try:
            async with asyncio.TaskGroup() as group:
                for _ in range(self._workers):
                    group.create_task(self._work())
        finally:
            await self.queue.close()

    async def _work(self) -> None:
        while True:
            try:
                key = await self.queue.get()
            except QueueClosedError:
                return
            try:
                await self._step(key)
            finally:
                self.queue.done(key)

    async def _step(self, key: K) -> None:
        try:
            again_s = await self._reconcile(key)
        except LeadershipLostError:
            raise  # whoever lost the Lease must end
        except (ServiceUnavailableError, TimeoutError_) as error:
            self._failed(key, error, delay_s=_UNAVAILABLE_DELAY_S)
        except ApiError as error:
            self._failed(key, error)
        except Exception:  # noqa: BLE001 - must not end the process
            self.failed_count += 1
            delay_s = self.queue.add_rate_limited(key)
            self._log.exception("reconcile_failed", key=str(key), retry_s=delay_s)
        else:
            self.reconciled_count += 1
            self.queue.forget(key)
            if again_s is not None:
                self.queue.add_after(key, again_s)

    def _failed(self, key: K, error: ApiError, delay_s: float | None = None) -> None:
        self.failed_count += 1
        if delay_s is None:
            delay_s = self.queue.add_rate_limited(key)
        else:
            self.queue.add_after(key, delay_s)
        # A conflict only means that the cache was behind: expected, and gone at the next try.
        write = self._log.debug if isinstance(error, ConflictError) else self._log.warning
        write("reconcile_failed", key=str(key), cause=error.message, retry_s=delay_s)

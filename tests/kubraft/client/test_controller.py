import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager

from kubraft.api.errors import ConflictError, ServiceUnavailableError
from kubraft.api.time import ManualClock
from kubraft.client.controller import Controller

Reconcile = Callable[[str], Awaitable[float | None]]


@asynccontextmanager
async def running(
    reconcile: Reconcile, workers: int = 1
) -> AsyncIterator[tuple[Controller[str], ManualClock]]:
    clock = ManualClock()
    controller: Controller[str] = Controller(
        "test", reconcile, workers=workers, clock=clock, base_delay_s=1
    )
    task = asyncio.ensure_future(controller.run())
    try:
        yield controller, clock
    finally:
        task.cancel()
        await asyncio.gather(task, return_exceptions=True)


async def test_failures_of_every_kind_come_back_and_end_nothing() -> None:
    failures: list[Exception] = [
        RuntimeError("a defect"),
        ConflictError("stale"),
        ServiceUnavailableError("no quorum"),
    ]
    calls: list[float] = []

    async def reconcile(key: str) -> float | None:
        calls.append(clock.monotonic_s())
        if failures:
            raise failures.pop(0)
        return None

    async with running(reconcile) as (controller, clock):
        controller.queue.add("a")
        await clock.advance(20)
        # One second after the first failure, two after the second, one after the outage.
        assert calls == [0, 1, 3, 4]
        assert (controller.reconciled_count, controller.failed_count) == (1, 3)
        assert controller.queue.failures("a") == 0


async def test_a_reconciler_may_ask_to_look_again() -> None:
    calls: list[float] = []

    async def reconcile(key: str) -> float | None:
        calls.append(clock.monotonic_s())
        return 5.0 if len(calls) < 3 else None

    async with running(reconcile) as (controller, clock):
        controller.queue.add("a")
        await clock.advance(60)
        assert calls == [0, 5, 10]


async def test_workers_work_side_by_side_but_never_on_one_key() -> None:
    working: list[str] = []
    most = 0

    async def reconcile(key: str) -> float | None:
        nonlocal most
        assert key not in working
        working.append(key)
        most = max(most, len(working))
        await clock.sleep(1)
        working.remove(key)
        return None

    async with running(reconcile, workers=3) as (controller, clock):
        for key in "abcd":
            controller.queue.add(key)
        await clock.advance(0.5)
        for key in "abcd":
            controller.queue.add(key)
        await clock.advance(10)
        assert most == 3
        assert controller.reconciled_count == 7  # d had not been taken when it was added again

import asyncio

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from kubraft.api.time import ManualClock, settle
from kubraft.client.work_queue import QueueClosedError, WorkQueue


def queue_of(*keys: str) -> tuple[WorkQueue[str], ManualClock]:
    clock = ManualClock()
    queue: WorkQueue[str] = WorkQueue(clock, 1.0, 8.0)
    for key in keys:
        queue.add(key)
    return queue, clock


async def test_a_key_waits_once_and_keys_keep_their_order() -> None:
    queue, _ = queue_of("a", "b", "a", "c", "b")
    assert [await queue.get() for _ in range(3)] == ["a", "b", "c"]
    assert len(queue) == 0


async def test_a_key_added_while_worked_on_comes_again_after_done() -> None:
    queue, _ = queue_of("a")
    assert await queue.get() == "a"
    queue.add("a")
    queue.add("a")
    assert len(queue) == 0
    queue.done("a")
    assert await queue.get() == "a"
    queue.done("a")
    assert len(queue) == 0


async def test_delayed_keys_come_when_due_and_the_earliest_delay_counts() -> None:
    queue, clock = queue_of()
    queue.add_after("late", 5)
    queue.add_after("a", 3)
    queue.add_after("a", 1)
    queue.add_after("a", 4)
    await clock.advance(0.9)
    assert len(queue) == 0
    await clock.advance(0.2)
    assert await queue.get() == "a"
    queue.done("a")
    await clock.advance(3)
    assert len(queue) == 0
    await clock.advance(1)
    assert await queue.get() == "late"
    await queue.close()


async def test_failures_wait_twice_as_long_each_time_until_forgotten() -> None:
    queue, clock = queue_of()
    delays = []
    for _ in range(5):
        delays.append(queue.add_rate_limited("a"))
        await clock.advance(delays[-1])
        queue.done(await queue.get())
    assert delays == [1, 2, 4, 8, 8]
    queue.forget("a")
    assert queue.add_rate_limited("a") == 1
    await queue.close()


async def test_a_cancelled_waiter_loses_no_key() -> None:
    queue, _ = queue_of()
    first = asyncio.ensure_future(queue.get())
    second = asyncio.ensure_future(queue.get())
    await settle()
    queue.add("a")  # wakes the first, which is cancelled before it runs
    first.cancel()
    assert await asyncio.wait_for(second, 1) == "a"


async def test_close_ends_all_waiters() -> None:
    queue, _ = queue_of()
    waiters = [asyncio.ensure_future(queue.get()) for _ in range(3)]
    queue.add_after("a", 5)
    await settle()
    await queue.close()
    for waiter in waiters:
        with pytest.raises(QueueClosedError):
            await asyncio.wait_for(waiter, 1)


@settings(max_examples=60, deadline=None)
@given(
    st.lists(st.tuples(st.sampled_from("abc"), st.sampled_from([0, 0, 1, 3])), max_size=30),
    st.integers(1, 3),
)
def test_no_key_is_worked_on_twice_at_once_and_none_is_lost(
    adds: list[tuple[str, int]], workers: int
) -> None:
    async def check() -> None:
        queue, clock = queue_of()
        working: set[str] = set()
        seen: dict[str, int] = {}
        wanted: dict[str, int] = {}

        async def work() -> None:
            while True:
                key = await queue.get()
                assert key not in working
                working.add(key)
                seen[key] = step
                await clock.sleep(2)
                working.discard(key)
                queue.done(key)

        tasks = [asyncio.ensure_future(work()) for _ in range(workers)]
        step = 0
        for step, (key, delay_s) in enumerate(adds, 1):
            wanted[key] = step
            queue.add_after(key, delay_s)
            await clock.advance(1)
        step += 1
        await clock.advance(2 * len(adds) + 10)
        # Each key was taken at or after the last time it was added.
        assert all(seen[key] >= at for key, at in wanted.items())
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
        await queue.close()

    asyncio.run(check())

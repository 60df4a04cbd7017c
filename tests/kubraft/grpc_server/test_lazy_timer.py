"""Deadlines that move: the last word counts, whichever timer is running."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from functools import partial

import pytest

from kubraft.grpc_client.alarms import Alarms
from kubraft.grpc_server.lazy_timer import LazyTimer
from tests.harness.eventually import eventually


def _sooner(timer: LazyTimer) -> None:
    timer.set(60)
    timer.set(0.01)


def _later(timer: LazyTimer) -> None:
    timer.set(0.01)
    timer.set(0.05)


def _again(timer: LazyTimer) -> None:
    timer.set(0.01)
    timer.put_off()
    timer.set(0.02)


@pytest.mark.parametrize("do", [_sooner, _later, _again])
async def test_a_deadline_comes_once(do: Callable[[LazyTimer], None]) -> None:
    calls: list[float] = []
    loop = asyncio.get_running_loop()
    timer = LazyTimer(loop, lambda: calls.append(loop.time()))
    do(timer)
    await eventually(lambda: calls, "the deadline came")
    await asyncio.sleep(0.1)
    assert len(calls) == 1


async def test_a_deadline_that_was_put_off_or_stopped_does_not_come() -> None:
    calls: list[int] = []
    loop = asyncio.get_running_loop()
    first, second = (LazyTimer(loop, lambda: calls.append(1)) for _ in range(2))
    first.set(0.01)
    first.put_off()
    second.set(0.01)
    second.stop()
    await asyncio.sleep(0.1)
    assert not calls


async def test_alarms_go_off_unless_they_are_dropped_or_moved() -> None:
    alarms, heard = Alarms(), list[str]()
    for name, delay_s in (("a", 0.01), ("b", 0.01), ("c", 0.02), ("d", 60.0)):
        alarms.set(name, delay_s, partial(heard.append, name))
    alarms.drop("b")
    alarms.set("c", 60.0, lambda: heard.append("late"))
    alarms.set("d", 0.02, partial(heard.append, "d"))
    await eventually(lambda: len(heard) == 2, "both went off")
    await asyncio.sleep(0.15)
    assert sorted(heard) == ["a", "d"]
    alarms.drop("c")

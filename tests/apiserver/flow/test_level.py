"""Seats, queues and turns; counted, never timed."""

from __future__ import annotations

import asyncio
from collections import Counter

import pytest
from hypothesis import given
from hypothesis import strategies as st

from apiserver.flow.control import FlowControl, level_configs, list_width
from apiserver.flow.defaults import default_levels
from apiserver.flow.level import Level, LevelConfig, deal
from apiserver.flow.schema import Request
from kubraft.api.errors import TooManyRequestsError

QUIET = [Request(f"quiet-{n}", ("system:authenticated",), "get", "", "pods") for n in range(5)]
GREEDY = Request("greedy", ("system:authenticated",), "get", "", "pods")


def level(seats: int, queues: int = 0, hand: int = 0, queue_length_max: int = 0) -> Level:
    config = LevelConfig("test", "", seats, 0, queues, hand, queue_length_max)
    return Level(config, lambda _: 0)


@given(flow=st.text(), deck=st.integers(1, 200), hand=st.integers(1, 12))
def test_a_hand_is_of_different_cards_and_always_the_same(flow: str, deck: int, hand: int) -> None:
    dealt = deal(flow, deck, hand)
    assert dealt == deal(flow, deck, hand)
    assert len(set(dealt)) == len(dealt) == min(hand, deck)
    assert all(0 <= card < deck for card in dealt)


def test_hardly_two_flows_have_the_same_hand() -> None:
    hands = Counter(tuple(sorted(deal(f"flow-{n}", 128, 6))) for n in range(2000))
    assert max(hands.values()) == 1


async def test_one_greedy_flow_waits_for_itself() -> None:
    now_s = 0.0
    control = FlowControl(seats=20, clock=lambda: now_s)
    order: list[str] = []

    async def work(request: Request) -> None:
        nonlocal now_s
        turn = await control.turn(control.find(request))
        try:
            for _ in range(3):
                now_s += 0.0001
                await asyncio.sleep(0)
        finally:
            turn.end()
        order.append(request.user)

    greedy = [asyncio.create_task(work(GREEDY)) for _ in range(200)]
    await asyncio.sleep(0)

    async def one_after_the_other(request: Request) -> None:
        for _ in range(5):
            await work(request)

    await asyncio.gather(*map(one_after_the_other, QUIET))
    done = len(order)
    before = order[:done].count("greedy")
    assert before < 150, "the quiet flows had to wait for the greedy one"
    await asyncio.gather(*greedy)
    assert Counter(order) == {"greedy": 200, **{request.user: 5 for request in QUIET}}
    assert all(level.in_use == level.waiting == 0 for level in control.levels.values())


async def test_agents_have_seats_of_their_own() -> None:
    control = FlowControl(seats=50)
    holding = []
    flow = control.find(GREEDY)
    while flow.level.take(1):
        holding.append(1)
    agents = [
        Request("system:kube-scheduler", ("system:authenticated",), "create", "", "pods/binding"),
        Request(
            "system:kube-controller-manager", (), "update", "coordination.k8s.io", "leases", "a"
        ),
        Request("system:node:n", ("system:nodes",), "update", "coordination.k8s.io", "leases", "a"),
        Request("admin", ("system:masters",), "list", "", "pods"),
    ]
    for agent in agents:
        assert control.find(agent).level.take(1), agent


async def test_where_there_is_no_room_to_wait_it_is_429() -> None:
    limited = level(seats=1, queues=4, hand=2, queue_length_max=3)
    assert limited.take(1)
    waiting = [asyncio.create_task(limited.wait("a", 1, 60)) for _ in range(6)]
    await asyncio.sleep(0)
    with pytest.raises(TooManyRequestsError) as refused:
        await limited.wait("a", 1, 60)
    assert refused.value.to_status()["details"] == {"retryAfterSeconds": 1}
    assert limited.rejected == {"queue-full": 1}
    for _ in waiting:
        limited.give_back(1)
        await asyncio.sleep(0)
    await asyncio.gather(*waiting)
    limited.give_back(1)
    assert (limited.in_use, limited.waiting) == (0, 0)


async def test_a_level_without_queues_refuses_at_once() -> None:
    limited = level(seats=1)
    assert limited.take(1)
    with pytest.raises(TooManyRequestsError):
        await limited.wait("a", 1, 60)


async def test_who_waits_too_long_or_goes_leaves_its_place() -> None:
    limited = level(seats=1, queues=1, hand=1, queue_length_max=9)
    assert limited.take(1)
    with pytest.raises(TooManyRequestsError):
        await limited.wait("a", 1, 0.01)
    gone = asyncio.create_task(limited.wait("a", 1, 60))
    await asyncio.sleep(0)
    gone.cancel()
    await asyncio.gather(gone, return_exceptions=True)
    assert limited.waiting == 0
    limited.give_back(1)
    assert limited.take(1)


async def test_seats_go_past_who_was_cancelled_and_does_not_know_yet() -> None:
    limited = level(seats=1, queues=1, hand=1, queue_length_max=9)
    assert limited.take(1)
    gone, next_ = (asyncio.create_task(limited.wait("a", 1, 60)) for _ in range(2))
    await asyncio.sleep(0)
    gone.cancel()
    limited.give_back(1)
    await asyncio.gather(gone, return_exceptions=True)
    await next_
    assert (limited.in_use, limited.waiting) == (1, 0)


async def test_who_goes_as_its_seat_comes_gives_it_back() -> None:
    limited = level(seats=1, queues=1, hand=1, queue_length_max=9)
    assert limited.take(1)
    waiting = asyncio.create_task(limited.wait("a", 1, 60))
    await asyncio.sleep(0)
    limited.give_back(1)
    waiting.cancel()
    await asyncio.gather(waiting, return_exceptions=True)
    assert limited.in_use == 0


async def test_wide_requests_wait_for_room_and_one_wider_than_all_has_its_turn() -> None:
    limited = level(seats=4, queues=1, hand=1, queue_length_max=9)
    assert limited.take(3)
    wide = asyncio.create_task(limited.wait("a", 10, 60))
    await asyncio.sleep(0)
    assert not limited.take(1), "nobody overtakes who waits"
    limited.give_back(3)
    await wide
    assert limited.in_use == 10


async def test_slow_requests_cost_their_flow_more() -> None:
    limited = level(seats=1, queues=2, hand=1, queue_length_max=100)
    slow, quick = "a", next(f for f in "bcdefghijk" if deal(f, 2, 1) != deal("a", 2, 1))
    assert limited.take(1)
    order: list[str] = []

    async def work(flow: str, cost_s: float) -> None:
        queue = await limited.wait(flow, 1, 60)
        order.append(flow)
        await asyncio.sleep(0)
        limited.give_back(1, queue, cost_s)

    tasks = [asyncio.create_task(work(slow, 0.1)) for _ in range(20)]
    tasks += [asyncio.create_task(work(quick, 0.01)) for _ in range(20)]
    await asyncio.sleep(0)
    limited.give_back(1)
    await asyncio.gather(*tasks)
    assert order[:20].count(quick) >= 15


async def test_idle_seats_are_lent_but_for_those_that_a_level_keeps() -> None:
    control = FlowControl(seats=245)
    flow = control.find(GREEDY)
    own = flow.level.config.seats
    assert own == 20
    taken = 0
    while flow.level.take(1):
        taken += 1
    lendable = sum(
        level.config.lendable for level in control.levels.values() if level is not flow.level
    )
    assert taken == own + lendable
    assert control.find(Request("system:kube-scheduler", (), "list", "", "pods", "a")).level.take(1)


def test_seats_are_shared_as_upstream_shares_them() -> None:
    seats = {config.name: config.seats for config in level_configs(default_levels(), 600)}
    assert seats == {
        "exempt": None,
        "system": 74,
        "node-high": 98,
        "leader-election": 25,
        "workload-high": 98,
        "workload-low": 245,
        "global-default": 49,
        "catch-all": 13,
    }


@pytest.mark.parametrize(
    ("objects", "limit", "width"),
    [(0, 0, 1), (100, 0, 1), (101, 0, 2), (5000, 0, 10), (5000, 50, 1)],
)
def test_long_lists_take_more_seats(objects: int, limit: int, width: int) -> None:
    assert list_width(objects, limit) == width

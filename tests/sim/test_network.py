"""The simulated network itself: what it may not do, whatever the faults."""

from __future__ import annotations

import random

from hypothesis import given, settings
from hypothesis import strategies as st

from store.raft.messages import Fence, Message
from tests.sim.clock import Clock
from tests.sim.network import Network


@settings(max_examples=100, deadline=None)
@given(seed=st.integers(0, 2**32), repeats=st.booleans())
def test_connection_keeps_its_order_over_stalls(seed: int, *, repeats: bool) -> None:
    rng, clock = random.Random(seed), Clock()
    arrived: list[int] = []

    def deliver(_sender: int, _receiver: int, message: Message) -> None:
        assert isinstance(message, Fence)
        arrived.append(message.number)

    network = Network(clock, rng, [1, 2], latency=0.02, deliver=deliver)
    network.repeats = repeats
    network.connect(1, 2)
    for number in range(60):
        network.send(1, 2, Fence(1, number))
        if rng.random() < 0.2:
            network.block(1, 2, blocked=rng.random() < 0.5)
        if rng.random() < 0.1:
            network.slow_down(1, 2, rng.choice((0.0, 0.3)))
        clock.run_until(clock.now + rng.random() * 0.05)
    network.heal()
    clock.run_until(clock.now + 5)
    assert arrived == list(range(60))


@settings(max_examples=50, deadline=None)
@given(seed=st.integers(0, 2**32))
def test_nothing_crosses_from_one_connection_to_the_next(seed: int) -> None:
    rng, clock = random.Random(seed), Clock()
    arrived: list[int] = []
    network = Network(
        clock, rng, [1, 2], latency=0.02, deliver=lambda *said: arrived.append(said[2].number)
    )
    for connection in range(5):
        network.connect(1, 2)
        for _ in range(10):
            network.send(1, 2, Fence(1, connection))
            if rng.random() < 0.3:
                network.block(1, 2, blocked=rng.random() < 0.5)
        clock.run_until(clock.now + rng.random() * 0.05)
        before = len(arrived)
        network.disconnect(1, 2)
        clock.run_until(clock.now + 1)
        assert len(arrived) == before
    assert arrived == sorted(arrived)

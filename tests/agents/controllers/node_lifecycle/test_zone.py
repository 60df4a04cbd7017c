from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from agents.controllers.node_lifecycle.zone import (
    Census,
    Disruption,
    Limits,
    Throttle,
    rates,
)
from kubraft.api.object import Object
from tests.agents.controllers.node_objects import node

zones = st.sampled_from(("", "east", "west"))


@pytest.mark.parametrize(
    ("ready", "silent", "state", "rate"),
    [
        pytest.param(1, 1, Disruption.NORMAL, 0.1, id="one of two"),
        pytest.param(1, 2, Disruption.NORMAL, 0.1, id="two are never a disruption"),
        pytest.param(2, 3, Disruption.PARTIAL, 0.0, id="most of a small zone: stop"),
        pytest.param(20, 40, Disruption.PARTIAL, 0.01, id="most of a large zone: slowly"),
        pytest.param(0, 1, Disruption.FULL, 0.0, id="the only node: stop"),
        pytest.param(0, 9, Disruption.FULL, 0.0, id="every node: stop"),
    ],
)
def test_evictions_slow_down_with_the_size_of_the_disruption(
    ready: int, silent: int, state: Disruption, rate: float
) -> None:
    nodes = [node(f"r{i}") for i in range(ready)]
    nodes += [node(f"s{i}", "Unknown") for i in range(silent)]
    zones = Census(nodes).disruptions(Limits())
    assert zones == {"": state}
    assert rates(zones, {"": len(nodes)}, Limits()) == {"": rate}


def test_a_lost_zone_is_evicted_while_another_stands() -> None:
    nodes = [node("a", zone="east"), node("b", "Unknown", zone="west")]
    zones = Census(nodes).disruptions(Limits())
    assert zones == {"/east": Disruption.NORMAL, "/west": Disruption.FULL}
    assert rates(zones, dict.fromkeys(zones, 1), Limits()) == {"/east": 0.1, "/west": 0.1}


def test_the_throttle_lets_one_pass_then_keeps_the_rate() -> None:
    throttle = Throttle(rate=0.1)
    passed = [second for second in range(31) if throttle.try_pass(second)]
    assert passed == [0, 10, 20, 30]
    assert not Throttle(rate=0).try_pass(5)


CHANGES = st.lists(
    st.tuples(st.integers(0, 5), st.sampled_from(("True", "Unknown", "gone")), zones)
)


@given(CHANGES)
def test_counting_changes_comes_to_the_same_as_counting_anew(
    changes: list[tuple[int, str, str]],
) -> None:
    census = Census()
    nodes: dict[int, Object] = {}
    for number, ready, zone in changes:
        old = nodes.pop(number, None)
        if ready != "gone":
            nodes[number] = node(f"n{number}", ready, zone=zone)
        census.change(old, nodes.get(number))
        anew = Census(nodes.values())
        assert census.sizes() == anew.sizes()
        assert census.disruptions(Limits()) == anew.disruptions(Limits())

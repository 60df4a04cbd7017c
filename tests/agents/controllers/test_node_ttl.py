from __future__ import annotations

import pytest

from agents.controllers.node_ttl import step_of


@pytest.mark.parametrize(
    ("counts", "steps"),
    [
        pytest.param([1, 100, 101], [0, 0, 1], id="grows"),
        pytest.param([101, 95, 90, 89], [1, 1, 1, 0], id="shrinks later"),
        pytest.param([5000, 1800, 1799, 0], [4, 4, 3, 0], id="far at once"),
    ],
)
def test_a_node_more_or_less_does_not_change_it_back(counts: list[int], steps: list[int]) -> None:
    step, found = 0, []
    for count in counts:
        step = step_of(count, step)
        found.append(step)
    assert found == steps

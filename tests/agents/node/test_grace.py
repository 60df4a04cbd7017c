"""How long a Pod that is being deleted has, also when the agent was away meanwhile."""

from __future__ import annotations

import pytest

from agents.node.cri_config import grace_left_s
from kubraft.api.time import parse_time
from tests.agents.node.pods import pod

END = "2026-01-01T00:00:30Z"  # of 30 s that began at midnight
MIDNIGHT_S = parse_time(END).timestamp() - 30


@pytest.mark.parametrize(
    ("began_s", "now_s", "left_s"),
    [
        pytest.param(-100, 0, 30, id="seen at once"),
        pytest.param(-100, 5, 30, id="a clock that jumps takes nothing away"),
        pytest.param(10, 10, 20, id="the agent came back meanwhile"),
        pytest.param(40, 40, 2, id="too late"),
    ],
)
def test_the_grace_period_goes_on_while_the_agent_is_away(
    began_s: float, now_s: float, left_s: float
) -> None:
    deleted = pod(metadata={"deletionTimestamp": END, "deletionGracePeriodSeconds": 30})
    found = grace_left_s(deleted, began_s=MIDNIGHT_S + began_s, now_s=MIDNIGHT_S + now_s)
    assert found == left_s
    assert grace_left_s(pod(), began_s=MIDNIGHT_S, now_s=MIDNIGHT_S) == 30


def test_no_grace_is_none() -> None:
    deleted = pod(metadata={"deletionTimestamp": END, "deletionGracePeriodSeconds": 0})
    assert grace_left_s(deleted, began_s=MIDNIGHT_S + 90, now_s=MIDNIGHT_S + 90) == 0

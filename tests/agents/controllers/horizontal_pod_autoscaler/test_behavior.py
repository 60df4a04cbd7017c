"""How fast replicas may change: windows, policies and bounds."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from agents.controllers.horizontal_pod_autoscaler.behavior import (
    Bounds,
    History,
    Moment,
    normalize,
    note,
)

BOUNDS = Bounds(1, 100)


def policy(kind: str, value: int, period_s: int = 60) -> dict[str, Any]:
    return {"type": kind, "value": value, "periodSeconds": period_s}


def rules(*policies: dict[str, Any], **more: Any) -> dict[str, Any]:
    return {"policies": list(policies), **more}


@pytest.mark.parametrize(
    ("current", "desired", "replicas", "reason"),
    [
        pytest.param(3, 5, 5, "DesiredWithinRange", id="within"),
        pytest.param(1, 9, 4, "ScaleUpLimit", id="four-are-always-allowed"),
        pytest.param(10, 50, 20, "ScaleUpLimit", id="twice-as-many"),
        pytest.param(60, 500, 100, "TooManyReplicas", id="most"),
        pytest.param(5, 0, 1, "TooFewReplicas", id="least"),
    ],
)
def test_without_behavior(current: int, desired: int, replicas: int, reason: str) -> None:
    found = normalize(
        None, History(), current=current, desired=desired, bounds=BOUNDS, now_s=1000.0
    )
    assert (found.replicas, found.limited.reason) == (replicas, reason)
    assert found.limited.holds == (reason != "DesiredWithinRange")


def test_going_down_waits_for_five_minutes() -> None:
    history = History([Moment(1000.0, 8)])
    first = normalize(None, history, current=8, desired=3, bounds=BOUNDS, now_s=1100.0)
    assert first.replicas == 8
    assert (first.able.holds, first.able.reason) == (True, "ScaleDownStabilized")
    later = normalize(None, history, current=8, desired=3, bounds=BOUNDS, now_s=1301.0)
    assert (later.replicas, later.able.reason) == (3, "ReadyForNewScale")


def test_going_up_waits_where_it_is_asked_to() -> None:
    behavior = {"scaleUp": rules(policy("Pods", 100), stabilizationWindowSeconds=60)}
    history = History([Moment(1000.0, 4)])
    held = normalize(behavior, history, current=4, desired=9, bounds=BOUNDS, now_s=1030.0)
    assert (held.replicas, held.able.reason) == (4, "ScaleUpStabilized")
    freed = normalize(behavior, history, current=4, desired=9, bounds=BOUNDS, now_s=1061.0)
    assert freed.replicas == 9


@pytest.mark.parametrize(
    ("way", "given", "replicas", "reason"),
    [
        pytest.param(50, rules(policy("Pods", 4)), 14, "ScaleUpLimit", id="up-pods"),
        pytest.param(50, rules(policy("Percent", 15)), 12, "ScaleUpLimit", id="up-percent"),
        pytest.param(
            50, rules(policy("Pods", 4), policy("Percent", 100)), 20, "ScaleUpLimit", id="up-most"
        ),
        pytest.param(
            50, rules(policy("Pods", 4), policy("Percent", 100), selectPolicy="Min"), 14,
            "ScaleUpLimit", id="up-least",
        ),
        pytest.param(50, rules(selectPolicy="Disabled"), 10, "ScaleUpLimit", id="up-never"),
        pytest.param(2, rules(policy("Pods", 4)), 6, "ScaleDownLimit", id="down-pods"),
        pytest.param(2, rules(policy("Percent", 25)), 7, "ScaleDownLimit", id="down-percent"),
        pytest.param(
            2, rules(policy("Pods", 4), policy("Percent", 10), selectPolicy="Min"), 9,
            "ScaleDownLimit", id="down-least",
        ),
        pytest.param(2, rules(selectPolicy="Disabled"), 10, "ScaleDownLimit", id="down-never"),
        pytest.param(2, rules(policy("Percent", 100)), 2, "DesiredWithinRange", id="down-at-once"),
    ],
)  # fmt: skip
def test_policies(way: int, given: dict[str, Any], replicas: int, reason: str) -> None:
    name = "scaleUp" if way > 10 else "scaleDown"
    behavior = {name: {**given, "stabilizationWindowSeconds": 0}}
    found = normalize(behavior, History(), current=10, desired=way, bounds=BOUNDS, now_s=1000.0)
    assert (found.replicas, found.limited.reason) == (replicas, reason)


def test_what_was_changed_within_a_period_counts() -> None:
    behavior = {"scaleUp": rules(policy("Pods", 4))}
    history = History()
    note(history, behavior, 10, 13, 1000.0)
    held = normalize(behavior, history, current=13, desired=50, bounds=BOUNDS, now_s=1010.0)
    assert held.replicas == 14
    freed = normalize(behavior, history, current=13, desired=50, bounds=BOUNDS, now_s=1061.0)
    assert freed.replicas == 17


@given(
    current=st.integers(1, 200),
    desired=st.lists(st.integers(0, 300), min_size=1, max_size=6),
    least=st.integers(1, 20),
    most=st.integers(20, 200),
    behavior=st.sampled_from(
        [
            None,
            {"scaleUp": rules(policy("Pods", 3)), "scaleDown": rules(policy("Percent", 50))},
            {"scaleDown": rules(selectPolicy="Disabled")},
        ]
    ),
)
def test_never_beyond_the_bounds_nor_further_than_asked(
    current: int, desired: list[int], least: int, most: int, behavior: Any
) -> None:
    bounds, history = Bounds(least, most), History()
    current = min(max(current, least), most)
    for step, wanted in enumerate(desired):
        found = normalize(
            behavior, history, current=current, desired=wanted, bounds=bounds, now_s=step * 15.0
        )
        assert least <= found.replicas <= most
        if found.replicas > current:
            assert wanted > current
        if found.replicas < current:
            assert wanted < current
        note(history, behavior, current, found.replicas, step * 15.0)
        current = found.replicas

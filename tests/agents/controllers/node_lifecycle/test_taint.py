from __future__ import annotations

from typing import Any

import pytest

from agents.controllers.node_lifecycle.taint import tainted, taints_of, tolerates, untainted
from kubraft.api.object import Object
from tests.agents.controllers.node_objects import node
from tests.agents.controllers.objects import NOW, at

FOREIGN = {"key": "dedicated", "value": "db", "effect": "NoExecute"}


def said(changed: Object | None) -> list[str]:
    assert changed is not None
    return [f"{t['key'].rpartition('/')[2]}:{t['effect']}" for t in taints_of(changed)]


@pytest.mark.parametrize(
    ("before", "evict", "after"),
    [
        pytest.param(node(ready="False"), False, ["not-ready:NoSchedule"], id="not ready"),
        pytest.param(
            node(ready="False"), True, ["not-ready:NoExecute", "not-ready:NoSchedule"], id="evict"
        ),
        pytest.param(
            node(ready="Unknown", taints=[FOREIGN]),
            True,
            ["dedicated:NoExecute", "unreachable:NoExecute", "unreachable:NoSchedule"],
            id="unreachable, beside a taint of somebody else",
        ),
        pytest.param(
            node(conditions={"DiskPressure": "True", "PIDPressure": "Unknown"}),
            True,
            ["disk-pressure:NoSchedule"],
            id="pressure",
        ),
        pytest.param(node(unschedulable=True), True, ["unschedulable:NoSchedule"], id="cordon"),
        pytest.param(
            node(
                ready="False",
                taints=[{"key": "node.kubernetes.io/unreachable", "effect": "NoExecute"}],
            ),
            False,
            ["not-ready:NoExecute", "not-ready:NoSchedule"],
            id="heard of again, but not ready: the standing taint is changed",
        ),
    ],
)
def test_taints_follow_the_conditions(before: Object, evict: bool, after: list[str]) -> None:
    changed = tainted(before, evict=evict, now=NOW)
    assert said(changed) == after
    assert changed is not None
    assert tainted(changed, evict=evict, now=NOW) is None


def test_recovery_takes_our_taints_away_and_leaves_others() -> None:
    lost = tainted(node(ready="Unknown", taints=[FOREIGN]), evict=True, now=NOW)
    assert lost is not None
    recovered = {**lost, "status": node()["status"]}
    assert said(tainted(recovered, evict=True, now=NOW)) == ["dedicated:NoExecute"]


def test_a_taint_remembers_since_when_it_stands() -> None:
    changed = tainted(node(ready="Unknown"), evict=True, now=NOW)
    assert changed is not None
    assert {t["timeAdded"] for t in taints_of(changed)} == {at(0)}


def test_in_a_full_disruption_nobody_is_driven_off() -> None:
    lost = tainted(node(ready="Unknown"), evict=True, now=NOW)
    assert lost is not None
    assert said(untainted(lost)) == ["unreachable:NoSchedule"]
    assert untainted(node()) is None


@pytest.mark.parametrize(
    ("toleration", "covers"),
    [
        ({"operator": "Exists"}, True),
        ({"key": "dedicated", "operator": "Exists"}, True),
        ({"key": "dedicated", "value": "db"}, True),
        ({"key": "dedicated", "operator": "Equal", "value": "web"}, False),
        ({"key": "dedicated"}, False),
        ({"key": "other", "operator": "Exists"}, False),
        ({"key": "dedicated", "operator": "Exists", "effect": "NoSchedule"}, False),
        ({"key": "dedicated", "operator": "Exists", "effect": "NoExecute"}, True),
    ],
)
def test_tolerations(toleration: dict[str, Any], covers: bool) -> None:
    assert tolerates(toleration, FOREIGN) is covers

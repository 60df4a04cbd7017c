from __future__ import annotations

from typing import Any

import pytest

from agents.controllers.daemon_set.backoff import EndedPods
from agents.controllers.daemon_set.placement import Fit, daemon_pod, fit, target_of
from agents.controllers.daemon_set.plan import Picture, look, manage, status, update
from kubraft.api.object import Object
from kubraft.api.time import ManualClock
from tests.agents.controllers.objects import NOW, daemon_set, node, pod

NEW, OLD = "new", "old"
TAINT = {"key": "dedicated", "value": "db"}


def _pod(name: str, place: str, digest: str = NEW, **parts: Any) -> Object:
    labels = {"app": "web", "controller-revision-hash": digest}
    return pod(name, node=place, labels=labels, **parts)


def _look(owner: Object, pods: list[Object], nodes: int = 3) -> Picture:
    fits = {f"n{number}": Fit(run=True, stay=True) for number in range(nodes)}
    return look(owner, fits, pods, NEW)


@pytest.mark.parametrize(
    ("spec", "template", "run", "stay"),
    [
        pytest.param({}, {}, True, True, id="any node"),
        pytest.param({}, {"nodeSelector": {"disk": "ssd"}}, False, False, id="not selected"),
        pytest.param({}, {"nodeName": "other"}, False, False, id="another by name"),
        pytest.param({"taints": [{**TAINT, "effect": "NoSchedule"}]}, {}, False, True, id="minded"),
        pytest.param({"taints": [{**TAINT, "effect": "NoExecute"}]}, {}, False, False, id="driven"),
        pytest.param(
            {"taints": [{**TAINT, "effect": "NoExecute"}]},
            {"tolerations": [{"operator": "Exists"}]},
            True,
            True,
            id="tolerated",
        ),
        pytest.param(
            {"taints": [{"key": "node.kubernetes.io/unschedulable", "effect": "NoSchedule"}]},
            {},
            True,
            True,
            id="cordoned",
        ),
        pytest.param(
            {"taints": [{"key": "node.kubernetes.io/unreachable", "effect": "NoExecute"}]},
            {},
            True,
            True,
            id="unreachable",
        ),
    ],
)
def test_where_daemons_run(
    spec: dict[str, Any], template: dict[str, Any], run: bool, stay: bool
) -> None:
    owner = daemon_set()
    owner["spec"]["template"]["spec"].update(template)
    assert fit(owner, node("n0", **spec)) == Fit(run=run, stay=stay)


def test_required_affinity_counts_and_is_replaced_by_the_nodes_name() -> None:
    owner = daemon_set()
    expression = {"key": "disk", "operator": "In", "values": ["ssd"]}
    required = {"nodeSelectorTerms": [{"matchExpressions": [expression]}]}
    affinity = {"nodeAffinity": {"requiredDuringSchedulingIgnoredDuringExecution": required}}
    owner["spec"]["template"]["spec"]["affinity"] = affinity
    assert not fit(owner, node("n0")).run
    assert fit(owner, node("n1", labels={"disk": "ssd"})).run
    made = daemon_pod(owner, "agent-abcde", "n1", NEW)
    assert target_of(made) == "n1"
    assert made["metadata"]["labels"]["controller-revision-hash"] == NEW
    keys = [toleration["key"] for toleration in made["spec"]["tolerations"]]
    assert "node.kubernetes.io/disk-pressure" in keys


def test_one_on_each_node_and_none_elsewhere() -> None:
    pods = [
        _pod("a", "n0"),
        _pod("b", "n0", age=5),  # a second one
        _pod("c", "n1", phase="Failed"),
        _pod("d", "gone"),
        _pod("e", "n2", terminating=True),
    ]
    decided = manage(_look(daemon_set(), pods, 4), NOW)
    assert decided.create == ("n3",)
    assert sorted(p["metadata"]["name"] for p in decided.delete) == ["b", "c", "d"]
    assert [p["metadata"]["name"] for p in decided.ended] == ["c"]


@pytest.mark.parametrize(
    ("strategy", "pods", "delete", "create"),
    [
        pytest.param({"type": "OnDelete"}, [(OLD, 0)] * 3, 0, 0, id="on deletion only"),
        pytest.param({}, [(OLD, 0)] * 3, 1, 0, id="one at a time"),
        pytest.param({}, [(NEW, None), (OLD, 0), (OLD, 0)], 0, 0, id="the new one first"),
        pytest.param({}, [(OLD, None), (OLD, 0), (OLD, 0)], 1, 0, id="what is down costs nothing"),
        pytest.param(
            {"rollingUpdate": {"maxUnavailable": "67%"}}, [(OLD, 0)] * 3, 3, 0, id="share"
        ),
        pytest.param(
            {"rollingUpdate": {"maxUnavailable": 0, "maxSurge": 2}},
            [(OLD, 0)] * 3,
            0,
            2,
            id="surge",
        ),
        pytest.param({}, [(NEW, 0)] * 3, 0, 0, id="done"),
    ],
)
def test_steps_of_an_update(
    strategy: dict[str, Any], pods: list[tuple[str, int | None]], delete: int, create: int
) -> None:
    owner = daemon_set(updateStrategy=strategy)
    made = [_pod(f"p{i}", f"n{i}", digest, ready=ready) for i, (digest, ready) in enumerate(pods)]
    decided = update(_look(owner, made), NOW)
    assert (len(decided.delete), len(decided.create)) == (delete, create)


@pytest.mark.parametrize(("ready", "ended"), [(None, []), (0, ["old"])])
def test_with_a_surge_the_old_one_goes_when_the_new_one_is_there(
    ready: int | None, ended: list[str]
) -> None:
    rolling = {"maxUnavailable": 0, "maxSurge": 1}
    owner = daemon_set(updateStrategy={"rollingUpdate": rolling})
    pods = [_pod("old", "n0", OLD, age=50), _pod("new", "n0", NEW, age=5, ready=ready)]
    decided = manage(_look(owner, pods, 1), NOW)
    assert [p["metadata"]["name"] for p in decided.delete] == ended


def test_what_the_status_counts() -> None:
    pods = [_pod("a", "n0"), _pod("b", "n1", OLD, ready=None), _pod("d", "gone")]
    picture = _look(daemon_set(), pods)
    assert status(picture, None, NOW) == {
        "desiredNumberScheduled": 3,
        "currentNumberScheduled": 2,
        "numberMisscheduled": 0,
        "numberReady": 1,
        "observedGeneration": 1,
        "updatedNumberScheduled": 1,
        "numberAvailable": 1,
        "numberUnavailable": 2,
    }


async def test_a_pod_that_ends_again_and_again_is_replaced_ever_later() -> None:
    clock, owner = ManualClock(), daemon_set()
    ended = EndedPods(clock)
    waits = []
    for number in range(4):
        made = _pod(f"p{number}", "n0", phase="Failed")
        waits.append(ended.wait_s(owner, made))
        await clock.advance(waits[-1])
        assert ended.wait_s(owner, made) == 0
    assert waits == [0, 1, 2, 4]

"""Pods that matter more take the place of those that matter less."""

from random import Random
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from agents.scheduler.algorithm import Decision, schedule
from agents.scheduler.cluster import Cluster
from agents.scheduler.pod_info import PodInfo, pod_info
from agents.scheduler.registry import default_profile
from kubraft.api.gvk import POD_DISRUPTION_BUDGET
from kubraft.api.object import Object, key_of
from tests.agents.scheduler.world import PROFILE, cluster, decide, idle_handle, info, node, pod

ZONE = "topology.kubernetes.io/zone"


def on(name: str, where: str, priority: int = 0, cpu: str = "1", **spec: Any) -> Object:
    """`spec`: also `started`, and `leaving`."""
    started, leaving = spec.pop("started", "2026-01-01T00:00:00Z"), spec.pop("leaving", False)
    made = pod(name, cpu=cpu, on=where, priority=priority, **spec)
    made["status"] = {"startTime": started}
    if leaving:
        made["metadata"]["deletionTimestamp"] = "2026-01-02T00:00:00Z"
    return made


def vip(cpu: str = "1", **spec: Any) -> Object:
    return pod("vip", cpu=cpu, priority=100, **spec)


def budget(app: str, allowed: int) -> Object:
    return {
        "metadata": {"name": app, "namespace": "default"},
        "spec": {"selector": {"matchLabels": {"app": app}}},
        "status": {"disruptionsAllowed": allowed},
    }


def victims(decision: Decision) -> tuple[str, set[str]]:
    return decision.nominated, {victim.key.name for victim in decision.victims}


def far(app: str) -> dict[str, Any]:
    term = {"topologyKey": ZONE, "labelSelector": {"matchLabels": {"app": app}}}
    required = {"requiredDuringSchedulingIgnoredDuringExecution": [term]}
    return {"affinity": {"podAntiAffinity": required}}


A1, B1, A2 = node("a", cpu="1"), node("b", cpu="1"), node("a", cpu="2")


@pytest.mark.parametrize(
    ("objects", "wanted", "node_name", "names"),
    [
        pytest.param([A1, on("low", "a")], vip(), "a", {"low"}, id="the only one"),
        pytest.param([A1, on("same", "a", 100)], vip(), "", set(), id="none that matters as much"),
        pytest.param(
            [A1, on("low", "a")], vip(preemptionPolicy="Never"), "", set(), id="does not want to"
        ),
        pytest.param(
            [A2, on("p1", "a", 1), on("p2", "a", 2)], vip(), "a", {"p1"}, id="the least important"
        ),
        pytest.param(
            [A1, B1, on("p1", "a", 2), on("p2", "b", 1)],
            vip(),
            "b",
            {"p2"},
            id="the node whose victims matter least",
        ),
        pytest.param(
            [
                node("a", cpu="1"),
                B1,
                on("p1", "a", 1, cpu="500m"),
                on("p2", "a", 1, cpu="500m"),
                on("p3", "b", 1),
            ],
            vip(),
            "b",
            {"p3"},
            id="as few as may be",
        ),
        pytest.param(
            [
                A1,
                B1,
                on("old", "a", started="2026-01-01T00:00:00Z"),
                on("new", "b", started="2026-01-02T00:00:00Z"),
            ],
            vip(),
            "b",
            {"new"},
            id="the one that runs for the shortest time",
        ),
        pytest.param(
            [A1, on("low", "a")], vip(cpu="2"), "", set(), id="would not fit an empty node either"
        ),
        pytest.param(
            [node("a", labels={ZONE: "z"}), on("low", "a", labels={"app": "x"})],
            vip(**far("x")),
            "a",
            {"low"},
            id="whom it must be apart from",
        ),
        pytest.param(
            [
                node("a", labels={ZONE: "z"}),
                node("b", labels={ZONE: "z"}),
                on("low", "a", labels={"app": "x"}),
                on("too", "b", 100, labels={"app": "x"}),
            ],
            vip(**far("x")),
            "",
            set(),
            id="another of them would stay in the zone",
        ),
        pytest.param(
            [node("a"), on("low", "a", ports=[{"hostPort": 80}])],
            vip(ports=[{"hostPort": 80}]),
            "a",
            {"low"},
            id="a port of the host",
        ),
        pytest.param(
            [node("a", taints=[{"key": "x", "value": "", "effect": "NoSchedule"}]), on("low", "a")],
            vip(),
            "",
            set(),
            id="a taint does not go away",
        ),
    ],
)
def test_who_has_to_go(
    objects: list[Object], wanted: Object, node_name: str, names: set[str]
) -> None:
    assert victims(decide(cluster(*objects), wanted)) == (node_name, names)


@pytest.mark.parametrize(
    ("allowed", "expected"),
    [
        pytest.param(0, ("b", {"other"}), id="a budget protects"),
        pytest.param(1, ("a", {"kept"}), id="a budget with room does not"),
    ],
)
def test_disruption_budgets(allowed: int, expected: tuple[str, set[str]]) -> None:
    handle = idle_handle()
    profile = default_profile(handle)
    each = budget("kept", allowed)
    handle.informer(POD_DISRUPTION_BUDGET)._store(key_of(each), each)
    kept = on("kept", "a", 1, labels={"app": "kept"})
    where = cluster(A1, B1, kept, on("other", "b", 2, labels={"app": "other"}))
    decision = schedule(profile, where.snapshot(), pod_info(vip()), rng=Random(1))
    assert victims(decision) == expected


def test_a_budget_is_broken_where_nothing_else_helps() -> None:
    handle = idle_handle()
    profile = default_profile(handle)
    each = budget("kept", 0)
    handle.informer(POD_DISRUPTION_BUDGET)._store(key_of(each), each)
    where = cluster(A1, on("kept", "a", 1, labels={"app": "kept"}))
    decision = schedule(profile, where.snapshot(), pod_info(vip()), rng=Random(1))
    assert victims(decision) == ("a", {"kept"})


@pytest.mark.parametrize(
    ("objects", "wanted", "message"),
    [
        pytest.param(
            [A1, B1, on("x", "a"), on("y", "b")],
            pod(cpu="1"),
            "0/2 nodes are available: 2 Insufficient cpu. preemption: 0/2 nodes are available: "
            "2 No preemption victims found for incoming pod.",
            id="nobody matters less",
        ),
        pytest.param(
            [A1, node("b", unschedulable=True), on("x", "a")],
            pod(cpu="1"),
            "0/2 nodes are available: 1 Insufficient cpu, 1 node(s) were unschedulable. "
            "preemption: 0/2 nodes are available: 1 No preemption victims found for incoming pod, "
            "1 Preemption is not helpful for scheduling.",
            id="not everywhere would it help",
        ),
        pytest.param(
            [A1, on("x", "a")],
            vip(preemptionPolicy="Never"),
            "0/1 nodes are available: 1 Insufficient cpu. "
            "preemption: not eligible due to preemptionPolicy=Never.",
            id="does not want to",
        ),
        pytest.param(
            [A1, on("x", "a")], vip(), "0/1 nodes are available: 1 Insufficient cpu.", id="done"
        ),
    ],
)
def test_what_it_says(objects: list[Object], wanted: Object, message: str) -> None:
    assert decide(cluster(*objects), wanted).message == message


def test_it_waits_for_those_who_are_leaving() -> None:
    where = cluster(A1, on("low", "a", leaving=True))
    wanted = pod_info(vip())
    where.nominate(wanted, "a")
    decision = schedule(PROFILE, where.snapshot(), wanted, rng=Random(1))
    assert victims(decision) == ("", set())
    assert decision.keeps_nomination
    assert decision.message.endswith(
        "preemption: not eligible due to a terminating pod on the nominated node."
    )


def test_room_that_was_made_is_kept_for_whom_it_was_made() -> None:
    where = cluster(A1, node("b", cpu="1", pods=0))
    where.nominate(pod_info(vip()), "a")
    lower = schedule(PROFILE, where.snapshot(), info("low", cpu="1"), rng=Random(1))
    assert lower.node_name == ""
    above = info("above", cpu="1", priority=101)
    assert schedule(PROFILE, where.snapshot(), above, rng=Random(1)).node_name == "a"
    assert schedule(PROFILE, where.snapshot(), pod_info(vip()), rng=Random(1)).node_name == "a"


placed = st.lists(st.tuples(st.integers(0, 3), st.integers(0, 4), st.integers(0, 3)), max_size=10)


@settings(max_examples=100, deadline=None)
@given(placed, st.integers(1, 5), st.integers(0, 5))
def test_victims_matter_less_suffice_and_are_none_too_many(
    pods: list[tuple[int, int, int]], cpu: int, priority: int
) -> None:
    where = Cluster()
    for index in range(4):
        where.set_node(node(f"n{index}", cpu="4"))
    for index, (number, level, size) in enumerate(pods):
        found = where.node(f"n{number}")
        if found and found.free("cpu") >= size * 1000:
            placed_pod = on(f"p{index}", f"n{number}", level, str(size), labels={"x": "y"})
            where.set_pod(pod_info(placed_pod))
    wanted = info("vip", cpu=str(cpu), priority=priority)
    decision = schedule(PROFILE, where.snapshot(), wanted, rng=Random(1))
    if decision.node_name:
        return

    def free_without(name: str, gone: tuple[PodInfo, ...]) -> int:
        found = where.snapshot().nodes[name]
        return found.free("cpu") + sum(each.requests.get("cpu", 0) for each in gone)

    if decision.nominated:
        chosen = decision.victims
        assert all(victim.priority < priority for victim in chosen)
        assert free_without(decision.nominated, chosen) >= cpu * 1000
        for victim in chosen:
            others = tuple(each for each in chosen if each is not victim)
            assert free_without(decision.nominated, others) < cpu * 1000
    else:
        for name, found in where.snapshot().nodes.items():
            lower = tuple(each for each in found.pods.values() if each.priority < priority)
            assert not lower or free_without(name, lower) < cpu * 1000

from random import Random
from typing import Any

import pytest

from agents.scheduler.algorithm import compared_count, schedule
from kubraft.api.object import Object
from tests.agents.scheduler.world import PROFILE, cluster, decide, info, node, pod, taint

ZONE = "topology.kubernetes.io/zone"


def preferred(weight: int, key: str) -> dict[str, Any]:
    term = {"matchExpressions": [{"key": key, "operator": "Exists"}]}
    preferences = [{"weight": weight, "preference": term}]
    return {"nodeAffinity": {"preferredDuringSchedulingIgnoredDuringExecution": preferences}}


@pytest.mark.parametrize(
    ("objects", "wanted", "best"),
    [
        pytest.param(
            [node("a"), node("b"), pod("x", cpu="2", on="a")],
            pod(cpu="1"),
            "b",
            id="the emptier node",
        ),
        pytest.param(
            [node("a"), node("b"), *[pod(f"x{i}", on="a") for i in range(3)]],
            pod(),
            "b",
            id="Pods that ask for nothing count as a little",
        ),
        pytest.param(
            [node("a", taints=[taint("x", "PreferNoSchedule")]), node("b", cpu="2")],
            pod(cpu="1"),
            "b",
            id="the node without a soft taint",
        ),
        pytest.param(
            [node("a", labels={"ssd": ""}), node("b"), pod("x", cpu="2", on="a")],
            pod(cpu="1", affinity=preferred(10, "ssd")),
            "a",
            id="the preferred node",
        ),
        pytest.param(
            [node("a", cpu="16"), node("b"), pod("x", on="a", owner="rs")],
            pod(owner="rs"),
            "b",
            id="away from Pods of the same owner",
        ),
        pytest.param(
            [
                node("a1", labels={ZONE: "a"}),
                node("a2", labels={ZONE: "a"}),
                node("b1", labels={ZONE: "b"}),
                pod("x", on="a1", owner="rs"),
            ],
            pod(owner="rs"),
            "b1",
            id="away from their zone",
        ),
        pytest.param(
            [
                node("a", cpu="4", memory="4Gi"),
                node("b", cpu="4", memory="4Gi"),
                pod("x", cpu="2", memory="100Mi", on="a"),
                pod("y", cpu="100m", memory="2Gi", on="b"),
            ],
            pod(cpu="100m", memory="1Gi"),
            "a",
            id="where CPU and memory stay in balance",
        ),
        pytest.param(
            [
                node("a", labels={ZONE: "a"}),
                node("b", labels={ZONE: "b"}),
                pod("x", on="a", labels={"app": "web"}),
            ],
            pod(
                labels={"app": "web"},
                topologySpreadConstraints=[
                    {
                        "maxSkew": 1,
                        "topologyKey": ZONE,
                        "whenUnsatisfiable": "ScheduleAnyway",
                        "labelSelector": {"matchLabels": {"app": "web"}},
                    }
                ],
            ),
            "b",
            id="an even spread that is only wished for",
        ),
    ],
)
def test_the_better_node_wins(objects: list[Object], wanted: Object, best: str) -> None:
    where = cluster(*objects)
    assert {decide(where, wanted, seed).node_name for seed in range(5)} == {best}


def test_replicas_of_one_owner_go_round_all_nodes() -> None:
    where = cluster(*[node(f"n{i}") for i in range(4)])
    counts: dict[str, int] = {}
    for index in range(12):
        wanted = info(f"p{index}", cpu="100m", owner="rs")
        chosen = schedule(PROFILE, where.snapshot(), wanted, rng=Random(index)).node_name
        where.assume(wanted, chosen)
        counts[chosen] = counts.get(chosen, 0) + 1
    assert set(counts.values()) == {3}


def test_equal_nodes_share_the_load_by_chance() -> None:
    where = cluster(node("a"), node("b"))
    assert {decide(where, pod(), seed).node_name for seed in range(20)} == {"a", "b"}


@pytest.mark.parametrize(
    ("nodes", "compared"), [(1, 1), (100, 100), (150, 100), (1000, 420), (5000, 500), (9000, 450)]
)
def test_large_clusters_are_sampled(nodes: int, compared: int) -> None:
    assert compared_count(nodes) == compared


def test_sampling_goes_on_where_it_stopped() -> None:
    where = cluster(*[node(f"n{i:03}") for i in range(200)])
    wanted = info()
    first = schedule(PROFILE, where.snapshot(), wanted, rng=Random(1), start=0)
    assert (first.feasible_count, first.evaluated_count) == (100, 100)
    second = schedule(PROFILE, where.snapshot(), wanted, rng=Random(1), start=100)
    assert second.node_name >= "n100"

"""What the scheduler remembers is what it would find out anew."""

from random import Random
from typing import Any

from hypothesis import given, settings
from hypothesis import strategies as st

from agents.scheduler.algorithm import schedule
from agents.scheduler.cluster import Cluster
from agents.scheduler.node_info import NodeInfo
from agents.scheduler.tally import Contribution, moved, summed
from tests.agents.scheduler.world import PROFILE, cluster, decide, info, node, pod

ZONE = "topology.kubernetes.io/zone"
GIB = 1024**3

steps = st.lists(
    st.tuples(st.sampled_from(["bind", "assume", "gone", "node", "no node"]), st.integers(0, 7)),
    max_size=40,
)


def by_zone(each: NodeInfo) -> Contribution:
    return [(each.labels.get(ZONE), len(each.pods))]


@given(steps)
def test_sums_that_are_kept_up_to_date_are_those_made_anew(
    changes: list[tuple[str, int]],
) -> None:
    where = Cluster()
    for index, (what, number) in enumerate(changes):
        name = f"n{number % 3}"
        placed = info(f"p{number}", labels={"at": str(index)}, on=name)
        if what == "node":
            where.set_node(node(name, labels={ZONE: f"z{index % 2}"}))
        elif what == "no node":
            where.remove_node(name)
        elif what == "bind":
            where.set_pod(placed)
        elif what == "assume" and not where.node_of(placed.key):
            where.assume(info(f"p{number}"), name)
        elif what == "gone":
            where.remove_pod(placed.key)
        snapshot = where.snapshot()
        fresh = summed(snapshot.nodes.values(), by_zone)
        assert snapshot.totals("zones", by_zone) == fresh
        assert {each.name for each in snapshot.node_list} == set(snapshot.nodes)
        assert all(snapshot.nodes[each.name] is each for each in snapshot.node_list)


def test_an_old_snapshot_keeps_its_sums() -> None:
    where = cluster(node("a"), pod("p", on="a"))
    before = where.snapshot()
    assert before.totals("zones", by_zone) == {None: 1}
    where.set_pod(info("q", on="a"))
    assert where.snapshot().totals("zones", by_zone) == {None: 2}
    assert before.totals("zones", by_zone) == {None: 1}


def test_what_if_a_node_were_another() -> None:
    where = cluster(node("a"), pod("p", on="a"), pod("q", on="a"))
    found = where.snapshot().nodes["a"]
    totals = where.snapshot().totals("zones", by_zone)
    emptier = found.without_pod(info("p").key)
    assert moved(totals, by_zone, found, emptier) == {None: 1}


def test_news_of_a_pod_that_change_nothing_keep_what_is_known_of_its_node() -> None:
    where = cluster(node("a"), pod("p", cpu="1", on="a"))
    before = where.snapshot().nodes["a"]
    before.remember("x", 1)
    where.set_pod(info("p", cpu="1", on="a"))
    after = where.snapshot().nodes["a"]
    assert after is not before
    assert after.memo["x"] == 1
    where.set_pod(info("p", cpu="2", on="a"))
    assert "x" not in where.snapshot().nodes["a"].memo


shapes = st.tuples(
    st.integers(0, 3),  # cpu
    st.sampled_from(["", "red", "blue"]),  # node selector
    st.sampled_from(["", "rs-1", "rs-2"]),  # owner
    st.booleans(),  # tolerates
)


@settings(max_examples=60, deadline=None)
@given(st.lists(shapes, max_size=15), st.integers(0, 100))
def test_a_scheduler_with_memory_decides_as_one_without(
    wanted: list[tuple[int, str, str, bool]], seed: int
) -> None:
    where = Cluster()
    for index in range(5):
        taints = [{"key": "t", "value": "", "effect": "NoSchedule"}] if index == 4 else []
        labels = {"color": "red" if index % 2 else "blue", ZONE: f"z{index % 2}"}
        where.set_node(node(f"n{index}", cpu="4", labels=labels, taints=taints))
    for index, (cpu, color, owner, tolerates) in enumerate(wanted):
        each = info(
            f"p{index}",
            cpu=str(cpu) if cpu else "",
            owner=owner,
            nodeSelector={"color": color} if color else {},
            tolerations=[{"operator": "Exists"}] if tolerates else [],
        )
        fresh = Cluster()  # the same objects, seen for the first time
        for known in where.snapshot().node_list:
            assert known.node
            fresh.set_node(known.node)
            for placed in known.pods.values():
                fresh.set_pod(placed)
        decision = schedule(PROFILE, where.snapshot(), each, rng=Random(seed))
        anew = schedule(PROFILE, fresh.snapshot(), each, rng=Random(seed))
        assert (decision.node_name, decision.message) == (anew.node_name, anew.message)
        if decision.node_name:
            where.assume(each, decision.node_name)


def test_a_pod_that_names_its_nodes_has_only_these_looked_at() -> None:
    field = {"key": "metadata.name", "operator": "In", "values": ["b"]}
    terms = [{"matchFields": [field]}]
    required = {"requiredDuringSchedulingIgnoredDuringExecution": {"nodeSelectorTerms": terms}}
    spec: dict[str, Any] = {"affinity": {"nodeAffinity": required}}
    where = cluster(node("a"), node("b", cpu="1"), node("c"))
    assert decide(where, pod(**spec)).node_name == "b"
    assert decide(where, pod(cpu="2", **spec)).message.startswith(
        "0/3 nodes are available: 1 Insufficient cpu, "
        "2 node(s) didn't satisfy plugin(s) [NodeAffinity]. "
    )


def test_a_node_that_has_the_image_is_better() -> None:
    there = node("b")
    there["status"]["images"] = [{"names": ["big/image:latest"], "sizeBytes": 4 * GIB}]
    wanted = pod()
    wanted["spec"]["containers"][0]["image"] = "big/image"
    assert {decide(cluster(node("a"), there), wanted, seed).node_name for seed in range(8)} == {"b"}


def test_spread_among_pods_of_one_version() -> None:
    constraint = {
        "maxSkew": 1,
        "topologyKey": ZONE,
        "whenUnsatisfiable": "DoNotSchedule",
        "labelSelector": {"matchLabels": {"app": "web"}},
        "matchLabelKeys": ["v"],
    }
    old = [pod(f"p{i}", on="a", labels={"app": "web", "v": "1"}) for i in range(3)]
    nodes = [node("a", labels={ZONE: "a"}), node("b", cpu="0", labels={ZONE: "b"})]
    for version, fits in (("2", True), ("1", False)):
        wanted = pod(
            cpu="1", labels={"app": "web", "v": version}, topologySpreadConstraints=[constraint]
        )
        assert bool(decide(cluster(*nodes, *old), wanted).node_name) is fits

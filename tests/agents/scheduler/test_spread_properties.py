"""Spread constraints that must hold do hold at every placement, and reject only where they must."""

from collections import Counter
from random import Random
from typing import Any

from hypothesis import given, settings
from hypothesis import strategies as st

from agents.scheduler.algorithm import schedule
from agents.scheduler.cluster import Cluster
from tests.agents.scheduler.world import PROFILE, info, node

ZONE = "topology.kubernetes.io/zone"


def constraint(max_skew: int) -> dict[str, Any]:
    return {
        "maxSkew": max_skew,
        "topologyKey": ZONE,
        "whenUnsatisfiable": "DoNotSchedule",
        "labelSelector": {"matchLabels": {"app": "web"}},
    }


def zone_counts(where: Cluster, zones: set[str]) -> Counter[str]:
    counts = Counter(dict.fromkeys(zones, 0))
    for each in where.snapshot().nodes.values():
        if ZONE in each.labels:
            matching = [p for p in each.pods.values() if p.labels.get("app") == "web"]
            counts[each.labels[ZONE]] += len(matching)
    return counts


@settings(max_examples=100, deadline=None)
@given(
    st.lists(
        st.tuples(st.sampled_from(["a", "b", "c", ""]), st.integers(1, 4)), min_size=1, max_size=6
    ),
    st.integers(1, 3),
    st.integers(0, 1000),
)
def test_the_skew_is_never_exceeded(
    shapes: list[tuple[str, int]], max_skew: int, seed: int
) -> None:
    where = Cluster()
    for index, (zone, room) in enumerate(shapes):
        labels = {ZONE: zone} if zone else {}
        where.set_node(node(f"n{index}", pods=room, labels=labels))
    zones = {zone for zone, _ in shapes if zone}
    rng = Random(seed)
    for index in range(12):
        web = rng.random() < 0.7
        spread = {"topologySpreadConstraints": [constraint(max_skew)]} if web else {}
        labels = {"app": "web"} if web else {}
        wanted = info(f"p{index}", labels=labels, **spread)
        before = zone_counts(where, zones)
        chosen = schedule(PROFILE, where.snapshot(), wanted, rng=rng, start=seed).node_name
        nodes = where.snapshot().nodes.values()
        with_room = [n for n in nodes if len(n.pods) < n.allocatable["pods"]]
        if not web:
            assert bool(chosen) is bool(with_room)
        else:
            allowed = {z for z in zones if before[z] + 1 - min(before.values()) <= max_skew}
            suits = [n for n in with_room if n.labels.get(ZONE) in allowed]
            assert bool(chosen) is bool(suits)
            if chosen:
                assert chosen in {n.name for n in suits}
        if chosen:
            where.assume(wanted, chosen)

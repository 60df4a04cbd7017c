"""Whatever the cluster and the Pods are: no node is over-committed, and what fits is placed."""

from random import Random

from hypothesis import given, settings
from hypothesis import strategies as st

from agents.scheduler.algorithm import schedule
from agents.scheduler.cluster import Cluster
from agents.scheduler.node_info import empty_node
from agents.scheduler.pod_info import PodInfo
from kubraft.api.object import Object
from tests.agents.scheduler.world import PROFILE, info, node, taint

TAINTS = [taint("a"), taint("b", "NoExecute"), taint("c", "PreferNoSchedule")]

nodes = st.lists(
    st.builds(
        lambda cpu, memory, pods, taints, disk: (cpu, memory, pods, taints, disk),
        st.integers(0, 8),
        st.integers(0, 8),
        st.integers(0, 4),
        st.lists(st.sampled_from(TAINTS), max_size=2),
        st.sampled_from(["ssd", "hdd"]),
    ),
    max_size=6,
)
pods = st.lists(
    st.tuples(
        st.integers(0, 5),
        st.integers(0, 5),
        st.sampled_from([[], [{"key": "a", "operator": "Exists"}], [{"operator": "Exists"}]]),
        st.sampled_from([{}, {"disk": "ssd"}]),
        st.sampled_from(["", "rs-1", "rs-2"]),
    ),
    max_size=20,
)


def build_node(index: int, shape: tuple[int, int, int, list[dict[str, str]], str]) -> Object:
    cpu, memory, count, taints, disk = shape
    return node(
        f"n{index}",
        cpu=str(cpu),
        memory=f"{memory}Gi",
        pods=count,
        taints=taints,
        labels={"disk": disk},
    )


def fits_somewhere(where: Cluster, wanted: PodInfo) -> bool:
    """The slow, obvious answer, from the objects alone."""
    for candidate in where.snapshot().nodes.values():
        placed = list(candidate.pods.values())
        used_cpu = sum(p.requests.get("cpu", 0) for p in placed)
        used_memory = sum(p.requests.get("memory", 0) for p in placed)
        hard = [t.key for t in candidate.taints if t.effect != "PreferNoSchedule"]
        tolerated = [t.key for t in wanted.tolerations]
        if (
            used_cpu + wanted.requests.get("cpu", 0) <= candidate.allocatable["cpu"]
            and used_memory + wanted.requests.get("memory", 0) <= candidate.allocatable["memory"]
            and len(placed) < candidate.allocatable["pods"]
            and all(key in tolerated or "" in tolerated for key in hard)
            and wanted.spec["nodeSelector"].items() <= candidate.labels.items()
        ):
            return True
    return False


@settings(max_examples=150, deadline=None)
@given(nodes, pods, st.integers(0, 1000))
def test_what_fits_is_placed_and_nothing_else(
    node_shapes: list[tuple[int, int, int, list[dict[str, str]], str]],
    pod_shapes: list[tuple[int, int, list[dict[str, str]], dict[str, str], str]],
    seed: int,
) -> None:
    where = Cluster()
    for index, shape in enumerate(node_shapes):
        where.set_node(build_node(index, shape))
    rng = Random(seed)
    for index, (cpu, memory, tolerations, selector, owner) in enumerate(pod_shapes):
        wanted = info(
            f"p{index}",
            cpu=str(cpu) if cpu else "",
            memory=f"{memory}Gi" if memory else "",
            tolerations=tolerations,
            nodeSelector=selector,
            owner=owner,
        )
        feasible = fits_somewhere(where, wanted)
        chosen = schedule(PROFILE, where.snapshot(), wanted, rng=rng, start=seed).node_name
        assert bool(chosen) is feasible
        if chosen:
            where.assume(wanted, chosen)
        if rng.random() < 0.2 and index:
            where.remove_pod(info(f"p{rng.randrange(index)}").key)
        for each in where.snapshot().nodes.values():
            assert len(each.pods) <= each.allocatable["pods"]
            assert all(each.free(name) >= 0 for name in each.requested)


@given(
    st.lists(
        st.tuples(st.integers(0, 5), st.integers(0, 4), st.booleans(), st.sampled_from(["", "rs"])),
        max_size=30,
    )
)
def test_counts_follow_any_sequence_of_changes(
    steps: list[tuple[int, int, bool, str]],
) -> None:
    """The incremental sums always equal those made anew from the Pods."""
    where = Cluster()
    where.set_node(node("n0"))
    where.set_node(node("n1"))
    for number, cpu, remove, owner in steps:
        wanted = info(f"p{number}", cpu=str(cpu), owner=owner, on=f"n{number % 3}")
        if remove:
            where.remove_pod(wanted.key)
        else:
            where.set_pod(wanted)
        for name in ("n0", "n1", "n2"):
            found = where.node(name)
            fresh = empty_node(name)
            for each in found.pods.values() if found else ():
                fresh = fresh.with_pod(each)
            if found:
                assert {k: v for k, v in found.requested.items() if v} == {
                    k: v for k, v in fresh.requested.items() if v
                }
                assert (found.owners, found.scored) == (fresh.owners, fresh.scored)
    assert set(where.snapshot().nodes) == {"n0", "n1"}

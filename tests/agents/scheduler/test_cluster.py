from tests.agents.scheduler.world import cluster, info, node, pod


def test_an_assumed_pod_counts_until_it_is_shown_or_taken_back() -> None:
    where = cluster(node("a", cpu="2"))
    wanted = info("p", cpu="1")
    where.assume(wanted, "a")
    assert where.snapshot().nodes["a"].free("cpu") == 1000
    assert where.is_assumed(wanted.key)
    assert where.forget(wanted)
    assert where.snapshot().nodes["a"].free("cpu") == 2000
    where.assume(wanted, "a")
    where.set_pod(info("p", cpu="1", on="a"))
    assert not where.is_assumed(wanted.key)
    assert not where.forget(wanted)  # a late failure changes nothing
    assert where.snapshot().nodes["a"].free("cpu") == 1000


def test_a_pod_that_turns_out_to_be_elsewhere_moves() -> None:
    where = cluster(node("a"), node("b"))
    where.assume(info("p", cpu="1"), "a")
    where.set_pod(info("p", cpu="1", on="b"))
    snapshot = where.snapshot()
    assert snapshot.nodes["a"].requested.get("cpu", 0) == 0
    assert snapshot.nodes["b"].requested["cpu"] == 1000


def test_snapshots_do_not_change() -> None:
    where = cluster(node("a"))
    before = where.snapshot()
    assert where.snapshot() is before
    where.set_pod(info("p", cpu="1", on="a"))
    assert before.nodes["a"].free("cpu") == 4000
    assert where.snapshot().nodes["a"].free("cpu") == 3000


def test_pods_of_a_node_that_is_not_there_yet_count_once_it_comes() -> None:
    where = cluster(pod("p", cpu="1", on="a"))
    assert where.snapshot().nodes == {}
    where.set_node(node("a"))
    assert where.snapshot().nodes["a"].free("cpu") == 3000
    where.remove_node("a")
    assert where.snapshot().nodes == {}
    where.remove_pod(info("p").key)
    where.set_node(node("a"))
    assert where.snapshot().nodes["a"].free("cpu") == 4000


def test_nodes_of_different_zones_take_turns() -> None:
    zone = "topology.kubernetes.io/zone"
    where = cluster(*[node(f"{z}{i}", labels={zone: z}) for z in "ab" for i in range(2)])
    assert [each.name for each in where.snapshot().node_list] == ["a0", "b0", "a1", "b1"]

"""Affinity between Pods: tables, and a slow obvious version over random clusters."""

from random import Random
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from agents.scheduler.algorithm import schedule
from agents.scheduler.cluster import Cluster
from agents.scheduler.pod_info import PodInfo
from agents.scheduler.registry import default_profile
from kubraft.api.gvk import NAMESPACE
from kubraft.api.object import Object, ObjectKey
from tests.agents.scheduler.world import PROFILE, cluster, decide, idle_handle, info, node, pod

ZONE, HOST = "topology.kubernetes.io/zone", "kubernetes.io/hostname"
NOT_NEAR = "node(s) didn't match pod affinity rules"
NOT_FAR = "node(s) didn't match pod anti-affinity rules"
NOT_WANTED = "node(s) didn't satisfy existing pods anti-affinity rules"


def term(key: str = ZONE, app: str = "web", **more: Any) -> dict[str, Any]:
    return {"topologyKey": key, "labelSelector": {"matchLabels": {"app": app}}, **more}


def near(*terms: dict[str, Any], kind: str = "podAffinity") -> dict[str, Any]:
    required = {"requiredDuringSchedulingIgnoredDuringExecution": list(terms)}
    return {"affinity": {kind: required}}


def far(*terms: dict[str, Any]) -> dict[str, Any]:
    return near(*terms, kind="podAntiAffinity")


def rather(weight: int, wanted: dict[str, Any], kind: str = "podAffinity") -> dict[str, Any]:
    each = {"weight": weight, "podAffinityTerm": wanted}
    return {"affinity": {kind: {"preferredDuringSchedulingIgnoredDuringExecution": [each]}}}


A, B = node("a", labels={ZONE: "z1"}), node("b", labels={ZONE: "z2"})
WEB_ON_A = pod("web", on="a", labels={"app": "web"})


@pytest.mark.parametrize(
    ("objects", "wanted", "expected"),
    [
        pytest.param([A, B, WEB_ON_A], pod(**near(term())), "a", id="near"),
        pytest.param([A, B, WEB_ON_A], pod(**far(term())), "b", id="far"),
        pytest.param([A, B], pod(**near(term())), NOT_NEAR, id="nobody to be near"),
        pytest.param(
            [A], pod(labels={"app": "web"}, **near(term())), "a", id="the first of its group"
        ),
        pytest.param(
            [node("a")],
            pod(labels={"app": "web"}, **near(term())),
            NOT_NEAR,
            id="even the first needs a node with the label",
        ),
        pytest.param(
            [A, B, WEB_ON_A, pod("db", on="b", labels={"app": "db"})],
            pod(**near(term(), term(app="db"))),
            NOT_NEAR,
            id="one Pod must meet all terms",
        ),
        pytest.param([A, WEB_ON_A], pod(**far(term())), NOT_FAR, id="no node far enough"),
        pytest.param(
            [A, pod("x", on="a", **far(term()))],
            pod(labels={"app": "web"}),
            NOT_WANTED,
            id="those who are there do not want it",
        ),
        pytest.param(
            [A, B, pod("x", on="a", **far(term()))],
            pod(labels={"app": "web"}),
            "b",
            id="goes where nobody minds",
        ),
        pytest.param(
            [A, pod("x", on="a", namespace="other", labels={"app": "web"})],
            pod(**far(term())),
            "a",
            id="another namespace is not meant",
        ),
        pytest.param(
            [A, pod("x", on="a", namespace="other", labels={"app": "web"})],
            pod(**far(term(namespaces=["other"]))),
            NOT_FAR,
            id="unless it is named",
        ),
        pytest.param(
            [A, pod("x", on="a", labels={"app": "web", "v": "1"})],
            pod(labels={"v": "2"}, **far(term(matchLabelKeys=["v"]))),
            "a",
            id="matchLabelKeys: another version",
        ),
        pytest.param(
            [A, pod("x", on="a", labels={"app": "web", "v": "2"})],
            pod(labels={"v": "2"}, **far(term(matchLabelKeys=["v"]))),
            NOT_FAR,
            id="matchLabelKeys: the same version",
        ),
        pytest.param(
            [A, pod("x", on="a", labels={"app": "web", "tenant": "me"})],
            pod(labels={"tenant": "me"}, **far(term(mismatchLabelKeys=["tenant"]))),
            "a",
            id="mismatchLabelKeys: my own do not count",
        ),
        pytest.param(
            [A, B, WEB_ON_A], pod(**rather(10, term())), "a", id="rather near"
        ),
        pytest.param(
            [A, B, WEB_ON_A],
            pod(**rather(10, term(), "podAntiAffinity")),
            "b",
            id="rather far",
        ),
        pytest.param(
            [A, B, pod("x", on="b", **rather(50, term()))],
            pod(labels={"app": "web"}),
            "b",
            id="somebody there would like it near",
        ),
    ],
)  # fmt: skip
def test_where_it_goes(objects: list[Object], wanted: Object, expected: str) -> None:
    decision = decide(cluster(*objects), wanted)
    if expected in ("a", "b"):
        assert decision.node_name == expected
    else:
        assert decision.node_name == ""
        assert expected in decision.message


def test_namespaces_by_their_labels() -> None:
    handle = idle_handle()
    profile = default_profile(handle)
    for name, team in (("other", "x"), ("third", "y")):
        namespace = {"metadata": {"name": name, "labels": {"team": team}}}
        handle.informer(NAMESPACE)._store(ObjectKey("", name), namespace)
    where = cluster(A, pod("x", on="a", namespace="other", labels={"app": "web"}))

    def goes(selector: dict[str, Any]) -> bool:
        wanted = info(**far(term(namespaceSelector=selector)))
        return bool(schedule(profile, where.snapshot(), wanted, rng=Random(1)).node_name)

    assert not goes({"matchLabels": {"team": "x"}})
    assert goes({"matchLabels": {"team": "y"}})
    assert not goes({})


# --- against the slow, obvious version

KEYS = (HOST, ZONE)
kinds = st.sampled_from(["podAffinity", "podAntiAffinity"])
terms = st.tuples(kinds, st.sampled_from(KEYS), st.sampled_from(["a", "b"]))
shapes = st.lists(
    st.tuples(st.sampled_from(["a", "b", "c"]), st.lists(terms, max_size=2), st.booleans()),
    max_size=16,
)


def allowed(where: Cluster, wanted: PodInfo, name: str) -> bool:
    """From the objects alone: would every required term hold with the Pod on that node?"""
    nodes = where.snapshot().nodes
    labels = nodes[name].labels
    placed = [(p, nodes[p.node_name].labels) for n in nodes.values() for p in n.pods.values()]

    def terms_of(pod: PodInfo, kind: str) -> list[dict[str, Any]]:
        affinity = (pod.spec.get("affinity") or {}).get(kind) or {}
        found: list[dict[str, Any]] = affinity.get(
            "requiredDuringSchedulingIgnoredDuringExecution", []
        )
        return found

    def selects(each: dict[str, Any], other: PodInfo) -> bool:
        wanted_app: str = each["labelSelector"]["matchLabels"]["app"]
        return other.labels.get("app") == wanted_app

    def together(key: str, there: dict[str, str]) -> bool:
        return key in labels and labels[key] == there.get(key)

    for each in terms_of(wanted, "podAntiAffinity"):
        if any(selects(each, p) and together(each["topologyKey"], at) for p, at in placed):
            return False
    for other, at in placed:
        for each in terms_of(other, "podAntiAffinity"):
            if selects(each, wanted) and together(each["topologyKey"], at):
                return False
    required = terms_of(wanted, "podAffinity")
    if not all(each["topologyKey"] in labels for each in required):
        return False
    candidates = [(p, at) for p, at in placed if all(selects(each, p) for each in required)]
    met = all(any(together(each["topologyKey"], at) for _, at in candidates) for each in required)
    nobody = not any(each["topologyKey"] in at for each in required for _, at in candidates)
    return met or (nobody and all(selects(each, wanted) for each in required))


@settings(max_examples=120, deadline=None)
@given(st.lists(st.sampled_from(["z1", "z2", ""]), min_size=1, max_size=5), shapes, st.integers())
def test_the_slow_version_agrees(
    zones: list[str], wanted: list[tuple[str, list[tuple[str, str, str]], bool]], seed: int
) -> None:
    where, rng = Cluster(), Random(seed)
    for index, zone in enumerate(zones):
        where.set_node(node(f"n{index}", labels={ZONE: zone} if zone else {}))
    for index, (app, given_terms, leaves) in enumerate(wanted):
        affinity: dict[str, Any] = {}
        for kind, key, other in given_terms:
            required = affinity.setdefault(kind, {})
            listed = required.setdefault("requiredDuringSchedulingIgnoredDuringExecution", [])
            listed.append(term(key, other))
        each = info(f"p{index}", labels={"app": app}, affinity=affinity)
        expected = {name for name in where.snapshot().nodes if allowed(where, each, name)}
        decision = schedule(PROFILE, where.snapshot(), each, rng=rng, start=index)
        assert bool(decision.node_name) is bool(expected)
        if decision.node_name:
            assert decision.node_name in expected
            where.assume(each, decision.node_name)
        if leaves:
            where.remove_pod(info(f"p{rng.randrange(index + 1)}").key)

from typing import Any

import pytest

from kubraft.api.object import Object
from tests.agents.scheduler.world import cluster, decide, node, pod, taint

ZONE = "topology.kubernetes.io/zone"
SPREAD = {
    "maxSkew": 1,
    "topologyKey": ZONE,
    "whenUnsatisfiable": "DoNotSchedule",
    "labelSelector": {"matchLabels": {"app": "web"}},
}


def affinity(*expressions: dict[str, Any], fields: Any = ()) -> dict[str, Any]:
    terms = [{"matchExpressions": list(expressions), "matchFields": list(fields)}]
    required = {"nodeSelectorTerms": terms}
    return {"nodeAffinity": {"requiredDuringSchedulingIgnoredDuringExecution": required}}


def expression(key: str, operator: str, *values: str) -> dict[str, Any]:
    return {"key": key, "operator": operator, "values": list(values)}


def tolerate(**toleration: str) -> dict[str, Any]:
    return {"tolerations": [toleration]}


@pytest.mark.parametrize(
    ("nodes", "wanted", "reason"),
    [
        pytest.param([node(cpu="1")], pod(cpu="1"), "", id="exactly enough"),
        pytest.param([node(cpu="1")], pod(cpu="1001m"), "Insufficient cpu", id="cpu"),
        pytest.param([node(memory="1Gi")], pod(memory="2Gi"), "Insufficient memory", id="memory"),
        pytest.param(
            [node(extended={"ephemeral-storage": "1Gi"})],
            pod(extended={"ephemeral-storage": "2Gi"}),
            "Insufficient ephemeral-storage",
            id="ephemeral storage",
        ),
        pytest.param(
            [node()],
            pod(extended={"example.com/gpu": "1"}),
            "Insufficient example.com/gpu",
            id="extended resource that no node has",
        ),
        pytest.param(
            [node(extended={"example.com/gpu": "2"})],
            pod(extended={"example.com/gpu": "2"}),
            "",
            id="extended resource",
        ),
        pytest.param([node(pods=0)], pod(), "Too many pods", id="number of Pods"),
        pytest.param(
            [node(taints=[taint("a")])],
            pod(),
            "node(s) had untolerated taint(s)",
            id="taint",
        ),
        pytest.param([node(taints=[taint("a", "PreferNoSchedule")])], pod(), "", id="soft taint"),
        pytest.param(
            [node(taints=[taint("a", "NoExecute", "x")])],
            pod(**tolerate(key="a", operator="Equal", value="x")),
            "",
            id="tolerated by value",
        ),
        pytest.param(
            [node(taints=[taint("a", value="y")])],
            pod(**tolerate(key="a", value="x")),
            "node(s) had untolerated taint(s)",
            id="another value",
        ),
        pytest.param(
            [node(taints=[taint("a"), taint("b")])],
            pod(**tolerate(operator="Exists")),
            "",
            id="everything tolerated",
        ),
        pytest.param(
            [node(taints=[taint("a", "NoExecute")])],
            pod(**tolerate(key="a", operator="Exists", effect="NoSchedule")),
            "node(s) had untolerated taint(s)",
            id="another effect tolerated",
        ),
        pytest.param(
            [node(unschedulable=True)], pod(), "node(s) were unschedulable", id="cordoned"
        ),
        pytest.param(
            [node(unschedulable=True)],
            pod(**tolerate(key="node.kubernetes.io/unschedulable", operator="Exists")),
            "",
            id="cordoned, tolerated",
        ),
        pytest.param(
            [node(labels={"disk": "ssd"})], pod(nodeSelector={"disk": "ssd"}), "", id="selector"
        ),
        pytest.param(
            [node()],
            pod(nodeSelector={"disk": "ssd"}),
            "node(s) didn't match Pod's node affinity/selector",
            id="selector without match",
        ),
        pytest.param(
            [node(labels={"cores": "8"})],
            pod(affinity=affinity(expression("cores", "Gt", "4"))),
            "",
            id="affinity by number",
        ),
        pytest.param(
            [node(labels={"cores": "8"})],
            pod(affinity=affinity(expression("cores", "In", "2", "4"))),
            "node(s) didn't match Pod's node affinity/selector",
            id="affinity without match",
        ),
        pytest.param(
            [node("node-7")],
            pod(affinity=affinity(fields=[expression("metadata.name", "In", "node-7")])),
            "",
            id="affinity by name",
        ),
        pytest.param(
            [node()],
            pod(affinity=affinity()),
            "node(s) didn't match Pod's node affinity/selector",
            id="an empty term matches nothing",
        ),
        pytest.param(
            [node(), pod("x", on="node-0", ports=[{"hostPort": 80}])],
            pod(ports=[{"hostPort": 80, "hostIP": "127.0.0.1"}]),
            "node(s) didn't have free ports for the requested pod ports",
            id="host port taken",
        ),
        pytest.param(
            [node(), pod("x", on="node-0", ports=[{"hostPort": 80, "protocol": "UDP"}])],
            pod(ports=[{"hostPort": 80}]),
            "",
            id="host port of another protocol",
        ),
        pytest.param(
            [
                node("a", labels={ZONE: "a"}),
                node("b", labels={ZONE: "b"}, taints=[taint("x")]),
                pod("x", on="a", labels={"app": "web"}),
            ],
            pod(labels={"app": "web"}, topologySpreadConstraints=[SPREAD]),
            "node(s) didn't match pod topology spread constraints",
            id="spread: a tainted node's zone still counts",
        ),
        pytest.param(
            [
                node("a", labels={ZONE: "a"}),
                node("b", labels={ZONE: "b"}, taints=[taint("x")]),
                pod("x", on="a", labels={"app": "web"}),
            ],
            pod(
                labels={"app": "web"},
                topologySpreadConstraints=[{**SPREAD, "nodeTaintsPolicy": "Honor"}],
            ),
            "",
            id="spread: unless it says otherwise",
        ),
        pytest.param(
            [node()],
            pod(labels={"app": "web"}, topologySpreadConstraints=[SPREAD]),
            "node(s) didn't match pod topology spread constraints (missing required label)",
            id="spread: no zone",
        ),
        pytest.param(
            [node("a", labels={ZONE: "a"}), pod("x", on="a", labels={"app": "web"})],
            pod(labels={"app": "web"}, topologySpreadConstraints=[{**SPREAD, "minDomains": 2}]),
            "node(s) didn't match pod topology spread constraints",
            id="spread: too few domains",
        ),
    ],
)
def test_nodes_that_do_not_suit(nodes: list[Object], wanted: Object, reason: str) -> None:
    decision = decide(cluster(*nodes), wanted)
    if reason:
        assert decision.node_name == ""
        assert f"1 {reason}" in decision.message
    else:
        assert decision.node_name


def test_the_message_counts_each_reason_in_upstreams_order() -> None:
    nodes = [
        node("a", cpu="1", memory="1Gi"),
        node("b", cpu="1"),
        node("c", taints=[taint("x")]),
        node("d", unschedulable=True),
    ]
    decision = decide(cluster(*nodes), pod(cpu="2", memory="4Gi"))
    assert decision.message == (
        "0/4 nodes are available: 1 Insufficient memory, 1 node(s) had untolerated taint(s), "
        "1 node(s) were unschedulable, 2 Insufficient cpu. "
        "preemption: 0/4 nodes are available: 4 Preemption is not helpful for scheduling."
    )
    assert decision.rejected_by == {"NodeResourcesFit", "TaintToleration", "NodeUnschedulable"}


def test_a_cluster_without_nodes_has_a_message_of_its_own() -> None:
    assert decide(cluster(), pod()).message == "no nodes available to schedule pods"

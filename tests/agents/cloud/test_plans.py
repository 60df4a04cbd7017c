"""What the cloud says of Nodes and Services, and which addresses load balancers get."""

from __future__ import annotations

from ipaddress import IPv4Network
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from agents.cloud import node_plan, service_plan
from agents.cloud.local.addresses import AddressFile, free_address
from agents.cloud.local.load_balancers import balancer_of
from agents.cloud.provider import CloudError, Ingress, InstanceMetadata, find_factory
from kubraft.api.object import Object
from tests.agents.controllers.node_objects import node
from tests.agents.proxy.objects import service

NETWORK = IPv4Network("127.64.48.0/29")
WAITS = {"key": node_plan.UNINITIALIZED, "value": "true", "effect": "NoSchedule"}
FOUND = InstanceMetadata(
    "local://c/node-0",
    addresses=(("InternalIP", "127.0.0.1"),),
    instance_type="process",
    zone="z",
    region="r",
    labels={"rack": "7"},
)


def test_a_node_learns_what_its_machine_is() -> None:
    other = {"key": "mine", "effect": "NoExecute"}
    made = node_plan.initialized(node(taints=[WAITS, other]), FOUND)
    assert made["spec"] == {"providerID": "local://c/node-0", "taints": [other]}
    assert made["metadata"]["labels"] == {
        "node.kubernetes.io/instance-type": "process",
        "beta.kubernetes.io/instance-type": "process",
        "topology.kubernetes.io/zone": "z",
        "failure-domain.beta.kubernetes.io/zone": "z",
        "topology.kubernetes.io/region": "r",
        "failure-domain.beta.kubernetes.io/region": "r",
        "rack": "7",
    }
    assert not node_plan.needs_metadata(made)
    assert node_plan.initialized(made, FOUND) == made


def test_a_nodes_own_provider_id_stays() -> None:
    made = node_plan.initialized(node(taints=[WAITS], providerID="other://x"), FOUND)
    assert made["spec"] == {"providerID": "other://x"}


def test_addresses_are_written_where_they_differ() -> None:
    wanted = [{"type": "InternalIP", "address": "127.0.0.1"}]
    assert node_plan.with_addresses(node(), FOUND) == wanted
    assert node_plan.with_addresses({"status": {"addresses": wanted}}, FOUND) is None
    assert node_plan.with_addresses(node(), InstanceMetadata("x")) is None


def test_a_machine_that_is_off_keeps_pods_away_until_it_is_on() -> None:
    off = node_plan.shut_down(node())
    assert off["spec"]["taints"] == [{"key": node_plan.SHUTDOWN, "effect": "NoSchedule"}]
    assert node_plan.shut_down(off) == off
    assert node_plan.turned_on(off) == node()


@pytest.mark.parametrize(
    ("found", "expected"),
    [
        pytest.param(node(), True, id="ready"),
        pytest.param(node(ready="False"), False, id="not ready"),
        pytest.param(node(ready=""), False, id="unknown"),
        pytest.param(
            node(taints=[{"key": "ToBeDeletedByClusterAutoscaler"}]), False, id="about to go"
        ),
        pytest.param(node(taints=[{"key": "x"}]), True, id="another taint"),
    ],
)
def test_load_balancers_lead_to_nodes_that_can_serve(found: Object, expected: bool) -> None:
    assert node_plan.takes_traffic(found) is expected
    label = {"node.kubernetes.io/exclude-from-external-load-balancers": ""}
    excluded = {**found, "metadata": {**found["metadata"], "labels": label}}
    assert not node_plan.takes_traffic(excluded)


@pytest.mark.parametrize(
    ("spec", "metadata", "wants", "had"),
    [
        pytest.param({"type": "LoadBalancer"}, {}, True, False, id="new"),
        pytest.param({"type": "ClusterIP"}, {}, False, False, id="another type"),
        pytest.param(
            {"type": "LoadBalancer", "loadBalancerClass": "a/b"}, {}, False, False, id="a class"
        ),
        pytest.param(
            {"type": "LoadBalancer", "loadBalancerClass": "a/b"},
            {"finalizers": [service_plan.FINALIZER]},
            False,
            False,
            id="another's finalizer",
        ),
        pytest.param(
            {"type": "NodePort"},
            {"finalizers": [service_plan.FINALIZER]},
            False,
            True,
            id="no more",
        ),
        pytest.param(
            {"type": "LoadBalancer"},
            {"finalizers": [service_plan.FINALIZER], "deletionTimestamp": "x"},
            False,
            True,
            id="deleted",
        ),
        pytest.param({"type": "LoadBalancer"}, {"deletionTimestamp": "x"}, False, False, id="late"),
    ],
)
def test_who_gets_and_loses_a_load_balancer(
    spec: Object, metadata: Object, wants: bool, had: bool
) -> None:
    made = service(**spec)
    made["metadata"] |= metadata
    assert (service_plan.wants_balancer(made), service_plan.had_balancer(made)) == (wants, had)


def test_the_status_says_how_the_address_is_to_be_taken() -> None:
    found = (Ingress(ip="1.2.3.4", mode="Proxy"), Ingress(hostname="lb.example"))
    expected = [{"ip": "1.2.3.4", "ipMode": "Proxy"}, {"hostname": "lb.example"}]
    assert service_plan.ingress_status(found) == expected


def test_a_service_keeps_its_address_and_nobody_shares_one() -> None:
    taken: dict[str, str] = {}
    for uid in "abcdef":  # all that a /29 has
        taken[uid] = free_address(uid, taken, NETWORK)
    assert len(set(taken.values())) == 6
    assert all(free_address(uid, taken, NETWORK) == taken[uid] for uid in taken)
    with pytest.raises(CloudError, match=r"no address of 127.64.48.0/29 is left"):
        free_address("g", taken, NETWORK)


@pytest.mark.parametrize(
    ("wanted", "message"),
    [
        ("127.64.48.2", "another load balancer's"),
        ("10.0.0.1", "is not in"),
        ("x", "is not in"),
    ],
)
def test_an_address_that_cannot_be_had_is_refused(wanted: str, message: str) -> None:
    with pytest.raises(CloudError, match=message):
        free_address("b", {"a": "127.64.48.2"}, NETWORK, wanted)
    assert free_address("b", {"a": "127.64.48.2"}, NETWORK, "127.64.48.3") == "127.64.48.3"
    assert free_address("a", {"a": "127.64.48.2"}, NETWORK, "127.64.48.3") == "127.64.48.3"


@given(st.lists(st.tuples(st.sampled_from("abcdefgh"), st.booleans()), max_size=40))
def test_addresses_are_never_given_twice(steps: list[tuple[str, bool]]) -> None:
    taken: dict[str, str] = {}
    for uid, add in steps:
        if not add:
            taken.pop(uid, None)
            continue
        try:
            taken[uid] = free_address(uid, taken, NETWORK)
        except CloudError:
            assert len(taken) == 6
        assert len(set(taken.values())) == len(taken)


def test_the_table_of_addresses_outlives_the_process(tmp_path: Path) -> None:
    path = tmp_path / "cloud" / "load-balancers.json"
    assert AddressFile(path).read() == {}
    AddressFile(path).write({"b": "127.64.48.1"})
    assert AddressFile(path).read() == {"b": "127.64.48.1"}
    path.write_text("{")
    with pytest.raises(CloudError, match="cannot be read"):
        AddressFile(path).read()


def with_address(name: str, address: str) -> Object:
    made = node(name)
    return {**made, "status": {"addresses": [{"type": "InternalIP", "address": address}]}}


def shown(spec: dict[str, Any], *nodes: Object) -> dict[str, list[str]]:
    balancer = balancer_of(service(type="LoadBalancer", **spec), nodes, "127.64.48.1")
    return {
        str(front): [f"{each.address}:{each.port}" for each in backends.endpoints]
        for front, backends in balancer.fronts.items()
    }


def test_a_load_balancer_leads_to_each_nodes_port() -> None:
    ports = [
        {"port": 80, "nodePort": 30_001},
        {"port": 53, "nodePort": 30_002, "protocol": "UDP"},
        {"port": 99, "nodePort": 30_003, "protocol": "SCTP"},
    ]
    nodes = (with_address("a", "127.0.0.2"), with_address("b", "127.0.0.1"), node("no-address"))
    assert shown({"ports": ports}, *nodes) == {
        "127.64.48.1:80/TCP": ["127.0.0.1:30001", "127.0.0.2:30001"],
        "127.64.48.1:53/UDP": ["127.0.0.1:30002", "127.0.0.2:30002"],
    }
    # allocateLoadBalancerNodePorts: false
    plain = {"ports": [{"port": 80}], "clusterIP": "127.160.0.9"}
    assert shown(plain, *nodes) == {"127.64.48.1:80/TCP": ["127.160.0.9:80"]}


def test_a_provider_is_found_by_its_name() -> None:
    def factory(context: object) -> Any:
        return context

    assert find_factory("mine", {"mine": factory}) is factory
    with pytest.raises(ValueError, match="there is no such provider; mine"):
        find_factory("other", {"mine": factory})

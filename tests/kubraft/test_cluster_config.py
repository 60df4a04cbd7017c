from __future__ import annotations

import ipaddress
import json
import random

import pytest

from kubraft.cluster_config import (
    ClusterConfig,
    ClusterConfigError,
    Counts,
    HollowConfig,
    new_cluster,
)


def cluster(counts: Counts | None = None, *, auto_ports: bool = False) -> ClusterConfig:
    return new_cluster(counts or Counts(), auto_ports=auto_ports, rng=random.Random(5))


def test_the_defaults_are_the_documented_ports() -> None:
    config = cluster()
    assert config.endpoints == (
        "https://127.0.0.1:2379,https://127.0.0.1:22379,https://127.0.0.1:32379"
    )
    assert config.initial_cluster.startswith("store-0=https://127.0.0.1:2380,store-1=")
    assert (config.rest, config.grpc) == ("https://127.0.0.1:6443", "127.0.0.1:6444")
    assert [node.pod_cidr for node in config.nodes] == ["127.64.0.0/24", "127.64.1.0/24"]
    assert [node.port for node in config.nodes] == [10250, 10350]


def test_five_members_take_the_ports_of_the_design() -> None:
    config = cluster(Counts(members=5))
    assert [member.client_port for member in config.members] == [2379, 22379, 32379, 42379, 52379]
    assert all(member.peer_port == member.client_port + 1 for member in config.members)


@pytest.mark.parametrize("auto_ports", [False, True])
def test_a_cluster_survives_its_file(*, auto_ports: bool) -> None:
    counts = Counts(members=5, nodes=7, apiservers=2, hollow=HollowConfig(9, memory="1Gi"))
    config = cluster(counts, auto_ports=auto_ports)
    assert ClusterConfig.from_json(config.to_json()) == config


def test_the_file_of_a_cluster_before_hollow_nodes_is_read() -> None:
    config = cluster()
    values = json.loads(config.to_json())
    for name in ("hollow", "hollow_port"):
        del values["kubraft"][name]
    assert ClusterConfig.from_json(json.dumps(values)) == config


def test_no_port_is_given_twice() -> None:
    for auto_ports in (False, True):
        config = cluster(Counts(members=5, nodes=40), auto_ports=auto_ports)
        taken = [config.rest_port, config.grpc_port, config.grpc_mtls_port, *config.node_ports]
        for member in config.members:
            taken += [member.client_port, member.peer_port]
        assert len(set(taken)) == len(taken)


def test_every_nodes_addresses_are_loopback_and_its_own() -> None:
    networks = [
        ipaddress.ip_network(node.pod_cidr)
        for node in cluster(Counts(nodes=40), auto_ports=True).nodes
    ]
    assert all(network.is_loopback for network in networks)
    assert len(set(networks)) == 40


@pytest.mark.parametrize(
    ("counts", "message"),
    [
        pytest.param(Counts(members=2), "MEMBERS=2: a quorum has 1, 3, 5 members", id="even"),
        pytest.param(Counts(members=7), "MEMBERS=7", id="too many members"),
        pytest.param(Counts(nodes=-1), "NODES=-1: must be 0 to 40", id="negative"),
        pytest.param(Counts(nodes=41), "NODES=41", id="too many nodes"),
        pytest.param(Counts(apiservers=0), "APISERVERS=0: must be 1 to 5", id="no apiserver"),
    ],
)
def test_counts_out_of_bounds_are_refused_by_name(counts: Counts, message: str) -> None:
    with pytest.raises(ClusterConfigError, match=message):
        cluster(counts)


def test_the_number_of_members_never_changes() -> None:
    with pytest.raises(ClusterConfigError, match="3 members, not 5: `make clean`"):
        cluster().with_counts(Counts(members=5))


def test_nodes_and_replicas_may_change_and_addresses_stay() -> None:
    before = cluster(auto_ports=True)
    after = before.with_counts(Counts(nodes=3, apiservers=2))
    assert after.nodes[:2] == before.nodes
    assert len(after.nodes) == 3
    assert after.apiservers == 2
    assert after.with_counts(Counts()) == after


def test_nodes_come_and_go_one_by_one_and_keep_what_they_have() -> None:
    three, added = cluster().with_node()
    assert added.name == "node-2"
    assert three.nodes == (*cluster().nodes, added)
    left = three.without_node("node-1")
    assert [node.name for node in left.nodes] == ["node-0", "node-2"]
    # The next one takes the place that is free; starting again changes nothing.
    assert left.with_node()[1] == three.nodes[1]
    assert left.with_counts(Counts()) == left
    assert left.with_counts(Counts(nodes=2)) == left
    with pytest.raises(ClusterConfigError, match="no node is named 'node-1': there are node-0, "):
        left.without_node("node-1")
    full = cluster(Counts(nodes=40))
    with pytest.raises(ClusterConfigError, match="40 nodes, which is the most"):
        full.with_node()


@pytest.mark.parametrize("auto_ports", [False, True])
def test_balancers_and_the_name_server_have_addresses_that_no_pod_has(*, auto_ports: bool) -> None:
    config = cluster(Counts(nodes=40), auto_ports=auto_ports)
    balancers = ipaddress.ip_network(config.balancer_network)
    for node in config.nodes:
        assert not balancers.overlaps(ipaddress.ip_network(node.pod_cidr))
        assert ipaddress.ip_address(config.name_server) not in ipaddress.ip_network(node.pod_cidr)
    assert ipaddress.ip_address(config.name_server) not in balancers
    assert config.dns_address == str(ipaddress.ip_network(config.service_network)[10])

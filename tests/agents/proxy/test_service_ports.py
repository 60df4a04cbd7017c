"""Who is behind a Service's port, by policy, hints and where the proxy is."""

from __future__ import annotations

from typing import Any

import pytest

from agents.proxy.service_ports import Endpoint, Place, local_ready_count, service_ports
from kubraft.api.object import Object
from tests.agents.proxy.objects import endpoint, service, slice_of

ENDING: dict[str, Any] = {"ready": False, "serving": True, "terminating": True}
HERE = Place(frozenset({"node-0"}), "east")


def at(number: int, node: str, hints: Object | None = None, **conditions: bool) -> Object:
    made = {**endpoint(f"10.244.0.{number}", **conditions), "nodeName": node}
    return {**made, "hints": hints} if hints else made


def shown(endpoints: tuple[Endpoint, ...]) -> str:
    return " ".join(each.address.rpartition(".")[2] for each in endpoints)


def reached(spec: dict[str, Any], *endpoints: Object, place: Place = HERE) -> list[str]:
    """Who is behind internal and external traffic: numbers, or the verdict."""
    made = service(clusterIP="10.0.0.9", **spec)
    (port,) = service_ports(made, [slice_of("web", *endpoints)], place, "IPv4")
    return [shown(reach.endpoints) or reach.otherwise for reach in (port.internal, port.external)]


@pytest.mark.parametrize(
    ("spec", "endpoints", "expected"),
    [
        pytest.param({}, [at(1, "node-0"), at(2, "node-1")], ["1 2", "1 2"], id="Cluster"),
        pytest.param(
            {"externalTrafficPolicy": "Local"},
            [at(1, "node-0"), at(2, "node-1")],
            ["1 2", "1"],
            id="external Local",
        ),
        pytest.param(
            {"internalTrafficPolicy": "Local"},
            [at(1, "node-0"), at(2, "node-1")],
            ["1", "1 2"],
            id="internal Local",
        ),
        pytest.param(
            {"externalTrafficPolicy": "Local", "internalTrafficPolicy": "Local"},
            [at(2, "node-1")],
            ["drop", "drop"],
            id="both Local, none here",
        ),
        pytest.param(
            {"externalTrafficPolicy": "Local", "internalTrafficPolicy": "Local"},
            [at(2, "node-1", ready=False)],
            ["reject", "reject"],
            id="none anywhere",
        ),
        pytest.param(
            {"externalTrafficPolicy": "Local"},
            [at(1, "node-0", **ENDING), at(2, "node-1")],
            ["2", "1"],
            id="the only one here ends",
        ),
        pytest.param(
            {"externalTrafficPolicy": "Local"},
            [at(1, "node-0", **ENDING), at(3, "node-0"), at(2, "node-1")],
            ["2 3", "3"],
            id="another here is ready",
        ),
    ],
)
def test_policies(spec: dict[str, Any], endpoints: list[Object], expected: list[str]) -> None:
    assert reached(spec, *endpoints) == expected


EAST = {"forZones": [{"name": "east"}]}
WEST = {"forZones": [{"name": "west"}]}
NODE_0 = {"forNodes": [{"name": "node-0"}], **EAST}
NODE_1 = {"forNodes": [{"name": "node-1"}], **EAST}


@pytest.mark.parametrize(
    ("endpoints", "place", "expected"),
    [
        pytest.param([at(1, "a", EAST), at(2, "b", WEST)], HERE, "1", id="of the zone"),
        pytest.param([at(1, "a", EAST), at(2, "b")], HERE, "1 2", id="one has no hint"),
        pytest.param([at(1, "a", WEST), at(2, "b", WEST)], HERE, "1 2", id="none for the zone"),
        pytest.param(
            [at(1, "a", EAST), at(2, "b", WEST)],
            Place(frozenset({"node-0"})),
            "1 2",
            id="zone unknown",
        ),
        pytest.param([at(1, "a", NODE_0), at(2, "b", NODE_1)], HERE, "1", id="of the node"),
        pytest.param([at(1, "a", NODE_1), at(2, "b", NODE_1)], HERE, "1 2", id="then the zone"),
        pytest.param(
            [at(1, "a", EAST, ready=False), at(2, "b", WEST)], HERE, "2", id="it is not ready"
        ),
        pytest.param(
            [at(1, "a", EAST, **ENDING), at(2, "b", WEST, **ENDING)],
            HERE,
            "1 2",
            id="hints are for those that are ready",
        ),
        pytest.param([at(1, "a", EAST), at(2, "b", WEST)], Place(), "1 2", id="all nodes are here"),
    ],
)
def test_hints(endpoints: list[Object], place: Place, expected: str) -> None:
    assert reached({}, *endpoints, place=place)[0] == expected


def test_a_health_check_counts_ready_pods_of_the_node() -> None:
    slices = [
        slice_of("web", at(1, "node-0"), at(2, "node-1"), at(3, "node-0", ready=False)),
        slice_of("web", at(1, "node-0"), at(4, "node-0", **ENDING)),
    ]
    assert local_ready_count(slices, HERE) == 1
    assert local_ready_count(slices, Place()) == 2


def test_each_family_has_its_own_addresses_and_endpoints() -> None:
    made = service(
        type="NodePort",
        clusterIPs=["10.0.0.9", "fd00::9"],
        ipFamilies=["IPv4", "IPv6"],
        ports=[{"port": 80, "nodePort": 30080}],
    )
    six = slice_of("web", endpoint("fd01::1"), addressType="IPv6")
    slices = [slice_of("web", endpoint("10.244.0.1")), six]
    (port,) = service_ports(made, slices, Place(), "IPv6")
    assert port.cluster_ips == ("fd00::9",)
    assert port.internal.endpoints == (Endpoint("fd01::1", 8080),)
    assert port.node_port == 30080
    one = service(type="NodePort", clusterIP="10.0.0.9", ports=[{"port": 80, "nodePort": 30080}])
    assert service_ports(one, slices, Place(), "IPv6") == []


@pytest.mark.parametrize(
    ("ranges", "family", "sources"),
    [
        ([], "IPv4", ()),
        (["10.1.2.3/8", " 10.0.0.0/8"], "IPv4", ("10.0.0.0/8",)),
        (["fd00::/8"], "IPv4", ("255.255.255.255/32",)),  # nobody
        (["fd00::/8"], "IPv6", ("fd00::/8",)),
    ],
)
def test_source_ranges(ranges: list[str], family: Any, sources: tuple[str, ...]) -> None:
    made = service(
        type="LoadBalancer",
        clusterIPs=["10.0.0.9", "fd00::9"],
        loadBalancerSourceRanges=ranges,
    )
    (port,) = service_ports(made, [], Place(), family)
    assert port.sources == sources

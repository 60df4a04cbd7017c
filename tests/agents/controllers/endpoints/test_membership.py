from __future__ import annotations

from typing import Any

import pytest

from agents.controllers.endpoints.membership import addresses_of, endpoint_of, ports_of
from agents.controllers.endpoints.slice_controller import wanted_slices
from agents.controllers.endpoints.subsets import endpoints_of
from tests.agents.controllers.objects import pod, service

NAMED = [{"name": "http", "port": 80, "targetPort": "web", "protocol": "TCP"}]


@pytest.mark.parametrize(
    ("parts", "spec", "conditions"),
    [
        pytest.param({}, {}, (True, True, False), id="ready"),
        pytest.param({"ready": None}, {}, (False, False, False), id="not ready"),
        pytest.param({"terminating": True}, {}, (False, True, True), id="serving its last"),
        pytest.param(
            {"terminating": True, "ready": None}, {}, (False, False, True), id="terminating"
        ),
        pytest.param(
            {"ready": None},
            {"publishNotReadyAddresses": True},
            (True, False, False),
            id="published all the same",
        ),
    ],
)
def test_how_an_endpoint_stands(
    parts: dict[str, Any], spec: dict[str, Any], conditions: tuple[bool, bool, bool]
) -> None:
    endpoint = endpoint_of(service(**spec), pod("a", **parts), "10.1.0.1", {"node-0": "east"})
    found = endpoint["conditions"]
    assert (found["ready"], found["serving"], found["terminating"]) == conditions
    assert (endpoint["nodeName"], endpoint["zone"]) == ("node-0", "east")


def test_a_pod_that_ended_has_no_address() -> None:
    assert addresses_of(pod("a", ip="10.1.0.1", phase="Failed"), "IPv4") == []
    assert addresses_of(pod("a", ip="10.1.0.1"), "IPv4") == ["10.1.0.1"]
    assert addresses_of(pod("a", ip="10.1.0.1"), "IPv6") == []


def test_a_named_port_is_the_pods_own() -> None:
    owner = service(ports=NAMED)
    ports = [{"name": "web", "containerPort": 9090}]
    made = pod("a", containers=[{"name": "web", "ports": ports}])
    assert ports_of(owner, made) == [{"name": "http", "port": 9090, "protocol": "TCP"}]
    assert ports_of(owner, pod("b")) == []


def test_pods_with_different_ports_are_kept_apart() -> None:
    owner = service(ports=NAMED)
    pods = [
        pod(
            f"p{number}",
            ip=f"10.1.0.{number}",
            containers=[{"name": "c", "ports": [{"name": "web", "containerPort": number}]}],
        )
        for number in (80, 81)
    ]
    assert len(wanted_slices(owner, pods, {}).groups) == 2
    assert len(endpoints_of(owner, pods, None)["subsets"]) == 2


def test_a_headless_service_without_ports_has_endpoints() -> None:
    owner = service(clusterIP="None", ports=[])
    wanted = wanted_slices(owner, [pod("a", ip="10.1.0.1")], {})
    assert list(wanted.groups) == [("IPv4", "[]")]
    assert wanted.labels["service.kubernetes.io/headless"] == ""


@pytest.mark.parametrize(
    ("wanted", "hints"),
    [
        (None, None),
        ("PreferSameZone", {"forZones": [{"name": "east"}]}),
        ("PreferClose", {"forZones": [{"name": "east"}]}),
        ("PreferSameNode", {"forZones": [{"name": "east"}], "forNodes": [{"name": "node-0"}]}),
    ],
)
def test_traffic_kept_near(wanted: str | None, hints: dict[str, Any] | None) -> None:
    owner = service(trafficDistribution=wanted)
    endpoint = endpoint_of(owner, pod("a"), "10.1.0.1", {"node-0": "east"})
    assert endpoint.get("hints") == hints


def test_a_host_name_counts_below_its_own_service_only() -> None:
    made = pod("a", hostname="db-0", subdomain="web")
    assert endpoint_of(service(), made, "10.1.0.1", {})["hostname"] == "db-0"
    assert "hostname" not in endpoint_of(service("other"), made, "10.1.0.1", {})


def test_endpoints_tell_who_is_ready_and_leave_out_who_goes() -> None:
    pods = [
        pod("a", ip="10.1.0.2"),
        pod("b", ip="10.1.0.1", ready=None),
        pod("c", ip="10.1.0.3", terminating=True),
    ]
    (subset,) = endpoints_of(service(), pods, None)["subsets"]
    assert [entry["ip"] for entry in subset["addresses"]] == ["10.1.0.2"]
    assert [entry["ip"] for entry in subset["notReadyAddresses"]] == ["10.1.0.1"]
    assert subset["ports"] == [{"name": "http", "port": 8080, "protocol": "TCP"}]

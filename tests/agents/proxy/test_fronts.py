"""Which sockets a Service has, and who is behind them."""

from __future__ import annotations

from typing import Any

import pytest

from agents.proxy.fronts import Front, fronts_of
from agents.proxy.service_ports import Endpoint
from kubraft.api.object import Object
from tests.agents.proxy.objects import endpoint, service, slice_of

NODE = "127.0.0.1"
READY = slice_of("web", endpoint("127.64.0.2"))


def shown(services: list[Object], slices: list[Object]) -> dict[str, list[str]]:
    table = fronts_of(services, slices, NODE)
    return {
        str(front): [f"{each.address}:{each.port}" for each in backends.endpoints]
        for front, backends in table.items()
    }


@pytest.mark.parametrize(
    ("spec", "fronts"),
    [
        pytest.param({}, ["127.160.0.9:80/TCP"], id="cluster address"),
        pytest.param({"clusterIP": "None"}, [], id="headless"),
        pytest.param({"clusterIP": ""}, [], id="none yet"),
        pytest.param({"type": "ExternalName", "externalName": "a.example"}, [], id="external"),
        pytest.param(
            {"type": "NodePort", "ports": [{"port": 80, "nodePort": 30080}]},
            ["127.160.0.9:80/TCP", "127.0.0.1:30080/TCP"],
            id="node port",
        ),
        pytest.param(
            {"ports": [{"port": 80, "nodePort": 30080}]}, ["127.160.0.9:80/TCP"], id="only a number"
        ),
        pytest.param(
            {"externalIPs": ["127.200.0.1"]},
            ["127.160.0.9:80/TCP", "127.200.0.1:80/TCP"],
            id="external address",
        ),
        pytest.param({"ports": [{"port": 80, "protocol": "SCTP"}]}, [], id="SCTP"),
        pytest.param(
            {"clusterIPs": ["127.160.0.9", "fd00::9"]},
            ["127.160.0.9:80/TCP", "[fd00::9]:80/TCP"],
            id="two families",
        ),
    ],
)
def test_the_fronts_of_a_service(spec: dict[str, Any], fronts: list[str]) -> None:
    assert list(shown([service(**spec)], [READY])) == fronts


def test_a_load_balancer_serves_its_address_to_whom_it_may() -> None:
    balanced = service(type="LoadBalancer", loadBalancerSourceRanges=["10.0.0.0/8"])
    ingress = [{"ip": "127.201.0.1"}, {"ip": "127.201.0.2", "ipMode": "Proxy"}, {"hostname": "a"}]
    balanced["status"] = {"loadBalancer": {"ingress": ingress}}
    table = fronts_of([balanced], [READY], NODE)
    assert table[Front("TCP", "127.201.0.1", 80)].sources == ("10.0.0.0/8",)
    assert table[Front("TCP", "127.160.0.9", 80)].sources == ()
    assert len(table) == 2


@pytest.mark.parametrize(
    "label", ["service.kubernetes.io/service-proxy-name", "service.kubernetes.io/headless"]
)
def test_what_is_somebody_elses_is_left_alone(label: str) -> None:
    other = service()
    other["metadata"]["labels"] = {label: "x"}
    assert shown([other], [READY]) == {}


@pytest.mark.parametrize(
    ("endpoints", "chosen"),
    [
        pytest.param([endpoint("127.64.0.3"), endpoint("127.64.0.2")], ["2", "3"], id="all ready"),
        pytest.param(
            [endpoint("127.64.0.2"), endpoint("127.64.0.3", ready=False)], ["2"], id="one not ready"
        ),
        pytest.param([{"addresses": ["127.64.0.2"]}], ["2"], id="unknown is ready"),
        pytest.param(
            [
                endpoint("127.64.0.2", ready=True, serving=True, terminating=False),
                endpoint("127.64.0.3", ready=False, serving=True, terminating=True),
            ],
            ["2"],
            id="one ends",
        ),
        pytest.param(
            [
                endpoint("127.64.0.2", ready=False, serving=False, terminating=True),
                endpoint("127.64.0.3", ready=False, serving=True, terminating=True),
            ],
            ["3"],
            id="all end: those that serve",
        ),
        pytest.param([endpoint("127.64.0.2", ready=False)], [], id="none"),
    ],
)
def test_who_is_behind_a_front(endpoints: list[Object], chosen: list[str]) -> None:
    found = shown([service()], [slice_of("web", *endpoints)])
    assert found == {"127.160.0.9:80/TCP": [f"127.64.0.{number}:8080" for number in chosen]}


def test_ports_go_by_name_and_protocol() -> None:
    ports = [
        {"name": "http", "port": 80},
        {"name": "dns", "port": 53, "protocol": "UDP"},
        {"name": "gone", "port": 81},
    ]
    slices = [
        slice_of(
            "web",
            endpoint("127.64.0.2"),
            ports=(
                {"name": "http", "port": 8080},
                {"name": "dns", "port": 5353, "protocol": "UDP"},
            ),
        ),
        slice_of("web", endpoint("127.64.0.3"), ports=({"name": "http", "port": 9090},)),
        slice_of("other", endpoint("127.64.0.4"), ports=({"name": "http", "port": 1},)),
        slice_of("web", endpoint("::2"), addressType="IPv6", ports=({"name": "http", "port": 2},)),
    ]
    assert shown([service(ports=ports)], slices) == {
        "127.160.0.9:80/TCP": ["127.64.0.2:8080", "127.64.0.3:9090"],
        "127.160.0.9:53/UDP": ["127.64.0.2:5353"],
        "127.160.0.9:81/TCP": [],
    }


def test_the_older_service_has_the_front_that_two_want() -> None:
    old = service("old", created="2025-01-01T00:00:00Z")
    new = service("new")
    slices = [slice_of("old", endpoint("127.64.0.2")), slice_of("new", endpoint("127.64.0.3"))]
    (backends,) = fronts_of([new, old], slices, NODE).values()
    assert backends.endpoints == (Endpoint("127.64.0.2", 8080),)


@pytest.mark.parametrize(
    ("spec", "affinity_s"),
    [
        ({}, 0),
        ({"sessionAffinity": "None"}, 0),
        ({"sessionAffinity": "ClientIP"}, 10_800),
        (
            {
                "sessionAffinity": "ClientIP",
                "sessionAffinityConfig": {"clientIP": {"timeoutSeconds": 5}},
            },
            5,
        ),
    ],
)
def test_how_long_a_client_keeps_its_endpoint(spec: dict[str, Any], affinity_s: float) -> None:
    (backends,) = fronts_of([service(**spec)], [READY], NODE).values()
    assert backends.affinity_s == affinity_s

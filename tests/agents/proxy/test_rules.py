"""The rules of Services as text, and the steps between tables."""

from __future__ import annotations

import json
from dataclasses import replace
from random import Random
from typing import Any

import pytest

from agents.proxy.nft_table import NftProgram, NftTable
from agents.proxy.ruleset import Element, Fragment, Ruleset, Settings, ruleset_of
from agents.proxy.service_ports import Place
from agents.proxy.service_rules import fragment_of
from agents.proxy.transaction import step
from kubraft.api.object import Object
from tests.agents.proxy.objects import endpoint, service, slice_of
from tests.harness.network import Machine, missing

PORTS = [("a", 80, "TCP"), ("b", 53, "UDP"), ("c", 9, "SCTP")]
SETTINGS = Settings(pods="ip saddr 10.244.0.0/16", not_pods="ip saddr != 10.244.0.0/16")


def plain(name: str) -> str:
    """A chain's name without its hash."""
    kind, _, rest = name.partition("-")
    return f"{kind} {rest[9:]}" if rest[8:9] == "-" else name


def shown(fragment: Fragment) -> list[str]:
    """Chains, then elements, with short names."""
    names = {*fragment.chains, *fragment.holders}
    lines = [f"{name}: {rule}" for name, chain in fragment.chains.items() for rule in chain.rules]
    lines += [
        f"{each.holder} {each.key}{' -> ' if verdict else ''}{verdict}"
        for each, verdict in fragment.elements.items()
    ]
    for name in sorted(names, key=len, reverse=True):
        lines = [line.replace(name, plain(name)) for line in lines]
    return lines


def test_the_rules_of_a_service() -> None:
    made = service(
        type="LoadBalancer",
        clusterIP="10.0.0.9",
        externalTrafficPolicy="Local",
        loadBalancerSourceRanges=["192.0.2.0/24"],
        sessionAffinity="ClientIP",
        ports=[{"name": "http", "port": 80, "nodePort": 30080}],
    )
    made["status"] = {"loadBalancer": {"ingress": [{"ip": "198.51.100.1"}]}}
    ends = [{**endpoint("10.244.0.1"), "nodeName": "node-0"}, endpoint("10.244.1.1")]
    slices = [slice_of("web", *ends, ports=({"name": "http", "port": 8080},))]
    place = Place(frozenset({"node-0"}))
    one, two = "default/web/tcp/http__10.244.0.1/8080", "default/web/tcp/http__10.244.1.1/8080"
    assert shown(fragment_of(made, slices, place, SETTINGS)) == [
        f"endpoint {one}: ip saddr 10.244.0.1 jump mark-for-masquerade",
        f"endpoint {one}: update @affinity {one} {{ ip saddr }}",
        f"endpoint {one}: meta l4proto tcp dnat to 10.244.0.1:8080",
        f"endpoint {two}: ip saddr 10.244.1.1 jump mark-for-masquerade",
        f"endpoint {two}: update @affinity {two} {{ ip saddr }}",
        f"endpoint {two}: meta l4proto tcp dnat to 10.244.1.1:8080",
        (
            "service default/web/tcp/http: ip daddr 10.0.0.9 tcp dport 80 "
            "ip saddr != 10.244.0.0/16 jump mark-for-masquerade"
        ),
        f"service default/web/tcp/http: ip saddr @affinity {one} goto endpoint {one}",
        f"service default/web/tcp/http: ip saddr @affinity {two} goto endpoint {two}",
        (
            "service default/web/tcp/http: numgen random mod 2 vmap "
            f"{{ 0 : goto endpoint {one}, 1 : goto endpoint {two} }}"
        ),
        f"local default/web/tcp/http: ip saddr @affinity {one} goto endpoint {one}",
        f"local default/web/tcp/http: numgen random mod 1 vmap {{ 0 : goto endpoint {one} }}",
        "external default/web/tcp/http: ip saddr 10.244.0.0/16 goto service default/web/tcp/http",
        "external default/web/tcp/http: fib saddr type local jump mark-for-masquerade",
        "external default/web/tcp/http: fib saddr type local goto service default/web/tcp/http",
        "external default/web/tcp/http: goto local default/web/tcp/http",
        "firewall default/web/tcp/http: ip saddr != { 192.0.2.0/24 } drop",
        "cluster-ips 10.0.0.9",
        "service-ips 10.0.0.9 . tcp . 80 -> goto service default/web/tcp/http",
        "service-ips 198.51.100.1 . tcp . 80 -> goto external default/web/tcp/http",
        "service-nodeports tcp . 30080 -> goto external default/web/tcp/http",
        "firewall-ips 198.51.100.1 . tcp . 80 -> goto firewall default/web/tcp/http",
    ]


@pytest.mark.parametrize(
    ("settings", "rules"),
    [
        (Settings(), []),
        (SETTINGS, ["ip saddr != 10.244.0.0/16 jump mark-for-masquerade"]),
        (replace(SETTINGS, masquerade_all=True), ["jump mark-for-masquerade"]),
    ],
    ids=["Pods cannot be told", "from elsewhere", "all"],
)
def test_who_is_masqueraded_to_a_cluster_address(settings: Settings, rules: list[str]) -> None:
    made = service(clusterIP="10.0.0.9")
    fragment = fragment_of(made, [slice_of("web", endpoint("10.244.0.1"))], Place(), settings)
    (chain,) = (chain for name, chain in fragment.chains.items() if name.startswith("service-"))
    assert list(chain.rules[:-1]) == [f"ip daddr 10.0.0.9 tcp dport 80 {rule}" for rule in rules]


def test_the_older_of_two_services_has_the_address_that_both_want() -> None:
    old = service("old", created="2025-01-01T00:00:00Z", externalIPs=["192.0.2.1"])
    new = service("new", externalIPs=["192.0.2.1"], clusterIP="127.160.0.10")
    ends = [slice_of("old", endpoint("10.244.0.1")), slice_of("new", endpoint("10.244.0.2"))]
    fragments = [
        fragment_of(made, [slice_], Place(), SETTINGS)
        for made, slice_ in zip((old, new), ends, strict=True)
    ]
    for order in (fragments, fragments[::-1]):
        ruleset = ruleset_of(SETTINGS, order)
        assert "default/old" in ruleset.elements[Element("service-ips", "192.0.2.1 . tcp . 80")]


def test_a_change_costs_what_it_changes() -> None:
    made = [service(f"s{n}", clusterIP=f"10.0.0.{n}") for n in range(1, 100)]

    def table(count: int) -> Ruleset:
        slices = [slice_of(f"s{n}", endpoint("10.244.0.1"), endpoint("10.244.0.2")) for n in (1,)]
        ends = slices[0]["endpoints"][:count]
        fragments = [
            fragment_of(each, [{**slices[0], "endpoints": ends}], Place(), SETTINGS)
            if each["metadata"]["name"] == "s1"
            else fragment_of(each, [slice_of("x", endpoint("10.244.0.3"))], Place(), SETTINGS)
            for each in made
        ]
        return ruleset_of(SETTINGS, fragments)

    assert step(table(2), table(2)) == ""
    lines = step(table(2), table(1)).splitlines()
    assert [line.split()[0] for line in lines] == ["flush", "add", "add", "flush"]
    assert all("default/s1/" in line for line in lines)


def listed(machine: Machine) -> dict[str, Any]:
    """What the kernel holds, whatever the order in which it came there."""
    found = json.loads(machine.run("nft", "-j", "list", "table", "ip", "kube-proxy"))["nftables"]
    content: dict[str, Any] = {}
    for each in found:
        for kind, value in each.items():
            value.pop("handle", None)
            if kind == "rule":
                content.setdefault(f"rules {value['chain']}", []).append(value["expr"])
            elif kind in ("set", "map"):
                elements = sorted(map(json.dumps, value.pop("elem", ())))
                content[f"{kind} {value['name']}"] = (value, elements)
            elif kind == "chain":
                content[f"chain {value['name']}"] = value
    return content


def random_services(rng: Random) -> list[tuple[Object, list[Object]]]:
    made = []
    for number in rng.sample(range(6), rng.randint(0, 6)):
        spec: dict[str, Any] = {"clusterIP": f"10.0.0.{number + 1}"}
        spec["ports"] = [
            {"name": name, "port": port, "protocol": protocol, "nodePort": 30000 + 10 * number + at}
            for at, (name, port, protocol) in enumerate(
                rng.sample(
                    [("a", 80, "TCP"), ("b", 53, "UDP"), ("c", 9, "SCTP")], rng.randint(1, 3)
                )
            )
        ]
        spec["type"] = rng.choice(["ClusterIP", "NodePort", "LoadBalancer"])
        spec["externalTrafficPolicy"] = rng.choice(["Local", "Cluster"])
        spec["internalTrafficPolicy"] = rng.choice(["Local", "Cluster"])
        spec["externalIPs"] = rng.choice([[], ["192.0.2.1"]])
        spec["loadBalancerSourceRanges"] = rng.choice([[], ["192.0.2.0/24"]])
        if rng.random() < 0.4:
            spec["sessionAffinity"] = "ClientIP"
            timeout = {"timeoutSeconds": rng.choice([60, 600])}
            spec["sessionAffinityConfig"] = {"clientIP": timeout}
        one = service(f"s{number}", **spec)
        one["status"] = {"loadBalancer": {"ingress": [{"ip": f"198.51.100.{number}"}]}}
        ends = [
            {**endpoint(f"10.244.0.{n}", ready=rng.random() < 0.8), "nodeName": f"node-{n % 2}"}
            for n in rng.sample(range(1, 6), rng.randint(0, 4))
        ]
        ports = tuple({**port, "port": 8000 + port["port"]} for port in spec["ports"])
        made.append((one, [slice_of(f"s{number}", *ends, ports=ports)]))
    return made


@pytest.mark.skipif(bool(missing()), reason=f"no machines: {missing()}")
async def test_whatever_the_way_the_kernel_holds_what_it_should() -> None:
    rng = Random(20260731)
    place = Place(frozenset({"node-0"}))
    with Machine() as walked, Machine() as fresh:
        table = NftTable("IPv4", NftProgram((*walked.enter, "nft")))
        for turn in range(25):
            ruleset = ruleset_of(
                SETTINGS,
                [
                    fragment_of(made, slices, place, SETTINGS)
                    for made, slices in random_services(rng)
                ],
            )
            if turn % 8 == 7:  # another proxy takes over
                table = NftTable("IPv4", NftProgram((*walked.enter, "nft")))
            await table.apply(ruleset)
            assert table.is_known
            if rng.random() < 0.5:
                continue  # what is stale may wait, and be wanted again
            await table.sweep()
            fresh.run("nft", "flush", "ruleset")
            await NftTable("IPv4", NftProgram((*fresh.enter, "nft"))).apply(ruleset)
            assert listed(walked) == listed(fresh)

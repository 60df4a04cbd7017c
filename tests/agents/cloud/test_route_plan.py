"""Which routes are made, deleted and left alone."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from agents.cloud.provider import Route
from agents.cloud.route_plan import condition_due, plan_of, routes_of
from kubraft.api.networks import cluster_networks
from kubraft.api.object import Object

RANGES = cluster_networks("10.244.0.0/16")
OWN = "10.244.1.0/24"


def node(name: str = "a", *cidrs: str, address: str = "10.9.1.2") -> Object:
    addresses = [{"type": "InternalIP", "address": address}]
    spec = {"podCIDR": cidrs[0], "podCIDRs": list(cidrs)} if cidrs else {}
    return {"metadata": {"name": name}, "spec": spec, "status": {"addresses": addresses}}


def via(cidr: str, gateway: str = "10.9.1.2") -> Route:
    return Route("", cidr, gateway=gateway)


@pytest.mark.parametrize(
    ("nodes", "routes", "deleted", "created"),
    [
        pytest.param([node("a", OWN)], [], [], [OWN], id="a new node"),
        pytest.param([node("a")], [], [], [], id="no range yet"),
        pytest.param([node("a", OWN)], [via(OWN)], [], [], id="as it should be"),
        pytest.param([node("a", OWN)], [Route("a", OWN)], [], [], id="known by name only"),
        pytest.param([node("a", OWN)], [Route("b", OWN)], [OWN], [OWN], id="of another node"),
        pytest.param(
            [node("a", OWN, address="10.9.1.3")], [via(OWN)], [OWN], [OWN], id="the node has moved"
        ),
        pytest.param([], [via(OWN)], [OWN], [], id="the node is gone"),
        pytest.param([node("a")], [Route("a", OWN)], [OWN], [], id="the range is gone"),
        pytest.param(
            [node("a", OWN)],
            [Route("a", OWN, is_blackhole=True)],
            *([OWN], [OWN]),
            id="leads to nothing",
        ),
        pytest.param(
            [], [via("10.245.0.0/24"), via("10.0.0.0/8"), via("?")], [], [], id="foreign routes"
        ),
        pytest.param(
            [node("a", OWN), node("b", OWN, address="10.9.1.3")],
            [via(OWN)],
            *([], [OWN]),
            id="two nodes with one range",
        ),
    ],
)
def test_what_is_planned(
    nodes: list[Object], routes: list[Route], deleted: list[str], created: list[str]
) -> None:
    plan = plan_of(nodes, routes, RANGES)
    assert [each.destination_cidr for each in plan.delete] == deleted
    assert [each.destination_cidr for each in plan.create] == created
    assert not plan.refused


def test_a_node_cannot_draw_the_traffic_of_others() -> None:
    plan = plan_of([node("liar", "0.0.0.0/0")], [], RANGES)
    assert not plan.create
    assert [each.destination_cidr for each in plan.refused] == ["0.0.0.0/0"]


@pytest.mark.parametrize(
    ("status", "has_routes", "reason"),
    [
        (None, True, "RouteCreated"),
        (None, False, "NoRouteCreated"),
        ("True", True, "RouteCreated"),
        ("False", False, "NoRouteCreated"),
        ("True", False, None),
        ("False", True, None),
    ],
)
def test_the_condition_is_written_when_it_turns(
    status: str | None, has_routes: bool, reason: str | None
) -> None:
    conditions = [{"type": "NetworkUnavailable", "status": status}] if status else []
    found = condition_due({"status": {"conditions": conditions}}, has_routes=has_routes)
    assert (found and found["reason"]) == reason


_NODES = st.lists(
    st.tuples(st.integers(0, 5), st.integers(0, 3), st.integers(0, 5)), max_size=6,
    unique_by=(lambda each: each[0], lambda each: each[1], lambda each: each[2]),
)  # fmt: skip
_ROUTES = st.lists(st.tuples(st.integers(0, 7), st.integers(0, 7)), max_size=8, unique=True)


@given(_NODES, _ROUTES)
def test_a_plan_that_is_carried_out_leaves_nothing_to_do(
    some: list[tuple[int, int, int]], routes: list[tuple[int, int]]
) -> None:
    nodes = [node(f"n{name}", f"10.244.{n}.0/24", address=f"10.9.1.{a}") for name, n, a in some]
    # One in two is foreign.
    there = [via(f"10.{244 + n % 2}.{n // 2}.0/24", f"10.9.1.{a}") for n, a in routes]
    plan = plan_of(nodes, there, RANGES)
    foreign = {each for each in there if each.destination_cidr.startswith("10.245.")}
    made = [via(each.destination_cidr, each.addresses[0][1]) for each in plan.create]
    after = [each for each in there if each not in plan.delete] + made
    wanted: list[Any] = [
        via(each.destination_cidr, each.addresses[0][1]) for n in nodes for each in routes_of(n)
    ]
    assert set(after) == {*foreign, *wanted}
    again = plan_of(nodes, after, RANGES)
    assert (again.create, again.delete) == ((), ())

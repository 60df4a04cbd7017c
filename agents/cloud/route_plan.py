"""Which routes are missing and which are too many. Pure: Nodes and routes in, a plan out.

Source: k8s.io/cloud-provider, controllers/route (which routes are removed, made, left alone).
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Any, Final

from agents.cloud.provider import Route
from kubraft.api.conditions import conditions_of, find_condition
from kubraft.api.networks import Network, find_network, is_within, pod_cidrs
from kubraft.api.object import Object, key_of

CONDITION: Final = "NetworkUnavailable"
# By whether the Node has all its routes.
_CONDITIONS: Final = {
    True: {
        "type": CONDITION,
        "status": "False",
        "reason": "RouteCreated",
        "message": "RouteController created a route",
    },
    False: {
        "type": CONDITION,
        "status": "True",
        "reason": "NoRouteCreated",
        "message": "RouteController failed to create a route",
    },
}


@dataclass(frozen=True, slots=True)
class Plan:
    """What to do; deletions come first, as a route may be made again with another gateway.

    Attributes:
        refused: routes that Nodes ask for and must not have: outside of the cluster's ranges.
    """

    delete: tuple[Route, ...]
    create: tuple[Route, ...]
    refused: tuple[Route, ...]


def plan_of(nodes: Iterable[Object], routes: Sequence[Route], ranges: Sequence[Network]) -> Plan:
    """What makes each Node's Pods reached, and leads nowhere else within the cluster's ranges."""
    wanted = [route for node in nodes for route in routes_of(node)]
    allowed = [route for route in wanted if _is_ours(route, ranges)]
    kept = [route for route in routes if any(_serves(route, each) for each in allowed)]
    return Plan(
        delete=tuple(each for each in routes if each not in kept and _is_ours(each, ranges)),
        create=tuple(each for each in allowed if not any(_serves(route, each) for route in kept)),
        refused=tuple(each for each in wanted if each not in allowed),
    )


def routes_of(node: Object) -> list[Route]:
    """The routes that a Node needs: one for each of its ranges; none where it has no range yet."""
    addresses = tuple(
        (str(each.get("type")), str(each.get("address")))
        for each in (node.get("status") or {}).get("addresses") or ()
    )
    return [Route(key_of(node).name, cidr, addresses) for cidr in pod_cidrs(node)]


def condition_due(node: Object, *, has_routes: bool) -> dict[str, Any] | None:
    """The condition to write; None where the Node says so already, whatever the reason."""
    wanted = _CONDITIONS[has_routes]
    found = find_condition(conditions_of(node), CONDITION)
    if found is not None and found.get("status") == wanted["status"]:
        return None
    return dict(wanted)


def _serves(route: Route, wanted: Route) -> bool:
    """Whether a route that is there is the wanted one."""
    if route.is_blackhole or not _same_destination(route, wanted):
        return False
    if route.node_name and route.node_name != wanted.node_name:
        return False
    if route.gateway:
        return any(address == route.gateway for _, address in wanted.addresses)
    return bool(route.node_name)


def _same_destination(one: Route, other: Route) -> bool:
    if one.destination_cidr == other.destination_cidr:
        return True
    network = find_network(one.destination_cidr)
    return network is not None and network == find_network(other.destination_cidr)


def _is_ours(route: Route, ranges: Sequence[Network]) -> bool:
    network = find_network(route.destination_cidr)
    return network is not None and is_within(network, ranges)

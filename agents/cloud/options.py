"""The flags of the cloud controller manager: upstream's names where it has them."""

from __future__ import annotations

import argparse
from dataclasses import dataclass

from agents.cloud.node_controller import ADDRESSES_S
from agents.cloud.route_controller import PERIOD_S
from kubraft.agent_main import add_leader_election_flags, agent_parser, duration_s
from kubraft.api.networks import Network, cluster_networks
from kubraft.health.secure_port import add_secure_port_flags


@dataclass(frozen=True, slots=True)
class Options:
    """What the controllers are told at start; times in seconds.

    `route_ranges` are the cluster's, of Pods' addresses; where there are none, nobody looks after
    routes.
    """

    route_ranges: tuple[Network, ...] = ()
    route_period_s: float = PERIOD_S
    addresses_period_s: float = ADDRESSES_S


def parser() -> argparse.ArgumentParser:
    """The flags, with upstream's defaults where upstream has the flag."""
    made = agent_parser("cloud", "Machines, load balancers: what the cluster's place provides.")
    add_leader_election_flags(made)
    add_secure_port_flags(made)
    add = made.add_argument
    add("--cloud-provider", required=True, help="local, or one that is installed")
    add("--cloud-config", default="", help="the provider's own file")
    switch: dict[str, str] = {"nargs": "?", "const": "true"}
    add("--allocate-node-cidrs", default="false", help="nodes' ranges are given to them", **switch)  # type: ignore[arg-type]
    add("--configure-cloud-routes", default="true", help="make routes to these", **switch)  # type: ignore[arg-type]
    add("--cluster-cidr", default="", help="the range of Pods' addresses, one for each family")
    add("--route-reconciliation-period", type=duration_s, default=PERIOD_S)
    add(
        "--node-status-update-frequency",
        type=duration_s,
        default=ADDRESSES_S,
        help="how often Nodes' addresses are asked for again",
    )
    return made


def options_of(given: argparse.Namespace) -> Options:
    """The options that these flags say.

    Raises:
        ValueError: a flag's value makes no sense; the message names the flag.
    """
    ranges: tuple[Network, ...] = ()
    allocates = _switch("--allocate-node-cidrs", given.allocate_node_cidrs)
    if _switch("--configure-cloud-routes", given.configure_cloud_routes) and allocates:
        ranges = cluster_networks(given.cluster_cidr)
        if not ranges:
            raise ValueError("--cluster-cidr is needed with --allocate-node-cidrs")
    for name in ("route_reconciliation_period", "node_status_update_frequency"):
        if getattr(given, name) <= 0:
            raise ValueError(f"--{name.replace('_', '-')} must be more than 0")
    return Options(ranges, given.route_reconciliation_period, given.node_status_update_frequency)


def _switch(flag: str, text: str) -> bool:
    if text.lower() not in ("true", "false"):
        raise ValueError(f"{flag}: {text!r} is neither true nor false")
    return text.lower() == "true"

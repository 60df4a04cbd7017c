"""The flags of node-ipam-controller, under upstream's names."""

from __future__ import annotations

import argparse
from typing import Any

from agents.controllers.node_ipam.pools import MASK_SIZES, Pool
from kubraft.api.networks import Network, cluster_networks


def add_flags(parser: argparse.ArgumentParser) -> None:
    group = parser.add_argument_group("ranges of Pods' addresses for nodes")
    add = group.add_argument
    switch: dict[str, Any] = {"nargs": "?", "const": "true", "choices": ("true", "false")}
    add("--allocate-node-cidrs", default="false", help="give each node one", **switch)
    add("--cluster-cidr", default="", help="of which; one, or one of each family")
    add("--service-cluster-ip-range", default="", help="Services' addresses, left out")
    for suffix in ("", "-ipv4", "-ipv6"):
        add(f"--node-cidr-mask-size{suffix}", type=int, default=0)


def pools_of(given: argparse.Namespace) -> tuple[Pool, ...]:
    """A pool for each range of the cluster; none where nodes are told theirs otherwise.

    Raises:
        ValueError: the flags do not fit together; the message names one.
    """
    if given.allocate_node_cidrs != "true":
        return ()
    networks = cluster_networks(given.cluster_cidr)
    if not networks:
        raise ValueError("--cluster-cidr is needed with --allocate-node-cidrs")
    if len(networks) > 1 and given.node_cidr_mask_size:
        raise ValueError(
            "--node-cidr-mask-size: with two ranges use --node-cidr-mask-size-ipv4 and -ipv6"
        )
    by_family = {4: given.node_cidr_mask_size_ipv4, 6: given.node_cidr_mask_size_ipv6}
    return tuple(
        Pool(
            network,
            by_family[network.version] or given.node_cidr_mask_size or MASK_SIZES[network.version],
        )
        for network in networks
    )


def service_networks_of(given: argparse.Namespace) -> tuple[Network, ...]:
    """Raises ValueError where it is no range."""
    try:
        return cluster_networks(given.service_cluster_ip_range)
    except ValueError as error:
        raise ValueError(
            str(error).replace("--cluster-cidr", "--service-cluster-ip-range")
        ) from error

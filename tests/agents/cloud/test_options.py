"""What the flags of the cloud controller manager say."""

from __future__ import annotations

from ipaddress import ip_network

import pytest

from agents.cloud.options import options_of, parser

NEEDED = ("--server=127.0.0.1:1", "--cloud-provider=local")
RANGE = "10.244.0.0/16"


@pytest.mark.parametrize(
    ("flags", "ranges"),
    [
        ([], []),
        (["--cluster-cidr", RANGE], []),
        (["--allocate-node-cidrs", "--cluster-cidr", RANGE], [RANGE]),
        (["--allocate-node-cidrs=true", "--cluster-cidr=10.244.3.4/16,fd00::/48"],
         [RANGE, "fd00::/48"]),
        (["--allocate-node-cidrs", "--configure-cloud-routes=false"], []),
    ],
)  # fmt: skip
def test_routes_are_for_clusters_that_allocate(flags: list[str], ranges: list[str]) -> None:
    options = options_of(parser().parse_args([*NEEDED, *flags]))
    assert options.route_ranges == tuple(ip_network(each) for each in ranges)


@pytest.mark.parametrize(
    ("flags", "said"),
    [
        (["--allocate-node-cidrs"], "--cluster-cidr is needed"),
        (["--allocate-node-cidrs=perhaps"], "--allocate-node-cidrs: 'perhaps'"),
        (["--allocate-node-cidrs", "--cluster-cidr=ten"], "--cluster-cidr: 'ten'"),
        (["--allocate-node-cidrs", "--cluster-cidr=10.0.0.0/8,11.0.0.0/8"], "families"),
        (["--allocate-node-cidrs", "--cluster-cidr=10.0.0.0/8,fd00::/8,fe00::/8"], "3 ranges"),
        (["--route-reconciliation-period=0s"], "--route-reconciliation-period must"),
    ],
)
def test_flags_that_make_no_sense(flags: list[str], said: str) -> None:
    with pytest.raises(ValueError, match=said):
        options_of(parser().parse_args([*NEEDED, *flags]))

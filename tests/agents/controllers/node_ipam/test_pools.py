"""Which ranges Nodes are given."""

from __future__ import annotations

from collections.abc import Sequence
from ipaddress import ip_network
from itertools import combinations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from agents.controllers.node_ipam.pools import Pool, Pools
from agents.controllers.options import options_of, parser
from agents.controllers.table import enabled
from kubraft.api.networks import cluster_networks


def pools(*networks: str, prefix: int = 24, reserved: str = "") -> Pools:
    made = [Pool(network, prefix) for network in cluster_networks(",".join(networks))]
    return Pools(made, cluster_networks(reserved))


def test_ranges_are_given_in_order_and_given_again_last() -> None:
    made = pools("10.244.0.0/22")
    assert made.give("a") == ("10.244.0.0/24",)
    assert made.give("b") == ("10.244.1.0/24",)
    assert made.release("a")
    assert made.give("c") == ("10.244.2.0/24",)
    assert made.give("d") == ("10.244.3.0/24",)
    assert made.give("e") == ("10.244.0.0/24",)
    assert made.give("f") == ()
    assert not made.release("f")


def test_services_and_what_others_gave_are_left_out() -> None:
    made = pools("10.244.0.0/21", reserved="10.244.0.0/23")
    made.hold("own", ["10.244.2.7/32"])
    made.hold("wide", ["10.244.4.0/22"])
    made.hold("foreign", ["192.0.2.0/24", "nonsense"])
    assert [made.give(each) for each in "ab"] == [("10.244.3.0/24",), ()]
    made.release("wide")
    assert made.give("b") == ("10.244.4.0/24",)


def test_one_of_each_family_or_none() -> None:
    networks = cluster_networks("10.244.0.0/23,fd00::/63")
    made = Pools([Pool(networks[0], 24), Pool(networks[1], 64)])
    assert made.give("a") == ("10.244.0.0/24", "fd00::/64")
    made.hold("b", ["10.244.9.0/24", "fd00:0:0:1::/64"])
    assert made.give("c") == ()
    assert made.held_by("c") == ()


def test_two_that_were_given_the_same_free_it_when_both_are_gone() -> None:
    made = pools("10.244.0.0/24")
    for holder in "ab":
        made.hold(holder, ["10.244.0.0/24"])
    made.release("a")
    assert made.give("c") == ()
    made.release("b")
    assert made.give("c") == ("10.244.0.0/24",)


_STEPS = st.lists(
    st.tuples(st.sampled_from(["give", "release", "hold"]), st.integers(0, 9), st.integers(0, 9)),
    max_size=40,
)


@given(_STEPS)
def test_nobody_is_given_what_another_holds(steps: Sequence[tuple[str, int, int]]) -> None:
    made, given_to = pools("10.244.0.0/21", reserved="10.244.3.0/24"), dict[str, str]()
    for what, number, part in steps:
        holder = f"n{number}"
        if what == "release":
            made.release(holder)
            given_to.pop(holder, None)
        elif what == "hold" and f"10.244.{part}.0/24" not in given_to.values():
            made.hold(holder, [f"10.244.{part}.0/24"])
            given_to[holder] = f"10.244.{part}.0/24"
        elif what == "give" and holder not in given_to:
            free = {f"10.244.{each}.0/24" for each in range(8)} - set(given_to.values())
            free.discard("10.244.3.0/24")
            found = made.give(holder)
            assert bool(found) == bool(free)
            if found:
                assert found[0] in free
                given_to[holder] = found[0]
    ranges = [ip_network(each) for each in given_to.values()]
    assert not any(one == other for one, other in combinations(ranges, 2))
    assert all(made.held_by(holder) == (cidr,) for holder, cidr in given_to.items())


SERVER = "--server=127.0.0.1:1"
ON = ("--allocate-node-cidrs", "--cluster-cidr=10.244.0.0/16")


@pytest.mark.parametrize(
    ("flags", "parts"),
    [
        ([], []),
        (["--cluster-cidr=10.244.0.0/16"], []),
        (ON, ["10.244.1.0/24"]),
        ((*ON, "--node-cidr-mask-size=26"), ["10.244.0.64/26"]),
        (("--allocate-node-cidrs", "--cluster-cidr=10.0.0.0/16,fd00::/56",
          "--node-cidr-mask-size-ipv4=28"), ["10.0.0.16/28", "fd00:0:0:1::/64"]),
    ],
)  # fmt: skip
def test_flags(flags: Sequence[str], parts: list[str]) -> None:
    options = options_of(parser().parse_args([SERVER, *flags]))
    assert [pool.part(1) for pool in options.node_pools] == parts
    assert ("node-ipam-controller" in {row.name for row in enabled(options)}) == bool(parts)


@pytest.mark.parametrize(
    ("flags", "said"),
    [
        (("--allocate-node-cidrs",), "--cluster-cidr is needed"),
        ((*ON, "--node-cidr-mask-size=8"), "/8 does not fit into 10.244.0.0/16"),
        ((*ON, "--node-cidr-mask-size=33"), "/33 does not fit"),
        (("--allocate-node-cidrs", "--cluster-cidr=10.0.0.0/8", "--node-cidr-mask-size=28"),
         "more than 65536 ranges"),
        (("--allocate-node-cidrs", "--cluster-cidr=10.0.0.0/16,fd00::/56",
          "--node-cidr-mask-size=28"), "use --node-cidr-mask-size-ipv4"),
        (("--service-cluster-ip-range=x",), "--service-cluster-ip-range"),
    ],
)  # fmt: skip
def test_flags_that_do_not_fit(flags: Sequence[str], said: str) -> None:
    with pytest.raises(ValueError, match=said):
        options_of(parser().parse_args([SERVER, *flags]))

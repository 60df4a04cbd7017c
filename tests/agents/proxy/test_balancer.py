"""Which endpoint a client gets."""

from __future__ import annotations

from collections import Counter
from dataclasses import replace

from agents.proxy.balancer import CLIENTS_MAX, Balancer
from agents.proxy.fronts import Backends
from agents.proxy.service_ports import Endpoint
from kubraft.api.object import ObjectKey

A, B, C = (Endpoint(f"127.64.0.{number}", 80) for number in (2, 3, 4))
PLAIN = Backends(ObjectKey("default", "web"), "uid", (A, B, C))
STICKY = replace(PLAIN, affinity_s=60.0)


def test_every_endpoint_has_its_turn() -> None:
    balancer = Balancer(PLAIN)
    assert Counter(balancer.pick("127.0.0.1", 0) for _ in range(9)) == {A: 3, B: 3, C: 3}


def test_one_that_failed_is_passed_over() -> None:
    balancer = Balancer(PLAIN)
    assert {balancer.pick("x", 0, {A}) for _ in range(4)} == {B, C}
    assert balancer.pick("x", 0, {A, B, C}) is None


def test_a_client_keeps_its_endpoint_while_it_comes_back_in_time() -> None:
    balancer = Balancer(STICKY)
    first = balancer.pick("127.0.0.1", 0)
    assert {balancer.pick("127.0.0.1", now) for now in (1, 50, 100, 159)} == {first}
    others = {balancer.pick(f"127.0.0.{n}", 0) for n in range(2, 9)}
    assert others == {A, B, C}
    later = {balancer.pick("127.0.0.1", 159 + 60 * (n + 1)) for n in range(6)}
    assert later == {A, B, C}


def test_a_client_of_an_endpoint_that_is_gone_gets_another_and_keeps_that() -> None:
    balancer = Balancer(STICKY)
    first = balancer.pick("127.0.0.1", 0)
    left = tuple(each for each in (A, B, C) if each != first)
    balancer.replace(replace(STICKY, endpoints=left))
    second = balancer.pick("127.0.0.1", 1)
    assert second in left
    balancer.replace(STICKY)
    assert {balancer.pick("127.0.0.1", now) for now in range(2, 9)} == {second}


def test_no_more_clients_are_remembered_than_may_be() -> None:
    balancer = Balancer(STICKY)
    for number in range(CLIENTS_MAX + 10):
        balancer.pick(str(number), 0)
    assert len(balancer._kept) == CLIENTS_MAX


def test_only_the_networks_that_may_are_admitted() -> None:
    balancer = Balancer(replace(PLAIN, sources=("10.0.0.0/8", " 192.168.1.1/32")))
    admitted = {a for a in ("10.1.2.3", "192.168.1.1", "127.0.0.1") if balancer.admits(a)}
    assert admitted == {"10.1.2.3", "192.168.1.1"}
    assert Balancer(PLAIN).admits("127.0.0.1")

"""Which two streams of a port-forward belong together."""

from __future__ import annotations

import pytest

from kubraft.streaming.forward_pairs import HALVES_MAX, ForwardPairs, Pair, PairError


def headers(kind: str, request: str = "0", port: str = "80") -> dict[str, str]:
    found = {"streamtype": kind, "port": port}
    return {**found, "requestid": request} if request else found


@pytest.mark.parametrize("order", [("error", "data"), ("data", "error")])
def test_two_streams_of_a_request_are_a_pair(order: tuple[str, str]) -> None:
    pairs = ForwardPairs()
    numbers = {order[0]: 1, order[1]: 3}
    assert pairs.add(1, headers(order[0])) is None
    assert pairs.add(3, headers(order[1])) == Pair("0", 80, numbers["data"], numbers["error"])
    assert pairs.waiting == 0


def test_requests_may_be_mixed() -> None:
    pairs = ForwardPairs()
    assert pairs.add(1, headers("error", "a")) is None
    assert pairs.add(3, headers("error", "b", "443")) is None
    assert pairs.add(5, headers("data", "a")) == Pair("a", 80, 5, 1)
    assert pairs.add(7, headers("data", "b", "443")) == Pair("b", 443, 7, 3)


def test_without_a_request_the_numbers_follow_each_other() -> None:
    pairs = ForwardPairs()
    assert pairs.add(1, headers("error", "")) is None
    assert pairs.add(3, headers("data", "")) == Pair("1", 80, 3, 1)


@pytest.mark.parametrize(
    ("found", "text"),
    [
        ({"streamtype": "data"}, '"port" header is required'),
        (headers("data", port="0"), 'unable to parse "0" as a port'),
        (headers("data", port="65536"), 'unable to parse "65536" as a port'),
        (headers("data", port="8" * 5000), "as a port"),
        (headers("data", port="-1"), 'unable to parse "-1" as a port'),
        ({"port": "80"}, 'invalid stream type ""'),
        (headers("stdin"), 'invalid stream type "stdin"'),
        (headers("error"), "error stream already assigned"),
        (headers("data", port="81"), "data stream already assigned"),
    ],
)
def test_streams_that_are_none_of_a_pair(found: dict[str, str], text: str) -> None:
    pairs = ForwardPairs()
    pairs.add(1, headers("error"))
    with pytest.raises(PairError, match=text):
        pairs.add(3, found)
    assert pairs.add(5, headers("data")) == Pair("0", 80, 5, 1)


def test_halves_are_bounded_and_may_go() -> None:
    pairs = ForwardPairs()
    for index in range(HALVES_MAX):
        pairs.add(2 * index + 1, headers("error", str(index)))
    with pytest.raises(PairError):
        pairs.add(9999, headers("error", "last"))
    pairs.drop(1)
    assert pairs.waiting == HALVES_MAX - 1
    assert pairs.add(9999, headers("error", "last")) is None

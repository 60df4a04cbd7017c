"""The judge of list txns is judged: what one order explains passes, each anomaly is found."""

import random

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.robustness.history import ListTxn
from tests.robustness.validate.cycles import anomalies

NEVER = float("inf")


def txn(
    called: float,
    returned: float,
    *,
    done: bool | None = True,
    appends: str = "",
    **reads: str,
) -> ListTxn:
    """`x="12"` reads that x is 1, 2; `appends="x3"` puts 3 behind x."""
    return ListTxn(
        called,
        returned,
        done,
        tuple((key, tuple(elements)) for key, elements in reads.items()),
        tuple((word[0], word[1:]) for word in appends.split()),
    )


GOOD = [
    pytest.param([], id="nothing"),
    pytest.param([txn(0, 1, appends="x1"), txn(2, 3, x="1")], id="one after another"),
    pytest.param(
        [txn(0, 9, appends="x1", x=""), txn(0, 9, appends="x2", x="1"), txn(10, 11, x="12")],
        id="at once",
    ),
    pytest.param([txn(0, 9, appends="x1"), txn(1, 2, x="1"), txn(3, 4, x="1")], id="seen early"),
    pytest.param([txn(0, NEVER, done=None, appends="x1"), txn(5, 6, x="1")], id="unknown, done"),
    pytest.param([txn(0, NEVER, done=None, appends="x1"), txn(5, 6, x="")], id="unknown, not"),
    pytest.param([txn(0, 1, done=False, appends="x1"), txn(5, 6, x="")], id="refused"),
    pytest.param(
        [txn(0, 9, appends="x1", y=""), txn(0, 9, appends="y1", x="1"), txn(9, 10, x="1", y="1")],
        id="one saw the other",
    ),
]
BAD = [
    pytest.param([txn(0, 1, appends="x1"), txn(2, 3, x="")], "cycle", id="stale read"),
    pytest.param(
        [txn(0, 9, appends="x1", y=""), txn(0, 9, appends="y1", x=""), txn(10, 11, x="1", y="1")],
        "cycle",
        id="write skew",
    ),
    pytest.param(
        [
            txn(0, 9, appends="x1 y1"),
            txn(0, 9, x="1", y=""),
        ],
        "cycle",
        id="half of a txn read",
    ),
    pytest.param(
        [
            txn(0, 9, appends="x1 y1"),
            txn(0, 9, appends="x2 y2"),
            txn(10, 11, x="12"),
            txn(12, 13, y="21"),
        ],
        "cycle",
        id="two orders of writes",
    ),
    pytest.param(
        [
            txn(0, 9, appends="x1", x=""),
            txn(0, 9, appends="x2", x=""),
            txn(10, 11, x="12"),
        ],
        "cycle",
        id="lost update",
    ),
    pytest.param(
        [txn(0, 9, appends="x1"), txn(0, 9, appends="x2"), txn(1, 2, x="1"), txn(1, 2, x="2")],
        "another as",
        id="reads disagree",
    ),
    pytest.param([txn(2, 3, x="7")], "nobody", id="out of nowhere"),
    pytest.param(
        [txn(0, 1, done=False, appends="x1"), txn(2, 3, x="1")], "not done", id="refused, yet there"
    ),
    pytest.param([txn(0, 1, x="1"), txn(2, 3, appends="x1")], "cycle", id="from the future"),
    pytest.param(
        [txn(0, 1, appends="x1"), txn(2, 3, appends="x2"), txn(4, 5, x="2")], "cycle", id="lost"
    ),
    pytest.param(
        [txn(0, 1, appends="x1"), txn(2, 3, appends="x2"), txn(4, 5, x="21")],
        "cycle",
        id="real time turned round",
    ),
]


@pytest.mark.parametrize("history", GOOD)
def test_what_one_order_explains_passes(history: list[ListTxn]) -> None:
    assert list(anomalies(history)) == []


@pytest.mark.parametrize(("history", "told"), BAD)
def test_an_anomaly_is_found(history: list[ListTxn], told: str) -> None:
    assert told in " ".join(anomalies(history))


def simulate(rng: random.Random, count: int) -> list[ListTxn]:
    """What a store that does one txn after another answers to calls that overlap."""
    lists: dict[str, tuple[str, ...]] = {}
    history = []
    for number in range(count):
        called, returned = number - rng.random() * 3, number + rng.random() * 3
        keys = rng.sample("xyz", 2)
        reads = tuple((key, lists.get(key, ())) for key in keys)
        appends = tuple((key, f"{number}") for key in keys[: rng.randrange(3)])
        done: bool | None = rng.random() < 0.9
        if done:
            for key, element in appends:
                lists[key] = (*lists.get(key, ()), element)
        if rng.random() < 0.1:
            done, returned = None, NEVER
        history.append(ListTxn(called, returned, done, reads, appends))
    return history


@given(st.randoms(use_true_random=False), st.integers(1, 40))
def test_what_a_store_really_did_always_passes(rng: random.Random, count: int) -> None:
    assert list(anomalies(simulate(rng, count))) == []


@given(st.randoms(use_true_random=False), st.integers(3, 30))
def test_a_read_of_the_past_is_always_found(rng: random.Random, count: int) -> None:
    history = [txn(-9, -8, appends="xfirst"), *simulate(rng, count)]
    history = [
        ListTxn(
            t.called,
            t.returned,
            t.done,
            tuple((k, ("first", *e) if k == "x" else e) for k, e in t.reads),
            t.appends,
        )
        for t in history
    ]
    history.append(txn(count + 5, count + 6, x=""))
    assert list(anomalies(history))

"""The judge is judged: good histories pass, each broken guarantee is found."""

import random

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.conformance.linearizability import NEVER, Kind, Operation, check, is_linearizable


def write(value: str | None, called: float, returned: float) -> Operation:
    return Operation("k", Kind.WRITE, called, returned, value=value)


def read(result: str | None, called: float, returned: float) -> Operation:
    return Operation("k", Kind.READ, called, returned, result=result)


def cas(
    expected: str | None, value: str, called: float, returned: float, *, done: bool = True
) -> Operation:
    return Operation("k", Kind.CAS, called, returned, value=value, expected=expected, result=done)


GOOD = [
    pytest.param([], id="nothing"),
    pytest.param([read(None, 0, 1), write("a", 2, 3), read("a", 4, 5)], id="one after another"),
    pytest.param([write("a", 0, 9), read("a", 1, 2), read("a", 3, 4)], id="seen before it returns"),
    pytest.param([write("a", 0, 9), read(None, 1, 2), read("a", 3, 4)], id="takes effect between"),
    pytest.param(
        [write("a", 0, 9), write("b", 0, 9), read("b", 10, 11)], id="concurrent writes in any order"
    ),
    pytest.param([write("a", 0, NEVER), read("a", 5, 6)], id="unknown write that happened"),
    pytest.param([write("a", 0, NEVER), read(None, 5, 6)], id="unknown write that did not"),
    pytest.param(
        [write("a", 0, NEVER), read(None, 5, 6), read("a", 7, 8)], id="unknown write happens late"
    ),
    pytest.param(
        [write("a", 0, 1), write(None, 2, NEVER), read(None, 3, 4)],
        id="unknown delete that happened",
    ),
    pytest.param([cas(None, "a", 0, 1), cas("a", "b", 2, 3), read("b", 4, 5)], id="chain of cas"),
    pytest.param(
        [cas(None, "a", 0, 5), cas(None, "b", 0, 5, done=False), read("a", 6, 7)], id="one cas wins"
    ),
    pytest.param(
        [write("a", 0, 1), cas("a", "b", 2, NEVER), read("b", 3, 4)], id="unknown cas that happened"
    ),
    pytest.param(
        [
            write("a", 0, 1),
            write("b", 2, NEVER),
            cas("a", "c", 3, 4, done=False),
            write("d", 5, 6),
            read("d", 7, 8),
        ],
        id="unknown write that only a refused cas has noticed",
    ),
    pytest.param(
        [
            write("a", 0, 1),
            cas("a", "b", 2, NEVER),
            cas("a", "c", 3, 4, done=False),
            write("d", 5, 6),
        ],
        id="unknown cas that only a refused cas has noticed",
    ),
]
BAD = [
    pytest.param([write("a", 0, 1), read(None, 2, 3)], id="acknowledged write lost"),
    pytest.param([write("a", 0, 1), write("b", 2, 3), read("a", 4, 5)], id="stale read"),
    pytest.param(
        [write("a", 0, 9), read("a", 1, 2), read(None, 3, 4)], id="value seen and then unseen"
    ),
    pytest.param(
        [write("a", 0, 9), write("b", 0, 9), read("a", 10, 11), read("b", 12, 13)], id="two orders"
    ),
    pytest.param([read("x", 0, 1)], id="value that nobody wrote"),
    pytest.param([read("a", 0, 1), write("a", 2, 3)], id="read from the future"),
    pytest.param([cas(None, "a", 0, 5), cas(None, "b", 0, 5)], id="both of two rival cas win"),
    pytest.param(
        [write("a", 0, NEVER), read("a", 1, 2), read(None, 3, 4)], id="unknown write undone"
    ),
    pytest.param([cas(None, "a", 0, 1, done=False), read(None, 2, 3)], id="cas refused wrongly"),
    pytest.param(
        [write("a", 0, 1), write("b", 2, NEVER), cas("a", "c", 3, 4, done=False), read("a", 5, 6)],
        id="unknown write that a refused cas has noticed, undone",
    ),
    pytest.param(
        [write("a", 0, 1), cas("a", "c", 2, 3, done=False), write("b", 4, NEVER)],
        id="unknown write noticed before it was called",
    ),
]


@pytest.mark.parametrize("history", GOOD)
def test_a_history_with_an_order_passes(history: list[Operation]) -> None:
    assert is_linearizable(history)


@pytest.mark.parametrize("history", BAD)
def test_a_history_without_an_order_is_found(history: list[Operation]) -> None:
    assert not is_linearizable(history)
    assert [violation.key for violation in check(history)] == ["k"]


def test_a_violation_names_the_operation_that_fits_no_more() -> None:
    fine = [write(f"v{n}", 4 * n, 4 * n + 1) for n in range(100)]
    stale = read("v59", 245, 246)
    (violation,) = check([*fine, stale])
    assert violation.culprit() == stale
    told = str(violation)
    assert str(stale) in told
    assert "v61" in told
    assert "v10'" not in told


def simulate(rng: random.Random, count: int) -> list[Operation]:
    """What a real register answers to calls that overlap; some callers never hear."""
    register: str | None = None
    history: list[Operation] = []
    past: list[str | None] = []
    for number in range(count):
        at = float(number)
        called, returned = at - rng.random() * 3, at + rng.random() * 3
        if rng.random() < 0.1:
            returned = NEVER
        kind = rng.choice(list(Kind))
        value = None if rng.random() < 0.2 else f"v{number}"
        expected = rng.choice([register, "other", *past[-2:]])
        past.append(register)
        result: str | bool | None = None
        if kind is Kind.READ:
            result = register
        elif kind is Kind.WRITE:
            register = value
        else:
            result = register == expected
            register = value if result else register
        history.append(Operation("k", kind, called, returned, value, expected, result))
    return history


@given(st.randoms(use_true_random=False), st.integers(1, 40))
def test_what_a_register_really_did_always_passes(rng: random.Random, count: int) -> None:
    assert is_linearizable(simulate(rng, count))


@given(st.randoms(use_true_random=False), st.integers(3, 30))
def test_a_read_of_what_was_never_written_always_fails(rng: random.Random, count: int) -> None:
    history = simulate(rng, count)
    history.append(Operation("k", Kind.READ, count + 1.0, count + 2.0, result="never written"))
    assert not is_linearizable(history)

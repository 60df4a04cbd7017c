"""The judges of Jepsen's workloads are judged: a kept promise passes, a broken one is named."""

import dataclasses
from collections.abc import Callable

import pytest

from tests.conformance.linearizability import NEVER
from tests.robustness import hand_made as h
from tests.robustness.history import Call, Event, History, Kv, ListTxn, Write
from tests.robustness.validate import judge
from tests.robustness.validate.jepsen import overlaps

SET = "sets/0/"
LOCK = "locks/0"
FIRST, SECOND = Kv(f"{LOCK}/a", "", 2, 2, 1, lease=10), Kv(f"{LOCK}/b", "", 3, 3, 1, lease=11)
GUARDED = Kv(f"guarded/{LOCK}", "1.1", 4, 4, 1)


def put_event(kv: Kv) -> Event:
    return Event(is_delete=False, kv=kv)


def gone(kv: Kv, revision: int) -> Event:
    return Event(is_delete=True, kv=Kv(kv.key, "", 0, revision, 0), previous=kv)


def lock(kv: Kv, revision: int, called: float, returned: float) -> Call:
    return Call(
        1,
        "m",
        "lock",
        called,
        returned,
        key=LOCK,
        lease=kv.lease,
        revision=revision,
        writes=(Write(kv.key, "", kv.lease),),
    )


def locking(*, second_given_at: int = 5, guard: Kv = FIRST, believes_until: float = 4.5) -> History:
    """A lock is given at 2, a second client waits from 3, a write at 4, given back at 5."""
    events = (put_event(FIRST), put_event(SECOND), put_event(GUARDED), gone(FIRST, 5))
    watch = h.everything()
    watch.responses = h.responses(*((dataclasses.replace(e, previous=e.previous),) for e in events))
    calls = [
        Call(1, "m", "grant", 0.1, 0.2, lease=10, ttl_s=60, revision=1),
        Call(2, "m", "grant", 0.1, 0.2, lease=11, ttl_s=60, revision=1),
        lock(FIRST, 2, 1.5, 2.4),
        lock(SECOND, second_given_at, 2.5, second_given_at + 0.4),
        Call(
            1,
            "m",
            "txn",
            3.5,
            4.4,
            revision=4,
            writes=(Write(GUARDED.key, GUARDED.value),),
            guards=((guard.key, ""),),
        ),
        Call(
            1,
            "m",
            "unlock",
            believes_until,
            5.4,
            revision=5,
            writes=(Write(FIRST.key, None),),
        ),
    ]
    return History(calls, [watch], final_revision=5)


def set_of(*seen: str, unknown: bool = False) -> History:
    """Elements 1 and 2 were added, at revisions 2 and 3, and then the set was read."""
    kvs = {value: Kv(SET + value, value, at, at, 1) for value, at in (("1", 2), ("2", 3), ("9", 4))}
    adds = [h.put(SET + "1", "1", 2), h.put(SET + "2", "2", 3)]
    if unknown:
        adds[1] = dataclasses.replace(adds[1], returned=NEVER)
    read = h.read(SET, SET[:-1] + "0", 3, *(kvs[value] for value in seen))
    return History([*adds, read])


def lists(*txns: ListTxn) -> History:
    return History(lists=list(txns))


def page(*, limit: int, count: int, kvs: tuple[Kv, ...]) -> History:
    history = h.good()
    read = h.read("\0", "\0", 6, *kvs, limit=limit, count=count)
    history.calls.append(read)
    return history


def hashes(**told: int) -> History:
    history = h.good()
    history.hashes = told
    return history


SKEW = (
    ListTxn(0, 9, done=True, reads=(("y", ()),), appends=(("x", "1"),)),
    ListTxn(0, 9, done=True, reads=(("x", ()),), appends=(("y", "1"),)),
    ListTxn(10, 11, done=True, reads=(("x", ("1",)), ("y", ("1",))), appends=()),
)


@pytest.mark.parametrize(
    ("guarantee", "make"),
    [
        pytest.param("whole sets", lambda: set_of("1", "2"), id="set"),
        pytest.param("whole sets", lambda: set_of("1", unknown=True), id="unknown element"),
        pytest.param("strictly serializable", lambda: lists(SKEW[0]), id="lists"),
        pytest.param("locked", locking, id="lock"),
        pytest.param("fenced", locking, id="fence"),
        pytest.param("consistent", lambda: page(limit=2, count=3, kvs=(h.B4, h.C4)), id="page"),
        pytest.param("same hash", lambda: hashes(m=1, n=1), id="hashes"),
    ],
)
def test_a_kept_promise_passes(guarantee: str, make: Callable[[], History]) -> None:
    assert [str(v) for v in judge(make()) if v.guarantee == guarantee] == []


def test_a_good_history_of_a_lock_passes() -> None:
    assert [str(violation) for violation in judge(locking())] == []


@pytest.mark.parametrize(
    ("guarantee", "make"),
    [
        pytest.param("whole sets", lambda: set_of("1"), id="element lost"),
        pytest.param("whole sets", lambda: set_of("1", "2", "9"), id="element of nobody"),
        pytest.param("strictly serializable", lambda: lists(*SKEW), id="write skew"),
        pytest.param("locked", lambda: locking(second_given_at=4), id="lock of another"),
        pytest.param("fenced", lambda: locking(guard=SECOND), id="write of one who waits"),
        pytest.param("consistent", lambda: page(limit=2, count=2, kvs=(h.B4, h.C4)), id="count"),
        pytest.param("consistent", lambda: page(limit=2, count=3, kvs=(h.B4,)), id="short page"),
        pytest.param("consistent", lambda: page(limit=1, count=3, kvs=(h.C4,)), id="wrong page"),
        pytest.param("same hash", lambda: hashes(m=1, n=2), id="hashes differ"),
    ],
)
def test_a_broken_promise_is_named(guarantee: str, make: Callable[[], History]) -> None:
    assert guarantee in {violation.guarantee for violation in judge(make())}


def test_a_holder_who_was_not_told_is_counted_and_is_no_violation() -> None:
    assert overlaps(locking()) == (2, 0)
    assert overlaps(locking(believes_until=5.45)) == (2, 1)

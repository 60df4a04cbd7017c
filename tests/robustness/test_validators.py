"""The judges are judged: a good history passes, and each broken guarantee is named."""

import dataclasses
from collections.abc import Callable
from pathlib import Path

import pytest

from tests.conformance.linearizability import NEVER
from tests.robustness import hand_made as h
from tests.robustness.history import Call, Event, History, Kv, WatchRequest, Write, load
from tests.robustness.validate import judge

FROM_2 = WatchRequest("\0", "\0", 2)
ONLY_A = WatchRequest("register/a", "", 1)
NO_PUT = WatchRequest("\0", "\0", 1, no_put=True)


def bare(event: Event) -> Event:
    return dataclasses.replace(event, previous=None)


A2, A3, B4, C4, A5, A6 = map(bare, h.ALL)
LEASED = Kv("l", "9", 7, 7, 1, lease=8)
UNLEASED = Event(is_delete=True, kv=Kv("l", "", 0, 8, 0), previous=LEASED)


def guarantees(history: History) -> set[str]:
    return {violation.guarantee for violation in judge(history)}


def with_watch(request: WatchRequest, *groups: tuple[Event, ...]) -> History:
    history = h.good()
    history.watches.append(h.watch(request, *groups))
    return history


def with_bookmark(request: WatchRequest, revision: int, *after: tuple[Event, ...]) -> History:
    history = h.good()
    watch = h.watch(request, (A2,), *after)
    watch.responses.insert(2, h.bookmark(revision))
    history.watches.append(watch)
    return history


def with_calls(*calls: Call) -> History:
    history = h.good()
    history.calls += calls
    return history


def with_lease(ended_at: float, *calls: Call) -> History:
    """A lease of 2 s granted at 6.5, and its key gone at `ended_at`."""
    history = h.good()
    grant = Call(4, "m", "grant", 6.5, 6.51, revision=6, lease=8, ttl_s=2)
    history.calls += [grant, h.put("l", "9", 7, lease=8), *calls]
    watch = history.watches[0]
    watch.responses += h.responses((Event(is_delete=False, kv=LEASED),), (UNLEASED,))[1:]
    watch.responses[-1] = dataclasses.replace(watch.responses[-1], at=ended_at)
    history.final_revision = 8
    return history


def revised(index: int, **fields: object) -> History:
    """The good history with one call changed."""
    history = h.good()
    history.calls[index] = dataclasses.replace(history.calls[index], **fields)  # type: ignore[arg-type]
    return history


def with_end(*, events: int = 5, **final: tuple[Kv, ...]) -> History:
    history = h.good()
    history.final |= final
    del history.watches[0].responses[events + 1 :]
    return history


def compacted_watch(start: int, revision: int, *asked: int) -> History:
    history = with_watch(dataclasses.replace(FROM_2, start=start))
    end = dataclasses.replace(h.bookmark(6), progress=False, compacted=revision)
    history.watches[-1].responses.append(end)
    history.calls += [
        Call(5, "m", "compact", 6.7, 6.8, at_revision=number, revision=6) for number in asked
    ]
    return history


def previous_at_3(previous: Kv | None) -> History:
    request = WatchRequest("register/a", "", 3, prev_kv=True)
    return with_watch(request, (dataclasses.replace(h.PUT_A3, previous=previous),))


def created_wrongly() -> History:
    """All watches agree on it, so only the model can tell."""
    history = h.good()
    wrong = dataclasses.replace(h.PUT_A6, kv=dataclasses.replace(h.A6, create=2, version=3))
    history.watches = [h.everything()]
    history.watches[0].responses[-1] = h.responses((wrong,))[-1]
    return history


def done_twice() -> History:
    """One put, done at two revisions."""
    history = h.good()
    again = Event(is_delete=False, kv=Kv("b", "3", 4, 7, 2), previous=h.B4)
    history.watches[0].responses += h.responses((again,))[1:]
    return history


def register_puts(*calls: Call) -> History:
    return History([*calls])


def call(name: str, called: float, returned: float, value: str, key: str = "register/z") -> Call:
    if name == "put":
        return Call(1, "m", "put", called, returned, revision=2, writes=(Write(key, value),))
    return Call(
        1, "m", "read", called, returned, key=key, revision=2, kvs=(Kv(key, value, 2, 2, 1),)
    )


@pytest.mark.parametrize(
    "make",
    [
        pytest.param(h.good, id="plain"),
        pytest.param(lambda: with_watch(ONLY_A, (A2,), (A3,), (A5,), (A6,)), id="one key"),
        pytest.param(lambda: with_watch(FROM_2, (A2, A3, B4, C4), (A5, A6)), id="many at once"),
        pytest.param(lambda: with_watch(NO_PUT, (A5,)), id="deletes only"),
        pytest.param(lambda: with_watch(FROM_2, (A2,), (A3,)), id="broken off"),
        pytest.param(lambda: with_watch(FROM_2), id="broken off before anything came"),
        pytest.param(lambda: with_bookmark(FROM_2, 2, (A3,)), id="bookmark"),
        pytest.param(lambda: with_bookmark(ONLY_A, 2, (A3,)), id="bookmark of one key"),
        pytest.param(lambda: compacted_watch(2, 4, 4), id="compacted"),
        pytest.param(lambda: with_lease(8.6), id="lease ends in time"),
        pytest.param(
            lambda: with_lease(7.7, Call(4, "m", "revoke", 7.45, 7.8, revision=8, lease=8)),
            id="lease revoked",
        ),
        pytest.param(lambda: revised(0, returned=NEVER, revision=0), id="unknown, yet done"),
        pytest.param(
            lambda: with_calls(dataclasses.replace(h.put("d", "0", 3), returned=NEVER)),
            id="unknown, not done",
        ),
        pytest.param(
            lambda: with_calls(h.read("\0", "\0", 2, h.A2, serializable=True)), id="stale read"
        ),
    ],
)
def test_a_good_history_passes(make: Callable[[], History]) -> None:
    assert [str(violation) for violation in judge(make())] == []


@pytest.mark.parametrize(
    ("guarantee", "make"),
    [
        pytest.param("ordered", lambda: with_watch(FROM_2, (A3,), (A2,)), id="ordered"),
        pytest.param("ordered", lambda: with_watch(FROM_2, (A3, A2)), id="ordered, one response"),
        pytest.param("unique", lambda: with_watch(FROM_2, (A2,), (A2,)), id="unique"),
        pytest.param("unique", lambda: with_watch(FROM_2, (A2, A2)), id="unique, one response"),
        pytest.param(
            "atomic", lambda: with_watch(FROM_2, (A2, A3), (B4,), (C4,)), id="atomic, split"
        ),
        pytest.param("atomic", lambda: with_watch(FROM_2, (A2, A3), (B4,), (A5,)), id="atomic"),
        pytest.param("reliable", lambda: with_watch(FROM_2, (A2,), (B4, C4)), id="reliable"),
        pytest.param(
            "reliable", lambda: with_watch(ONLY_A, (A2,), (A3,), (A6,)), id="reliable, delete"
        ),
        pytest.param("resumable", lambda: with_watch(FROM_2, (A3,)), id="resumable"),
        pytest.param(
            "resumable",
            lambda: with_watch(WatchRequest("\0", "\0", 0), (A3,)),
            id="resumable, from now on",
        ),
        pytest.param("bookmarkable", lambda: with_bookmark(FROM_2, 3), id="bookmark too early"),
        pytest.param(
            "bookmarkable", lambda: with_bookmark(FROM_2, 3, (A3,)), id="event behind a bookmark"
        ),
        pytest.param("filtered", lambda: with_watch(ONLY_A, (A2,), (B4,)), id="filtered, key"),
        pytest.param("filtered", lambda: with_watch(NO_PUT, (A2,)), id="filtered, kind"),
        pytest.param(
            "filtered", lambda: with_watch(WatchRequest("\0", "\0", 3), (A2,)), id="filtered, start"
        ),
        pytest.param("previous value", lambda: previous_at_3(None), id="prev_kv missing"),
        pytest.param("previous value", lambda: previous_at_3(h.A6), id="prev_kv wrong"),
        pytest.param(
            "previous value", lambda: with_watch(ONLY_A, (A2,), (h.PUT_A3,)), id="prev_kv unasked"
        ),
        pytest.param("is create", created_wrongly, id="is create"),
        pytest.param("compacted", lambda: compacted_watch(2, 4), id="nobody compacted"),
        pytest.param("compacted", lambda: compacted_watch(5, 4, 4), id="compaction is behind"),
        pytest.param(
            "one history",
            lambda: with_watch(
                FROM_2, (Event(is_delete=False, kv=Kv("register/a", "x", 2, 2, 1)),)
            ),
            id="watches disagree",
        ),
        pytest.param("complete", lambda: with_end(events=4), id="watch behind the end"),
        pytest.param("durable", lambda: with_calls(h.put("d", "7", 5)), id="write lost"),
        pytest.param(
            "durable", lambda: with_calls(h.put("register/a", "2", 4)), id="write elsewhere"
        ),
        pytest.param("once", done_twice, id="done twice"),
        pytest.param("explained", lambda: revised(0, writes=(Write("x", "1"),)), id="unexplained"),
        pytest.param(
            "explained", lambda: revised(3, writes=(Write("b", "3"),)), id="more than was asked"
        ),
        pytest.param(
            "explained", lambda: revised(3, guards=(("c", "0"),)), id="guard did not hold"
        ),
        pytest.param("guarded", lambda: revised(8, guards=(("b", "3"),)), id="refused wrongly"),
        pytest.param("guarded", lambda: revised(8, kvs=()), id="refused without its reason"),
        pytest.param("leased", lambda: with_lease(7.9), id="lease ends too early"),
        pytest.param("leased", lambda: with_end(n=(h.B4, LEASED)), id="lease never ends"),
        pytest.param("converged", lambda: with_end(n=(h.B4, h.A6)), id="members differ"),
        pytest.param("consistent", lambda: revised(4, kvs=(h.B4, h.A3)), id="half a txn read"),
        pytest.param(
            "consistent",
            lambda: with_calls(h.read("\0", "\0", 3, h.A2, serializable=True)),
            id="stale read of another revision",
        ),
        pytest.param(
            "refused",
            lambda: with_calls(h.read("b", "", 6, at_revision=5, error="compacted")),
            id="refused read",
        ),
        pytest.param(
            "in real time",
            lambda: with_calls(Call(2, "m", "read", 6.7, 6.8, key="b", revision=5, kvs=(h.B4,))),
            id="read is old",
        ),
        pytest.param(
            "linearizable",
            lambda: register_puts(
                call("put", 1, 2, "1"), call("put", 3, 4, "2"), call("read", 5, 6, "1")
            ),
            id="register goes back",
        ),
    ],
)
def test_a_broken_guarantee_is_named(guarantee: str, make: Callable[[], History]) -> None:
    assert guarantee in guarantees(make())


def test_a_revision_that_nobody_saw_is_a_gap() -> None:
    history = h.good()
    del history.watches[0].responses[2]
    assert "complete" in guarantees(history)


def test_a_history_is_kept_as_it_was(tmp_path: Path) -> None:
    history = with_lease(7.9)
    history.calls.append(dataclasses.replace(h.put("d", "0", 3), returned=NEVER))
    history.save(tmp_path / "history.jsonl")
    assert load(tmp_path / "history.jsonl") == history


def test_many_calls_of_unknown_outcome_do_not_keep_the_judge() -> None:
    """Each is noticed by a compare that failed, so without the events all orders would be tried."""
    history = h.good()
    for number in range(40):
        lost = dataclasses.replace(h.put("register/a", f"lost {number}", 3), returned=NEVER)
        refused = dataclasses.replace(
            history.calls[8],
            called=6.6 + number / 100,
            returned=6.605 + number / 100,
            writes=(Write("register/a", f"none {number}"),),
            guards=(("register/a", f"lost {number}"),),
            kvs=(h.A6,),
        )
        history.calls += [lost, refused]
    assert [str(violation) for violation in judge(history)] == []


def test_a_call_of_unknown_outcome_that_was_done_is_judged() -> None:
    """It was told at 3.3, so a read that began at 3.35 must not be of before it."""
    history = revised(2, returned=NEVER, revision=0)
    late = Call(5, "m", "read", 3.35, 3.36, key="register/a", revision=3, kvs=(h.A2,), count=1)
    history.calls.append(late)
    assert "linearizable" in guarantees(history)


def test_a_delete_that_found_nothing_stands_for_no_event() -> None:
    """Two say revision 5, and one was done there, so the one nobody heard of can be that of 7."""
    history = h.good()
    gone = Event(is_delete=True, kv=Kv("register/a", "", 0, 7, 0), previous=h.A6)
    history.watches[0].responses += h.responses((gone,))[1:]
    delete = history.calls[5]
    history.calls += [
        dataclasses.replace(delete, client=6, called=4.6, returned=5.45, count=0),
        dataclasses.replace(delete, client=6, called=6.5, returned=NEVER, revision=0, count=0),
        Call(5, "m", "read", 7.5, 7.6, key="register/a", revision=7),
    ]
    history.final_revision = 7
    history.final = {"m": (h.B4, h.C4), "n": (h.B4, h.C4)}
    assert [str(violation) for violation in judge(history)] == []

"""What Jepsen's workloads ask: sets that keep their elements, lists in one order, locks that guard.

Source: Jepsen, etcd 3.4.3, 2020.
"""

from __future__ import annotations

import itertools
from collections.abc import Iterator

from tests.robustness.history import Call, History
from tests.robustness.timeline import Timeline
from tests.robustness.traffic.jepsen import LOCKS, SETS
from tests.robustness.validate.cycles import anomalies


def whole_sets(history: History, timeline: Timeline) -> Iterator[str]:
    """A set that is read has every element added before, and none that nobody added by then."""
    added: dict[str, list[tuple[str, Call]]] = {}
    for call in history.calls:
        for write in call.writes:
            if write.key.startswith(SETS) and not call.error:
                added.setdefault(write.key.rpartition("/")[0] + "/", []).append((write.key, call))
    for call in history.calls:
        if call.name != "read" or not call.key.startswith(SETS) or not call.succeeded:
            continue
        found = {kv.key for kv in call.kvs}
        adds = added.get(call.key, [])
        must = {key for key, add in adds if add.is_known and add.returned < call.called}
        may = {key for key, add in adds if add.called < call.returned}
        if must - found:
            yield f"set {call.key!r} read at {call.called:.3f} lacks {sorted(must - found)}"
        if found - may:
            yield f"set {call.key!r} read at {call.called:.3f} has {sorted(found - may)} of nobody"


def strictly_serializable(history: History, timeline: Timeline) -> Iterator[str]:
    """There is an order of the list txns that explains them and that real time allows."""
    yield from anomalies(history.lists)


def locked(history: History, timeline: Timeline) -> Iterator[str]:
    """Whoever was given a lock was first in its line at the revision of the answer."""
    for call in history.calls:
        if call.name == "lock" and call.succeeded:
            (held,) = call.writes
            owner = _owner(timeline, call.key, call.revision)
            if owner != held.key:
                yield f"lock {held.key!r} was given at {call.revision}, when {owner!r} had it"


def fenced(history: History, timeline: Timeline) -> Iterator[str]:
    """A write that asks for the lock's key is made only while the lock is its writer's."""
    for call in history.calls:
        if call.name != "txn" or not call.succeeded or not call.done:
            continue
        for key, _ in call.guards:
            if not key.startswith(LOCKS):
                continue
            name = key.rpartition("/")[0]
            owner = _owner(timeline, name, call.revision - 1)
            if owner != key:
                yield f"write under {key!r} at {call.revision}, when {owner!r} had the lock"


def _owner(timeline: Timeline, name: str, revision: int) -> str | None:
    """The key in a lock's line that was created first."""
    line = timeline.range(f"{name}/", f"{name}0", revision)
    first = min(line, key=lambda kv: kv.create, default=None)
    return first.key if first else None


def overlaps(history: History) -> tuple[int, int]:
    """How often a lock was given, and how often before its last holder knew that it was not his.

    That is no violation: a lease ends, or a member answers late, and the holder is not told. It is
    what Jepsen found, and why a write must be fenced.
    """
    holds: dict[str, list[tuple[float, float]]] = {}
    given_up = {
        write.key: call.called
        for call in history.calls
        if call.name == "unlock"
        for write in call.writes
    }
    for call in history.calls:
        if call.name == "lock" and call.succeeded:
            (held,) = call.writes
            # Who never gave it back believes in it to its last write.
            used = (c.called for c in history.calls if any(key == held.key for key, _ in c.guards))
            until = given_up.get(held.key, max(used, default=call.returned))
            holds.setdefault(call.key, []).append((call.returned, until))
    given = sum(map(len, holds.values()))
    together = sum(
        after[0] < before[1]
        for line in holds.values()
        for before, after in itertools.pairwise(sorted(line))
    )
    return given, together

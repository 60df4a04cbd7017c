"""What writes must keep: an acknowledged one is there, whole and once, and nothing else is."""

from __future__ import annotations

from collections.abc import Iterator

from tests.robustness.history import Call, Event, History
from tests.robustness.timeline import Timeline, first_told
from tests.robustness.traffic.jepsen import LOCKS

_WRITES = {"put", "delete", "txn", "unlock"}
# Their answer says nothing of the revision at which they wrote.
_SILENT = {"lock", "leave"}


def complete(history: History, timeline: Timeline) -> Iterator[str]:
    """Every revision up to the last was delivered to somebody."""
    for revision in timeline.gaps():
        yield f"no watch of everything was told of revision {revision}"
    if timeline.last < history.final_revision:
        yield f"no watch of everything got to {history.final_revision}, only to {timeline.last}"


def durable(history: History, timeline: Timeline) -> Iterator[str]:
    """An acknowledged write did at its revision just what it says."""
    for call in history.calls:
        if call.name not in _WRITES or not call.succeeded or not call.done:
            continue
        for write in call.writes:
            found = timeline.find(write.key, call.revision)
            if (found.value if found else None) != write.value:
                yield f"{_call(call)} was acknowledged, yet {write.key!r} is {found}"
            elif found and found.mod != call.revision:
                yield f"{_call(call)} was acknowledged at another revision than {found}"


def once(history: History, timeline: Timeline) -> Iterator[str]:
    """No value was written twice: values are unique, so it came from one request."""
    for key in timeline.keys:
        if key.startswith(LOCKS):
            continue  # the keys of a lock's line have no values
        seen: dict[str, int] = {}
        for event in timeline.history(key):
            if event.is_delete:
                continue
            if event.kv.value in seen:
                revisions = f"{seen[event.kv.value]} and {event.revision}"
                yield f"{key!r} was set to {event.kv.value!r} twice, at {revisions}"
            seen[event.kv.value] = event.revision


def explained(history: History, timeline: Timeline) -> Iterator[str]:
    """Every revision is the whole of one request, or the end of one lease; guards held."""
    writers: dict[tuple[str, str | None], list[Call]] = {}
    for call in history.calls:
        if call.name in _WRITES | _SILENT and not call.error and call.done:
            for write in call.writes:
                writers.setdefault((write.key, write.value), []).append(call)
    leases = {call.lease for call in history.calls if call.name == "grant" and not call.error}
    for revision in timeline.revisions:
        events = timeline.events_at(revision)
        event = min(events.values(), key=lambda event: event.is_delete)
        value = None if event.is_delete else event.kv.value
        candidates = writers.get((event.kv.key, value), [])
        if any(_explains(call, events, revision, timeline) for call in candidates):
            continue
        if not _is_end_of_lease(events, revision, timeline, leases):
            yield f"nothing that was asked for explains revision {revision}: {events}"


def guarded(history: History, timeline: Timeline) -> Iterator[str]:
    """Guards that did not hold say so rightly, and read what was there."""
    for call in history.calls:
        if call.guards and call.succeeded and not call.done:
            if _hold(call, timeline, call.revision):
                yield f"{_call(call)} was refused, yet all of {call.guards} held"
            found = [timeline.find(key, call.revision) for key, _ in call.guards]
            there = tuple(kv for kv in found if kv)
            if call.kvs != there:
                yield f"{_call(call)} read {call.kvs} of {there}"


def _hold(call: Call, timeline: Timeline, revision: int) -> bool:
    for key, expected in call.guards:
        found = timeline.find(key, revision)
        if (found.value if found else None) != expected:
            return False
    return True


def _explains(call: Call, events: dict[str, Event], revision: int, timeline: Timeline) -> bool:
    if call.is_known and call.name not in _SILENT and call.revision != revision:
        return False
    before = {write.key: timeline.find(write.key, revision - 1) for write in call.writes}
    puts = {
        write.key: (write.value, write.lease) for write in call.writes if write.value is not None
    }
    deletes = {w.key for w in call.writes if w.value is None and before[w.key] is not None}
    if not _hold(call, timeline, revision - 1):
        return False
    done = {e.kv.key: (e.kv.value, e.kv.lease) for e in events.values() if not e.is_delete}
    return done == puts and {key for key, e in events.items() if e.is_delete} == deletes


def _is_end_of_lease(
    events: dict[str, Event], revision: int, timeline: Timeline, leases: set[int]
) -> bool:
    """All keys of one lease went, and nothing else did."""
    if not all(event.is_delete for event in events.values()):
        return False
    gone = [timeline.find(key, revision - 1) for key in events]
    ended = {kv.lease if kv else 0 for kv in gone}
    if len(ended) != 1 or not ended <= leases:
        return False
    before = timeline.range("\0", "\0", revision - 1)
    return set(events) == {kv.key for kv in before if kv.lease in ended}


def leased(history: History, timeline: Timeline) -> Iterator[str]:
    """No lease ends before its time, unless it is revoked; in the end all have."""
    told = first_told(history)
    revoked = {call.lease: call.called for call in history.calls if call.name == "revoke"}
    left = {
        write.key: call.called
        for call in history.calls
        if call.name in {"unlock", "leave"}
        for write in call.writes
    }
    alive: dict[int, list[Call]] = {}
    for call in history.calls:
        if call.name in ("grant", "keep-alive") and call.succeeded and call.ttl_s > 0:
            alive.setdefault(call.lease, []).append(call)
    for revision in timeline.revisions:
        for key, event in timeline.events_at(revision).items():
            before = timeline.find(key, revision - 1)
            if not event.is_delete or not before or not before.lease:
                continue
            at = told[revision]
            if revoked.get(before.lease, at) < at or left.get(key, at) < at:
                continue
            for call in alive.get(before.lease, []):
                if call.called < at < call.called + call.ttl_s:
                    early_s = call.called + call.ttl_s - at
                    yield f"{key!r} went {early_s:.2f} s before its lease, at {revision}: {call}"
    for member, kvs in history.final.items():
        for kv in kvs:
            if kv.lease:
                yield f"{member} still has {kv}, whose lease must have ended"


def converged(history: History, timeline: Timeline) -> Iterator[str]:
    """Once all faults are over all members hold the same, which is what the events amount to."""
    expected = timeline.range("\0", "\0", history.final_revision)
    for member, kvs in history.final.items():
        differing = set(kvs) ^ set(expected)
        if differing:
            yield f"{member} differs at {history.final_revision}: {sorted(map(str, differing))[:4]}"


def same_hash(history: History, timeline: Timeline) -> Iterator[str]:
    """Once all faults are over all members say the same of their whole history."""
    if len(set(history.hashes.values())) > 1:
        yield f"hashes at {history.final_revision} differ: {history.hashes}"


def _call(call: Call) -> str:
    return f"{call.name} of client {call.client} at {call.member}, revision {call.revision}"

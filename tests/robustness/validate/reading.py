"""What reads must keep, and the order in real time of all that is linearizable."""

from __future__ import annotations

import bisect
import itertools
from collections.abc import Iterator
from dataclasses import replace

from tests.conformance.linearizability import NEVER, Kind, Operation, check
from tests.robustness.history import Call, History
from tests.robustness.timeline import Timeline, first_told
from tests.robustness.traffic.key_values import REGISTERS

# Their header's revision is that of the moment they took effect.
_ORDERED = {"put", "delete", "txn", "read", "unlock"}


def consistent(history: History, timeline: Timeline) -> Iterator[str]:
    """A read, however stale, is the state at one revision: the header's, or the one asked for."""
    for call in history.calls:
        if call.name != "read" or not call.succeeded:
            continue
        there = timeline.range(call.key, call.end, call.at_revision or call.revision)
        expected = there[: call.limit] if call.limit else there
        if call.count != len(there):
            yield f"read of {call.key!r} {call.end!r} counts {call.count} of {len(there)}"
        if call.kvs != expected:
            differing = set(call.kvs) ^ set(expected)
            yield (
                f"read of {call.key!r} {call.end!r} at {call.member}, revision "
                f"{call.at_revision or call.revision}: differs in {sorted(map(str, differing))[:4]}"
            )


def refused(history: History, timeline: Timeline) -> Iterator[str]:
    """A read is refused only where a compaction may have taken its revision."""
    compactions = [call for call in history.calls if call.name == "compact" and not call.error]
    for call in history.calls:
        if call.name != "read" or not call.error:
            continue
        compacted = max((c.at_revision for c in compactions if c.called < call.returned), default=0)
        if call.at_revision >= compacted:
            yield f"read at revision {call.at_revision}, compacted {compacted}: {call.error}"


def in_real_time(history: History, timeline: Timeline) -> Iterator[str]:
    """Nothing linearizable is older than what anybody had seen before it was called."""
    calls = [call for call in history.calls if call.name in _ORDERED and call.succeeded]
    seen = [(call.returned, call.revision) for call in calls]
    seen += [
        (response.at, event.revision)
        for watch in history.watches
        for response in watch.responses
        for event in response.events
    ]
    seen.sort()
    times = [at for at, _ in seen]
    newest = list(itertools.accumulate((revision for _, revision in seen), max))
    for call in calls:
        if call.serializable:
            continue
        before = bisect.bisect_left(times, call.called)
        known = newest[before - 1] if before else 1
        if call.revision < known or (_is_put(call) and call.revision == known):
            yield (
                f"{call.name} at {call.member} answers revision {call.revision}, "
                f"called {call.called:.3f} when {known} was known"
            )


def _is_put(call: Call) -> bool:
    return call.done and any(write.value is not None for write in call.writes)


def linearizable(history: History, timeline: Timeline) -> Iterator[str]:
    """There is an order of the operations on each register that explains them."""
    calls = _Settled(history, timeline)
    operations = [
        operation
        for call in history.calls
        if (operation := _operation(calls.settle(call))) and operation.key.startswith(REGISTERS)
    ]
    for violation in check(operations):
        yield str(violation)


class _Settled:
    """What became of calls whose outcome their clients do not know: the events tell.

    Values are unique, so a write whose value never came did nothing, and one whose value came was
    done before anybody was told. Left open, too many of them make the search for an order endless.
    """

    def __init__(self, history: History, timeline: Timeline) -> None:
        self._is_whole = bool(timeline.revisions) and not timeline.gaps()
        told = first_told(history)
        self._told: dict[tuple[str, str | None], tuple[int, float]] = {}
        # A delete that found nothing answers with a revision too, of another's write.
        owned = {
            (write.key, call.revision)
            for call in history.calls
            for write in call.writes
            if call.succeeded and call.done and call.count and write.value is None
        }
        self._deletes_of_nobody: set[str] = set()
        for key in timeline.keys:
            for event in timeline.history(key):
                if not event.is_delete:
                    at = told[event.revision]
                    self._told[key, event.kv.value] = (event.revision, at)
                elif (key, event.revision) not in owned:
                    self._deletes_of_nobody.add(key)

    def settle(self, call: Call) -> Call:
        """The call as it turned out; refused with an error where it did nothing."""
        if call.is_known or not self._is_whole or len(call.writes) != 1:
            return call
        (write,) = call.writes
        if write.value is None:
            # Which of several deletes nobody knows of it was cannot be told.
            done = write.key in self._deletes_of_nobody
            return call if done else replace(call, error="did nothing")
        if (write.key, write.value) not in self._told:
            return replace(call, error="did nothing")
        revision, at = self._told[write.key, write.value]
        return replace(call, returned=at, revision=revision)


def _operation(call: Call) -> Operation | None:
    if call.error or call.serializable:
        return None
    called, returned = call.called, call.returned
    if call.name == "read" and not call.end and not call.at_revision:
        if returned == NEVER:
            return None
        value = call.kvs[0].value if call.kvs else None
        return Operation(call.key, Kind.READ, called, returned, result=value)
    if call.name not in ("put", "delete", "txn") or len(call.writes) != 1:
        return None
    (write,) = call.writes
    if not call.guards:
        return Operation(write.key, Kind.WRITE, called, returned, write.value)
    if [key for key, _ in call.guards] != [write.key]:
        return None
    result = call.done if call.is_known else None
    ((_, expected),) = call.guards
    return Operation(write.key, Kind.CAS, called, returned, write.value, expected, result)

"""The guarantees of watches, a validator each. Source: etcd, API guarantees, Watch APIs.

Each yields a sentence for every way in which a watch broke the guarantee it is named after. What
should have been delivered is what the timeline has, so all watches together judge each of them.
"""

from __future__ import annotations

import itertools
from collections.abc import Iterator

from tests.robustness.history import Event, History, Watch
from tests.robustness.timeline import Timeline


def ordered(history: History, timeline: Timeline) -> Iterator[str]:
    """Events come in the order of their revisions."""
    for watch in history.watches:
        for before, after in itertools.pairwise(watch.events):
            if after.revision < before.revision:
                yield f"{_name(watch)}: {after.revision} after {before.revision}"


def unique(history: History, timeline: Timeline) -> Iterator[str]:
    """No event comes twice."""
    for watch in history.watches:
        seen: set[tuple[int, str]] = set()
        for event in watch.events:
            identity = (event.revision, event.kv.key)
            if identity in seen:
                yield f"{_name(watch)}: {event.kv.key!r} at {event.revision} came twice"
            seen.add(identity)


def atomic(history: History, timeline: Timeline) -> Iterator[str]:
    """The events of one revision come whole, in one response."""
    for watch in history.watches:
        delivered: dict[int, set[str]] = {}
        for response in watch.responses:
            for revision, events in itertools.groupby(response.events, lambda e: e.revision):
                keys = {event.kv.key for event in events}
                if revision in delivered:
                    yield f"{_name(watch)}: {revision} is split over responses"
                delivered.setdefault(revision, set()).update(keys)
        for revision, keys in delivered.items():
            wanted = {
                event.kv.key
                for event in timeline.events_at(revision).values()
                if watch.request.wants(event)
            }
            if wanted - keys:
                yield f"{_name(watch)}: {revision} came without {sorted(wanted - keys)}"


def reliable(history: History, timeline: Timeline) -> Iterator[str]:
    """Nothing is missing between what came first and what came last."""
    for watch in history.watches:
        delivered = [event.revision for event in watch.events]
        if not delivered:
            continue
        for revision in _missing(watch, timeline, min(delivered), max(delivered)):
            yield f"{_name(watch)}: {revision} is missing"


def resumable(history: History, timeline: Timeline) -> Iterator[str]:
    """What comes first is the first event at or after the revision that was asked for."""
    for watch in history.watches:
        start = _start(watch)
        first = next(watch.events, None)
        if start is None or first is None:
            continue
        for revision in _missing(watch, timeline, start, first.revision - 1):
            yield f"{_name(watch)}: begins at {first.revision}, {revision} is missing"


def bookmarkable(history: History, timeline: Timeline) -> Iterator[str]:
    """A progress notification comes after all events up to its revision."""
    for watch in history.watches:
        bookmark = 0
        last = _start(watch)
        for response in watch.responses:
            for event in response.events:
                if event.revision <= bookmark:
                    yield f"{_name(watch)}: {event.revision} after a bookmark of {bookmark}"
                last = event.revision + 1
            if response.progress and last is not None:
                bookmark = max(bookmark, response.revision)
                for revision in _expected(watch, timeline, last, bookmark):
                    yield f"{_name(watch)}: bookmark of {bookmark} without {revision}"
                last = max(last, bookmark + 1)


def filtered(history: History, timeline: Timeline) -> Iterator[str]:
    """Only events of the range, of the kinds and of the revisions that were asked for come."""
    for watch in history.watches:
        start = _start(watch) or 0
        for event in watch.events:
            if not watch.request.wants(event) or event.revision < start:
                yield f"{_name(watch)}: nobody asked for {_event(event)}"


def previous_value(history: History, timeline: Timeline) -> Iterator[str]:
    """prev_kv is the key as it was before; it may be missing only where history was compacted."""
    compacted = max((c.at_revision for c in history.calls if c.name == "compact"), default=0)
    for watch in history.watches:
        for event in watch.events:
            expected = None
            if watch.request.prev_kv:
                expected = timeline.find(event.kv.key, event.revision - 1)
            if event.previous is None and event.revision <= compacted:
                continue
            if event.previous != expected:
                yield f"{_name(watch)}: {_event(event)} has {event.previous}, was {expected}"


def is_create(history: History, timeline: Timeline) -> Iterator[str]:
    """Create revision and version tell a create from an update, and count right."""
    for watch in history.watches:
        for event in watch.events:
            kv = event.kv
            if event.is_delete:
                expected = (0, 0)
            else:
                before = timeline.find(kv.key, event.revision - 1)
                expected = (before.create, before.version + 1) if before else (kv.mod, 1)
            if (kv.create, kv.version) != expected:
                yield f"{_name(watch)}: {_event(event)}, create and version must be {expected}"


def compacted(history: History, timeline: Timeline) -> Iterator[str]:
    """A watch is ended as compacted only if a compaction took what it has still to get."""
    asked = {call.at_revision for call in history.calls if call.name == "compact"}
    for watch in history.watches:
        next_revision = _start(watch) or 0
        for response in watch.responses:
            for event in response.events:
                next_revision = event.revision + 1
            if response.progress:
                next_revision = response.revision + 1
            if response.compacted and response.compacted not in asked:
                yield f"{_name(watch)}: nobody compacted {response.compacted}"
            elif response.compacted and response.compacted <= next_revision:
                yield f"{_name(watch)}: ended by {response.compacted}, needed {next_revision}"


def _start(watch: Watch) -> int | None:
    """The first revision that the watch is about, once that is known."""
    if watch.request.start:
        return watch.request.start
    for response in watch.responses:
        if response.created:
            return response.revision + 1
    return None


def _expected(watch: Watch, timeline: Timeline, first: int, last: int) -> list[int]:
    request = watch.request
    events = timeline.events(request.key, request.end, first, last)
    return sorted({event.revision for event in events if request.wants(event)})


def _missing(watch: Watch, timeline: Timeline, first: int, last: int) -> list[int]:
    delivered = {event.revision for event in watch.events}
    return [r for r in _expected(watch, timeline, first, last) if r not in delivered]


def _name(watch: Watch) -> str:
    request = watch.request
    return f"watch of {request.key!r} {request.end!r} from {request.start} at {watch.member}"


def _event(event: Event) -> str:
    return f"{'delete' if event.is_delete else 'put'} {event.kv}"

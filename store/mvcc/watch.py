"""Which watcher gets which event.

Watchers that are up to date ("synced") are grouped by key or range, so an event is matched and
encoded once a group. A watcher that cannot keep up is taken out and reads history at its own pace
until it is up to date again; its stream decides that.

Pure: streams are behind `Sink`. Source: etcd v3 API guarantees, Watch APIs.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import NewType, Protocol, TypeVar

from store.figures import FIGURES
from store.mvcc.event import KvEvent
from store.mvcc.key_index import ONE_KEY
from store.mvcc.revision import Revision

K = TypeVar("K")
WatchID = NewType("WatchID", int)

# The encoded value of a key before a main revision, if history still has it.
FindPrevious = Callable[[bytes, int], bytes | None]


class Watcher:
    """One watch of one stream. `next_revision` is the first one not delivered yet."""

    __slots__ = (
        "end",
        "fragment",
        "id",
        "key",
        "next_revision",
        "no_delete",
        "no_put",
        "prev_kv",
        "progress_due",
        "progress_notify",
        "sink",
    )

    def __init__(
        self, watch_id: WatchID, key: bytes, end: bytes | None, start: int, sink: Sink
    ) -> None:
        self.id = watch_id
        self.key = key
        self.end = end
        self.next_revision = start
        self.sink = sink
        self.no_put = False
        self.no_delete = False
        self.prev_kv = False
        self.fragment = False
        self.progress_notify = False
        # Nothing was sent since the last look, so a progress notification has news.
        self.progress_due = False

    def covers(self, key: bytes) -> bool:
        if self.end is ONE_KEY:
            return key == self.key
        return self.key <= key and (not self.end or key < self.end)

    def wants(self, event: KvEvent) -> bool:
        """Whether an event of a covered key passes the filters."""
        if event.revision < self.next_revision:
            return False
        return not (self.no_delete if event.is_delete else self.no_put)


class EventBatch:
    """Events of covered keys, in order, with whole revisions only; encoded once."""

    def __init__(self, events: Sequence[KvEvent], find_previous: FindPrevious) -> None:
        self.events = events
        self._find_previous = find_previous
        self._payloads: dict[tuple[bool, bool, bool], bytes] = {}

    @property
    def first_revision(self) -> Revision:
        return self.events[0].revision

    def chunks(self, watcher: Watcher) -> list[bytes]:
        """What `watcher` gets, an encoded `events` field each."""
        wanted = self.events
        if watcher.no_put or watcher.no_delete or watcher.next_revision > self.first_revision:
            wanted = [event for event in self.events if watcher.wants(event)]
        if not watcher.prev_kv:
            return [event.chunk() for event in wanted]
        return [event.chunk_with_previous(self._previous(event)) for event in wanted]

    def _previous(self, event: KvEvent) -> bytes | None:
        if event.is_create():
            return None
        return self._find_previous(event.key, event.revision - 1)

    def payload(self, watcher: Watcher) -> bytes:
        """The same as one string of bytes; empty if the watcher wants none of it."""
        if watcher.next_revision > self.first_revision:
            return b"".join(self.chunks(watcher))
        options = (watcher.prev_kv, watcher.no_put, watcher.no_delete)
        payload = self._payloads.get(options)
        if payload is None:
            payload = self._payloads[options] = b"".join(self.chunks(watcher))
        return payload


class Sink(Protocol):
    """The stream of a watcher."""

    def offer(self, watcher: Watcher, batch: EventBatch, revision: Revision) -> None:
        """Take the events that a synced watcher covers; `revision` is the store's after them."""

    def lag(self, watcher: Watcher) -> None:
        """The watcher is not synced any more and must read on from `next_revision`."""


class WatchHub:
    """All synced watchers of a member."""

    def __init__(self, find_previous: FindPrevious) -> None:
        self._find_previous = find_previous
        # Watchers are in dictionaries because those keep their order.
        self._exact: dict[bytes, dict[Watcher, None]] = {}
        self._ranges: dict[tuple[bytes, bytes], dict[Watcher, None]] = {}

    def count(self) -> int:
        """How many watchers are up to date."""
        groups = (*self._exact.values(), *self._ranges.values())
        return sum(map(len, groups))

    def add(self, watcher: Watcher) -> None:
        """Deliver to `watcher` from now on; it has all events up to the present."""
        if watcher.end is ONE_KEY:
            self._exact.setdefault(watcher.key, {})[watcher] = None
        else:
            self._ranges.setdefault((watcher.key, watcher.end), {})[watcher] = None

    def remove(self, watcher: Watcher) -> None:
        """Stop delivering; harmless if the watcher is not synced."""
        if watcher.end is ONE_KEY:
            _discard(self._exact, watcher.key, watcher)
        else:
            _discard(self._ranges, (watcher.key, watcher.end), watcher)

    def notify(self, events: Sequence[KvEvent], revision: Revision) -> None:
        """Hand the events of whole revisions to those who watch them."""
        FIGURES.events += len(events)
        if self._exact:
            touched: dict[bytes, list[KvEvent]] = {}
            for event in events:
                if event.key in self._exact:
                    touched.setdefault(event.key, []).append(event)
            for key, covered in touched.items():
                self._deliver(self._exact[key], covered, revision)
        for (start, end), group in list(self._ranges.items()):
            covered = [e for e in events if start <= e.key and (not end or e.key < end)]
            if covered:
                self._deliver(group, covered, revision)

    def _deliver(
        self, group: dict[Watcher, None], events: Sequence[KvEvent], revision: Revision
    ) -> None:
        batch = EventBatch(events, self._find_previous)
        for watcher in list(group):
            watcher.sink.offer(watcher, batch, revision)

    def desync_all(self) -> None:
        """The state was replaced by a snapshot: everybody reads on from history."""
        groups = [*self._exact.values(), *self._ranges.values()]
        self._exact, self._ranges = {}, {}
        for group in groups:
            for watcher in group:
                watcher.sink.lag(watcher)


def _discard(groups: dict[K, dict[Watcher, None]], key: K, watcher: Watcher) -> None:
    group = groups.get(key)
    if group is not None:
        group.pop(watcher, None)
        if not group:
            del groups[key]

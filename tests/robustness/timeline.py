"""The model: every state the store ever had, from the events that its watches delivered.

A revision that no watch saw is a gap, which a validator reports; what is asked across a gap is
answered as if nothing had happened there.
"""

from __future__ import annotations

import bisect
from collections.abc import Iterable

from tests.robustness.history import Event, History, Kv, covers


class ContradictionError(Exception):
    """Two watches disagree on what happened to a key at a revision."""


class Timeline:
    """Events of all watches as one history."""

    def __init__(self, events: Iterable[Event]) -> None:
        """Raises ContradictionError."""
        by_revision: dict[int, dict[str, Event]] = {}
        for event in events:
            # prev_kv is there only for those who asked for it; validators judge it apart.
            bare = Event(event.is_delete, event.kv)
            known = by_revision.setdefault(event.revision, {}).setdefault(event.kv.key, bare)
            if known != bare:
                raise ContradictionError(f"revision {event.revision}: {known} and {bare}")
        self._by_revision = by_revision
        self._revisions = sorted(by_revision)
        self._keys: dict[str, list[Event]] = {}
        for revision in self._revisions:
            for event in by_revision[revision].values():
                self._keys.setdefault(event.kv.key, []).append(event)
        self._sorted_keys = sorted(self._keys)

    @property
    def last(self) -> int:
        """The newest revision anybody saw; 1 is an empty store."""
        return self._revisions[-1] if self._revisions else 1

    @property
    def revisions(self) -> list[int]:
        return self._revisions

    def gaps(self) -> list[int]:
        """Revisions that nobody saw, though a later one was seen."""
        return sorted(set(range(2, self.last)) - set(self._revisions))

    def events_at(self, revision: int) -> dict[str, Event]:
        return self._by_revision.get(revision, {})

    def events(self, key: str, end: str, first: int, last: int) -> list[Event]:
        """Events of a range at revisions from `first` to `last`, in order of revision."""
        lower = bisect.bisect_left(self._revisions, first)
        upper = bisect.bisect_right(self._revisions, last)
        return [
            event
            for revision in self._revisions[lower:upper]
            for event in self._by_revision[revision].values()
            if covers(key, end, event.kv.key)
        ]

    def find(self, key: str, revision: int) -> Kv | None:
        """A key as it was at a revision."""
        events = self._keys.get(key, [])
        at = bisect.bisect_right(events, revision, key=lambda event: event.revision)
        if at == 0 or events[at - 1].is_delete:
            return None
        return events[at - 1].kv

    def range(self, key: str, end: str, revision: int) -> tuple[Kv, ...]:
        """The keys of a range at a revision, in order."""
        if not end:
            found = self.find(key, revision)
            return (found,) if found else ()
        lower = bisect.bisect_left(self._sorted_keys, key)
        upper = len(self._sorted_keys)
        if end != "\0":
            upper = bisect.bisect_left(self._sorted_keys, end)
        kvs = (self.find(name, revision) for name in self._sorted_keys[lower:upper])
        return tuple(kv for kv in kvs if kv is not None)

    def history(self, key: str) -> list[Event]:
        return self._keys.get(key, [])

    @property
    def keys(self) -> list[str]:
        return self._sorted_keys


def first_told(history: History) -> dict[int, float]:
    """When anybody was first told of a revision."""
    told: dict[int, float] = {}
    for watch in history.watches:
        for response in watch.responses:
            for event in response.events:
                told[event.revision] = min(response.at, told.get(event.revision, response.at))
    return told

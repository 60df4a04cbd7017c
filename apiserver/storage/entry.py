"""One stored object in the form in which it is cached, matched and sent."""

from __future__ import annotations

from collections.abc import Callable
from enum import Enum
from typing import Any, Final

from apiserver.storage import codec
from kubraft.api.object import Object


class Entry:
    """An object at one revision; immutable, shared by all readers.

    `raw` holds the JSON bytes with metadata.resourceVersion. Decoding is left until it is needed.
    """

    __slots__ = ("_attributes", "_shared", "_variant", "key", "raw", "revision")

    def __init__(self, key: str, revision: int, raw: bytes) -> None:
        self.key: Final = key
        self.revision: Final = revision
        self.raw: Final = raw
        self._shared: Object | None = None
        self._attributes: Any = None
        self._variant: tuple[object, Entry] | None = None

    @classmethod
    def stored(cls, key: str, revision: int, value: bytes) -> Entry:
        """From the store's bytes; raises ValueError where they hold no object."""
        return cls(key, revision, codec.with_revision(value, revision))

    def decode(self) -> Object:
        """A fresh object that the caller may change."""
        return codec.decode(self.raw)

    def shared(self) -> Object:
        """The object, decoded once and kept; read-only."""
        if self._shared is None:
            self._shared = codec.decode(self.raw)
        return self._shared

    def view(self) -> Object:
        """The object to look at once; read-only. Kept no longer than the caller keeps it."""
        return self._shared or codec.decode(self.raw)

    def attributes(self, extract: Callable[[Object], Any]) -> Any:
        """What selectors look at, extracted once; always call with the same function."""
        if self._attributes is None:
            self._attributes = extract(self.view())
        return self._attributes

    def variant(self, key: object, make: Callable[[Entry], Entry]) -> Entry:
        """What `make` makes of this entry, kept for the next who asks with the same `key`."""
        if self._variant is None or self._variant[0] is not key:
            self._variant = key, make(self)
        return self._variant[1]

    def has_variant(self, key: object) -> bool:
        """Whether `variant` has its answer to that `key` at hand."""
        return self._variant is not None and self._variant[0] is key

    def deleted_at(self, revision: int) -> Entry:
        """The last state, as the event of its deletion shows it."""
        return Entry(self.key, revision, codec.at_revision(self.raw, self.revision, revision))


class EventType(Enum):
    """meta/v1 WatchEvent types."""

    ADDED = "ADDED"
    MODIFIED = "MODIFIED"
    DELETED = "DELETED"
    BOOKMARK = "BOOKMARK"


class WatchEvent:
    """One event as watchers get it; shared by all of them.

    `frames` lets each front keep its encoded form, so that it is made once.
    """

    __slots__ = ("entry", "frames", "initial_end", "revision", "type")

    def __init__(
        self, type_: EventType, entry: Entry | None, revision: int, *, initial_end: bool = False
    ) -> None:
        self.type: Final = type_
        self.entry: Final = entry
        self.revision: Final = revision
        self.initial_end: Final = initial_end
        self.frames: dict[str, bytes] = {}


class Change:
    """One change of one object, with what watchers that select need to know of the state before."""

    __slots__ = ("_variants", "event", "previous")

    def __init__(self, event: WatchEvent, previous: Entry | None) -> None:
        self.event: Final = event
        self.previous: Final = previous
        self._variants: dict[EventType, WatchEvent] = {}

    @classmethod
    def put(cls, entry: Entry, previous: Entry | None) -> Change:
        type_ = EventType.MODIFIED if previous else EventType.ADDED
        return cls(WatchEvent(type_, entry, entry.revision), previous)

    @classmethod
    def delete(cls, previous: Entry, revision: int) -> Change:
        return cls(WatchEvent(EventType.DELETED, previous.deleted_at(revision), revision), previous)

    def seen_through(self, predicate: Callable[[Entry], bool] | None) -> WatchEvent | None:
        """The event for a watcher that selects; None where it concerns it neither before nor after.

        An object that stops matching is DELETED to such a watcher, and ADDED when it begins to.
        """
        event = self.event
        if predicate is None:
            return event
        before = self.previous is not None and predicate(self.previous)
        if event.type is EventType.DELETED:
            return event if before else None
        assert event.entry is not None
        after = predicate(event.entry)
        if after:
            type_ = EventType.MODIFIED if before else EventType.ADDED
            return event if event.type is type_ else self._variant(type_, event.entry)
        if before and self.previous:
            return self._variant(EventType.DELETED, self.previous.deleted_at(event.revision))
        return None

    def _variant(self, type_: EventType, entry: Entry) -> WatchEvent:
        if type_ not in self._variants:
            self._variants[type_] = WatchEvent(type_, entry, self.event.revision)
        return self._variants[type_]

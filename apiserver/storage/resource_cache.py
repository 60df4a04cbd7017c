"""All objects of one resource in memory, in key order, with a window of their latest changes."""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import Callable, Iterator

from sortedcontainers import SortedDict

from apiserver.storage.entry import Change, Entry, WatchEvent
from apiserver.storage.errors import CompactedError
from kubraft.api.errors import ApiError, ExpiredError

# Changes that are kept for watches that resume; older ones are read from the store.
HISTORY_CHANGES_MAX = 2048
# Events that wait for a slow watcher before it is cut off.
WATCHER_EVENTS_MAX = 2048

Predicate = Callable[[Entry], bool]
# Called with an object's state before and after a change, before readers can see it.
ChangeHook = Callable[[Entry | None, Entry | None], None]


class Watcher:
    """What one watch has still to send. Filled by the feed, emptied by one task."""

    __slots__ = ("_error", "_events", "_owner", "_predicate", "_prefix", "_wake")

    def __init__(self, owner: ResourceCache, prefix: str, predicate: Predicate | None) -> None:
        self._owner = owner
        self._prefix = prefix
        self._predicate = predicate
        self._events: deque[WatchEvent] = deque()
        self._wake: asyncio.Future[None] | None = None
        self._error: ApiError | None = None

    def offer(self, change: Change) -> None:
        """Queue a change if it concerns this watch; one that is too far behind is cut off."""
        event = change.event
        assert event.entry is not None
        if self._error or not event.entry.key.startswith(self._prefix):
            return
        seen = change.seen_through(self._predicate)
        if seen is None:
            return
        if len(self._events) >= WATCHER_EVENTS_MAX:
            self._events.clear()
            self.fail(
                ExpiredError(
                    f"the watch was cut off: {WATCHER_EVENTS_MAX} events waited for its reader"
                )
            )
            return
        self._events.append(seen)
        self._notify()

    def fail(self, error: ApiError) -> None:
        """End the watch with `error`, after the events that are queued."""
        self._error = error
        self._notify()

    async def next(self, timeout_s: float | None) -> WatchEvent | None:
        """The next event; None when there is none within `timeout_s`.

        Raises:
            ApiError: the watch was ended.
        """
        while True:
            if self._events:
                return self._events.popleft()
            if self._error:
                raise self._error
            self._wake = asyncio.get_running_loop().create_future()
            try:
                async with asyncio.timeout(timeout_s):
                    await self._wake
            except TimeoutError:
                return None
            finally:
                self._wake = None

    def close(self) -> None:
        self._owner.forget(self)

    def _notify(self) -> None:
        if self._wake is not None and not self._wake.done():
            self._wake.set_result(None)


class ResourceCache:
    """The state of one resource as of the feed's revision; changed by the feed only.

    All methods but the watchers' are synchronous, so a reader sees one revision.
    """

    def __init__(self, prefix: str) -> None:
        self.prefix = prefix
        self.entries: SortedDict[str, Entry] = SortedDict()
        # Changes after this revision are all in the history.
        self.window_start = 0
        # The newest revision at which anything here changed.
        self.changed_revision = 0
        self._history: deque[Change] = deque()
        self._watchers: set[Watcher] = set()
        self._hooks: list[ChangeHook] = []

    def add_hook(self, hook: ChangeHook) -> None:
        """Call `hook` for all that is here now, then for each change in order."""
        for entry in self.entries.values():
            hook(None, entry)
        self._hooks.append(hook)

    def reset(self, entries: dict[str, Entry], revision: int) -> None:
        """Take over a list at `revision`; watches end, as changes may be missing to them."""
        for key, before in self.entries.items() if self._hooks else ():
            if key not in entries:
                self._run_hooks(before, None)
        for key, entry in entries.items() if self._hooks else ():
            before = self.entries.get(key)
            if before is None or before.revision != entry.revision:
                self._run_hooks(before, entry)
        self.entries = SortedDict(entries)
        self.window_start = self.changed_revision = revision
        self._history.clear()
        for watcher in list(self._watchers):
            watcher.fail(ExpiredError("too old resource version: the history was compacted"))

    def put(self, entry: Entry) -> None:
        """Apply a write."""
        previous = self.entries.get(entry.key)
        self._run_hooks(previous, entry)
        self.entries[entry.key] = entry
        self._record(Change.put(entry, previous))

    def delete(self, key: str, revision: int) -> None:
        """Apply a deletion; of a key that is not there, nothing."""
        previous = self.entries.get(key)
        if previous is not None:
            self._run_hooks(previous, None)
            del self.entries[key]
            self._record(Change.delete(previous, revision))

    def select(self, prefix: str, start: str = "") -> Iterator[Entry]:
        """Entries below `prefix` from key `start` (inclusive) on, in order."""
        if not start and prefix == self.prefix:
            yield from self.entries.values()
            return
        for key in self.entries.irange(start or prefix):
            if not key.startswith(prefix):
                return
            yield self.entries[key]

    def watch(self, prefix: str, *, after: int, predicate: Predicate | None = None) -> Watcher:
        """Begin a watch with the changes after revision `after`.

        Raises:
            CompactedError: the window does not reach back that far.
        """
        if after < self.window_start:
            raise CompactedError(self.window_start)
        watcher = Watcher(self, prefix, predicate)
        if after < self.changed_revision:
            for change in self._history:
                if change.event.revision > after:
                    watcher.offer(change)
        self._watchers.add(watcher)
        return watcher

    def forget(self, watcher: Watcher) -> None:
        self._watchers.discard(watcher)

    @property
    def watcher_count(self) -> int:
        return len(self._watchers)

    def close(self, error: ApiError) -> None:
        """End all watches with `error`."""
        for watcher in list(self._watchers):
            watcher.fail(error)

    def _run_hooks(self, before: Entry | None, after: Entry | None) -> None:
        for hook in self._hooks:
            hook(before, after)

    def _record(self, change: Change) -> None:
        self.changed_revision = change.event.revision
        self._history.append(change)
        if len(self._history) > HISTORY_CHANGES_MAX:
            self.window_start = self._history.popleft().event.revision
        for watcher in self._watchers:
            watcher.offer(change)

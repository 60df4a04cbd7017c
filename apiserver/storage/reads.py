"""Reading objects: the contract, and its implementation that asks the store itself.

`DirectReads` is the slow, obvious one; `CachedReads` (cached_reads.py) answers from memory.
tests/conformance/storage holds both to the same suite.
"""

from __future__ import annotations

from collections.abc import AsyncGenerator, Iterator
from dataclasses import dataclass
from typing import NamedTuple, Protocol

from apiserver.storage import continue_token
from apiserver.storage.continue_token import Continue
from apiserver.storage.entry import Change, Entry, EventType, WatchEvent
from apiserver.storage.errors import CompactedError, FutureRevisionError
from apiserver.storage.resource_cache import Predicate
from apiserver.storage.store import KeyEvent, Page, Store
from kubraft.api.errors import BadRequestError, ExpiredError, TimeoutError_

BOOKMARK_INTERVAL_S = 60.0
PAGE_KEYS_MAX = 1000

# A revision, and the events up to it: nothing up to it is still to come.
Batch = tuple[int, list[WatchEvent]]


@dataclass(frozen=True, slots=True)
class ListOptions:
    """Which part of which state a list wants.

    `resource_version` None is as fresh as a quorum read; 0 whatever is at hand; else not older
    than it, or with `exact` the state at exactly that revision.
    """

    limit: int = 0
    continue_token: str = ""
    resource_version: int | None = None
    exact: bool = False
    predicate: Predicate | None = None


class Listing(NamedTuple):
    """A page of a list. `remaining` is None where it is unknown (selectors) or nothing is left."""

    entries: list[Entry]
    revision: int
    continue_token: str = ""
    remaining: int | None = None


@dataclass(frozen=True, slots=True)
class WatchOptions:
    """Where a watch begins and what it tells.

    `after` None begins with what exists, as fresh as a quorum read unless `stale_ok`;
    `initial_end` closes it with a bookmark that says so.
    """

    after: int | None = None
    stale_ok: bool = False
    initial_end: bool = False
    bookmarks: bool = False
    predicate: Predicate | None = None
    bookmark_interval_s: float = BOOKMARK_INTERVAL_S


class Reads(Protocol):
    """Reads of one resource's objects. `prefix` is the resource's key prefix.

    `within` narrows it (a namespace, one name) and begins with `prefix`.
    """

    async def get(
        self, prefix: str, key: str, *, resource_version: int | None = None
    ) -> Entry | None:
        """One object; None is as fresh as a quorum read, 0 whatever is at hand."""
        ...

    async def list(self, prefix: str, within: str, options: ListOptions) -> Listing:
        """A page of objects in key order, all as of one revision.

        Raises:
            ExpiredError: the revision of the continue token or of `exact` was compacted.
            TimeoutError_: the wanted revision has not happened.
        """
        ...

    def watch(self, prefix: str, within: str, options: WatchOptions) -> AsyncGenerator[WatchEvent]:
        """Changes in order, each once, until the caller closes it.

        Raises:
            ExpiredError: `after` was compacted, or the reader was too slow: list again.
            ServiceUnavailableError: the store is lost, or the server stops; resume elsewhere.
        """
        ...


class DirectReads:
    """Reads that ask the store every time."""

    def __init__(self, store: Store) -> None:
        self._store = store

    async def get(
        self, prefix: str, key: str, *, resource_version: int | None = None
    ) -> Entry | None:
        del prefix, resource_version  # always as fresh as can be
        kv = await self._store.find(key)
        return Entry.stored(kv.key, kv.mod_revision, kv.value) if kv else None

    async def list(self, prefix: str, within: str, options: ListOptions) -> Listing:
        revision, start = start_of(prefix, within, options)
        first = start
        entries: list[Entry] = []
        while True:
            try:
                page = await self._page(within, start, revision, options.limit)
            except CompactedError as error:
                raise expired(revision, first) from error
            revision = page.revision
            for index, kv in enumerate(page.items):
                entry = Entry.stored(kv.key, kv.mod_revision, kv.value)
                if options.predicate is None or options.predicate(entry):
                    entries.append(entry)
                if options.limit and len(entries) == options.limit:
                    left = page.left - index - 1
                    return cut_page(entries, revision, left, options)
            if not page.more or not page.items:
                return Listing(entries, revision)
            start = page.items[-1].key + "\0"

    async def _page(self, within: str, start: str, revision: int, limit: int) -> Page:
        try:
            return await self._store.range(
                within, start=start, limit=limit or PAGE_KEYS_MAX, revision=revision
            )
        except FutureRevisionError as error:
            raise TimeoutError_(f"{error}", retry_after_s=1) from error

    async def watch(
        self, prefix: str, within: str, options: WatchOptions
    ) -> AsyncGenerator[WatchEvent]:
        after = options.after
        if after is None:
            listing = await self.list(prefix, within, ListOptions(predicate=options.predicate))
            for event in initial_events(listing, options):
                yield event
            after = listing.revision
        async for revision, events in self.batches(within, after, options.predicate):
            for event in events:
                yield event
            if not events and options.bookmarks:
                yield WatchEvent(EventType.BOOKMARK, None, revision)

    async def batches(
        self, within: str, after: int, predicate: Predicate | None
    ) -> AsyncGenerator[Batch]:
        """The store's watch: nothing up to each batch's revision is still to come."""
        try:
            async for batch in self._store.watch(within, after=after, previous=True):
                changes = map(_change, batch.events)
                seen = [event for c in changes if (event := c.seen_through(predicate))]
                yield batch.revision, seen
        except CompactedError as error:
            raise expired_watch(after, error) from error


def start_of(prefix: str, within: str, options: ListOptions) -> tuple[int, str]:
    """The revision (0: now) and the first key (inclusive; empty: the first) of a list."""
    if options.continue_token:
        if options.resource_version:
            raise BadRequestError("specifying resource version is not allowed when using continue")
        token = continue_token.decode(options.continue_token, within or prefix)
        return max(token.revision, 0), token.after + "\0"
    return (options.resource_version or 0) if options.exact else 0, ""


def cut_page(entries: list[Entry], revision: int, left: int, options: ListOptions) -> Listing:
    """A full page, with a token for the next where `left` keys may follow."""
    if not left:
        return Listing(entries, revision)
    token = continue_token.encode(Continue(revision, entries[-1].key))
    return Listing(entries, revision, token, None if options.predicate else left)


def initial_events(listing: Listing, options: WatchOptions) -> Iterator[WatchEvent]:
    """What a watch begins with: all that exists, and the bookmark that ends it where asked for."""
    for entry in listing.entries:
        yield WatchEvent(EventType.ADDED, entry, entry.revision)
    if options.initial_end:
        yield WatchEvent(EventType.BOOKMARK, None, listing.revision, initial_end=True)


def expired(revision: int, start: str) -> ExpiredError:
    """A list's revision is gone; one that began at `start` may go on at another."""
    if start:
        return ExpiredError(
            "The provided continue parameter is too old to display a consistent list result. "
            "You can start a new list without the continue parameter, or use the continue token "
            "in this response to retrieve the remainder of the results. Continuing with the "
            "provided token results in an inconsistent list - objects that were created, modified, "
            "or deleted between the time the first chunk was returned and now may show up in the "
            "list.",
            continue_token=continue_token.encode(Continue(-1, start.removesuffix("\0"))),
        )
    return ExpiredError(f"The resourceVersion for the provided list is too old: {revision}")


def expired_watch(after: int, error: CompactedError) -> ExpiredError:
    """A watch cannot begin where it was asked to."""
    oldest = f" ({error.compact_revision})" if error.compact_revision else ""
    return ExpiredError(f"too old resource version: {after}{oldest}")


def _change(event: KeyEvent) -> Change:
    previous = event.previous
    before = Entry.stored(previous.key, previous.mod_revision, previous.value) if previous else None
    if event.deleted:
        if before is None:
            raise CompactedError
        return Change.delete(before, event.revision)
    if before is None and not event.created:
        raise CompactedError
    return Change.put(Entry.stored(event.key, event.revision, event.value), before)

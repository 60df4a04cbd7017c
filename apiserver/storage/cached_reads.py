"""Reading objects from the watch cache, and from the store where the cache cannot prove itself."""

from __future__ import annotations

import asyncio
import itertools
from collections.abc import AsyncGenerator, AsyncIterator

from apiserver.storage.entry import Entry, EventType, WatchEvent
from apiserver.storage.reads import (
    Batch,
    DirectReads,
    Listing,
    ListOptions,
    WatchOptions,
    cut_page,
    initial_events,
    start_of,
)
from apiserver.storage.resource_cache import ResourceCache
from apiserver.storage.store import Store
from apiserver.storage.watch_cache import CacheBehindError, WatchCache
from kubraft.api.errors import TimeoutError_

TOO_LARGE_WAIT_S = 3.0
PROGRESS_INTERVAL_S = 0.5


class CachedReads:
    """Implements apiserver.storage.reads.Reads."""

    def __init__(self, store: Store, cache: WatchCache) -> None:
        self._store = store
        self._direct = DirectReads(store)
        self._cache = cache

    async def get(
        self, prefix: str, key: str, *, resource_version: int | None = None
    ) -> Entry | None:
        try:
            await self._ready(resource_version)
        except CacheBehindError:
            return await self._direct.get(prefix, key)
        entry: Entry | None = self._cache.resources[prefix].entries.get(key)
        return entry

    async def list(self, prefix: str, within: str, options: ListOptions) -> Listing:
        resource = self._cache.resources[prefix]
        revision, start = start_of(prefix, within, options)
        if revision and not self._holds(resource, revision):
            return await self._direct.list(prefix, within, options)
        if not revision:
            try:
                await self._ready(options.resource_version)
            except CacheBehindError:
                return await self._direct.list(prefix, within, options)
            revision = self._cache.revision
        return _list(resource, within, start, revision, options)

    async def watch(
        self, prefix: str, within: str, options: WatchOptions
    ) -> AsyncGenerator[WatchEvent]:
        resource, after = self._cache.resources[prefix], options.after
        if after is None:
            listing = await self._initial(resource, within, options)
            after = listing.revision
            watcher = resource.watch(within, after=after, predicate=options.predicate)
            initial = initial_events(listing, options)
        else:
            await self._ready(after)
            if after < resource.window_start:
                older = self._catch_up(resource, within, after, options)
                async for after, events in older:  # noqa: B007 - where the window takes over
                    for event in events:
                        yield event
            watcher = resource.watch(within, after=after, predicate=options.predicate)
            initial = iter(())
        try:
            for event in initial:
                yield event
            while True:
                interval_s = options.bookmark_interval_s if options.bookmarks else None
                if (seen := await watcher.next(interval_s)) is not None:
                    yield seen
                elif self._cache.revision > after:
                    after = self._cache.revision
                    yield WatchEvent(EventType.BOOKMARK, None, after)
        finally:
            watcher.close()

    async def _initial(
        self, resource: ResourceCache, within: str, options: WatchOptions
    ) -> Listing:
        try:
            await self._ready(0 if options.stale_ok else None)
        except CacheBehindError:
            await self._cache.reach(0, timeout_s=TOO_LARGE_WAIT_S)
        everything = ListOptions(predicate=options.predicate)
        return _list(resource, within, "", self._cache.revision, everything)

    async def _catch_up(
        self, resource: ResourceCache, within: str, after: int, options: WatchOptions
    ) -> AsyncIterator[Batch]:
        """Events from the store's history, until the cache's window can take over.

        Where the store cannot say that nothing is left, that is with the next event.
        """
        asking = asyncio.create_task(self._ask_progress(), name="watch-catch-up")
        stream = self._direct.batches(within, after, options.predicate)
        try:
            async for revision, events in stream:
                yield revision, events
                if revision >= resource.window_start:
                    return
        finally:
            asking.cancel()
            await stream.aclose()

    async def _ask_progress(self) -> None:
        while await self._store.progress():  # noqa: ASYNC110 - asks a peer, waits for nothing here
            await asyncio.sleep(PROGRESS_INTERVAL_S)

    async def _ready(self, resource_version: int | None) -> None:
        """Wait until the cache may answer a read of that freshness."""
        if resource_version is None:
            await self._cache.fresh()
        elif resource_version == 0:
            await self._cache.wait_synced()
        else:
            try:
                await self._cache.reach(resource_version, timeout_s=TOO_LARGE_WAIT_S)
            except CacheBehindError as error:
                raise TimeoutError_(
                    f"Too large resource version: {resource_version}, "
                    f"current: {self._cache.revision}",
                    retry_after_s=1,
                ) from error

    def _holds(self, resource: ResourceCache, revision: int) -> bool:
        """Whether the cache's state is that of `revision`."""
        return resource.changed_revision <= revision <= self._cache.revision


def _list(
    resource: ResourceCache, within: str, start: str, revision: int, options: ListOptions
) -> Listing:
    found = resource.select(within, start)
    if options.predicate is not None:
        found = filter(options.predicate, found)
    if not options.limit:
        return Listing(list(found), revision)
    entries = list(itertools.islice(found, options.limit))
    left = sum(1 for _ in found)
    return cut_page(entries, revision, left, options) if left else Listing(entries, revision)

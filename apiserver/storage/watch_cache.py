"""One store watch feeds one cache a resource; reads are proven fresh in rounds.

The feed lists everything once and then applies the watch. When the watch breaks it goes on after
the last revision applied, on another member; when that was compacted away it lists again.
"""

from __future__ import annotations

import asyncio
import heapq
import itertools
import random
from collections import defaultdict
from collections.abc import Iterable

from apiserver.storage.entry import Entry
from apiserver.storage.errors import CompactedError, StorageError
from apiserver.storage.resource_cache import ResourceCache
from apiserver.storage.store import KeyEvent, Store
from kubraft.api.errors import ApiError
from kubraft.log import get_logger

ROOT = "/registry/"
# The watch is on all keys, so that every revision arrives by itself, also those of writes that do
# not concern us: freshness is then proven without asking for progress.
EVERYTHING = ""
LIST_PAGE_KEYS = 1000
RETRY_S = 0.1
# A revision arrives by itself this soon, unless the watch lags or has just been cut.
ARRIVAL_WAIT_S = 0.02
FRESH_TIMEOUT_S = 2.0

_log = get_logger("apiserver.storage")


class CacheBehindError(Exception):
    """The cache did not reach the wanted revision in time; the store itself must be asked."""


class WatchCache:
    """The caches of all resources. `run` must be running for anything to move."""

    def __init__(self, store: Store, prefixes: Iterable[str]) -> None:
        """`prefixes` are key prefixes below /registry/ that end with a slash."""
        self._store = store
        self.resources = _Caches({prefix: ResourceCache(prefix) for prefix in prefixes})
        self.revision = 0
        self._synced = asyncio.Event()
        self._waiters: list[tuple[int, int, asyncio.Future[None]]] = []
        self._tie = itertools.count()
        self._next_round: asyncio.Future[int] | None = None
        self._rounds: asyncio.Task[None] | None = None
        self._lost = False

    @property
    def synced(self) -> bool:
        return self._synced.is_set()

    @property
    def waiting(self) -> int:
        """How many readers wait for a revision."""
        return len(self._waiters)

    async def wait_synced(self) -> None:
        await self._synced.wait()

    async def run(self) -> None:
        """Keep the caches in step with the store until cancelled."""
        try:
            while True:
                try:
                    await self._follow()
                except CompactedError:
                    _log.warning("watch_cache_lists_again", compacted_after=self.revision)
                    self._synced.clear()
                except (ApiError, StorageError) as error:
                    if not self._lost:  # once an outage; there are many attempts
                        _log.warning("watch_cache_lost_store", error=str(error))
                    self._lost = True
                await asyncio.sleep(RETRY_S * (1 + random.random()))  # noqa: S311 - jitter
        finally:
            if self._rounds is not None:
                self._rounds.cancel()

    def close(self, error: ApiError) -> None:
        """End all watches with `error`."""
        for resource in self.resources.values():
            resource.close(error)

    async def fresh(self) -> int:
        """Wait until every write acknowledged before this call is in the caches.

        Returns:
            The revision that the caches have reached.

        Raises:
            CacheBehindError: not in time; read from the store instead.
            ServiceUnavailableError: the store has no quorum.
        """
        try:
            await self.reach(await self._store_revision(), timeout_s=FRESH_TIMEOUT_S)
        except CacheBehindError:
            self._store.suspect()
            raise
        return self.revision

    async def reach(self, revision: int, *, timeout_s: float) -> None:
        """Wait until the caches hold everything up to `revision`.

        A client may name any revision: that it does not come says nothing about the store.

        Raises:
            CacheBehindError: not within `timeout_s`.
        """
        if self.revision >= revision and self.synced:
            return
        if await self._arrived(revision, ARRIVAL_WAIT_S):
            return
        await self._store.progress()
        if not await self._arrived(revision, timeout_s):
            raise CacheBehindError

    async def _arrived(self, revision: int, timeout_s: float) -> bool:
        waiter = asyncio.get_running_loop().create_future()
        waiting = (revision, next(self._tie), waiter)
        heapq.heappush(self._waiters, waiting)
        try:
            async with asyncio.timeout(timeout_s):
                await waiter
        except TimeoutError:
            return False
        finally:
            # Nothing may be left of one whose revision never comes; one that was cancelled as it
            # came is not there any more.
            if waiter.cancelled() and waiting in self._waiters:
                self._waiters.remove(waiting)
                heapq.heapify(self._waiters)
        return True

    async def _store_revision(self) -> int:
        """The store's revision, asked after this call began; callers share rounds."""
        if self._next_round is None:
            self._next_round = asyncio.get_running_loop().create_future()
            # Nobody may be left to hear of a failure.
            self._next_round.add_done_callback(lambda f: f.cancelled() or f.exception())
            if self._rounds is None or self._rounds.done():
                self._rounds = asyncio.create_task(self._run_rounds(), name="revision-rounds")
        return await asyncio.shield(self._next_round)

    async def _run_rounds(self) -> None:
        while (joined := self._take_round()) is not None:
            try:
                joined.set_result(await self._store.revision())
            except asyncio.CancelledError:
                joined.cancel()
                raise
            except Exception as error:  # noqa: BLE001 - belongs to those who wait
                joined.set_exception(error)
                # Who joined meanwhile would wait as long again to hear the same.
                if (later := self._take_round()) is not None:
                    later.set_exception(error)

    def _take_round(self) -> asyncio.Future[int] | None:
        joined, self._next_round = self._next_round, None
        return joined

    async def _follow(self) -> None:
        if not self.synced:
            await self._list()
        async for batch in self._store.watch(EVERYTHING, after=self.revision):
            for event in batch.events:
                self._apply(event)
            self._advance(batch.revision)
            if self._lost:
                self._lost = False
                _log.info("watch_cache_follows_store", revision=self.revision)

    async def _list(self) -> None:
        found: dict[str, dict[str, Entry]] = defaultdict(dict)
        start, revision, more = ROOT, 0, True
        while more:
            page = await self._store.range(
                ROOT, start=start, limit=LIST_PAGE_KEYS, revision=revision
            )
            for kv in page.items:
                prefix = self._prefix_of(kv.key)
                if prefix and (entry := _entry(kv.key, kv.mod_revision, kv.value)):
                    found[prefix][kv.key] = entry
            revision, more = page.revision, page.more
            if page.items:
                start = page.items[-1].key + "\0"
        self.resources.listed_revision = revision
        for prefix in (*self.resources, *(found.keys() - self.resources.keys())):
            self.resources[prefix].reset(found[prefix], revision)
        self.revision = revision
        self._synced.set()
        self._advance(revision)

    def _apply(self, event: KeyEvent) -> None:
        prefix = self._prefix_of(event.key)
        if prefix is None:
            return
        resource = self.resources[prefix]
        if event.deleted:
            resource.delete(event.key, event.revision)
        elif entry := _entry(event.key, event.revision, event.value):
            resource.put(entry)

    def _advance(self, revision: int) -> None:
        self.revision = max(self.revision, revision)
        while self._waiters and self._waiters[0][0] <= self.revision:
            waiter = heapq.heappop(self._waiters)[2]
            if not waiter.done():
                waiter.set_result(None)

    def _prefix_of(self, key: str) -> str | None:
        """The resource that `key` belongs to: one segment after /registry/, or two."""
        end = key.find("/", len(ROOT)) + 1
        prefix = key[:end]
        if prefix in self.resources:
            return prefix
        prefix = key[: key.find("/", end) + 1]
        if not end or len(prefix) <= end:
            return None
        return prefix if prefix in self.resources or _is_of_group(prefix) else None


class _Caches(dict[str, ResourceCache]):
    """Caches by prefix. One that nobody has asked for yet has had no keys since the last list."""

    listed_revision = 0

    def __missing__(self, prefix: str) -> ResourceCache:
        made = self[prefix] = ResourceCache(prefix)
        made.window_start = made.changed_revision = self.listed_revision
        return made


def _is_of_group(prefix: str) -> bool:
    """Whether custom resources lie below `prefix`: those of a group, whose name has a dot."""
    return "." in prefix[len(ROOT) : prefix.find("/", len(ROOT))]


def _entry(key: str, revision: int, value: bytes) -> Entry | None:
    try:
        key.encode()
        return Entry.stored(key, revision, value)
    except ValueError as error:
        _log.error("stored_value_is_no_object", key=ascii(key), error=str(error))
        return None

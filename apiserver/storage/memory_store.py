"""A store in memory, for tests of the layers above; it obeys the same contract as the quorum."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Mapping, Sequence

from sortedcontainers import SortedDict

from apiserver.storage.errors import (
    ClaimTakenError,
    CompactedError,
    FutureRevisionError,
    KeyExistsError,
    RevisionMismatchError,
)
from apiserver.storage.store import NO_CLAIMS, KeyEvent, KeyValue, Page, WatchBatch
from kubraft.api.errors import ServiceUnavailableError


class MemoryStore:
    """Keeps every revision since the last compaction as a list of events."""

    def __init__(self) -> None:
        self._keys: SortedDict[str, KeyValue] = SortedDict()
        self._log: list[KeyEvent] = []
        self._revision = 1
        self._compacted = 0
        self._changed = asyncio.Condition()
        self._progress_asked = 0
        self._closed = False
        self.unavailable = ""  # a message here makes every call fail with it

    async def create(
        self,
        key: str,
        value: bytes,
        *,
        claims: Mapping[str, bytes] = NO_CLAIMS,
        ttl_s: int = 0,
    ) -> int:
        del ttl_s  # no test lives that long
        self._check()
        if key in self._keys:
            raise KeyExistsError(key)
        self._check_claims(claims)
        return await self._commit({key: value, **claims}, ())

    async def replace(
        self,
        key: str,
        value: bytes,
        *,
        mod_revision: int,
        claims: Mapping[str, bytes] = NO_CLAIMS,
        releases: Sequence[str] = (),
    ) -> int:
        self._check()
        self._match(key, mod_revision)
        self._check_claims(claims)
        return await self._commit({key: value, **claims}, releases)

    async def remove(self, key: str, *, mod_revision: int, releases: Sequence[str] = ()) -> int:
        self._check()
        self._match(key, mod_revision)
        return await self._commit({}, (key, *releases))

    async def find(self, key: str) -> KeyValue | None:
        self._check()
        found: KeyValue | None = self._keys.get(key)
        return found

    async def range(
        self, prefix: str, *, start: str = "", limit: int = 0, revision: int = 0
    ) -> Page:
        self._check()
        if revision and revision < self._compacted:
            raise CompactedError(self._compacted)
        if revision > self._revision:
            raise FutureRevisionError(revision, self._revision)
        keys = self._at(revision or self._revision)
        found = [keys[k] for k in keys.irange(start or prefix) if k.startswith(prefix)]
        items = found[:limit] if limit else found
        return Page(items, revision or self._revision, len(items) < len(found), len(found))

    async def revision(self) -> int:
        self._check()
        return self._revision

    async def watch(
        self, prefix: str, *, after: int, previous: bool = False
    ) -> AsyncIterator[WatchBatch]:
        self._check()
        if after + 1 < self._compacted:
            raise CompactedError(self._compacted)
        seen, answered = after, self._progress_asked
        while True:
            async with self._changed:
                await self._changed.wait_for(
                    lambda seen=seen, answered=answered: (  # type: ignore[misc]
                        self._revision > seen or self._progress_asked > answered or self._closed
                    )
                )
            self._check()
            events = [e for e in self._log if e.revision > seen and e.key.startswith(prefix)]
            if seen + 1 < self._compacted:
                raise CompactedError(self._compacted)
            seen = max(seen, self._revision)
            for revision in sorted({e.revision for e in events}):
                yield WatchBatch(
                    revision,
                    [
                        e if previous else e._replace(previous=None)
                        for e in events
                        if e.revision == revision
                    ],
                )
            if self._progress_asked > answered:
                answered = self._progress_asked
                yield WatchBatch(seen, ())

    async def progress(self) -> bool:
        self._check()
        async with self._changed:
            self._progress_asked += 1
            self._changed.notify_all()
        return True

    def suspect(self) -> None:
        """There is no other member."""

    def outdated(self, key: str) -> bool:
        del key
        return False

    async def compact(self, revision: int) -> None:
        self._check()
        self._compacted = max(self._compacted, min(revision, self._revision))

    async def lose(self, message: str) -> None:
        """Fail every call and every watch with `message` from now on."""
        self.unavailable = message
        async with self._changed:
            self._progress_asked += 1
            self._changed.notify_all()

    async def close(self) -> None:
        async with self._changed:
            self._closed = True
            self._changed.notify_all()

    def _check(self) -> None:
        if self.unavailable or self._closed:
            raise ServiceUnavailableError(self.unavailable or "the store is closed")

    def _match(self, key: str, mod_revision: int) -> None:
        current = self._keys.get(key)
        if current is None or current.mod_revision != mod_revision:
            raise RevisionMismatchError(key, current)

    def _check_claims(self, claims: Mapping[str, bytes]) -> None:
        for claim in claims:
            if claim in self._keys:
                raise ClaimTakenError(claim)

    async def _commit(self, puts: Mapping[str, bytes], deletes: Sequence[str]) -> int:
        present = [key for key in deletes if key in self._keys]
        self._revision += 1
        for key, value in puts.items():
            previous = self._keys.get(key)
            created = previous is None
            self._log.append(KeyEvent(key, self._revision, created, False, value, previous))
            self._keys[key] = KeyValue(key, value, self._revision)
        for key in present:
            previous = self._keys.pop(key)
            self._log.append(KeyEvent(key, self._revision, False, True, b"", previous))
        async with self._changed:
            self._changed.notify_all()
        return self._revision

    def _at(self, revision: int) -> SortedDict[str, KeyValue]:
        if revision == self._revision:
            return self._keys
        state: SortedDict[str, KeyValue] = SortedDict()
        for event in self._log:
            if event.revision > revision:
                break
            if event.deleted:
                state.pop(event.key, None)
            else:
                state[event.key] = KeyValue(event.key, event.value, event.revision)
        return state

"""A store whose values are secret at rest: sealed on their way down, opened on their way up.

Everything above works with plain bytes: the watch cache opens each value once. A value that no key
opens does not stop the server: reads of it, and of lists that it belongs to, are refused
(`KnownReads`), all else is served.

Source: Kubernetes documentation, "Encrypting Confidential Data at Rest".
"""

from __future__ import annotations

from collections.abc import AsyncGenerator, AsyncIterator, Mapping, Sequence
from typing import Final

from apiserver.storage.ciphers import Ring, UndecipherableError
from apiserver.storage.encryption_config import Encryption
from apiserver.storage.entry import Entry, WatchEvent
from apiserver.storage.errors import CompactedError, RevisionMismatchError
from apiserver.storage.reads import Listing, ListOptions, Reads, WatchOptions
from apiserver.storage.store import NO_CLAIMS, KeyEvent, KeyValue, Page, Store, WatchBatch
from kubraft.api.errors import InternalError
from kubraft.log import get_logger

_ROOT: Final = "/registry/"

_log = get_logger("apiserver.storage")


class EncryptedStore:
    """Implements apiserver.storage.store.Store over another one; see there for the guarantees."""

    def __init__(
        self, store: Store, encryption: Encryption, folders: Mapping[str, tuple[str, str]]
    ) -> None:
        """`folders` tells group and plural of a key prefix, `/registry/secrets/` and the like.

        What lies below /registry/GROUP/PLURAL/ needs no entry.
        """
        self._store = store
        self._folders = dict(folders)
        self._encryption = encryption
        self._rings: dict[str, Ring | None] = {}
        self._written_by: dict[str, bytes] = {}
        self._generation = 0
        self.unreadable: dict[str, str] = {}

    def use(self, encryption: Encryption) -> None:
        """Take over another configuration; what could not be read is read again."""
        self._encryption = encryption
        self._rings.clear()
        if self.unreadable:
            self.unreadable.clear()
            self._generation += 1

    async def create(
        self,
        key: str,
        value: bytes,
        *,
        claims: Mapping[str, bytes] = NO_CLAIMS,
        ttl_s: int = 0,
    ) -> int:
        return await self._store.create(key, self._seal(key, value), claims=claims, ttl_s=ttl_s)

    async def replace(
        self,
        key: str,
        value: bytes,
        *,
        mod_revision: int,
        claims: Mapping[str, bytes] = NO_CLAIMS,
        releases: Sequence[str] = (),
    ) -> int:
        sealed = self._seal(key, value)
        try:
            return await self._store.replace(
                key, sealed, mod_revision=mod_revision, claims=claims, releases=releases
            )
        except RevisionMismatchError as error:
            raise self._opened_mismatch(error) from error

    async def remove(self, key: str, *, mod_revision: int, releases: Sequence[str] = ()) -> int:
        try:
            return await self._store.remove(key, mod_revision=mod_revision, releases=releases)
        except RevisionMismatchError as error:
            raise self._opened_mismatch(error) from error

    async def find(self, key: str) -> KeyValue | None:
        """Raises InternalError where there is a value that no key opens."""
        found = await self._store.find(key)
        return None if found is None else self._opened(found)

    async def range(
        self, prefix: str, *, start: str = "", limit: int = 0, revision: int = 0
    ) -> Page:
        page = await self._store.range(prefix, start=start, limit=limit, revision=revision)
        return page._replace(items=[self._tried(item) for item in page.items])

    async def revision(self) -> int:
        return await self._store.revision()

    async def watch(
        self, prefix: str, *, after: int, previous: bool = False
    ) -> AsyncIterator[WatchBatch]:
        generation = self._generation
        async for batch in self._store.watch(prefix, after=after, previous=previous):
            if generation != self._generation:
                raise CompactedError  # to be listed again: there are other keys now
            yield batch._replace(events=self._opened_events(batch.events))

    async def progress(self) -> bool:
        return await self._store.progress()

    def suspect(self) -> None:
        self._store.suspect()

    def outdated(self, key: str) -> bool:
        ring = self._ring(key)
        return ring is not None and self._written_by.get(key, ring.identity) != ring.identity

    async def compact(self, revision: int) -> None:
        await self._store.compact(revision)

    async def close(self) -> None:
        await self._store.close()

    def _ring(self, key: str) -> Ring | None:
        end = key.find("/", len(_ROOT)) + 1
        folder = key[:end]
        if end and folder not in self._folders:
            folder = key[: key.find("/", end) + 1]
        if folder not in self._rings:
            named = self._named(folder)
            ring = self._encryption.find(*named) if named else None
            if named is None:
                return None  # any key may come along; only names of resources are kept
            self._rings[folder] = ring
        return self._rings[folder]

    def _named(self, folder: str) -> tuple[str, str] | None:
        """Group and plural of what lies in a folder."""
        if folder in self._folders:
            return self._folders[folder]
        group, _, plural = folder.removeprefix(_ROOT).rstrip("/").partition("/")
        return (group, plural) if "." in group and plural else None

    def _seal(self, key: str, value: bytes) -> bytes:
        ring = self._ring(key)
        return value if ring is None else ring.seal(value, _context(key))

    def _opened(self, kv: KeyValue) -> KeyValue:
        ring = self._ring(kv.key)
        if ring is None:
            return kv
        try:
            opened = ring.open(kv.value, _context(kv.key))
        except UndecipherableError as error:
            if kv.key not in self.unreadable:
                _log.error("stored_value_cannot_be_opened", key=ascii(kv.key), error=str(error))
            self.unreadable[kv.key] = str(error)
            raise unreadable_error(kv.key, str(error)) from error
        self.unreadable.pop(kv.key, None)
        self._written_by[kv.key] = opened.identity
        return KeyValue(kv.key, opened.plain, kv.mod_revision)

    def _tried(self, kv: KeyValue) -> KeyValue:
        """Opened, or as it is: then it is no object to those above, and known as unreadable."""
        try:
            return self._opened(kv)
        except InternalError:
            return kv

    def _opened_events(self, events: Sequence[KeyEvent]) -> Sequence[KeyEvent]:
        return [
            event if self._ring(event.key) is None else self._opened_event(event)
            for event in events
        ]

    def _opened_event(self, event: KeyEvent) -> KeyEvent:
        before = event.previous
        if before is not None:
            try:
                before = self._opened(before)
            except InternalError:
                before = None
        if event.deleted:
            self.unreadable.pop(event.key, None)
            self._written_by.pop(event.key, None)
            return event._replace(previous=before)
        kv = self._tried(KeyValue(event.key, event.value, event.revision))
        return event._replace(value=kv.value, previous=before)

    def _opened_mismatch(self, error: RevisionMismatchError) -> RevisionMismatchError:
        current = error.current
        return RevisionMismatchError(error.key, current and self._opened(current))


class KnownReads:
    """Implements apiserver.storage.reads.Reads over another one, and hides nothing.

    What cannot be opened is not in the caches: without this it would look as if it was not there.
    """

    def __init__(self, reads: Reads, unreadable: Mapping[str, str]) -> None:
        self._reads = reads
        self._unreadable = unreadable

    async def get(
        self, prefix: str, key: str, *, resource_version: int | None = None
    ) -> Entry | None:
        entry = await self._reads.get(prefix, key, resource_version=resource_version)
        if key in self._unreadable:
            raise unreadable_error(key, self._unreadable[key])
        return entry

    async def list(self, prefix: str, within: str, options: ListOptions) -> Listing:
        listing = await self._reads.list(prefix, within, options)
        for key, reason in self._unreadable.items():
            if key.startswith(within):
                raise unreadable_error(key, reason)
        return listing

    def watch(self, prefix: str, within: str, options: WatchOptions) -> AsyncGenerator[WatchEvent]:
        return self._reads.watch(prefix, within, options)


def unreadable_error(key: str, reason: str) -> InternalError:
    """What a client hears of a value that no key opens."""
    return InternalError(f'Internal error occurred: unable to transform key "{key}": {reason}')


def _context(key: str) -> bytes:
    return key.encode(errors="surrogateescape")

"""The contract with the store: keys, bytes and revisions, and nothing of Kubernetes.

Implemented by `EtcdStore` (a Kubraft quorum or a real etcd) and `MemoryStore` (tests of what stands
above). tests/conformance/storage holds both to the same suite.
"""

from __future__ import annotations

from collections.abc import AsyncIterator, Mapping, Sequence
from dataclasses import dataclass
from typing import NamedTuple, Protocol

NO_CLAIMS: Mapping[str, bytes] = {}


@dataclass(frozen=True, slots=True)
class KeyValue:
    """One key as a revision has it."""

    key: str
    value: bytes
    mod_revision: int


class Page(NamedTuple):
    """Some keys of a range, in order, all as of `revision`.

    `left` is the number of keys from the start of this page to the end of the range.
    """

    items: list[KeyValue]
    revision: int
    more: bool
    left: int


class KeyEvent(NamedTuple):
    """One change of one key. `value` is empty for a delete; `previous` is what was there before.

    `previous` is None on creation, and where history no longer has it.
    """

    key: str
    revision: int
    created: bool
    deleted: bool
    value: bytes
    previous: KeyValue | None


class WatchBatch(NamedTuple):
    """Changes in order; all events of a revision are in one batch.

    Without events it says that nothing up to `revision` (inclusive) is still to come.
    """

    revision: int
    events: Sequence[KeyEvent]


class Store(Protocol):
    """A strictly serializable, watchable map of keys to bytes.

    Every method may raise ServiceUnavailableError, whose message passes on the store's own. A write
    that raised it may still happen; every other error means that nothing was written. A write whose
    first answer got lost is resolved by reading back, so that its caller sees one outcome.
    """

    async def create(
        self,
        key: str,
        value: bytes,
        *,
        claims: Mapping[str, bytes] = NO_CLAIMS,
        ttl_s: int = 0,
    ) -> int:
        """Write a key that must not exist, and every claim, none of which may exist; atomic.

        Args:
            ttl_s: let the key vanish after so many seconds, or up to a minute later; 0: never.

        Returns:
            The revision of the write.

        Raises:
            KeyExistsError: the key is there.
            ClaimTakenError: a claim is there.
        """
        ...

    async def replace(
        self,
        key: str,
        value: bytes,
        *,
        mod_revision: int,
        claims: Mapping[str, bytes] = NO_CLAIMS,
        releases: Sequence[str] = (),
    ) -> int:
        """Write a key that must still be at `mod_revision`, claim and release; atomic.

        Raises:
            RevisionMismatchError: the key has moved on, or is gone.
            ClaimTakenError: a claim is there.
        """
        ...

    async def remove(self, key: str, *, mod_revision: int, releases: Sequence[str] = ()) -> int:
        """Delete a key that must still be at `mod_revision`, and every release; atomic.

        Raises:
            RevisionMismatchError: the key has moved on, or is gone.
        """
        ...

    async def find(self, key: str) -> KeyValue | None:
        """A linearizable read of one key."""
        ...

    async def range(
        self, prefix: str, *, start: str = "", limit: int = 0, revision: int = 0
    ) -> Page:
        """Keys below `prefix` from `start` (inclusive) on, as of `revision` (0: now, linearizable).

        Raises:
            CompactedError: `revision` is no longer kept.
            FutureRevisionError: `revision` has not happened.
        """
        ...

    async def revision(self) -> int:
        """The newest committed revision; writes acknowledged before the call are at or below."""
        ...

    def watch(
        self, prefix: str, *, after: int, previous: bool = False
    ) -> AsyncIterator[WatchBatch]:
        """Every change below `prefix` after revision `after`, in order, each once; never ends.

        An empty `prefix` means all keys.

        Args:
            after: exclusive.
            previous: fill KeyEvent.previous (where history still has it).

        Raises:
            CompactedError: changes after `after` are no longer kept.
            ServiceUnavailableError: the stream broke; start again after the last revision seen.
        """
        ...

    async def progress(self) -> bool:
        """Ask that open watches report how far they are; the answer comes as an empty batch.

        Returns:
            False where this store's reports may overtake events, so that none was asked for.
        """
        ...

    def suspect(self) -> None:
        """Leave the member that serves now for another: it seems not to move; its watches end."""
        ...

    def outdated(self, key: str) -> bool:
        """Whether the value, as last read, is to be written again though it says the same."""
        ...

    async def compact(self, revision: int) -> None:
        """Drop history below `revision`; a revision that is already compacted is no error."""
        ...

    async def close(self) -> None:
        """Give up connections; open watches end."""
        ...

"""What can go wrong with a key. The registry makes Kubernetes errors of it, which name objects.

A store that does not answer is not among them: that is kubraft.api.errors.ServiceUnavailableError
wherever it happens.
"""

from __future__ import annotations

from apiserver.storage.store import KeyValue


class StorageError(Exception):
    """A storage operation was refused, and nothing was written."""


class KeyExistsError(StorageError):
    """Create found the key taken."""

    def __init__(self, key: str) -> None:
        super().__init__(f"key exists: {key}")
        self.key = key


class ClaimTakenError(StorageError):
    """A key that the write wanted to claim for itself belongs to somebody else."""

    def __init__(self, key: str) -> None:
        super().__init__(f"claim is taken: {key}")
        self.key = key


class RevisionMismatchError(StorageError):
    """The key is no longer at the revision that the write was based on.

    `current` is the key as it stands, None where it is gone.
    """

    def __init__(self, key: str, current: KeyValue | None) -> None:
        super().__init__(f"revision mismatch: {key}")
        self.key = key
        self.current = current


class CompactedError(StorageError):
    """The wanted revision was compacted; `compact_revision` is the oldest left (0: unknown)."""

    def __init__(self, compact_revision: int = 0) -> None:
        super().__init__("required revision has been compacted")
        self.compact_revision = compact_revision


class FutureRevisionError(StorageError):
    """The wanted revision has not happened yet; `current` is the newest there is."""

    def __init__(self, wanted: int, current: int) -> None:
        super().__init__(f"Too large resource version: {wanted}, current: {current}")
        self.wanted = wanted
        self.current = current

"""The key-value API in its most obvious form: dictionaries, and every revision kept whole.

Slow, and simple enough to be read at a glance; the store must be indistinguishable from it.
"""

from __future__ import annotations

from dataclasses import dataclass, field, replace


@dataclass(frozen=True, slots=True)
class Value:
    value: bytes
    create_revision: int
    mod_revision: int
    version: int
    lease: int = 0


State = dict[bytes, Value]


class CompactedError(Exception):
    """The revision is below the last compaction."""


class FutureRevisionError(Exception):
    """The revision is not reached yet."""


@dataclass
class KvModel:
    """All states that ever were; `states[revision]` is the whole key space at that revision."""

    states: dict[int, State] = field(default_factory=lambda: {1: {}})
    revision: int = 1
    compacted: int = -1

    @property
    def now(self) -> State:
        return self.states[self.revision]

    def put(self, key: bytes, value: bytes, lease: int = 0) -> None:
        self.write({key: value}, (), lease=lease)

    def delete(self, start: bytes, end: bytes | None) -> int:
        """End the keys of a range; returns how many there were."""
        doomed = [key for key in sorted(self.now) if covers(start, end, key)]
        self.write({}, doomed)
        return len(doomed)

    def write(self, puts: dict[bytes, bytes], deletes: object, *, lease: int = 0) -> None:
        """Deletes and then puts, at one new revision; at none if nothing changes."""
        assert isinstance(deletes, list | tuple)
        doomed = {key: None for key in deletes if key in self.now}
        if not puts and not doomed:
            return
        main = self.revision + 1
        state = dict(self.now)
        for key in doomed:
            del state[key]
        for key, value in puts.items():
            before = state.get(key, Value(b"", main, main, 0))
            state[key] = replace(
                before,
                value=value,
                mod_revision=main,
                version=before.version + 1,
                lease=lease,
            )
        self.revision = main
        self.states[main] = state

    def range(
        self, start: bytes, end: bytes | None, revision: int = 0
    ) -> list[tuple[bytes, Value]]:
        """Keys of the range in order. Raises CompactedError, FutureRevisionError."""
        if revision > self.revision:
            raise FutureRevisionError
        if 0 < revision < self.compacted:
            raise CompactedError
        state = self.states[revision] if revision > 0 else self.now
        return [(key, state[key]) for key in sorted(state) if covers(start, end, key)]

    def compact(self, revision: int) -> None:
        """Raises CompactedError, FutureRevisionError."""
        if revision <= self.compacted:
            raise CompactedError
        if revision > self.revision:
            raise FutureRevisionError
        self.compacted = revision

    def events(self, start: int) -> list[tuple[int, bytes, bool]]:
        """What a watch of everything from `start` sees: revision, key, whether it is a delete."""
        found = []
        for main in range(max(start, 2), self.revision + 1):
            before, after = self.states[main - 1], self.states[main]
            keys = sorted({*before, *after})
            changed = [key for key in keys if before.get(key) != after.get(key)]
            found += [(main, key, key not in after) for key in changed]
        return found


def covers(start: bytes, end: bytes | None, key: bytes) -> bool:
    """`end` None is one key, empty is no upper bound."""
    if end is None:
        return key == start
    return start <= key and (not end or key < end)

"""The member's Raft log in memory, and what of it is not on disk yet. No I/O.

The entry at position 0 is the *base*: its index and term are real, its data is not kept. It stands
for all that a log compaction or an installed snapshot has made unnecessary, together with the
membership as of that index. Each change is noted as an item; `take` hands the items noted so far
to whoever makes them durable, `taken_is_durable` reports back, and only then does `stable_index`
move. At most one batch is on its way at a time.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace

from store.raft.messages import Entry
from store.raft.packing import NO_OP

# Every log begins with this entry, which no leader ever wrote; the library expects it.
FIRST_INDEX = 1
FIRST_TERM = 0


@dataclass(frozen=True, slots=True)
class HardState:
    """What must be on disk before any reply that depends on it; vote 0 is no vote."""

    term: int = 0
    vote: int = 0
    commit: int = FIRST_INDEX


@dataclass(frozen=True, slots=True)
class Base:
    """Where a log starts: the last index it no longer holds, and the voters as of there."""

    index: int
    term: int
    voters: Mapping[int, str]


@dataclass(frozen=True, slots=True)
class Truncate:
    """Entries from `index` on are gone."""

    index: int


@dataclass(frozen=True, slots=True)
class Compact:
    """Entries up to and with the base are not needed any more."""

    base: Base


@dataclass(frozen=True, slots=True)
class Reset:
    """The whole log gives way to a snapshot's base."""

    base: Base


Item = Entry | Truncate | HardState | Compact | Reset


@dataclass(slots=True)
class Batch:
    """Items in the order in which they happened; the last index and the term they leave behind."""

    items: tuple[Item, ...]
    last_index: int
    term: int


@dataclass(frozen=True, slots=True)
class LogImage:
    """What recovery found: all of it durable."""

    hard_state: HardState
    base: Base
    entries: Sequence[Entry] = field(default_factory=tuple)


def first_image(voters: Mapping[int, str]) -> LogImage:
    """The log of a member that has never run."""
    return LogImage(HardState(), Base(FIRST_INDEX, FIRST_TERM, dict(voters)))


class Log:
    """See the module docstring. Indices are those of Raft; positions are the library's."""

    def __init__(self, image: LogImage) -> None:
        self._base = image.base
        self.entries: list[Entry] = [_base_entry(image.base), *image.entries]
        self._hard_state = image.hard_state
        self._items: list[Item] = []
        self._urgent = False
        self._taken: Batch | None = None
        self._stable = self.last_index
        self._durable_term = image.hard_state.term
        self._installing = False
        self.bytes = sum(len(entry.data) for entry in self.entries)

    @property
    def base(self) -> Base:
        return self._base

    @property
    def hard_state(self) -> HardState:
        return self._hard_state

    @property
    def last_index(self) -> int:
        return self.entries[-1].index

    @property
    def stable_index(self) -> int:
        """Up to here the log is on this member's disk as it stands."""
        return self._stable

    @property
    def durable_term(self) -> int:
        """The newest term that this member will still know after a crash, with its vote in it."""
        return self._durable_term

    @property
    def appliable_index(self) -> int:
        """Up to here entries may be applied: durable, and nothing while a snapshot is installed."""
        return self._base.index if self._installing else self.stable_index

    def installed(self) -> None:
        """The state machine has taken over the snapshot that the log was reset to."""
        self._installing = False

    def find(self, index: int) -> Entry | None:
        position = index - self._base.index
        return self.entries[position] if 0 <= position < len(self.entries) else None

    def get(self, index: int) -> Entry:
        entry = self.find(index)
        assert entry is not None, (index, self._base.index, self.last_index)
        return entry

    def between(self, after: int, upto: int) -> list[Entry]:
        """Entries with `after` < index <= `upto`."""
        return self.entries[max(0, after - self._base.index) + 1 : upto - self._base.index + 1]

    def append(self, entry: Entry) -> None:
        assert entry.index == self.last_index + 1, (entry.index, self.last_index)
        self.entries.append(entry)
        self.bytes += len(entry.data)
        self._note(entry)

    def truncate(self, index: int) -> None:
        """Drop entries from `index` on; never the base, never what is committed."""
        assert index > max(self._base.index, self._hard_state.commit), (index, self._hard_state)
        position = index - self._base.index
        self.bytes -= sum(len(entry.data) for entry in self.entries[position:])
        del self.entries[position:]
        self._stable = min(self._stable, index - 1)
        if self._taken is not None:
            self._taken.last_index = min(self._taken.last_index, index - 1)
        self._note(Truncate(index))

    def reset(self, base: Base) -> None:
        """Start anew behind a snapshot; nothing is appliable until it is `installed`."""
        self._base = base
        self._installing = True
        self.entries[:] = [_base_entry(base)]
        self.bytes = 0
        # Nothing of the old log counts as stable, whatever is on its way to the disk.
        self._stable = base.index
        if self._taken is not None:
            self._taken.last_index = base.index
        self._note(Reset(base))

    def compact(self, base: Base) -> None:
        """Drop entries up to and with `base.index`, whose effect is durable elsewhere."""
        dropped = base.index - self._base.index
        assert 0 < dropped < len(self.entries), (base.index, self._base.index, self.last_index)
        assert self.entries[dropped].term == base.term
        self.bytes -= sum(len(entry.data) for entry in self.entries[: dropped + 1])
        self.entries[: dropped + 1] = [_base_entry(base)]
        self._base = base
        self._note(Compact(base))

    def set_vote(self, term: int, vote: int) -> None:
        if (term, vote) != (self._hard_state.term, self._hard_state.vote):
            self._hard_state = replace(self._hard_state, term=term, vote=vote)
            self._note(self._hard_state)

    def set_commit(self, commit: int) -> None:
        """Remember the commit index; it saves work after a restart but promises nothing."""
        state = self._hard_state
        if commit != state.commit:
            self._hard_state = HardState(state.term, state.vote, commit)

    def take(self) -> Batch | None:
        """All items that must become durable, or None; then no other batch may be on its way."""
        assert self._taken is None
        if not self._urgent:
            return None
        self._taken = Batch(
            (*self._items, self._hard_state), self.last_index, self._hard_state.term
        )
        self._items = []
        self._urgent = False
        return self._taken

    def taken_is_durable(self) -> None:
        assert self._taken is not None
        self._stable = max(self._stable, self._taken.last_index)
        self._durable_term = self._taken.term
        self._taken = None

    def _note(self, item: Item) -> None:
        self._items.append(item)
        self._urgent = True


def _base_entry(base: Base) -> Entry:
    return Entry(NO_OP, base.index, base.term)

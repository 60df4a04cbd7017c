"""The key index: which revisions each key has, in memory, ordered by key.

Values live in the backend under their packed revision; the index answers which revision a read at
a given moment needs. A life of key `a`, written as main revisions:

    put a (2), put a (5), delete a (7), put a (9)

    live["a"]    = 9              the revision of the living value
    history["a"] = [2, 5, 7t]     what was before, the tombstone `t` included, ascending

A read at 6 finds 5; at 8 it finds the tombstone, so nothing; at 9 or later the living value.
Most keys of a compacted store have no history, so a million keys cost a dictionary and a sorted
list of them, and a count of living keys is two binary searches.

`compact(5)` keeps what a read at 5 or later can see:  history["a"] = [5, 7t].

Pure: no I/O; the caller frees what `prune` returns. Source: etcd v3 data model.
"""

from __future__ import annotations

import heapq
from bisect import bisect_left
from collections.abc import Iterable, Iterator, Sequence
from typing import cast

from sortedcontainers import SortedDict, SortedList

from store.mvcc.revision import PackedRevision, floor, is_tombstone, main_of

# `range_end` of requests, normalised: one key, up to the end of the key space, or up to a key.
ONE_KEY: None = None
TO_THE_END = b""


def range_end(raw: bytes) -> bytes | None:
    """Normalise a request's `range_end`: empty means one key, a zero byte means no upper bound."""
    if not raw:
        return ONE_KEY
    return TO_THE_END if raw == b"\0" else raw


class KeyIndex:
    """Revisions by key. Not thread-safe: the member's event loop owns it."""

    def __init__(self) -> None:
        self._live: SortedDict = SortedDict()
        self._history: dict[bytes, list[PackedRevision]] = {}
        # Keys that have history but no living value.
        self._dead: SortedList = SortedList()

    @classmethod
    def load(cls, records: Iterable[tuple[PackedRevision, bytes]]) -> KeyIndex:
        """Rebuild from `(packed revision, key)` in ascending order of revision."""
        live: dict[bytes, PackedRevision] = {}
        index = cls()
        history = index._history
        for packed, key in records:
            before = live.get(key)
            if packed & 1:
                live.pop(key, None)
                history.setdefault(key, []).extend((before, packed) if before else (packed,))
            else:
                live[key] = packed
                if before is not None:
                    history.setdefault(key, []).append(before)
        index._live = SortedDict(live)
        index._dead = SortedList(key for key in history if key not in live)
        return index

    def __len__(self) -> int:
        return len(self._live)

    def live(self, key: bytes) -> PackedRevision | None:
        """The revision of the living value of `key`."""
        return cast("PackedRevision | None", self._live.get(key))

    def live_of(self, keys: Iterable[bytes]) -> list[PackedRevision]:
        """The revisions of the living values of `keys`, all of which have one."""
        live = self._live
        return [live[key] for key in keys]

    def put(self, key: bytes, packed: PackedRevision) -> PackedRevision | None:
        """Take the newest revision of `key`; returns that of its living value until now."""
        before: PackedRevision | None = self._live.get(key)
        if before is None:
            self._live[key] = packed
            if key in self._history:
                self._dead.remove(key)
            return None
        dict.__setitem__(self._live, key, packed)  # it has its place in the order already
        older = self._history.get(key)
        if older is None:
            self._history[key] = [before]
        else:
            older.append(before)
        return before

    def tombstones(self, keys: Sequence[bytes], packed: Sequence[PackedRevision]) -> None:
        """End the lives of `keys`, ascending and all living, each at its own of `packed`."""
        history = self._history
        for key, before, end in zip(keys, self.live_of(keys), packed, strict=True):
            older = history.get(key)
            if older is None:
                history[key] = [before, end]
            else:
                older += (before, end)
        self._forget_living(keys)
        self._dead.update(keys)

    def _forget_living(self, keys: Sequence[bytes]) -> None:
        live = self._live
        if len(keys) > 1:
            first, stop = live.bisect_left(keys[0]), live.bisect_right(keys[-1])
            if stop - first == len(keys):  # none between them: much cheaper than one by one
                del live.keys()[first:stop]
                return
        for key in keys:
            del live[key]

    def at(self, key: bytes, main: int) -> PackedRevision | None:
        """The revision of the value that `key` had at `main`; None if it had none."""
        limit = floor(main + 1)
        live = self._live.get(key)
        if live is not None and live < limit:
            return cast("PackedRevision", live)
        older = self._history.get(key)
        if not older:
            return None
        position = bisect_left(older, limit)
        if position == 0 or is_tombstone(older[position - 1]):
            return None
        return older[position - 1]

    def keys(self, start: bytes, end: bytes | None) -> Iterator[bytes]:
        """Living keys of `[start, end)` in order; `end` as `range_end` returns it."""
        if end is ONE_KEY:
            return iter((start,) if start in self._live else ())
        stop = end or None
        return cast(
            "Iterator[bytes]", self._live.irange(start, stop, inclusive=(True, stop is None))
        )

    def count(self, start: bytes, end: bytes | None) -> int:
        """How many living keys `[start, end)` has, without walking them."""
        if end is ONE_KEY:
            return int(start in self._live)
        upper = self._live.bisect_left(end) if end else len(self._live)
        return max(0, int(upper - self._live.bisect_left(start)))

    def keys_at(
        self, start: bytes, end: bytes | None, main: int
    ) -> Iterator[tuple[bytes, PackedRevision]]:
        """Keys of `[start, end)` that had a value at `main`, with its revision, in order."""
        if end is ONE_KEY:
            candidates: Iterable[bytes] = (start,)
        else:
            stop = end or None
            dead = self._dead.irange(start, stop, inclusive=(True, stop is None))
            candidates = heapq.merge(self.keys(start, end), dead)
        for key in candidates:
            packed = self.at(key, main)
            if packed is not None:
                yield key, packed

    def with_history(self) -> list[bytes]:
        """The keys that `prune` may free something of, in the order of their first change."""
        return list(self._history)

    def prune(self, key: bytes, compacted: int) -> list[PackedRevision]:
        """Forget what no read of `key` at `compacted` or later can see.

        A tombstone at exactly `compacted` stays: a watch that starts there still sees the delete.

        Returns:
            The freed revisions, ascending.
        """
        older = self._history.get(key)
        if not older:
            return []
        live = self._live.get(key)
        if live is not None and main_of(live) <= compacted:
            keep_from = len(older)
        else:
            keep_from = bisect_left(older, floor(compacted + 1))
            newest = keep_from - 1
            if newest >= 0 and not (
                is_tombstone(older[newest]) and main_of(older[newest]) < compacted
            ):
                keep_from = newest
        freed, kept = older[:keep_from], older[keep_from:]
        if kept:
            self._history[key] = kept
        else:
            del self._history[key]
            if live is None:
                self._dead.remove(key)
        return freed

    def is_visible(self, key: bytes, packed: PackedRevision, compacted: int) -> bool:
        """Whether a fully pruned index would still hold `packed`, whatever was pruned so far."""
        if main_of(packed) > compacted:
            return True
        live = self._live.get(key)
        if live is not None and main_of(live) <= compacted:
            return bool(packed == live)
        older = self._history.get(key, [])
        newest = bisect_left(older, floor(compacted + 1)) - 1
        if newest < 0 or older[newest] != packed:
            return False
        return not is_tombstone(packed) or main_of(packed) == compacted

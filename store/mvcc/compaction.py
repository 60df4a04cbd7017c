"""Compaction: dropping history, at once for readers and bit by bit for memory and disk.

From the moment a compaction is applied, reads below its revision are refused, so how far the
clearing up has come is invisible and may differ from member to member. Source: etcd v3 API,
KV.Compact.
"""

from __future__ import annotations

from store.figures import FIGURES
from store.mvcc.errors import CompactedError, FutureRevisionError
from store.mvcc.revision import Revision
from store.mvcc.store import MvccStore, Reply

# Keys looked at in one step: a few milliseconds.
STEP_KEYS = 1000


def compact(store: MvccStore, revision: int) -> Reply:
    """Refuse reads below `revision` from now on and queue the clearing up.

    Raises:
        CompactedError: it was compacted already.
        FutureRevisionError: the store is not there yet.
    """
    if revision <= store.compacted:
        raise CompactedError
    if revision > store.revision:
        raise FutureRevisionError
    store.compacted = Revision(revision)
    store.compaction_queue = store.index.with_history()
    # Steps take from the end; the oldest garbage goes first.
    store.compaction_queue.reverse()
    return Reply(store.revision, b"")


def step(store: MvccStore, keys: int = STEP_KEYS) -> bool:
    """Clear up after up to `keys` keys; returns whether there is more to do."""
    queue = store.compaction_queue
    for _ in range(min(keys, len(queue))):
        for packed in store.index.prune(queue.pop(), store.compacted):
            store.backend.delete(packed)
            FIGURES.compacted_records += 1
    return bool(queue)

"""The hash of a long history, taken while the event loop goes on with its work."""

from __future__ import annotations

import asyncio

from store.mvcc.hash import HistoryHash
from store.mvcc.store import MvccStore


async def hash_in_steps(store: MvccStore, revision: int = 0) -> HistoryHash:
    """The whole hash; raises what `HistoryHash` does."""
    run = HistoryHash(store, revision)
    while run.step():  # noqa: ASYNC110  # lets others run; nothing is waited for
        await asyncio.sleep(0)
    return run

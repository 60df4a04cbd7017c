"""Keeps the store's history at about five minutes, as kube-apiserver does.

API servers agree by one key: whoever swaps it compacts to the revision that was current an interval
ago; the others take over what that one wrote.

Source: upstream's etcd3 compactor; its key is the same, so that both can share a store.
"""

from __future__ import annotations

from apiserver.storage.errors import KeyExistsError, RevisionMismatchError
from apiserver.storage.store import Store
from kubraft.api.errors import ApiError
from kubraft.api.time import Clock
from kubraft.log import get_logger

INTERVAL_S = 300.0
KEY = "compact_rev_key"

_log = get_logger("apiserver.storage")


class Compactor:
    """One API server's part in compaction."""

    def __init__(self, store: Store, clock: Clock, interval_s: float = INTERVAL_S) -> None:
        self._store = store
        self._clock = clock
        self._interval_s = interval_s
        self._revision = 0

    async def run(self) -> None:
        """Compact every interval until cancelled; a store that is away is tried again."""
        while True:
            try:
                self._revision = await self.step(self._revision)
            except ApiError as error:
                _log.warning("compaction_failed", error=error.message)
            await self._clock.sleep(self._interval_s)

    async def step(self, revision: int) -> int:
        """Compact to `revision` (0: nothing yet) if it is this server's turn.

        Returns:
            The revision to compact to in the next step.
        """
        current = await self._store.revision()
        found = await self._store.find(KEY)
        value = str(current).encode()
        try:
            if found is None:
                await self._store.create(KEY, value)
            elif revision and int(found.value or b"0") > revision:
                return current  # somebody else has begun this interval
            else:
                await self._store.replace(KEY, value, mod_revision=found.mod_revision)
        except (KeyExistsError, RevisionMismatchError):
            return current
        if revision:
            await self._store.compact(revision)
            _log.info("compacted", revision=revision)
        return current

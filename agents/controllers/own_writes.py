"""What a controller wrote and its cache does not show yet: a plan waits until it does.

A plan made from a cache that lacks the controller's own last write takes that step twice; for a
Deployment this would mean one ReplicaSet, or one scale-up, too many.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from kubraft.api.object import Object, ObjectKey, key_of, uid_of

# After this the cache is taken as it is: what was written may have been deleted unseen.
OWN_WRITE_TTL_S = 30.0


@dataclass(frozen=True, slots=True)
class _Written:
    uid: str
    resource_version: int
    created: bool
    since_s: float


class OwnWrites:
    """The unseen writes, by the key of the object on whose behalf they were made.

    resourceVersions of one kind compare as numbers. Source: KEP-5504.
    """

    def __init__(self) -> None:
        self._by_owner: dict[ObjectKey, dict[ObjectKey, _Written]] = {}

    def note(self, owner: ObjectKey, answer: Object, *, created: bool, now_s: float) -> None:
        """The server answered a write with `answer`."""
        version = int(answer["metadata"]["resourceVersion"])
        written = _Written(uid_of(answer), version, created, now_s)
        self._by_owner.setdefault(owner, {})[key_of(answer)] = written

    def seen(
        self, owner: ObjectKey, find: Callable[[ObjectKey], Object | None], now_s: float
    ) -> bool:
        """Whether the cache, read by `find`, shows all that was written for `owner`."""
        pending = self._by_owner.get(owner)
        if pending is None:
            return True
        for key, written in list(pending.items()):
            if _is_seen(written, find(key)) or now_s - written.since_s > OWN_WRITE_TTL_S:
                del pending[key]
        if not pending:
            del self._by_owner[owner]
        return not pending

    def forget(self, owner: ObjectKey) -> None:
        """The owner is gone."""
        self._by_owner.pop(owner, None)


def _is_seen(written: _Written, cached: Object | None) -> bool:
    if cached is None:
        # What was only changed had been in the cache: it has been deleted since.
        return not written.created
    if uid_of(cached) != written.uid:
        return True
    return int(cached["metadata"]["resourceVersion"]) >= written.resource_version

"""Keeps the ControllerRevisions of the owners of one kind."""

from __future__ import annotations

from collections.abc import Collection
from dataclasses import dataclass

from agents.controllers.adoption import settle
from agents.controllers.context import Context
from agents.controllers.history.revision import (
    is_of,
    new_revision,
    next_number,
    ordered,
    superfluous,
)
from agents.controllers.informers import BY_CONTROLLER, ORPHANS
from agents.controllers.own_writes import OwnWrites
from agents.controllers.ownership import claim
from kubraft.api.errors import AlreadyExistsError, ConflictError, NotFoundError
from kubraft.api.gvk import CONTROLLER_REVISION
from kubraft.api.labels import selector_from_object
from kubraft.api.object import Object, ObjectKey, controller_of, is_terminating, key_of, uid_of

_HISTORY_LIMIT = 10


@dataclass(frozen=True, slots=True)
class Revisions:
    """All of an owner's, oldest first; `newest` keeps its present template."""

    all: list[Object]
    newest: Object
    collisions: int | None


class History:
    """Reads and writes ControllerRevisions."""

    def __init__(self, context: Context) -> None:
        self._client = context.client
        self._clock = context.clock
        self._revisions = context.informers.of(CONTROLLER_REVISION)
        self._written = OwnWrites()

    def forget(self, key: ObjectKey) -> None:
        """The owner is gone."""
        self._written.forget(key)

    def seen(self, key: ObjectKey) -> bool:
        """Whether the cache shows what was written for the owner."""
        return self._written.seen(key, self._revisions.get, self._clock.monotonic_s())

    async def sync(self, owner: Object) -> Revisions:
        """Make the revision of the owner's template the newest.

        Raises:
            ConflictError: something changed meanwhile: look again.
        """
        found = ordered(await self._owned(owner))
        collisions = (owner.get("status") or {}).get("collisionCount")
        same = [revision for revision in found if is_of(revision, owner)]
        if same and same[-1] is found[-1]:
            return Revisions(found, found[-1], collisions)
        if is_terminating(owner):
            newest = same[-1] if same else new_revision(owner, next_number(found), collisions)
            return Revisions(found, newest, collisions)
        if same:
            # The owner was rolled back: an old revision becomes the newest.
            number = next_number(found)
            newest = await self._client.update({**same[-1], "revision": number})
            self._note(owner, newest, created=False)
            return Revisions([*(r for r in found if r is not same[-1]), newest], newest, collisions)
        newest, collisions = await self._create(owner, next_number(found), collisions)
        return Revisions([*found, newest], newest, collisions)

    async def truncate(self, owner: Object, found: Revisions, live: Collection[str]) -> None:
        """Delete the oldest revisions that no Pod is of."""
        limit = owner["spec"].get("revisionHistoryLimit")
        most = _HISTORY_LIMIT if limit is None else limit
        for revision in superfluous(found.all, live, most):
            key = key_of(revision)
            try:
                await self._client.delete(
                    CONTROLLER_REVISION, key.name, key.namespace, uid=uid_of(revision)
                )
            except NotFoundError:
                continue

    async def _owned(self, owner: Object) -> list[Object]:
        candidates = self._revisions.by_index(BY_CONTROLLER, uid_of(owner))
        candidates += self._revisions.by_index(ORPHANS, key_of(owner).namespace)
        selector = selector_from_object(owner["spec"].get("selector"))
        return await settle(self._client, owner, claim(owner, selector, candidates))

    async def _create(
        self, owner: Object, number: int, collisions: int | None
    ) -> tuple[Object, int | None]:
        wanted = new_revision(owner, number, collisions)
        try:
            made = await self._client.create(wanted)
        except AlreadyExistsError:
            key = key_of(wanted)
            made = await self._client.get(CONTROLLER_REVISION, key.name, key.namespace)
            holder = controller_of(made)
            if holder is None or holder["uid"] != uid_of(owner):
                # Another's, or nobody's yet: the next try has another name.
                return await self._create(owner, number, (collisions or 0) + 1)
            if not is_of(made, owner):
                raise ConflictError(f"{key} is of another template") from None
        self._note(owner, made, created=True)
        return made, collisions

    def _note(self, owner: Object, answer: Object, *, created: bool) -> None:
        now_s = self._clock.monotonic_s()
        self._written.note(key_of(owner), answer, created=created, now_s=now_s)

"""How the parts of the pipeline read and write objects without going through it.

Authorization and admission read RBAC objects, quotas and ServiceAccounts on every request, so a
`Reader` answers from the watch cache and never waits. What it hands out is shared: callers must not
change it (copy first).
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import Protocol

from kubraft.api.gvk import GroupVersionKind
from kubraft.api.object import Object

# Called with the object before and after one change: (None, new) added, (old, None) deleted.
ChangeHandler = Callable[[Object | None, Object | None], None]


class Reader(Protocol):
    """Reads the watch cache; called from any task of the event loop, does no I/O.

    The answer may lag behind the store by the time that one watch event takes. Objects carry
    `metadata.resourceVersion`.
    """

    def get(self, gvk: GroupVersionKind, namespace: str, name: str) -> Object | None:
        """One object, or None; `namespace` is empty for cluster-scoped kinds."""
        ...

    def list(self, gvk: GroupVersionKind, namespace: str = "") -> Iterable[Object]:
        """All objects of a kind in the order of their keys; an empty namespace means all."""
        ...

    def add_handler(self, gvk: GroupVersionKind, handler: ChangeHandler) -> None:
        """Call `handler` for all that the cache holds of a kind now, then for each change.

        Indices are kept up to date by it, so it runs before readers can see the change, in the
        order of revisions, and must neither wait nor raise. After a relist of the cache, a change
        that was missed is one call with what the cache had before.
        """
        ...


class Writer(Protocol):
    """Writes as the API server itself: no authentication, no authorization, no admission.

    Defaulting, validation and optimistic concurrency hold as for everybody. Each method returns
    the stored object and raises the errors of kubraft.api.errors.
    """

    async def get(self, gvk: GroupVersionKind, namespace: str, name: str) -> Object:
        """The object as a quorum has it now; raises NotFoundError."""
        ...

    async def create(self, obj: Object, *, dry_run: bool = False) -> Object:
        """Store a new object; raises AlreadyExistsError."""
        ...

    async def update(self, obj: Object, subresource: str = "", *, dry_run: bool = False) -> Object:
        """Replace the object; raises ConflictError where its resourceVersion is stale."""
        ...

    async def delete(
        self,
        gvk: GroupVersionKind,
        namespace: str,
        name: str,
        *,
        uid: str = "",
        grace_period_s: int | None = None,
    ) -> Object:
        """Delete the object, or begin to; returns its last state."""
        ...

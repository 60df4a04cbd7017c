"""What differs from kind to kind when objects are written. Pure: no clock, no I/O.

The registry calls, for a create: default, (admission), default, prepare_for_create, validate; for
an update: default, (admission), default, prepare_for_update, validate_update. Methods named
`default` and `prepare_*` change the object in place; `default` is idempotent.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from datetime import datetime
from enum import Enum

from apiserver.user import User
from kubraft.api.errors import Cause
from kubraft.api.names import dns1123_subdomain_errors
from kubraft.api.object import Object

NameRule = Callable[[str], list[str]]


class Deletion(Enum):
    """What a delete request does to a kind by default."""

    AT_ONCE = "AtOnce"
    GRACEFUL = "Graceful"
    # Ends by an update of spec.finalizers (Namespace).
    FINALIZED = "Finalized"


class Strategy:
    """A kind without rules of its own; subclasses add theirs."""

    # Whether metadata.generation counts changes of spec.
    has_generation: bool = False
    # Whether status is written through its own subresource only.
    has_status: bool = False
    # Whether finalizers need not be qualified.
    any_finalizer: bool = False
    deletion: Deletion = Deletion.AT_ONCE
    # Lifetime in the store, after which objects vanish (Events); 0: for ever.
    ttl_s: int = 0
    # Whether the rules can be asked of nothing but an object with a spec.
    needs_spec: bool = True
    # Subresources that only this kind has, and that change what its generation counts.
    parts: tuple[str, ...] = ()
    # Whether a PUT of an object that does not exist creates it.
    create_on_update: bool = False

    def name_errors(self, name: str) -> list[str]:
        """What is wrong with a name of this kind."""
        return dns1123_subdomain_errors(name)

    def default(self, obj: Object) -> None:
        """Fill in absent fields."""

    def prepare_for_create(self, obj: Object) -> None:
        """Drop what a client may not set."""
        if self.has_status:
            obj.pop("status", None)

    def validate(self, obj: Object) -> list[Cause]:  # noqa: ARG002
        """Rules beyond the schema, on every write of the main resource."""
        return []

    def validate_new(self, obj: Object) -> list[Cause]:  # noqa: ARG002
        """Rules that a new object has to meet besides."""
        return []

    def prepare_for_update(self, new: Object, old: Object) -> None:
        """Take over what an update may not touch."""
        if self.has_status:
            _take(new, old, "status")

    def validate_update(self, new: Object, old: Object) -> list[Cause]:
        """Rules on the change itself; by default those on the new object."""
        del old
        return self.validate(new)

    def prepare_for_status_update(self, new: Object, old: Object) -> None:
        """Leave everything but status, and the metadata that may change with it, as it was."""
        status = new.get("status")
        kept = {name: value for name, value in old.items() if name not in ("metadata", "status")}
        metadata = new["metadata"]
        new.clear()
        new.update(kept)
        new["metadata"] = metadata
        if status is not None:
            new["status"] = status
        for field in ("deletionTimestamp", "ownerReferences", "generation"):
            _take(metadata, old["metadata"], field)

    def note_requester(self, obj: Object, user: User) -> None:
        """Write into a new object who asked for it."""

    def prepare_for_part(self, subresource: str, new: Object, old: Object) -> None:
        """Leave everything but what a subresource that only this kind has may change as it was."""

    def validate_part(self, subresource: str, new: Object, old: Object) -> list[Cause]:  # noqa: ARG002
        """Rules on a write of such a subresource."""
        return []

    def prepare_for_approval(self, new: Object, old: Object, now: str) -> None:
        """Leave everything but what the approval subresource may change as it was."""

    def validate_approval(self, new: Object, old: Object) -> list[Cause]:  # noqa: ARG002
        """Rules on a write of the approval subresource."""
        return []

    def validate_status_update(self, new: Object, old: Object) -> list[Cause]:  # noqa: ARG002
        """Rules on a change of status."""
        return []

    def begin_deletion(self, obj: Object, now: datetime) -> None:
        """Note on an object that its deletion begins."""

    def grace_period_s(self, obj: Object, requested: int | None) -> int:  # noqa: ARG002
        """How long a graceful deletion takes; 0 is at once."""
        return 0

    def claims(self, obj: Object) -> Mapping[str, bytes]:  # noqa: ARG002
        """Keys that the object holds for itself alone (an address, a port)."""
        return {}

    def changed_spec(self, new: Object, old: Object) -> bool:
        """Whether the change counts for metadata.generation."""
        return {k: v for k, v in new.items() if k not in _NOT_SPEC} != {
            k: v for k, v in old.items() if k not in _NOT_SPEC
        }


_NOT_SPEC: Sequence[str] = ("metadata", "status")


def _take(new: Object, old: Object, field: str) -> None:
    if field in old:
        new[field] = old[field]
    else:
        new.pop(field, None)

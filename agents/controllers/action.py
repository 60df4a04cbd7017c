"""What a plan asks for: writes and Event objects, as values.

A plan is computed from one picture of the cluster and holds these in the order in which they must
happen; `executor.py` carries them out and stops at the first that fails, so that what comes later
(an Event about a write, a status that reports it) never speaks of something that did not happen.
"""

from __future__ import annotations

from dataclasses import dataclass

from kubraft.api.gvk import GroupVersionKind
from kubraft.api.object import Object, ObjectKey


@dataclass(frozen=True, slots=True)
class Create:
    """Create `obj`."""

    obj: Object


@dataclass(frozen=True, slots=True)
class Update:
    """Replace the object, or its `subresource`, at exactly the resourceVersion that `obj` has."""

    obj: Object
    subresource: str = ""


@dataclass(frozen=True, slots=True)
class Delete:
    """Delete the object if it still has this uid (and resourceVersion, where given)."""

    gvk: GroupVersionKind
    key: ObjectKey
    uid: str
    resource_version: str = ""
    grace_period_s: int | None = None
    propagation: str = ""


@dataclass(frozen=True, slots=True)
class Emit:
    """Record an Event object about `regarding`; `type` is "Normal" or "Warning"."""

    regarding: Object
    type: str
    reason: str
    message: str


Action = Create | Update | Delete | Emit

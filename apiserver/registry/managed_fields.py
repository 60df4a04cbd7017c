"""Keeps metadata.managedFields in step with every write of every kind.

It looks at an object after defaulting and before admission, as upstream does: what admission and
the strategies fill in is managed by nobody.
"""

from __future__ import annotations

from typing import Any

from apiserver.apply import managers as entries
from apiserver.apply.fields import FieldSet, without
from apiserver.apply.managers import MalformedError, Managers
from apiserver.apply.updater import Filter, Write, created, keep_all, updated
from apiserver.registry.call import Call, WriteOptions
from apiserver.registry.machinery import Machinery
from kubraft.api.object import Object

_STATUS: FieldSet = {"f:status": {}}
# Writes of these parts are nobody's: a binding is the scheduler's decision, not a wish.
UNTRACKED = ("binding",)


def write_of(machinery: Machinery, call: Call, options: WriteOptions) -> Write:
    """One write of the object itself or of its status, as managers see it."""
    return Write(
        type=machinery.merge_type(call.resource),
        api_version=call.resource.gvk.api_version,
        manager=options.field_manager,
        now=machinery.now(),
        subresource=call.subresource,
        keeps=_filter(call),
    )


def track_create(machinery: Machinery, call: Call, obj: Object, options: WriteOptions) -> None:
    """Give a new object its first manager, whatever it says itself."""
    metadata = obj["metadata"]
    metadata.pop("managedFields", None)
    found = entries.written(created(write_of(machinery, call, options), obj))
    if found:
        metadata["managedFields"] = found


def track_update(
    machinery: Machinery, call: Call, new: Object, old: Object, options: WriteOptions
) -> None:
    """Note in `new` who manages what after it replaces `old`.

    An update of the object itself may also set managedFields, or reset them; nonsense in them is
    ignored. Where they were reset, nobody is noted until the next apply.
    """
    metadata, before = new["metadata"], old["metadata"].get("managedFields")
    given = metadata.pop("managedFields", None)
    managers = None
    if not call.subresource and given != before:
        managers = _given(given)
    own = managers is None
    if managers is None:
        managers = entries.read(before, trusted=True)
    after = managers
    if managers and call.subresource not in UNTRACKED:
        live = {**old, "metadata": {**old["metadata"]}}
        live["metadata"].pop("managedFields", None)
        after = updated(write_of(machinery, call, options), live, new, managers)
    found = before if own and after is managers else entries.written(after)
    if found:
        metadata["managedFields"] = found


def keep_sound(new: Object, before: Any) -> None:
    """After admission: managedFields that it broke are as they were `before`."""
    metadata = new["metadata"]
    given = metadata.get("managedFields")
    if given is before or given == before:
        return
    try:
        entries.read(given)
    except MalformedError:
        metadata["managedFields"] = before
    if before is None and metadata.get("managedFields") is None:
        metadata.pop("managedFields", None)


def _given(given: Any) -> Managers | None:
    """What a client says of managers; None where that is nothing, or nonsense."""
    if entries.is_reset(given):
        return {}
    try:
        return entries.read(given) or None
    except MalformedError:
        return None


def _filter(call: Call) -> Filter:
    if call.subresource == "status":
        return _only_status
    if call.subresource in PART_FIELDS:
        return PART_FIELDS[call.subresource]
    return _without_status if call.resource.strategy.has_status else keep_all


def _without_status(fields: FieldSet) -> FieldSet:
    return without(fields, _STATUS) if "f:status" in fields else fields


def _only_ephemeral(fields: FieldSet) -> FieldSet:
    return _only(fields, ("f:spec", "f:ephemeralContainers"))


def _only(fields: FieldSet, path: tuple[str, ...]) -> FieldSet:
    """What is at one path; nothing where there is nothing."""
    head, rest = path[0], path[1:]
    if head not in fields:
        return {}
    if not rest:
        return {head: fields[head]}
    below = _only(fields[head], rest)
    return {head: below} if below else {}


def _only_resources(fields: FieldSet) -> FieldSet:
    kept: FieldSet = {}
    for kind in ("f:containers", "f:initContainers"):
        for key, own in ((fields.get("f:spec") or {}).get(kind) or {}).items():
            names = ("f:resources", "f:resizePolicy")
            if below := {name: own[name] for name in names if name in own}:
                kept.setdefault("f:spec", {}).setdefault(kind, {})[key] = below
    return kept


def _only_status(fields: FieldSet) -> FieldSet:
    return {key: fields[key] for key in ("f:metadata", "f:status") if key in fields}


# Of a Pod: see pod_parts.
PART_FIELDS = {"ephemeralcontainers": _only_ephemeral, "resize": _only_resources}

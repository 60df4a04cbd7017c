"""What a write makes of an object's managers, and an apply of the object.

Source: structured-merge-diff, package merge; apimachinery managedfields.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, NamedTuple

from apiserver.apply import fields as sets
from apiserver.apply import merging, validation
from apiserver.apply.conflict import Conflict, ConflictsError
from apiserver.apply.fields import LEAF, FieldSet
from apiserver.apply.managers import (
    APPLY,
    BEFORE_APPLY,
    UNKNOWN,
    UPDATE,
    Identity,
    Managers,
    Share,
    capped,
)
from apiserver.apply.types import Type, UnkeyedError
from apiserver.apply.walk import Changes, compare, compare_new, fields_of
from kubraft.api.object import Object

_SYSTEM = (
    "name",
    "namespace",
    "creationTimestamp",
    "selfLink",
    "uid",
    "clusterName",
    "generation",
    "managedFields",
    "resourceVersion",
)
# What nobody manages: the server sets it, or it names the object.
UNMANAGED = sets.of_paths(
    ("f:apiVersion",),
    ("f:kind",),
    ("f:metadata",),
    *(("f:metadata", f"f:{n}") for n in _SYSTEM),
)

Filter = Callable[[FieldSet], FieldSet]


class MergeError(ValueError):
    """An object cannot be merged by its type: items of a list that cannot be told apart."""


def keep_all(fields: FieldSet) -> FieldSet:
    """The filter of a write that may change all fields."""
    return fields


@dataclass(frozen=True, slots=True)
class Write:
    """One write as the managers see it.

    `keeps` drops fields that this way of writing resets (status, in the main resource).
    """

    type: Type
    api_version: str
    manager: str
    now: str
    subresource: str = ""
    keeps: Filter = keep_all

    def identity(self, operation: str) -> Identity:
        """Whose entry the write goes into."""
        name = self.manager or UNKNOWN
        return Identity.of(name, operation, self.api_version, self.subresource)


class Applied(NamedTuple):
    """The object and its managers after an apply."""

    obj: Any
    managers: Managers


def created(write: Write, new: Object) -> Managers:
    """The managers of an object that was not there before."""
    fields = write.keeps(compare_new(write.type, _content(new)))
    me = write.identity(UPDATE)
    return {me: Share(fields, write.api_version, write.now)} if fields else {}


def updated(write: Write, live: Object, new: Object, managers: Managers) -> Managers:
    """The managers after `live` was replaced by `new`; the same ones where nothing changed.

    Who changes a field becomes its only manager; what is gone has none.
    """
    changes = _kept(compare(write.type, live, new), write.keeps)
    if not any(changes):
        return managers
    result = _without(managers, changes, except_=None)
    taken = _managed(sets.union(changes.modified, changes.added))
    if taken:
        me = write.identity(UPDATE)
        before = result.get(me)
        fields = sets.union(before.fields, taken) if before else taken
        result[me] = Share(fields, write.api_version, write.now)
    return capped(result)


def applied(
    write: Write, live: Object, config: Object, managers: Managers, *, force: bool
) -> Applied:
    """Merge a configuration, take back what it no longer says, and settle who manages what.

    Args:
        live: the object, {} where there is none; without managedFields, as is the answer.

    Raises:
        MistypedError: `config` does not fit the schema.
        ConflictsError: it changes fields of others, without `force`.
        MergeError: `live` has lists that cannot be merged.
    """
    validation.check(write.type, config)
    try:
        return _applied(write, live, config, managers, force=force)
    except UnkeyedError as error:
        raise MergeError(f"failed to merge config: {error}") from error


def _applied(
    write: Write, live: Object, config: Object, managers: Managers, *, force: bool
) -> Applied:
    me, type_ = write.identity(APPLY), write.type
    if not managers and live:
        earlier = Write(type_, write.api_version, BEFORE_APPLY, write.now, write.subresource)
        managers = created(earlier, live)
    result = {
        who: share._replace(fields=merging.settled(type_, share.fields))
        for who, share in managers.items()
    }
    last = result.get(me)
    fields = write.keeps(fields_of(type_, config))
    result[me] = Share(fields, write.api_version, last.time if last else "")
    new = merging.merge(type_, live, config)
    if last and last.fields:
        new = _pruned(type_, new, last.fields, result)
    new = new or {}
    changes = _kept(compare(type_, live, new), write.keeps)
    touched = sets.union(changes.modified, changes.added)
    if not force and (conflicts := _conflicts(result, touched, me)):
        raise ConflictsError(conflicts)
    result = _without(result, changes, except_=me)
    mine = result.pop(me)
    managed = _managed(mine.fields)
    if managed:
        same = last is not None and last.fields == managed and not any(changes)
        time = mine.time if same else write.now
        result[me] = Share(last.fields if same and last else managed, write.api_version, time)
    return Applied(new, result)


def _pruned(type_: Type, merged: Object, last: FieldSet, managers: Managers) -> Any:
    """`merged` without what this manager applied last time, and nobody says now."""
    named = merging.with_named
    last = named(type_, last)
    pruned = merging.remove(type_, merged, last)
    everything = named(type_, fields_of(type_, merged))
    owned: FieldSet = LEAF
    for share in managers.values():
        owned = sets.union(owned, share.fields)
    left = sets.union(named(type_, fields_of(type_, pruned)), named(type_, owned))
    pruned = merging.remove(type_, merged, sets.difference(everything, left))
    # Of what is gone now, only that goes which this manager owned itself.
    gone = sets.difference(everything, named(type_, fields_of(type_, pruned)))
    return merging.remove(type_, merged, sets.intersection(gone, last))


def _conflicts(managers: Managers, touched: FieldSet, me: Identity) -> list[Conflict]:
    return [
        Conflict(who, path)
        for who, share in sorted(managers.items())
        if who != me
        for path in sets.paths(sets.intersection(share.fields, touched))
    ]


def _without(managers: Managers, changes: Changes, *, except_: Identity | None) -> Managers:
    """Managers who lose what was changed or removed; those who are left with nothing go."""
    lost = sets.union(sets.union(changes.modified, changes.added), changes.removed)
    result: Managers = {}
    for who, share in managers.items():
        fields = share.fields
        if who != except_ and sets.intersection(fields, lost):
            fields = sets.difference(fields, lost)
            share = share._replace(fields=fields)  # noqa: PLW2901 - a value
        if fields or who == except_:
            result[who] = share
    return result


def _kept(changes: Changes, keeps: Filter) -> Changes:
    return changes if keeps is keep_all else Changes(*map(keeps, changes))


def _content(obj: Object) -> Object:
    """An object without what nobody manages: quicker than taking it out of the fields."""
    content = {name: value for name, value in obj.items() if name not in ("apiVersion", "kind")}
    metadata = {k: v for k, v in (obj.get("metadata") or {}).items() if k not in _SYSTEM}
    content["metadata"] = metadata
    if not metadata:
        del content["metadata"]
    return content


def _managed(fields: FieldSet) -> FieldSet:
    return sets.difference(fields, UNMANAGED)

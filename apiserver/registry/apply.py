"""Server-side apply of objects, of their status and of their scale."""

from __future__ import annotations

import re
from dataclasses import replace
from typing import Any

from apiserver.apply import fields as sets
from apiserver.apply import last_applied
from apiserver.apply import managers as entries
from apiserver.apply.conflict import Conflict, ConflictsError, message, shown
from apiserver.apply.managers import Managers
from apiserver.apply.path import text
from apiserver.apply.updater import Applied, MergeError, Write, applied
from apiserver.apply.validation import MistypedError
from apiserver.registry import failures
from apiserver.registry.call import Call, WriteOptions, Written
from apiserver.registry.create import create, placed
from apiserver.registry.machinery import Machinery
from apiserver.registry.managed_fields import write_of
from apiserver.registry.policy import Policy
from apiserver.registry.update import Change, guaranteed_update
from kubraft.api.errors import (
    AlreadyExistsError,
    BadRequestError,
    Cause,
    ConflictError,
    NotFoundError,
    UnexplainedError,
)
from kubraft.api.gvk import SECRET, GroupVersionKind
from kubraft.api.object import Object

ATTEMPTS_MAX = 8
# What a message says of a value; a Secret's is told to nobody.
_GIVEN = re.compile(r", got .*")


class FieldConflictError(ConflictError):
    """An apply without force would take fields from other managers."""


async def apply(
    machinery: Machinery,
    policy: Policy,
    call: Call,
    config: Object,
    options: WriteOptions,
    *,
    force: bool,
) -> tuple[Written, bool]:
    """Make an object say what `config` says; the answer tells whether it was created for that.

    Raises:
        FieldConflictError: others manage fields that it would change, and `force` is not set.
        BadRequestError, UnexplainedError: `config` is no configuration of this kind.
        NotFoundError: there is no object whose status could be applied.
    """
    if not options.trusted:
        policy.check(call, "patch")
    check_config(call.resource.gvk, config)
    call = placed(call, config)
    write = write_of(machinery, call, options)
    change = change_of(write, config, force=force)
    options = replace(options, managed=True)
    for _ in range(ATTEMPTS_MAX):
        try:
            return await _update(machinery, policy, call, change, options), False
        except NotFoundError as error:
            if call.subresource or (error.name, error.kind) != (call.name, call.resource.plural):
                raise
        if uid := config["metadata"].get("uid"):
            why = (
                f"uid mismatch: the provided object specified uid {uid}, and no existing object "
                "was found"
            )
            raise failures.conflict(call.resource, call.name, why)
        try:
            return await create(machinery, policy, call, change({}), options), True
        except AlreadyExistsError:  # somebody else was faster
            continue
    raise failures.conflict(call.resource, call.name)


async def _update(
    machinery: Machinery, policy: Policy, call: Call, change: Change, options: WriteOptions
) -> Written:
    try:
        return await guaranteed_update(machinery, policy, call, change, options)
    except FieldConflictError:  # perhaps only with what a cache still holds
        return await guaranteed_update(machinery, policy, call, change, options, stale_ok=False)


def change_of(write: Write, config: Object, *, force: bool) -> Change:
    """The change that an apply is; it takes {} for an object that is not there.

    Its answer has managedFields of its own. It raises as `apply` does.
    """

    def change(obj: Object) -> Object:
        new: Object
        metadata = dict(obj.get("metadata") or {})
        before = metadata.pop("managedFields", None)
        managers = entries.read(before, trusted=True)
        live = {**obj, "metadata": metadata} if obj else {}
        new, managers = _applied(write, live, config, managers, force=force)
        if write.manager == last_applied.MANAGER:
            new = last_applied.follow(new, config)
        if found := entries.written(managers):
            new = {**new, "metadata": {**new["metadata"], "managedFields": found}}
        return new

    return change


def check_config(kind: GroupVersionKind, config: Object) -> None:
    """Raises BadRequestError: that cannot be applied to objects of this kind."""
    version, name = config.get("apiVersion") or "", config.get("kind") or ""
    if (version, name) != (kind.api_version, kind.kind):
        group, _, last = str(version).rpartition("/")
        raise BadRequestError(f"invalid object type: {group}/{last}, Kind={name}")
    metadata = config.get("metadata")
    if isinstance(metadata, dict) and metadata.get("managedFields") is not None:
        raise BadRequestError("metadata.managedFields must be nil")


def _applied(
    write: Write, live: Object, config: Object, managers: Managers, *, force: bool
) -> Applied:
    try:
        return applied(write, live, config, managers, force=force)
    except ConflictsError as error:
        conflicts = error.conflicts
        if write.manager == last_applied.MANAGER:
            mine = last_applied.still_applied(write.type, live, write.api_version)
            conflicts = tuple(each for each in conflicts if not sets.has(mine, each.path))
            if not conflicts:
                return applied(write, live, config, managers, force=True)
        raise _refused(conflicts) from error
    except MistypedError as error:
        what = str(error)
        if config["kind"] == SECRET.kind:
            what = _GIVEN.sub(", got something else", what)
        raise UnexplainedError(
            f"failed to create typed patch object ({_named(config)}): {what}"
        ) from error
    except MergeError as error:
        raise UnexplainedError(str(error)) from error


def _refused(conflicts: tuple[Conflict, ...]) -> FieldConflictError:
    causes = [
        Cause("FieldManagerConflict", f"conflict with {shown(each.manager)}", text(each.path))
        for each in conflicts
    ]
    return FieldConflictError(message(conflicts), causes=causes)


def _named(config: Object) -> str:
    given = config.get("metadata")
    metadata: dict[str, Any] = given if isinstance(given, dict) else {}
    group, _, version = str(config["apiVersion"]).rpartition("/")
    where = f"{metadata.get('namespace') or ''}/{metadata.get('name') or ''}"
    return f"{where}; {group}/{version}, Kind={config['kind']}"

"""The entries of metadata.managedFields: read, written, and kept few.

Source: meta/v1 ManagedFieldsEntry; apimachinery managedfields (identity, order, the cap).
"""

from __future__ import annotations

from typing import Any, NamedTuple

from apiserver.apply import path
from apiserver.apply.fields import LEAF, SELF, FieldSet, union

APPLY, UPDATE = "Apply", "Update"
UPDATE_MANAGERS_MAX = 10
ANCIENT, BEFORE_APPLY, UNKNOWN = "ancient-changes", "before-first-apply", "unknown"
NAME_BYTES_MAX = 128
DEPTH_MAX = 64


class Identity(NamedTuple):
    """Who an entry is of. Of one who applies, `api_version` is "" and does not tell apart."""

    manager: str
    operation: str
    api_version: str
    subresource: str = ""

    @classmethod
    def of(cls, manager: str, operation: str, api_version: str, subresource: str = "") -> Identity:
        version = "" if operation == APPLY else api_version
        return cls(manager, operation, version, subresource)


class Share(NamedTuple):
    """What somebody manages: the fields, as of which version of the kind, and since when."""

    fields: FieldSet
    api_version: str
    time: str = ""


Managers = dict[Identity, Share]


class MalformedError(ValueError):
    """managedFields are not what the server writes."""


def read(entries: Any, *, trusted: bool = False) -> Managers:
    """The managers of an object.

    Args:
        trusted: the entries are the server's own, and need no second look.

    Raises:
        MalformedError: a client made them up.
    """
    if trusted:
        return {_identity(e): _share(e, e.get("fieldsV1") or LEAF) for e in entries or ()}
    if entries is not None and not isinstance(entries, list):
        raise MalformedError("managedFields must be a list")
    found: Managers = {}
    for index, entry in enumerate(entries or ()):
        _check(entry, index)
        found[_identity(entry)] = _share(entry, _canonical(entry.get("fieldsV1") or {}, 0))
    return found


def written(managers: Managers) -> list[dict[str, Any]]:
    """The entries of managers: who applied first, then by time and name."""
    result = []
    for identity, share in sorted(managers.items(), key=_order):
        entry: dict[str, Any] = {
            "manager": identity.manager,
            "operation": identity.operation,
            "apiVersion": share.api_version,
        }
        if share.time:
            entry["time"] = share.time
        entry |= {"fieldsType": "FieldsV1", "fieldsV1": share.fields}
        if identity.subresource:
            entry["subresource"] = identity.subresource
        result.append(entry)
    return result


def is_reset(entries: Any) -> bool:
    """Whether a client asks to forget all managers: an empty list, or one empty entry."""
    return isinstance(entries, list) and (not entries or entries == [{}])


def capped(managers: Managers) -> Managers:
    """Managers with the oldest of too many that update put into one entry a version."""
    updaters = [identity for identity in managers if identity.operation == UPDATE]
    left = len(updaters)
    if left <= UPDATE_MANAGERS_MAX:
        return managers
    result = dict(managers)
    first: dict[str, Identity] = {}
    for identity in sorted(updaters, key=lambda each: (managers[each].time, each)):
        if left <= UPDATE_MANAGERS_MAX:
            break
        share = result[identity]
        bucket = Identity(ANCIENT, UPDATE, share.api_version)
        if share.api_version not in first:
            first[share.api_version] = identity
            continue
        if bucket not in result:
            result[bucket] = result.pop(first[share.api_version])
        fields = union(share.fields, result[bucket].fields)
        if identity != bucket:
            del result[identity]
            left -= 1
        result[bucket] = Share(fields, share.api_version, share.time)
    return result


def _order(item: tuple[Identity, Share]) -> tuple[str, ...]:
    identity, share = item
    return (
        identity.operation,
        share.time,
        identity.manager,
        share.api_version,
        identity.subresource,
    )


def _identity(entry: dict[str, Any]) -> Identity:
    return Identity.of(
        entry.get("manager", ""),
        entry["operation"],
        entry["apiVersion"],
        entry.get("subresource", ""),
    )


def _share(entry: dict[str, Any], fields: FieldSet) -> Share:
    return Share(fields, entry["apiVersion"], entry.get("time") or "")


def _check(entry: Any, index: int) -> None:
    if not isinstance(entry, dict):
        raise MalformedError(f"managed fields entry {index} must be an object")
    if entry.get("operation") not in (APPLY, UPDATE):
        raise MalformedError("operation must be `Apply` or `Update`")
    if not _text(entry, "apiVersion"):
        raise MalformedError("apiVersion must not be empty")
    kind = _text(entry, "fieldsType")
    if kind != "FieldsV1":
        what = f'invalid fieldsType "{kind}"' if kind else "missing fieldsType"
        raise MalformedError(f"{what} in managed fields entry {index}")
    if len(_text(entry, "manager").encode()) > NAME_BYTES_MAX:
        raise MalformedError(f"manager of managed fields entry {index} is too long")
    for field in ("subresource", "time"):
        _text(entry, field)


def _text(entry: dict[str, Any], field: str) -> str:
    value = entry.get(field)
    if value is not None and not isinstance(value, str):
        raise MalformedError(f"{field} must be a string")
    return value or ""


def _canonical(node: Any, depth: int) -> FieldSet:
    if not isinstance(node, dict) or depth > DEPTH_MAX:
        raise MalformedError("fieldsV1 must be nested objects")
    result: FieldSet = {}
    for key, below in node.items():
        if key == SELF:
            result[SELF] = LEAF
            continue
        try:
            element = path.canonical(key)
        except ValueError as error:
            raise MalformedError(f"fieldsV1 has the malformed key {key!s:.64}") from error
        if element is not None:
            result[element] = _canonical(below, depth + 1)
    if depth == 0:
        result.pop(SELF, None)
    return LEAF if result.keys() == {SELF} else result

"""Strategic merge patch: as a merge patch, but lists merge by what the schema says of them. Pure.

Directives in a patch: $patch (replace, delete, merge), $retainKeys, $deleteFromPrimitiveList/FIELD
and $setElementOrder/FIELD. Source: Kubernetes documentation, "Update API Objects in Place Using
kubectl patch"; apimachinery strategicpatch.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, NamedTuple

from apiserver.schema.definitions import Schema, reference
from kubraft.api.errors import BadRequestError

_PATCH, _RETAIN = "$patch", "$retainKeys"
_DELETE_FROM, _ORDER = "$deleteFromPrimitiveList/", "$setElementOrder/"
_STRATEGY, _KEY = "x-kubernetes-patch-strategy", "x-kubernetes-patch-merge-key"


class PatchSchema(NamedTuple):
    """Where in the definitions a value is described."""

    definitions: Mapping[str, Schema]
    schema: Schema

    @classmethod
    def of(cls, definitions: Mapping[str, Schema], root: str) -> PatchSchema:
        """The schema of a kind by its name."""
        return cls(definitions, definitions[root])

    def field(self, name: str) -> PatchSchema:
        """The schema of a field, with the strategy that stands beside its type."""
        found = self._resolved()
        properties = found.schema.get("properties") or {}
        inner = properties.get(name) or found.schema.get("additionalProperties")
        return PatchSchema(self.definitions, inner if isinstance(inner, dict) else {})

    def item(self) -> PatchSchema:
        """The schema of a list's items."""
        items = self._resolved().schema.get("items")
        return PatchSchema(self.definitions, items if isinstance(items, dict) else {})

    @property
    def strategies(self) -> tuple[str, ...]:
        return tuple(str(self.schema.get(_STRATEGY, "")).split(","))

    @property
    def merge_key(self) -> str:
        return str(self.schema.get(_KEY, ""))

    def _resolved(self) -> PatchSchema:
        name = reference(self.schema)
        if name is None:
            return self
        return PatchSchema(self.definitions, self.definitions.get(name, {}))


def strategic_merge(target: Any, patch: dict[str, Any], schema: PatchSchema) -> Any:
    """What `patch` makes of `target`. Neither is changed; the answer may share parts with both.

    Raises:
        BadRequestError: a directive is malformed, or an item lacks the key that lists merge by.
    """
    directive = patch.get(_PATCH)
    if directive == "replace":
        return _plain({k: v for k, v in patch.items() if k != _PATCH})
    if directive == "delete":
        return {}
    if directive not in (None, "merge"):
        raise BadRequestError(f"unknown patch type: {directive!s:.64} in map")
    result = dict(target) if isinstance(target, dict) else {}
    _retain(result, patch)
    for name, value in patch.items():
        if not name.startswith("$"):
            _set(result, name, value, schema.field(name))
        elif name.startswith(_DELETE_FROM):
            field, gone = name.removeprefix(_DELETE_FROM), _list(name, value)
            if isinstance(result.get(field), list):
                result[field] = [item for item in result[field] if item not in gone]
    for name, value in patch.items():
        field = name.removeprefix(_ORDER)
        if name.startswith(_ORDER) and isinstance(result.get(field), list):
            before = target.get(field) if isinstance(target, dict) else None
            key = schema.field(field).merge_key
            result[field] = _ordered(result[field], _list(name, value), before or [], key)
    return result


def _set(result: dict[str, Any], name: str, value: Any, schema: PatchSchema) -> None:
    before = result.get(name)
    if value is None:
        result.pop(name, None)
    elif isinstance(value, dict):
        if "replace" in schema.strategies or not isinstance(before, dict):
            before = {}
        result[name] = strategic_merge(before, value, schema)
    elif isinstance(value, list) and "merge" in schema.strategies:
        found = before if isinstance(before, list) else []
        result[name] = _merge_lists(found, value, schema)
    else:
        result[name] = _plain(value)


def _retain(result: dict[str, Any], patch: dict[str, Any]) -> None:
    keep = patch.get(_RETAIN)
    if keep is None:
        return
    kept = _list(_RETAIN, keep)
    for name, value in patch.items():
        if value is not None and not name.startswith("$") and name not in kept:
            raise BadRequestError(f"the retainKeys list does not contain the field {name!s:.64}")
    for name in [name for name in result if name not in kept]:
        del result[name]


def _merge_lists(before: list[Any], patch: list[Any], schema: PatchSchema) -> list[Any]:
    if not any(isinstance(item, (dict, list)) for item in patch):
        return [*before, *(item for item in dict.fromkeys(patch) if item not in before)]
    key, result = schema.merge_key, list(before)
    wanted: list[dict[str, Any]] = []
    for item in patch:
        if not isinstance(item, dict):
            raise BadRequestError("a list of objects cannot be merged with other values")
        if item.get(_PATCH) == "replace":
            rest = [other for other in patch if other is not item]
            return [_plain(other) for other in rest if other.get(_PATCH) is None]
        if item.get(_PATCH) == "delete":
            name = _key_of(item, key)
            result = [each for each in result if not _has(each, key, name)]
        else:
            wanted.append(item)
    places = {_hashable(each.get(key)): at for at, each in enumerate(result) if _is_map(each, key)}
    for item in wanted:
        name = _hashable(_key_of(item, key))
        if name in places:
            at = places[name]
            result[at] = strategic_merge(result[at], item, schema.item())
        else:
            places[name] = len(result)
            result.append(strategic_merge({}, item, schema.item()))
    return result


def _ordered(items: list[Any], order: list[Any], before: list[Any], key: str) -> list[Any]:
    """`items` as the patch orders them; what it does not name stays near its neighbours."""

    def name_of(item: Any) -> Any:
        return _hashable(item.get(key) if isinstance(item, dict) else item)

    rank: dict[Any, int] = {}
    for item in order:
        rank.setdefault(name_of(item), len(rank))
    was = {name_of(item): at for at, item in enumerate(before)}
    named = sorted((i for i in items if name_of(i) in rank), key=lambda i: rank[name_of(i)])
    others = [item for item in items if name_of(item) not in rank]
    result: list[Any] = []
    for item in named:
        at = was.get(name_of(item))
        while at is not None and others and was.get(name_of(others[0]), at) < at:
            result.append(others.pop(0))
        result.append(item)
    return [*result, *others]


def _plain(value: Any) -> Any:
    """A value without nulls and directives."""
    if isinstance(value, dict):
        return {k: _plain(v) for k, v in value.items() if v is not None and not k.startswith("$")}
    return [_plain(item) for item in value] if isinstance(value, list) else value


def _list(name: str, value: Any) -> list[Any]:
    if not isinstance(value, list):
        raise BadRequestError(f"{name!s:.64} must be a list")
    return value


def _key_of(item: dict[str, Any], key: str) -> Any:
    if not key or item.get(key) is None:
        raise BadRequestError(f"map: does not contain declared merge key: {key or 'none'}")
    return item[key]


def _is_map(item: Any, key: str) -> bool:
    return isinstance(item, dict) and key in item


def _has(item: Any, key: str, name: Any) -> bool:
    return isinstance(item, dict) and bool(item.get(key) == name)


def _hashable(value: Any) -> Any:
    return str(value) if isinstance(value, (dict, list)) else value

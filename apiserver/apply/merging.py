"""Values put together and taken apart by their type: what an apply does to an object."""

from __future__ import annotations

from typing import Any

from apiserver.apply.fields import LEAF, SELF, FieldSet, is_member, with_self
from apiserver.apply.path import FIELD, of_field
from apiserver.apply.types import Shape, Type
from apiserver.apply.walk import MISSING

_MAPS = (Shape.STRUCT, Shape.MAP, Shape.ANY)
_LISTS = (Shape.KEYED, Shape.SET)


def merge(type_: Type, live: Any, applied: Any) -> Any:
    """`live` with everything that `applied` says. Neither is changed; the answer shares parts.

    Items of lists that merge keep the order that `applied` gives them; those that it does not name
    keep their place among what was live.
    """
    if applied is MISSING:
        return live
    if live is MISSING:
        return applied
    if type_.shape in _MAPS and isinstance(live, dict) and isinstance(applied, dict):
        if not live or not applied:
            return live or applied
        result = dict(live)
        for name, value in applied.items():
            child = type_.child(name)
            before = live.get(name, MISSING)
            result[name] = value if child is None else merge(child, before, value)
        return result
    if type_.shape in _LISTS and isinstance(live, list) and isinstance(applied, list):
        return _merge_lists(type_, live, applied) if live and applied else live or applied
    if applied is None and type_.shape in (*_MAPS, *_LISTS) and isinstance(live, (dict, list)):
        return live or applied
    return applied


def _merge_lists(type_: Type, live: list[Any], applied: list[Any]) -> list[Any]:
    assert type_.element is not None
    left = [type_.element_of(item) for item in live]
    right = {type_.element_of(item): item for item in applied}
    items: dict[str, Any] = {}
    for element, item in zip(left, live, strict=True):
        # What is there more than once does not merge, it is replaced.
        items[element] = MISSING if element in items else item

    def merged(element: str) -> Any:
        assert type_.element is not None
        return merge(type_.element, items.get(element, MISSING), right[element])

    shared = iter([element for element in right if element in items])
    awaited = next(shared, None)
    result: list[Any] = []
    order, done = list(right), set[str]()
    l_at = r_at = 0
    while l_at < len(left) or r_at < len(order):
        if l_at < len(left):
            element = left[l_at]
            if r_at < len(order) and element == order[r_at]:
                l_at += 1  # both have it next: taken below
            elif element not in right:
                result.append(live[l_at])
                l_at += 1
                continue
            elif r_at < len(order) and awaited not in (None, element):
                l_at += 1  # shared, but not the one whose turn it is
                continue
            elif element in done:
                l_at += 1
        if r_at < len(order):
            element = order[r_at]
            result.append(merged(element))
            done.add(element)
            r_at += 1
            if element == awaited:
                awaited = next(shared, None)
    return result


def remove(type_: Type, value: Any, fields: FieldSet) -> Any:
    """`value` without the members of `fields`, and without what that leaves empty; None for all."""
    if not fields or not value:
        return value
    if isinstance(value, dict) and type_.shape in _MAPS:
        kept = {}
        for name, item in value.items():
            node = fields.get(of_field(name))
            if node is None:
                kept[name] = item
            elif not is_member(node):
                child = type_.child(name)
                rest = item if child is None else remove(child, item, node)
                if rest is not None or item is None:
                    kept[name] = rest
        return kept or None
    if isinstance(value, list) and type_.shape in _LISTS:
        assert type_.element is not None
        left = []
        for item in value:
            node = fields.get(type_.element_of(item))
            if node is None:
                left.append(item)
            elif not is_member(node):
                rest = remove(type_.element, item, node)
                if rest is not None:
                    left.append(rest)
        return left or None
    return value


def with_named(type_: Type, fields: FieldSet) -> FieldSet:
    """`fields` with each field of a struct a member that has members below it."""
    result: FieldSet = {}
    for key, node in fields.items():
        if key == SELF or not node:
            result[key] = node
            continue
        named = key.startswith(FIELD)
        child = type_.child(key.removeprefix(FIELD)) if named else type_.element
        below = with_named(child, node) if child is not None else node
        declared = named and key.removeprefix(FIELD) in type_.fields
        result[key] = with_self(below) if declared else below
    return result


def settled(type_: Type, fields: FieldSet) -> FieldSet:
    """`fields` by a schema that may have changed: below what is atomic now, nothing is owned."""
    result: FieldSet = {}
    for key, node in fields.items():
        child = type_.child(key.removeprefix(FIELD)) if key.startswith(FIELD) else type_.element
        if not node or child is None:
            result[key] = node
        elif child.shape in (Shape.ATOMIC_MAP, Shape.ATOMIC_LIST):
            result[key] = LEAF
        else:
            result[key] = settled(child, node)
    return result

"""Along objects by their type: which fields a value has, and what differs between two.

Both treat an atomic map or list as one field, and lists with keys as maps of their items.
"""

from __future__ import annotations

from typing import Any, NamedTuple

from apiserver.apply.fields import LEAF, SELF, FieldSet, with_self
from apiserver.apply.path import of_field
from apiserver.apply.types import Shape, Type, UnkeyedError

_MAPS = (Shape.STRUCT, Shape.MAP, Shape.ANY)
_LISTS = (Shape.KEYED, Shape.SET)


class _Missing:
    """Stands for a field that is not there, which is not the same as null."""


MISSING: Any = _Missing()


class Changes(NamedTuple):
    """Disjoint sets; all are empty where two values are equal."""

    removed: FieldSet = LEAF
    modified: FieldSet = LEAF
    added: FieldSet = LEAF


def fields_of(type_: Type, value: Any) -> FieldSet:
    """The fields that a configuration sets: its leaves, and the items of its lists and maps."""
    return _set(type_, value) or LEAF


def _set(type_: Type, value: Any) -> FieldSet | None:
    """The node of a value; None where it sets nothing (a list without items)."""
    if isinstance(value, dict) and type_.shape in _MAPS:
        if not value:
            return LEAF
        node: FieldSet = {}
        for name in sorted(value):
            child = type_.child(name)
            below = LEAF if child is None else _set(child, value[name])
            if name not in type_.fields:
                below = with_self(below or LEAF)
            if below is not None:
                node[of_field(name)] = below
        return node or None
    if isinstance(value, list) and type_.shape in _LISTS:
        assert type_.element is not None
        node = {}
        for element, items in _by_element(type_, value).items():
            below = _set(type_.element, items[0]) if len(items) == 1 else None
            node[element] = with_self(below or LEAF)
        return node or None
    return LEAF


def compare(type_: Type, old: Any, new: Any) -> Changes:
    """What `new` changes of `old`."""
    return _compare(type_, old, new) or Changes()


def compare_new(type_: Type, new: Any) -> FieldSet:
    """What a new object adds to one of its kind in which nothing is set."""
    return _all(type_, new, exists=True)


def _all(type_: Type, value: Any, *, exists: bool) -> FieldSet:
    """The node of a value that is there on one side only.

    Args:
        exists: the other side has it as well, but empty (see `Type.always`).
    """
    if not value:
        return LEAF
    node: FieldSet = LEAF if exists else {SELF: LEAF}
    if isinstance(value, dict) and type_.shape in _MAPS:
        always = type_.always if exists else ()
        node = dict(node)
        for name in sorted(value):
            child = type_.child(name)
            node[of_field(name)] = (
                LEAF if child is None else _all(child, value[name], exists=name in always)
            )
        return node
    if isinstance(value, list) and type_.shape in _LISTS:
        assert type_.element is not None
        node = dict(node)
        for element, items in _by_element(type_, value).items():
            node[element] = _all(type_.element, items[0], exists=False) if len(items) == 1 else LEAF
        return node
    return LEAF


def _compare(type_: Type, old: Any, new: Any) -> Changes | None:
    """Changes as nodes; None where there are none."""
    return None if old == new else _differing(type_, old, new)


def _differing(type_: Type, old: Any, new: Any) -> Changes | None:
    """Changes of values that are not equal; None where only the order of a set differs."""
    if not old and not new:  # {} and null
        return Changes(modified=LEAF_NODE)
    if type_.shape in _MAPS and _is(old, dict) and _is(new, dict):
        return _compare_maps(type_, old or {}, new or {})
    if type_.shape in _LISTS and _is(old, list) and _is(new, list):
        return _compare_lists(type_, old or [], new or [])
    # One is a map and the other is not: what was below it goes, what is below it comes.
    below = (_all(type_, value, exists=True) for value in (old, new))
    return Changes(next(below), LEAF_NODE, next(below))


# A node that is a member; told from LEAF, which as a part of Changes is an empty set, by its key.
LEAF_NODE: FieldSet = {SELF: LEAF}


def _is(value: Any, kind: type) -> bool:
    return value is None or isinstance(value, kind)


class _Collector:
    """Puts the changes of children together."""

    def __init__(self) -> None:
        self.removed: FieldSet = {}
        self.modified: FieldSet = {}
        self.added: FieldSet = {}

    def put(self, element: str, changes: Changes | None) -> None:
        if changes is None:
            return
        for mine, part in zip((self.removed, self.modified, self.added), changes, strict=True):
            if part:
                mine[element] = LEAF if part == LEAF_NODE else part

    def result(self) -> Changes | None:
        if not (self.removed or self.modified or self.added):
            return None
        return Changes(self.removed, self.modified, self.added)


def _compare_maps(type_: Type, old: dict[str, Any], new: dict[str, Any]) -> Changes | None:
    found = _Collector()
    for name in sorted(old.keys() | new.keys()):
        before, after = old.get(name, MISSING), new.get(name, MISSING)
        if before == after:
            continue
        child, element = type_.child(name), of_field(name)
        exists = name in type_.always
        if before is MISSING:
            found.added[element] = LEAF if child is None else _all(child, after, exists=exists)
        elif after is MISSING:
            found.removed[element] = LEAF if child is None else _all(child, before, exists=exists)
        elif child is not None:
            found.put(element, _differing(child, before, after))
        else:
            found.modified[element] = LEAF
    return found.result()


def _compare_lists(type_: Type, old: list[Any], new: list[Any]) -> Changes | None:
    assert type_.element is not None
    found, inner = _Collector(), type_.element
    before, after = _by_element(type_, old), _by_element(type_, new)
    for element in [*before, *(each for each in after if each not in before)]:
        olds, news = before.get(element, []), after.get(element, [])
        if len(olds) <= 1 and len(news) <= 1:
            if not olds:
                found.added[element] = _all(inner, news[0], exists=False)
            elif not news:
                found.removed[element] = _all(inner, olds[0], exists=False)
            else:
                found.put(element, _compare(inner, olds[0], news[0]))
        elif len(olds) > 1 and len(news) > 1:
            if olds != news:
                found.modified[element] = LEAF
        elif len(olds) > 1:
            found.removed[element] = LEAF
            if news:
                found.added[element] = _all(inner, news[0], exists=False)
        else:
            found.added[element] = LEAF
            if olds:
                found.removed[element] = _all(inner, olds[0], exists=False)
    return found.result()


def _by_element(type_: Type, items: list[Any]) -> dict[str, list[Any]]:
    """Items by their path element, in order; those that have none are left out."""
    found: dict[str, list[Any]] = {}
    for item in items:
        try:
            found.setdefault(type_.element_of(item), []).append(item)
        except UnkeyedError:
            continue
    return found

"""Sets of fields, in the very form in which managedFields carries them (FieldsV1).

A set is a nested dict. Its keys are path elements ("f:spec", 'k:{"name":"a"}', 'v:"x"', "i:0"; see
`path`); an empty dict below a key says that the field is a member, and "." says it of a field that
has members below it as well:

    {"f:data": {".": {}, "f:a": {}}}        holds data and data.a

Sets are values: no function changes its arguments, answers share parts with them. Only a root may
be empty.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from apiserver.apply.path import Path, sort_key

FieldSet = dict[str, Any]
SELF = "."
LEAF: FieldSet = {}


def is_member(node: FieldSet) -> bool:
    """Whether the field of this node itself is in the set."""
    return not node or SELF in node


def with_self(node: FieldSet) -> FieldSet:
    """A node whose own field is a member."""
    return node if is_member(node) else {SELF: LEAF, **node}


def union(left: FieldSet, right: FieldSet) -> FieldSet:
    """What is in either."""
    if not left or left is right:
        return right
    result = dict(left)
    for key, node in right.items():
        mine = left.get(key)
        if mine is None:
            result[key] = node
        elif mine is not node and mine != node:
            result[key] = _union_of_nodes(mine, node)
    return result


def _union_of_nodes(left: FieldSet, right: FieldSet) -> FieldSet:
    both = union(left, right)
    return with_self(both) if both and (not left or not right) else both


def intersection(left: FieldSet, right: FieldSet) -> FieldSet:
    """What is in both."""
    result: FieldSet = {}
    for key, mine in left.items():
        node = right.get(key)
        if node is None or key == SELF:
            continue
        below = intersection(mine, node)
        if is_member(mine) and is_member(node):
            result[key] = with_self(below) if below else LEAF
        elif below:
            result[key] = below
    return result


def difference(left: FieldSet, right: FieldSet) -> FieldSet:
    """What is in `left` and not in `right`; members below those of `right` stay."""
    if not right:
        return left
    result: FieldSet = {}
    for key, mine in left.items():
        if key == SELF:
            continue
        node = right.get(key)
        if node is None:
            result[key] = mine
            continue
        below = difference(mine, node)
        if is_member(mine) and not is_member(node):
            result[key] = with_self(below) if below else LEAF
        elif below := {name: node for name, node in below.items() if name != SELF}:
            result[key] = below
    return result


def without(fields: FieldSet, roots: FieldSet) -> FieldSet:
    """`fields` without the members of `roots` and whatever is below them."""
    result: FieldSet = {}
    for key, node in fields.items():
        cut = roots.get(key)
        if cut is None:
            result[key] = node
        elif not is_member(cut):
            kept = without(node, cut)
            if kept or not node:
                result[key] = kept
    return result


def has(fields: FieldSet, path: Path) -> bool:
    """Whether a path is a member."""
    node = fields
    for element in path:
        found = node.get(element)
        if found is None:
            return False
        node = found
    return bool(path) and is_member(node)


def paths(fields: FieldSet, prefix: Path = ()) -> Iterator[Path]:
    """All members: those of a level before those below them, each level in upstream's order."""
    keys = sorted((key for key in fields if key != SELF), key=sort_key)
    for key in keys:
        if is_member(fields[key]):
            yield (*prefix, key)
    for key in keys:
        if fields[key]:
            yield from paths(fields[key], (*prefix, key))


def of_paths(*members: Path) -> FieldSet:
    """The set of these paths."""
    result: FieldSet = {}
    for path in members:
        node: FieldSet = LEAF
        for element in reversed(path):
            node = {element: node}
        result = union(result, node)
    return result

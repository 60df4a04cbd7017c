"""JSON merge patch: apply one, and find the one that turns one value into another.

Source: RFC 7386.
"""

from __future__ import annotations

from typing import Any


def merge_patch(target: Any, patch: Any) -> Any:
    """What `patch` makes of `target`. Neither is changed; the answer may share parts with both."""
    if not isinstance(patch, dict):
        return patch
    result = dict(target) if isinstance(target, dict) else {}
    for name, value in patch.items():
        if value is None:
            result.pop(name, None)
        else:
            result[name] = merge_patch(result.get(name), value)
    return result


def diff_merge_patch(old: dict[str, Any], new: dict[str, Any]) -> dict[str, Any]:
    """The smallest merge patch that turns `old` into `new`; empty where they are equal.

    A merge patch cannot set a member to null: nulls in `new` come out as absent members.
    """
    patch: dict[str, Any] = {name: None for name in old if new.get(name) is None}
    for name, value in new.items():
        before = old.get(name)
        if value is None or (value == before and type(value) is type(before)):
            continue
        if isinstance(value, dict) and isinstance(before, dict):
            if nested := diff_merge_patch(before, value):
                patch[name] = nested
        else:
            patch[name] = value
    return patch

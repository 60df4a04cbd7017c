"""What is wrong with a field, in upstream's words.

Source: apimachinery field.Error (types and how each prints).
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

import orjson

from kubraft.api.errors import Cause


def required(field: str, detail: str = "") -> Cause:
    """The field must be set."""
    return Cause("FieldValueRequired", _with("Required value", detail), field)


def invalid(field: str, value: Any, detail: str) -> Cause:
    """The field's value breaks a rule."""
    return Cause("FieldValueInvalid", f"Invalid value: {shown(value)}: {detail}", field)


def unsupported(field: str, value: Any, supported: Iterable[str]) -> Cause:
    """The field's value is none of those that there are."""
    choices = ", ".join(f'"{choice}"' for choice in sorted(supported))
    message = f"Unsupported value: {shown(value)}: supported values: {choices}"
    return Cause("FieldValueNotSupported", message, field)


def forbidden(field: str, detail: str) -> Cause:
    """The field may not be set, or not be changed."""
    return Cause("FieldValueForbidden", f"Forbidden: {detail}", field)


def duplicate(field: str, value: Any) -> Cause:
    """The field's value must be unique, and is not."""
    return Cause("FieldValueDuplicate", f"Duplicate value: {shown(value)}", field)


def not_found(field: str, value: Any) -> Cause:
    """The field names something that is not there."""
    return Cause("FieldValueNotFound", f"Not found: {shown(value)}", field)


def too_long(field: str, bytes_max: int) -> Cause:
    """The field holds more than it may."""
    return Cause("FieldValueTooLong", f"Too long: may not be more than {bytes_max} bytes", field)


def too_many(field: str, count: int, most: int) -> Cause:
    """The field has more items than it may."""
    text = f"Too many: {count}: must have at most {most} items"
    return Cause("FieldValueTooMany", text, field)


def invalid_whole(field: str, detail: str) -> Cause:
    """As `invalid`, of what is too large to be shown."""
    return Cause("FieldValueInvalid", f"Invalid value: {detail}", field)


def immutable(field: str, value: Any) -> Cause:
    """The field may not change once it is set."""
    return invalid(field, value, "field is immutable")


def all_invalid(field: str, value: Any, details: Iterable[str]) -> list[Cause]:
    """One cause for each of `details`."""
    return [invalid(field, value, detail) for detail in details]


def shown(value: Any) -> str:
    """A value as it stands in a message."""
    if isinstance(value, str):
        return orjson.dumps(value).decode()
    if value is None:
        return "null"
    return orjson.dumps(value).decode()


def _with(message: str, detail: str) -> str:
    return f"{message}: {detail}" if detail else message

"""Validation of values by a structural schema, in upstream's words.

On an update, what stayed as it was is not held to a schema that has become stricter meanwhile.

Source: upstream's validators of custom resources (order and texts); OpenAPI 3.0 schema objects.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any, Final

from apiserver.registry.causes import invalid, required, shown
from apiserver.structural import formats, pattern
from apiserver.structural.schema import (
    INT_OR_STRING,
    LIST_KEYS,
    LIST_TYPE,
    MAP_TYPE,
    Schema,
    additional_of,
    child_path,
    items_of,
    properties_of,
)
from kubraft.api.errors import Cause

# Stands for what an object did not have before, which null does not.
ABSENT: Final = object()
# So many causes are named; a large object made of nonsense would fill the message.
CAUSES_MAX = 100
_RANGES = {"int32": 2**31, "int64": 2**63}


def value_causes(value: Any, schema: Schema, path: str = "", old: Any = ABSENT) -> list[Cause]:
    """What is wrong with a value at `path`; `old` is what stood there before."""
    causes: list[Cause] = []
    for cause in _causes(value, schema, path, old):
        causes.append(cause)
        if len(causes) >= CAUSES_MAX:
            break
    return causes


def _causes(value: Any, schema: Schema, path: str, old: Any) -> Iterator[Cause]:
    if old is not ABSENT and old == value and type(old) is type(value):
        return
    if (cause := _type_cause(value, schema, path)) is not None:
        yield cause
    if value is not None:
        yield from _composed(value, schema, path)
        if isinstance(value, str):
            yield from _text_causes(value, schema, path)
        elif isinstance(value, (int, float)) and not isinstance(value, bool):
            yield from _number_causes(value, schema, path)
        elif isinstance(value, list):
            yield from _list_causes(value, schema, path, old)
    yield from _enum_causes(value, schema, path)
    if isinstance(value, dict):
        yield from _object_causes(value, schema, path, old)


def _wrong(path: str, value: Any, rule: str) -> Cause:
    return invalid(path, "" if value is None else value, f"{path} in body {rule}")


def type_name(value: Any) -> str:
    """A JSON value's type as schemas name it."""
    match value:
        case bool():
            return "boolean"
        case str():
            return "string"
        case int():
            return "integer"
        case float():
            return "number"
        case list():
            return "array"
        case dict():
            return "object"
    return "null"


def _type_cause(value: Any, schema: Schema, path: str) -> Cause | None:
    wanted = "integer,string" if schema.get(INT_OR_STRING) else schema.get("type", "")
    if not wanted or (value is None and schema.get("nullable")):
        return None
    actual = type_name(value)
    if actual in wanted.split(","):
        return None
    if "number" in wanted and actual == "integer":
        return None
    if "integer" in wanted and actual == "number" and value == int(value):
        return None
    message = f'{path} in body must be of type {wanted}: "{actual}"'
    return Cause("FieldValueTypeInvalid", f'Invalid value: "{actual}": {message}', path)


def _text_causes(value: str, schema: Schema, path: str) -> Iterator[Cause]:
    longest, shortest = schema.get("maxLength"), schema.get("minLength")
    if longest is not None and len(value) > longest:
        message = f"Too long: may not be more than {longest} bytes"
        yield Cause("FieldValueTooLong", message, path)
    if shortest is not None and len(value) < shortest:
        yield _wrong(path, value, f"should be at least {shortest} chars long")
    if (wanted := schema.get("pattern")) and not pattern.matches(wanted, value):
        yield _wrong(path, value, f"should match '{wanted}'")
    name = schema.get("format") or ""
    if name and schema.get("type", "string") == "string" and not formats.fits(name, value):
        yield _wrong(path, value, f"must be of type {name}: {shown(value)}")


def _number_causes(value: float, schema: Schema, path: str) -> Iterator[Cause]:
    if (multiple := schema.get("multipleOf")) and not _is_multiple(value, multiple):
        yield _wrong(path, value, f"should be a multiple of {_go(multiple)}")
    most, least = schema.get("maximum"), schema.get("minimum")
    if most is not None:
        if schema.get("exclusiveMaximum") and value >= most:
            yield _wrong(path, value, f"should be less than {_go(most)}")
        elif value > most:
            yield _wrong(path, value, f"should be less than or equal to {_go(most)}")
    if least is not None:
        if schema.get("exclusiveMinimum") and value <= least:
            yield _wrong(path, value, f"should be greater than {_go(least)}")
        elif value < least:
            yield _wrong(path, value, f"should be greater than or equal to {_go(least)}")
    bound = _RANGES.get(schema.get("format") or "")
    if bound and schema.get("type") == "integer" and not -bound <= value < bound:
        rule = f"must be of type {schema['format']}"
        yield _wrong(path, value, rule)


def _is_multiple(value: float, factor: float) -> bool:
    if factor <= 0:
        return True
    if isinstance(value, int) and isinstance(factor, int):
        return value % factor == 0
    quotient = value / factor
    return abs(quotient - round(quotient)) < 1e-9


def _go(number: float) -> str:
    """A number as Go prints it."""
    return str(int(number)) if number == int(number) and abs(number) < 1e21 else repr(number)


def _list_causes(value: list[Any], schema: Schema, path: str, old: Any) -> Iterator[Cause]:
    items = items_of(schema)
    if items:
        before = _correlated(schema, old)
        for index, item in enumerate(value):
            was = before(item) if before else ABSENT
            yield from _causes(item, items, f"{path}[{index}]", was)
    least, most = schema.get("minItems"), schema.get("maxItems")
    if least is not None and len(value) < least:
        yield _wrong(path, len(value), f"should have at least {least} items")
    if most is not None and len(value) > most:
        yield too_many(path, len(value), most)


def too_many(path: str, actual: int, most: int) -> Cause:
    """A list or map that holds more than it may."""
    message = f"Too many: {actual}: must have at most {most} items"
    return Cause("FieldValueTooMany", message, path)


def _correlated(schema: Schema, old: Any) -> Any:
    """How to find what an item of a list was before; None where that cannot be told."""
    if schema.get(LIST_TYPE) != "map" or not isinstance(old, list):
        return None
    names = schema.get(LIST_KEYS) or ()

    def key(item: Any) -> tuple[str, ...]:
        found = item if isinstance(item, dict) else {}
        return tuple(shown(found.get(name)) for name in names)

    before = {key(item): item for item in old}
    return lambda item: before.get(key(item), ABSENT)


def _object_causes(value: dict[str, Any], schema: Schema, path: str, old: Any) -> Iterator[Cause]:
    least, most = schema.get("minProperties"), schema.get("maxProperties")
    if least is not None and len(value) < least:
        yield _wrong(path, len(value), f"should have at least {least} properties")
    if most is not None and len(value) > most:
        yield too_many(path, len(value), most)
    properties, additional = properties_of(schema), additional_of(schema)
    before = old if isinstance(old, dict) and schema.get(MAP_TYPE) != "atomic" else {}
    for name, each in value.items():
        known = properties.get(name, additional)
        if known:
            yield from _causes(each, known, child_path(path, name), before.get(name, ABSENT))
    for name in schema.get("required") or ():
        if name not in value:
            yield required(child_path(path, name))


def _enum_causes(value: Any, schema: Schema, path: str) -> Iterator[Cause]:
    choices = schema.get("enum")
    if choices and not any(each == value and type_name(each) == type_name(value)
                           for each in choices):  # fmt: skip
        names = ", ".join(shown(each) for each in choices)
        message = f"Unsupported value: {shown(value)}: supported values: {names}"
        yield Cause("FieldValueNotSupported", message, path)


def _composed(value: Any, schema: Schema, path: str) -> Iterator[Cause]:
    if some := schema.get("anyOf"):
        failures = [list(_causes(value, each, path, ABSENT)) for each in some]
        if all(failures):
            yield _whole(path, "must validate at least one schema (anyOf)")
            yield from min(failures, key=len)
    if one := schema.get("oneOf"):
        failures = [list(_causes(value, each, path, ABSENT)) for each in one]
        fitting = sum(not each for each in failures)
        if fitting != 1:
            found = f"Found {fitting} valid alternatives" if fitting else "Found none valid"
            yield _whole(path, f"must validate one and only one schema (oneOf). {found}")
            if not fitting:
                yield from min(failures, key=len)
    if every := schema.get("allOf"):
        failures = [list(_causes(value, each, path, ABSENT)) for each in every]
        for each in failures:
            yield from each
        if any(failures):
            none = ". None validated" if all(failures) else ""
            yield _whole(path, f"must validate all the schemas (allOf){none}")
    if (wrong := schema.get("not")) and not any(_causes(value, wrong, path, ABSENT)):
        yield _whole(path, "must not validate the schema (not)")


def _whole(path: str, rule: str) -> Cause:
    """What belongs to no one value: upstream says it of the object as a whole."""
    return Cause("FieldValueInvalid", f'Invalid value: "": "{path}" {rule}', "<nil>")

"""How large values of a schema can be, and what rules on them can cost at most.

Where a schema sets no bound, the largest request does.

Source: upstream's pkg/cel/common (schemas) and the validation of CustomResourceDefinitions (limits,
texts).
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Final

from apiserver.cel import Program
from apiserver.cel.cost import ONE, Estimator, Flat, Sized
from apiserver.structural.cel_value import escaped, fields_of
from apiserver.structural.schema import Schema, additional_of, items_of, properties_of

REQUEST_BYTES_MAX: Final = 3 * 1024 * 1024
RULE_COST_MAX: Final = 10_000_000
SCHEMA_COST_MAX: Final = 100_000_000
# Upstream has no bound for keys, and so refuses every rule that looks into them.
KEY_CHARS_MAX: Final = 1_024
_FORMATS: Final = {"date": 12, "datetime": 32, "date-time": 32, "duration": 32}
_LEAST: Final = {"boolean": 4, "integer": 1, "number": 1, "string": 2}
_ADVICE: Final = (
    "(try simplifying the rule, or adding maxItems, maxProperties, and maxLength where arrays, "
    "maps, and strings are declared)"
)


class SchemaSized:
    """Implements apiserver.cel.cost.Sized for any value of a schema."""

    def __init__(self, schema: Schema, *, root: bool = False) -> None:
        self._schema = schema
        self._root = root

    @property
    def size(self) -> int:
        schema = self._schema
        match schema.get("type"):
            case "string":
                return _text_size(schema)
            case "array":
                return item_count(schema)
            case "object" if additional_of(schema) is not None:
                return property_count(schema)
        return 1

    @property
    def weight(self) -> int:
        return self.size

    def field(self, name: str) -> Sized:
        fields = fields_of(self._schema, root=self._root)
        for field, child in fields.items():
            if escaped(field) == name:
                return SchemaSized(child)
        return self.item()

    def item(self) -> Sized:
        child = items_of(self._schema) or additional_of(self._schema)
        return SchemaSized(child) if child else ONE

    def key(self) -> Sized:
        if self._schema.get("type") == "array":
            return self.item()
        return Flat(KEY_CHARS_MAX)


def least_bytes(schema: Schema) -> int:
    """How short a value can be as JSON."""
    if schema.get("x-kubernetes-int-or-string"):
        return 1
    type_ = schema.get("type")
    if type_ == "object":
        required = schema.get("required") or ()
        properties = properties_of(schema)
        return 2 + sum(
            len(name) + 4 + least_bytes(properties[name]) for name in required if name in properties
        )
    return _LEAST.get(str(type_), 2)


def item_count(schema: Schema) -> int:
    """How many items a list can have."""
    most = schema.get("maxItems")
    if isinstance(most, int):
        return most
    return (REQUEST_BYTES_MAX - 2) // (least_bytes(items_of(schema) or {}) + 1)


def property_count(schema: Schema) -> int:
    """How many members a map can have."""
    most = schema.get("maxProperties")
    if isinstance(most, int):
        return most
    return (REQUEST_BYTES_MAX - 2) // (least_bytes(additional_of(schema) or {}) + 6)


def _text_size(schema: Schema) -> int:
    if enum := schema.get("enum"):
        return max((len(str(value)) for value in enum), default=1)
    if schema.get("format") in _FORMATS:
        return _FORMATS[schema["format"]]
    most = schema.get("maxLength")
    if isinstance(most, int):
        return most if schema.get("format") == "byte" else most * 4
    return REQUEST_BYTES_MAX - 2


def rule_cost(program: Program, schema: Schema, count: int | None, *, root: bool) -> int:
    """What one rule of a schema can cost in an object.

    Args:
        count: of how many places in an object it is asked; None where nothing bounds that.
    """
    me: Mapping[str, Sized] = {
        "self": SchemaSized(schema, root=root),
        "oldSelf": SchemaSized(schema, root=root),
        "oldSelfs": Flat(1, SchemaSized(schema, root=root)),
    }
    if count is None:
        count = REQUEST_BYTES_MAX // (least_bytes(schema) + 1)
    return Estimator().cost(program.tree, me) * count


def excess(what: str, cost: int, limit: int) -> str:
    """What is wrong with a cost above its limit; "" for others."""
    if cost <= limit:
        return ""
    factor = cost / limit
    if factor > 100:
        shown = "more than 100x"
    elif factor < 1.5:
        shown = f"{factor:f}x"
    else:
        shown = f"{factor:.1f}x"
    return f"{what} exceeds budget by factor of {shown} {_ADVICE}"

"""Objects that are nearly right: from a seed, with fields of the schema filled in oddly. Pure."""

from __future__ import annotations

import copy
from collections.abc import Mapping
from random import Random
from typing import Any

import orjson

from apiserver.schema.definitions import definitions_file
from kubraft.api.gvk import GroupVersionKind

Schema = Mapping[str, Any]
DEPTH_MAX = 12
TEXTS = (
    *("", "x", "a-b", "A_B", "x" * 64, "x" * 300, "1", "-1", "100m", "1Gi", "1e400", "50%", "-5%"),
    *("0", "None", "true", "10.0.0.1", "::1", "10.0.0.0/24", "a.b.c/d", "/", "../..", "a/b/c"),
    *("2026-01-01T00:00:00Z", "not a time", "9999-12-31T23:59:59Z", "0001-01-01T00:00:00Z"),
    *("* * * * *", "@every 1h", "TZ=Nowhere * * * * *", "NoSchedule", "Exists", "In", "Always"),
    *("ClusterIP", "NodePort", "LoadBalancer", "ExternalName", "RollingUpdate", "Recreate"),
    *("tcp", "TCP", "http", "$(x)", "{{", "\0", "\ud7ff", "é", "😀", "a\nb", "%2f", "=", ",", "="),
    *("system:masters", "kube-system", "default", "*", "v1", "apps/v1", "Pod", "self.x == 1"),
)
NUMBERS = (0, 1, -1, 2, 80, 65535, 65536, 2**31 - 1, 2**31, 2**53, 2**63 - 1, -(2**63), 10**30)
JUNK: tuple[Any, ...] = (
    None,
    {},
    [],
    "",
    0,
    -1,
    1.5,
    True,
    [{}],
    [None],
    {"a": {}},
    {"": ""},
    1e308,
)


class Mutator:
    """Draws from one seed; the same seed gives the same objects."""

    def __init__(self, seed: int) -> None:
        self.random = Random(seed)
        self._definitions = orjson.loads(definitions_file().read_bytes())["$defs"]
        self._names = {
            GroupVersionKind(kind["group"], kind["version"], kind["kind"]): name
            for name, schema in self._definitions.items()
            for kind in schema.get("x-kubernetes-group-version-kind", ())
        }

    def mutated(self, obj: Any, kind: GroupVersionKind) -> Any:
        """A copy with one to four changes."""
        made = copy.deepcopy(obj)
        schema = self._definitions.get(self._names.get(kind, ""), {})
        for _ in range(self.random.choice((1, 1, 2, 4))):
            made = self._changed(made, schema, 0)
        return made

    def definition(self, kind: str) -> Schema:
        """The schema of a type by the last word of its name."""
        return next(s for name, s in self._definitions.items() if name.endswith(f".{kind}"))

    def changed(self, value: Any, schema: Schema) -> Any:
        """A copy with one change in the sense of the schema."""
        return self._changed(copy.deepcopy(value), schema, 2)

    def _changed(self, value: Any, schema: Schema, depth: int) -> Any:
        schema = self._resolved(schema)
        draw = self.random.random()
        if isinstance(value, dict) and draw < 0.85 and depth < DEPTH_MAX:
            known = schema.get("properties") or {}
            names = sorted({*value, *known}) or ["x"]
            if depth < 2:
                names = [name for name in names if name not in ("apiVersion", "kind")] or ["x"]
            name = self.random.choice(names)
            if name in value and self.random.random() < 0.15:
                return {key: item for key, item in value.items() if key != name}
            inner = known.get(name) or schema.get("additionalProperties") or {}
            inner = inner if isinstance(inner, dict) else {}
            if name in value:
                return {**value, name: self._changed(value[name], inner, depth + 1)}
            return {**value, name: self.made(inner, depth + 1)}
        if isinstance(value, list) and value and draw < 0.85 and depth < DEPTH_MAX:
            items = schema.get("items") or {}
            at = self.random.randrange(len(value))
            changed = [*value[:at], self._changed(value[at], items, depth + 1), *value[at + 1 :]]
            return changed + copy.deepcopy(value[at:]) if self.random.random() < 0.2 else changed
        return self.made(schema, depth)

    def made(self, schema: Schema, depth: int) -> Any:
        """Something of about the right form."""
        if self.random.random() < 0.12:
            return copy.deepcopy(self.random.choice(JUNK))
        schema = self._resolved(schema)
        kind = schema.get("type")
        if isinstance(kind, list):
            kind = self.random.choice(kind)
        if schema.get("enum") and self.random.random() < 0.8:
            return self.random.choice(schema["enum"])
        if kind == "array":
            count = self.random.choice((0, 1, 1, 2))
            return [self.made(schema.get("items") or {}, depth + 1) for _ in range(count)]
        if kind in ("integer", "number"):
            return self.random.choice(NUMBERS)
        if kind == "boolean":
            return self.random.random() < 0.5
        if kind == "object" or schema.get("properties"):
            return self._made_object(schema, depth)
        return self.random.choice(TEXTS)

    def _made_object(self, schema: Schema, depth: int) -> Any:
        known = schema.get("properties") or {}
        if not known:
            inner = schema.get("additionalProperties")
            inner = inner if isinstance(inner, dict) else {"type": "string"}
            count = self.random.choice((0, 1, 2))
            names = [self.random.choice(TEXTS) for _ in range(count)]
            return {name: self.made(inner, depth + 1) for name in names}
        names = list(schema.get("required") or ())
        if depth < DEPTH_MAX:
            names += self.random.sample(sorted(known), min(len(known), self.random.randrange(4)))
        return {name: self.made(known.get(name, {}), depth + 1) for name in names}

    def _resolved(self, schema: Schema) -> Schema:
        for _ in range(4):
            found = schema.get("$ref") or next(
                (part["$ref"] for part in schema.get("allOf") or () if "$ref" in part), ""
            )
            if not found:
                break
            schema = self._definitions.get(found.rpartition("/")[2], {})
        for choices in ("oneOf", "anyOf"):
            if choices in schema:
                return self._resolved(self.random.choice(schema[choices]))
        return schema

"""Static types of expressions' variables, made from schemas: what is wrong is found beforehand.

The evaluator's values have no static types; its checker knows messages of protobuf. So a schema is
made into messages, for the checker alone: fields, lists and maps with their types, `dyn` where the
schema says nothing, or more than a message can (lists of lists).

Source: Kubernetes documentation, "Validation rules": types; cel-spec, "Language Definition".
"""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING, Any, Final

from google.protobuf import (
    descriptor_pb2,
    descriptor_pool,
    duration_pb2,
    struct_pb2,
    timestamp_pb2,
    wrappers_pb2,
)

from apiserver.cel.program import CompileError, compilation_error, environment
from apiserver.cel.rewriting import rewritten

if TYPE_CHECKING:
    from cel_expr_python import cel

Schema = Mapping[str, Any]
# The fields of an object by the names that expressions write; None for one whose are not known.
Fields = Callable[[Schema], Mapping[str, Schema] | None]

_F: Any = descriptor_pb2.FieldDescriptorProto
_PACKAGE: Final = "object"
_WELL_KNOWN: Final = (struct_pb2, timestamp_pb2, duration_pb2, wrappers_pb2)
_SCALARS: Final = {
    "string": _F.TYPE_STRING,
    "integer": _F.TYPE_INT64,
    "number": _F.TYPE_DOUBLE,
    "boolean": _F.TYPE_BOOL,
}
_WRAPPERS: Final = {
    "string": "StringValue",
    "integer": "Int64Value",
    "number": "DoubleValue",
    "boolean": "BoolValue",
}
_FORMATS: Final = {
    "date-time": "Timestamp",
    "datetime": "Timestamp",
    "date": "Timestamp",
    "duration": "Duration",
}
_GOOGLE_NAMES: Final = {
    "google.protobuf.Timestamp": "timestamp",
    "google.protobuf.Duration": "duration",
}
_NAME: Final = re.compile(r"[A-Za-z_]\w*", re.ASCII)
_STRUCT: Final = re.compile(r"(undefined field '[^']*') not found in struct '[^']*'")
# Numbers of different types are compared here, which the checker does not know.
_MIXED: Final = re.compile(
    r"found no matching overload for '_(?:<|<=|>|>=)_' applied to "
    r"'\((?:int|uint|double|wrapper\(\w+\)), (?:int|uint|double|wrapper\(\w+\))\)'"
)
_ERROR: Final = re.compile(r"(?=^ERROR: <input>)", re.MULTILINE)


class Declarations:
    """Variables with the types of their schemas. Made for one check; not kept."""

    def __init__(self, fields: Fields) -> None:
        self._fields = fields
        self._file = _F_file()
        self._messages: dict[int, str] = {}
        self._environments: dict[tuple[tuple[str, int], ...], cel.Env] = {}
        self._kept: list[Schema] = []  # what is known by identity must not go away

    def check(self, expression: str, schemas: Mapping[str, Schema | None]) -> str:
        """The type of an expression's value: "BOOL", "STRING", "DYN" and so on.

        Args:
            schemas: those of the variables; None is a variable without a type, and a name that
                ends in "[]" is a list of what has that schema.

        Raises:
            CompileError: something is wrong with it.
        """
        from cel_expr_python import cel  # noqa: PLC0415 - slow to import

        key = tuple((name, id(schema)) for name, schema in schemas.items())
        if key not in self._environments:
            types = {
                name.removesuffix("[]"): cel.Type.List(self._type(schema))
                if name.endswith("[]")
                else self._type(schema)
                for name, schema in schemas.items()
            }
            self._kept += [schema for schema in schemas.values() if schema is not None]
            self._environments[key] = environment(types, self._pool())
        try:
            env = self._environments[key]
            return str(env.compile(rewritten(expression)).return_type().name())
        except RuntimeError as error:
            text = _without_mixed(compilation_error(str(error)))
            if text:
                raise CompileError(_in_upstreams_words(text)) from error
            return "DYN"  # nothing but comparisons of numbers, which are fine

    def _type(self, schema: Schema | None) -> cel.Type:
        from cel_expr_python import cel  # noqa: PLC0415 - slow to import

        types = {
            _F.TYPE_STRING: cel.Type.STRING,
            _F.TYPE_INT64: cel.Type.INT,
            _F.TYPE_DOUBLE: cel.Type.DOUBLE,
            _F.TYPE_BOOL: cel.Type.BOOL,
            _F.TYPE_BYTES: cel.Type.BYTES,
        }
        if schema is None:
            return cel.Type.DYN
        match schema.get("type"):
            case "array":
                return cel.Type.List(self._type(schema.get("items")))
            case "object" if _is_map(schema):
                return cel.Type.Map(cel.Type.STRING, self._type(_additional(schema)))
        kind, name = self._kind(schema)
        if name.endswith("Timestamp"):
            return cel.Type.TIMESTAMP
        if name.endswith("Duration"):
            return cel.Type.DURATION
        if name.startswith(f".{_PACKAGE}."):
            return cel.Type(name[1:])
        return types.get(kind, cel.Type.DYN)

    def _kind(self, schema: Schema) -> tuple[Any, str]:
        """What a field of one such value is: its type, and the message where it is one."""
        type_ = schema.get("type")
        if schema.get("x-kubernetes-int-or-string"):
            return _F.TYPE_MESSAGE, _google("Value")
        if type_ == "string":
            form = str(schema.get("format") or "")
            if form in _FORMATS:
                return _F.TYPE_MESSAGE, _google(_FORMATS[form])
            if form == "byte":
                return _F.TYPE_BYTES, ""
        if isinstance(type_, str) and type_ in _SCALARS:
            if schema.get("nullable"):
                return _F.TYPE_MESSAGE, _google(_WRAPPERS[type_])
            return _SCALARS[type_], ""
        if type_ == "array":
            return _F.TYPE_MESSAGE, _google("ListValue")
        if type_ == "object" and not _is_map(schema):
            name = self._message(schema)
            return _F.TYPE_MESSAGE, name or _google("Value")
        if type_ == "object":
            return _F.TYPE_MESSAGE, _google("Struct")
        return _F.TYPE_MESSAGE, _google("Value")

    def _message(self, schema: Schema) -> str:
        """The message of an object's schema; "" where its fields are not known."""
        if id(schema) in self._messages:
            return self._messages[id(schema)]
        fields = self._fields(schema)
        if fields is None:
            return ""
        name = f"Object{len(self._messages)}"
        self._messages[id(schema)] = f".{_PACKAGE}.{name}"
        self._kept.append(schema)
        message = descriptor_pb2.DescriptorProto(name=name)
        for field, child in fields.items():
            if _NAME.fullmatch(field):
                self._add(message, field, child)
        self._file.message_type.append(message)
        return self._messages[id(schema)]

    def _add(self, message: descriptor_pb2.DescriptorProto, name: str, schema: Schema) -> None:
        number = len(message.field) + 1
        if number >= 19_000:  # protobuf keeps a thousand numbers for itself
            number += 1_000
        label, items = _F.LABEL_OPTIONAL, schema.get("items")
        if schema.get("type") == "array" and items and _fits(items):
            label = _F.LABEL_REPEATED
            kind, of = self._kind(items)
        elif self._can_be_map(message, name, schema):
            label, kind = _F.LABEL_REPEATED, _F.TYPE_MESSAGE
            of = self._entry(message, name, _additional(schema) or {})
        else:
            kind, of = self._kind(schema)
        field = message.field.add(name=name, number=number, label=label, json_name=name)
        field.type = kind
        if of:
            field.type_name = of

    @staticmethod
    def _can_be_map(message: descriptor_pb2.DescriptorProto, name: str, schema: Schema) -> bool:
        if schema.get("type") != "object" or not _is_map(schema):
            return False
        taken = {entry.name for entry in message.nested_type}
        return _fits(_additional(schema)) and _entry_name(name) not in taken

    def _entry(self, message: descriptor_pb2.DescriptorProto, field: str, schema: Schema) -> str:
        name = _entry_name(field)
        kind, of = self._kind(schema)
        entry = message.nested_type.add(name=name)
        entry.options.map_entry = True
        entry.field.add(name="key", number=1, label=_F.LABEL_OPTIONAL, type=_F.TYPE_STRING)
        value = entry.field.add(name="value", number=2, label=_F.LABEL_OPTIONAL)
        value.type = kind
        if of:
            value.type_name = of
        return f".{_PACKAGE}.{message.name}.{name}"

    def _pool(self) -> descriptor_pool.DescriptorPool:
        pool = descriptor_pool.DescriptorPool()
        for module in _WELL_KNOWN:
            known = descriptor_pb2.FileDescriptorProto()
            module.DESCRIPTOR.CopyToProto(known)
            pool.Add(known)
        pool.Add(self._file)
        return pool


def _F_file() -> descriptor_pb2.FileDescriptorProto:  # noqa: N802
    return descriptor_pb2.FileDescriptorProto(
        name="object.proto",
        package=_PACKAGE,
        dependency=[module.DESCRIPTOR.name for module in _WELL_KNOWN],
    )


def _entry_name(field: str) -> str:
    """What protobuf wants the entries of a map to be called."""
    parts = (part[:1].upper() + part[1:] for part in field.split("_"))
    return "".join(parts) + "Entry"


def _google(name: str) -> str:
    return f".google.protobuf.{name}"


def _additional(schema: Schema) -> Schema | None:
    found = schema.get("additionalProperties")
    return found if isinstance(found, Mapping) else None


def _is_map(schema: Schema) -> bool:
    return not schema.get("properties") and bool(schema.get("additionalProperties"))


def _fits(schema: Schema | None) -> bool:
    """Whether values can stand in a list or a map of a message: not lists and maps themselves."""
    if schema is None or schema.get("type") == "array":
        return False
    return not (schema.get("type") == "object" and _is_map(schema))


def _in_upstreams_words(text: str) -> str:
    for ours, theirs in _GOOGLE_NAMES.items():
        text = text.replace(ours, theirs)
    return _STRUCT.sub(r"\1", text)


def _without_mixed(text: str) -> str:
    """The errors of a text but those on numbers of different types that are compared."""
    head, *errors = _ERROR.split(text)
    left = [error for error in errors if not _MIXED.search(error)]
    return head + "".join(left) if left or not errors else ""

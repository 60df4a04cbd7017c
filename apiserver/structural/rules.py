"""CEL rules of structural schemas: compiled when a definition is written, asked on every write.

A rule sees the value at its place as `self`, and what it was before as `oldSelf`: a rule that uses
that is asked on updates alone, unless `optionalOldSelf` gives it an optional. What stayed as it was
is not held to rules that have become stricter.

Rules cost: an object may use up a budget, and the evaluator stops each rule by itself.

Source: Kubernetes documentation, "Validation rules"; upstream's validator (texts).
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Any, Final

from apiserver.cel import CelError, CompileError, EvaluationError, Program, compile_program
from apiserver.cel.declared import Declarations
from apiserver.cel.rewriting import outside_strings
from apiserver.registry.causes import forbidden, invalid, required, shown
from apiserver.structural.cel_value import cel_value, escaped, fields_of
from apiserver.structural.schema import (
    LIST_KEYS,
    LIST_TYPE,
    PRESERVES,
    RULES,
    Schema,
    additional_of,
    child_path,
    items_of,
    properties_of,
)
from apiserver.structural.values import ABSENT
from kubraft.api.errors import Cause

# What the rules of one object may use up, in units of upstream's and as many. Beside what a rule
# does, asking it costs as much as handing the evaluator so many values, and those of its own.
BUDGET: Final = 10_000_000
_ASKING: Final = 200
MESSAGE_BYTES_MAX: Final = 10_240
# Causes after which rules say nothing useful.
_BLOCKING: Final = frozenset(
    f"FieldValue{name}"
    for name in ("NotSupported", "Required", "TooLong", "TooMany", "TypeInvalid")
)
_VARIABLES: Final = ("self", "oldSelf")
_OPTIONAL_VARIABLES: Final = ("self", "oldSelfs")
_OLD_SELF = re.compile(r"(?<![\w.])oldSelf(?!\w)")
_OUT_OF_BUDGET = (
    "validation failed due to running out of cost budget, no further validation rules will be run"
)

Rule = dict[str, Any]


def uses_old_self(rule: Rule) -> bool:
    """Whether a rule is about a change."""
    return _OLD_SELF.search(outside_strings(rule.get("rule", ""))) is not None


def program(expression: str, *, optional: bool) -> Program:
    """The compiled form of an expression; raises CompileError."""
    if not optional:
        return compile_program(expression, _VARIABLES)
    return compile_program(_with_optional(expression), _OPTIONAL_VARIABLES)


def _with_optional(expression: str) -> str:
    """The evaluator takes no optionals: they are made of a list with one item, or none."""
    for found in reversed(list(_OLD_SELF.finditer(outside_strings(expression)))):
        expression = f"{expression[: found.start()]}(oldSelfs[?0]){expression[found.end() :]}"
    return expression


def compilation_causes(schema: Schema, path: str) -> list[Cause]:
    """What is wrong with the expressions of a schema that is fine otherwise."""
    types = SchemaTypes(schema)
    return list(_compilation(schema, path, "", types))


def _compilation(
    schema: Schema, path: str, uncorrelated: str, types: SchemaTypes
) -> Iterator[Cause]:
    for index, rule in enumerate(schema.get(RULES) or ()):
        place = f"{path}.{RULES}[{index}]"
        yield from _rule_compilation(rule, schema, place, uncorrelated, types=types)
    for name, child in properties_of(schema).items():
        yield from _compilation(child, f"{path}.properties[{name}]", uncorrelated, types)
    if additional := additional_of(schema):
        place = f"{path}.additionalProperties"
        yield from _compilation(additional, place, uncorrelated, types)
    if items := items_of(schema):
        within = uncorrelated or ("" if schema.get(LIST_TYPE) == "map" else path)
        yield from _compilation(items, f"{path}.items", within, types)


def _rule_compilation(
    rule: Rule, schema: Schema, path: str, uncorrelated: str, *, types: SchemaTypes
) -> Iterator[Cause]:
    optional = bool(rule.get("optionalOldSelf"))
    changes = uses_old_self(rule)
    try:
        if types.check(rule["rule"], schema, optional=optional) not in ("BOOL", "DYN"):
            raise CompileError("cel expression must evaluate to a bool")  # noqa: TRY301 - as the rest
    except CompileError as error:
        over = "budget" in str(error)
        place = f"{path}.rule"
        yield forbidden(place, str(error)) if over else invalid(place, rule, str(error))
    if message := rule.get("messageExpression"):
        try:
            if types.check(message, schema, optional=optional) not in ("STRING", "DYN"):
                raise CompileError("must evaluate to a string")  # noqa: TRY301 - said as the rest
        except CompileError as error:
            yield invalid(f"{path}.messageExpression", rule, f"messageExpression {error}")
    if changes and uncorrelated:
        why = "oldSelf cannot be used on the uncorrelatable portion of the schema within "
        why += uncorrelated
        yield invalid(f"{path}.rule", rule["rule"], why)
    if not changes and rule.get("optionalOldSelf") is not None:
        why = "may not be set if oldSelf is not used in rule"
        yield invalid(f"{path}.optionalOldSelf", rule["optionalOldSelf"], why)


class SchemaTypes:
    """Checks the expressions of one definition against the types of its schema."""

    def __init__(self, root: Schema) -> None:
        self._root = root
        self._declarations = Declarations(self._fields)

    def check(self, expression: str, schema: Schema, *, optional: bool) -> str:
        """The type of an expression on a value of `schema`; raises CompileError."""
        program(expression, optional=optional)  # for what is wrong without types, and its growth
        if not optional:
            return self._declarations.check(expression, dict.fromkeys(_VARIABLES, schema))
        written = _with_optional(expression)
        return self._declarations.check(written, {"self": schema, "oldSelfs[]": schema})

    def _fields(self, schema: Schema) -> dict[str, Schema] | None:
        fields = fields_of(schema, root=schema is self._root)
        if not fields and schema.get(PRESERVES):
            return None
        return {escaped(name): child for name, child in fields.items()}


@dataclass(slots=True)
class _Asker:
    """Asks the rules of one object; `left` is what is left of its budget."""

    causes: list[Cause] = field(default_factory=list)
    left: int = BUDGET

    def ask(self, value: Any, schema: Schema, path: str, old: Any, *, root: bool = False) -> None:
        """The rules at a place, then those below it."""
        if value is None or self.left < 0:
            return
        if schema.get(RULES):
            self._ask_here(value, schema, path, old, root=root)
        if isinstance(value, dict):
            self._ask_fields(value, schema, path, old)
        elif isinstance(value, list) and (items := items_of(schema)):
            before = _by_key(old, schema)
            for index, each in enumerate(value):
                self.ask(each, items, f"{path}[{index}]", before.get(_key(each, schema), ABSENT))

    def _ask_fields(self, value: dict[str, Any], schema: Schema, path: str, old: Any) -> None:
        properties, additional = properties_of(schema), additional_of(schema)
        before = old if isinstance(old, dict) else {}
        for name, each in value.items():
            if name in properties:
                place = child_path(path, name)
                self.ask(each, properties[name], place, before.get(name, ABSENT))
            elif additional:
                self.ask(each, additional, f"{path}[{name}]", before.get(name, ABSENT))

    def _ask_here(self, value: Any, schema: Schema, path: str, old: Any, *, root: bool) -> None:
        same = old is not ABSENT and old == value
        known: dict[str, Any] = {}
        size = _size(value)
        for rule in schema[RULES]:
            changes, optional = uses_old_self(rule), bool(rule.get("optionalOldSelf"))
            if (changes and old in (ABSENT, None) and not optional) or (same and not changes):
                continue
            self.left -= _ASKING + size
            if self.left < 0:
                self.causes.append(_failed(path, _OUT_OF_BUDGET, schema))
                return
            if not known:
                before = [] if old in (ABSENT, None) else [cel_value(old, schema, root=root)]
                known["self"] = cel_value(value, schema, root=root)
                known["oldSelfs"], known["oldSelf"] = before, before[0] if before else None
            self._ask_rule(rule, known, schema, path, value)

    def _ask_rule(
        self, rule: Rule, known: dict[str, Any], schema: Schema, path: str, value: Any
    ) -> None:
        optional = bool(rule.get("optionalOldSelf"))
        names = _OPTIONAL_VARIABLES if optional else _VARIABLES
        variables = {name: known[name] for name in names}
        said = (rule.get("message") or rule["rule"]).strip()
        try:
            compiled = program(rule["rule"], optional=optional)
            self.left -= compiled.work(variables)
            holds = compiled.evaluate(variables)
        except EvaluationError as error:
            self.causes.append(_failed(path, _error_text(error, said), schema))
            if error.over_budget:
                self.left = -1
            return
        except CelError as error:
            self.causes.append(_failed(path, f"rule compile error: {error}", schema))
            return
        if holds is not True:
            detail = _message(rule, variables, optional=optional)
            place = path + rule["fieldPath"] if rule.get("fieldPath") else path
            omitted = schema.get("type") in ("object", "array")
            shown_value = "" if omitted else f"{shown(value)}: "
            self.causes.append(_broken(rule, place.removeprefix("."), detail, shown_value))


def rule_causes(value: Any, schema: Schema, old: Any, causes: list[Cause]) -> list[Cause]:
    """What the rules of a whole object say; nothing is asked of one that `causes` spoil.

    For schemas that have rules.

    Args:
        value: the object.
        schema: its version's.
        old: what it was before an update; ABSENT on create.
        causes: what is wrong with it by schema.
    """
    if any(cause.reason in _BLOCKING for cause in causes):
        said = (
            'Invalid value: "null": some validation rules were not checked because the object was '
            "invalid; correct the existing errors to complete validation"
        )
        return [Cause("FieldValueInvalid", said, "<nil>")]
    asker = _Asker()
    asker.ask(value, schema, "", old, root=True)
    return asker.causes


def has_rules(schema: Schema) -> bool:
    """Whether there is a rule anywhere."""
    if schema.get(RULES):
        return True
    children = [*properties_of(schema).values(), items_of(schema), additional_of(schema)]
    return any(has_rules(child) for child in children if child)


def _failed(path: str, text: str, schema: Schema) -> Cause:
    """A rule that could not be asked; upstream shows the type in place of the value."""
    return invalid(path or "<nil>", schema.get("type", ""), text)


def _error_text(error: EvaluationError, rule: str) -> str:
    if str(error).startswith("no such overload"):
        return (
            f"'{error}': call arguments did not match a supported operator, function or macro "
            f"signature for rule: {rule}"
        )
    if error.over_budget:
        return (
            f"'{error}': no further validation rules will be run due to call cost exceeds limit "
            f"for rule: {rule}"
        )
    return f"{error} evaluating rule: {rule}"


def _message(rule: Rule, variables: dict[str, Any], *, optional: bool) -> str:
    """Why a rule is broken: by its expression, else its message, else the rule itself."""
    if expression := rule.get("messageExpression"):
        try:
            text = program(expression, optional=optional).evaluate(variables)
        except CelError:
            text = None
        if isinstance(text, str):
            text = text.strip()
            if text and "\n" not in text and len(text.encode()) <= MESSAGE_BYTES_MAX:
                return text
    if rule.get("message"):
        return str(rule["message"]).strip()
    return f"failed rule: {rule['rule'].strip()}"


def _broken(rule: Rule, path: str, detail: str, value: str) -> Cause:
    place = path or "<nil>"
    match rule.get("reason"):
        case "FieldValueForbidden":
            return forbidden(place, detail)
        case "FieldValueRequired":
            return required(place, detail)
        case "FieldValueDuplicate":
            shown_value = value.removesuffix(": ")
            said = f"Duplicate value: {shown_value}" if shown_value else "Duplicate value"
            return Cause("FieldValueDuplicate", said, place)
    return Cause("FieldValueInvalid", f"Invalid value: {value}{detail}", place)


def _size(value: Any) -> int:
    """How many values there are in a value; long texts count for their length."""
    if isinstance(value, dict):
        return 1 + sum(map(_size, value.values()))
    if isinstance(value, list):
        return 1 + sum(map(_size, value))
    return 1 + len(value) // 64 if isinstance(value, str) else 1


def _key(item: Any, schema: Schema) -> Any:
    """What names an item of a list that is a map; None for other lists."""
    if schema.get(LIST_TYPE) != "map" or not isinstance(item, dict):
        return None
    return tuple(shown(item.get(name)) for name in schema.get(LIST_KEYS) or ())


def _by_key(old: Any, schema: Schema) -> dict[Any, Any]:
    if not isinstance(old, list) or schema.get(LIST_TYPE) != "map":
        return {}
    return {_key(item, schema): item for item in old}

"""Label selectors, as text ("a=b,c!=d,e in (x,y),!f") and as LabelSelector objects.

Source: Kubernetes documentation, "Labels and Selectors"; apimachinery labels (grammar,
messages).
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from enum import Enum
from functools import lru_cache
from typing import Any

from kubraft.api.names import label_value_errors, qualified_name_errors

Labels = Mapping[str, str]


class Operator(Enum):
    """How a requirement compares; the values are those of the text form."""

    IN = "in"
    NOT_IN = "notin"
    EQUALS = "="
    DOUBLE_EQUALS = "=="
    NOT_EQUALS = "!="
    GREATER_THAN = "gt"
    LESS_THAN = "lt"
    EXISTS = "exists"
    DOES_NOT_EXIST = "!"


_ONE_VALUE = {Operator.EQUALS, Operator.DOUBLE_EQUALS, Operator.NOT_EQUALS}
_COMPARISON = {Operator.GREATER_THAN, Operator.LESS_THAN}
_NEGATIVE = {Operator.NOT_IN, Operator.NOT_EQUALS}
_BINARY_OPERATORS = "in, notin, =, ==, !=, gt, lt"
_INTEGER = re.compile(r"[+-]?[0-9]+")


class Requirement:
    """One condition on the labels; immutable, checked when made.

    Raises:
        ValueError: the key or a value is malformed, or their number does not suit the operator.
    """

    __slots__ = ("key", "operator", "values")

    def __init__(self, key: str, operator: Operator, values: Iterable[str] = ()) -> None:
        self.key = key
        self.operator = operator
        self.values = tuple(sorted(set(values)))
        _check_key(key)
        _check_values(key, operator, self.values)

    def matches(self, labels: Labels) -> bool:
        """Whether `labels` meet the requirement; an absent key meets negative ones only."""
        operator, value = self.operator, labels.get(self.key)
        if operator is Operator.EXISTS:
            return value is not None
        if operator is Operator.DOES_NOT_EXIST:
            return value is None
        if operator in _NEGATIVE:
            return value is None or value not in self.values
        if value is None:
            return False
        if operator in _COMPARISON:
            if not _INTEGER.fullmatch(value):
                return False
            left, right = int(value), int(self.values[0])
            return left > right if operator is Operator.GREATER_THAN else left < right
        return value in self.values

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Requirement) and str(self) == str(other)

    def __hash__(self) -> int:
        return hash(str(self))

    def __str__(self) -> str:
        match self.operator:
            case Operator.EXISTS:
                return self.key
            case Operator.DOES_NOT_EXIST:
                return f"!{self.key}"
            case Operator.IN | Operator.NOT_IN:
                return f"{self.key} {self.operator.value} ({','.join(self.values)})"
            case Operator.GREATER_THAN:
                return f"{self.key}>{self.values[0]}"
            case Operator.LESS_THAN:
                return f"{self.key}<{self.values[0]}"
        return f"{self.key}{self.operator.value}{self.values[0]}"


class LabelSelector:
    """A conjunction of requirements: none selects everything, `NOTHING` selects nothing."""

    __slots__ = ("_nothing", "requirements")

    def __init__(self, requirements: Iterable[Requirement] = (), *, nothing: bool = False) -> None:
        self.requirements = tuple(sorted(requirements, key=lambda r: r.key))
        self._nothing = nothing

    def matches(self, labels: Labels) -> bool:
        """Whether an object with these labels is selected."""
        if self._nothing:
            return False
        return all(requirement.matches(labels) for requirement in self.requirements)

    def is_everything(self) -> bool:
        """Whether any labels match."""
        return not self.requirements and not self._nothing

    def __bool__(self) -> bool:
        """False only for the selector of everything."""
        return not self.is_everything()

    def __eq__(self, other: object) -> bool:
        return (
            isinstance(other, LabelSelector)
            and self._nothing == other._nothing
            and self.requirements == other.requirements
        )

    def __hash__(self) -> int:
        return hash((self.requirements, self._nothing))

    def __str__(self) -> str:
        return ",".join(map(str, self.requirements))


EVERYTHING = LabelSelector()
NOTHING = LabelSelector(nothing=True)


@lru_cache(maxsize=1024)
def parse_selector(text: str) -> LabelSelector:
    """Read the text form of a selector; empty selects everything.

    Raises:
        ValueError: with upstream's message.
    """
    return LabelSelector(_Parser(text).requirements())


def selector_from_labels(labels: Labels | None) -> LabelSelector:
    """The selector of objects that have all of `labels`, as in a Service."""
    return LabelSelector(Requirement(k, Operator.EQUALS, [v]) for k, v in (labels or {}).items())


_OBJECT_OPERATORS = {
    "In": Operator.IN,
    "NotIn": Operator.NOT_IN,
    "Exists": Operator.EXISTS,
    "DoesNotExist": Operator.DOES_NOT_EXIST,
    "Gt": Operator.GREATER_THAN,
    "Lt": Operator.LESS_THAN,
}


def selector_from_object(selector: Mapping[str, Any] | None) -> LabelSelector:
    """Read a meta/v1 LabelSelector object: absent selects nothing, empty everything.

    Raises:
        ValueError: an operator is unknown, or a key or value malformed.
    """
    if selector is None:
        return NOTHING
    requirements = [
        Requirement(key, Operator.EQUALS, [value])
        for key, value in (selector.get("matchLabels") or {}).items()
    ]
    requirements += [
        requirement_from_object(expression) for expression in selector.get("matchExpressions") or ()
    ]
    return LabelSelector(requirements)


def requirement_from_object(expression: Mapping[str, Any]) -> Requirement:
    """Read one of `matchExpressions`, of a LabelSelector or a NodeSelectorTerm.

    Raises:
        ValueError: the operator is unknown, or the key or a value malformed.
    """
    operator = _OBJECT_OPERATORS.get(expression.get("operator", ""))
    if operator is None:
        raise ValueError(
            f'"{expression.get("operator", "")}" is not a valid label selector operator'
        )
    return Requirement(expression.get("key", ""), operator, expression.get("values") or ())


def _check_key(key: str) -> None:
    if errors := qualified_name_errors(key):
        raise ValueError(f'key: Invalid value: "{key}": {"; ".join(errors)}')


def _check_values(key: str, operator: Operator, values: tuple[str, ...]) -> None:
    if operator in (Operator.IN, Operator.NOT_IN):
        if not values:
            raise ValueError(
                "values: Invalid value: []: for 'in', 'notin' operators, values set can't be empty"
            )
    elif operator in _ONE_VALUE:
        if len(values) != 1:
            raise ValueError(
                f"values: Invalid value: {_go_list(values)}: exact-match compatibility requires "
                "one single value"
            )
    elif operator in _COMPARISON:
        if len(values) != 1:
            raise ValueError(
                f"values: Invalid value: {_go_list(values)}: for 'Gt', 'Lt' operators, exactly one "
                "value is required"
            )
        if not _INTEGER.fullmatch(values[0]):
            raise ValueError(
                f"values[0]: Invalid value: \"{values[0]}\": for 'Gt', 'Lt' operators, the value "
                "must be an integer"
            )
    elif values:
        raise ValueError(
            f"values: Invalid value: {_go_list(values)}: values set must be empty for exists and "
            "does not exist"
        )
    for index, value in enumerate(values):
        if errors := label_value_errors(value):
            raise ValueError(
                f'values[{index}][{key}]: Invalid value: "{value}": {"; ".join(errors)}'
            )


def _go_list(values: tuple[str, ...]) -> str:
    return "[" + ",".join(f'"{value}"' for value in values) + "]"


_SYMBOLS = re.compile(r"\s*(==|!=|=|!|>|<|\(|\)|,|[^\s=!<>(),]+)")
_KEYWORDS = {"in", "notin"}
_SYMBOL_OPERATORS = {
    "=": Operator.EQUALS,
    "==": Operator.DOUBLE_EQUALS,
    "!=": Operator.NOT_EQUALS,
    ">": Operator.GREATER_THAN,
    "<": Operator.LESS_THAN,
    "in": Operator.IN,
    "notin": Operator.NOT_IN,
}
_SPECIAL = {"==", "!=", "=", "!", ">", "<", "(", ")", ","}


class _Parser:
    """Reads tokens left to right. "in" and "notin" are words wherever an operator may not stand."""

    def __init__(self, text: str) -> None:
        self._tokens: list[str] = _SYMBOLS.findall(text)
        self._position = 0

    def requirements(self) -> Iterable[Requirement]:
        if self._peek() == "":
            return
        while True:
            word = self._peek()
            if word in _SPECIAL and word != "!":
                raise ValueError(f"found '{word}', expected: !, identifier, or 'end of string'")
            try:
                yield self._requirement()
            except ValueError as error:
                raise ValueError(f"unable to parse requirement: {error}") from error
            word = self._next()
            if word == "":
                return
            if word != ",":
                raise ValueError(f"found '{word}', expected: ',' or 'end of string'")
            if (following := self._peek()) == "" or (following in _SPECIAL and following != "!"):
                raise ValueError(f"found '{following}', expected: identifier after ','")

    def _peek(self) -> str:
        return self._tokens[self._position] if self._position < len(self._tokens) else ""

    def _next(self) -> str:
        word = self._peek()
        self._position += 1
        return word

    def _requirement(self) -> Requirement:
        negated = self._peek() == "!"
        if negated:
            self._next()
        key = self._next()
        if key == "" or key in _SPECIAL:
            raise ValueError(f"found '{key}', expected: identifier")
        if errors := qualified_name_errors(key):
            raise ValueError(f'<nil>: Invalid value: "{key}": {"; ".join(errors)}')
        if negated:
            return Requirement(key, Operator.DOES_NOT_EXIST)
        if self._peek() in ("", ","):
            return Requirement(key, Operator.EXISTS)
        word = self._next()
        operator = _SYMBOL_OPERATORS.get(word)
        if operator is None:
            raise ValueError(f"found '{word}', expected: {_BINARY_OPERATORS}")
        values = self._value_set() if word in _KEYWORDS else [self._exact_value()]
        return Requirement(key, operator, values)

    def _exact_value(self) -> str:
        if self._peek() in ("", ","):
            return ""
        word = self._next()
        if word in _SPECIAL:
            raise ValueError(f"found '{word}', expected: identifier")
        return word

    def _value_set(self) -> list[str]:
        if (word := self._next()) != "(":
            raise ValueError(f"found '{word}' expected: '('")
        values: list[str] = []
        if self._peek() == ")":
            self._next()
            return values
        while True:
            word = self._peek()
            if word in (",", ")"):
                values.append("")
            elif word == "" or word in _SPECIAL:
                raise ValueError(f"found '{word}', expected: ',', ')' or identifier")
            else:
                values.append(self._next())
            word = self._next()
            if word == ")":
                return values
            if word != ",":
                raise ValueError(f"found '{word}', expected: ',' or ')'")

"""Field selectors: "metadata.name=web-0,status.phase!=Failed".

Which fields a kind can be selected by is the kind's business; this module reads, writes and
matches selectors.

Source: Kubernetes documentation, "Field Selectors"; apimachinery fields (escapes and messages).
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable
from typing import Any, NamedTuple

from kubraft.api.object import Object

_TERM = re.compile(r"((?:[^\\=!]|\\.|!(?!=))*)(!=|==|=)(.*)", re.DOTALL)
_ESCAPED = re.compile(r"\\(.)|\\$")


class Term(NamedTuple):
    """One comparison of a field, by its path, with a value."""

    field: str
    equal: bool
    value: str

    def __str__(self) -> str:
        return f"{self.field}{'=' if self.equal else '!='}{escape(self.value)}"


class FieldSelector:
    """A conjunction of terms; empty selects everything."""

    __slots__ = ("terms",)

    def __init__(self, terms: Iterable[Term] = ()) -> None:
        self.terms = tuple(terms)

    def matches(self, value_of: Callable[[str], str]) -> bool:
        """Whether all terms hold, given how to look up the text of a field."""
        return all((value_of(term.field) == term.value) is term.equal for term in self.terms)

    def matches_object(self, obj: Object) -> bool:
        """Whether all terms hold for `obj`, fields being looked up by their path."""
        return all((field_value(obj, t.field) == t.value) is t.equal for t in self.terms)

    def required(self, field: str) -> str | None:
        """The value that `field` must equal, if the selector says so."""
        return next((t.value for t in self.terms if t.equal and t.field == field), None)

    def __bool__(self) -> bool:
        return bool(self.terms)

    def __str__(self) -> str:
        return ",".join(map(str, self.terms))


def parse_field_selector(text: str) -> FieldSelector:
    r"""Read a selector; in values `\,`, `\=` and `\\` stand for the characters themselves.

    Raises:
        ValueError: with upstream's message.
    """
    terms = []
    for part in _split(text):
        if not part:
            continue
        if not (match := _TERM.fullmatch(part)):
            raise ValueError(f"invalid selector: '{text}'; can't understand '{part}'")
        field, operator, value = match.groups()
        terms.append(Term(field, operator != "!=", _unescape(value)))
    return FieldSelector(terms)


def escape(value: str) -> str:
    """`value` as it stands in a selector."""
    return value.replace("\\", "\\\\").replace(",", "\\,").replace("=", "\\=")


def field_value(obj: Object, path: str) -> str:
    """The text of the field at a dotted `path`; empty where absent, as Go's zero value prints."""
    value: Any = obj
    for name in path.split("."):
        if not isinstance(value, dict) or name not in value:
            return "false" if path == "spec.unschedulable" else ""
        value = value[name]
    if isinstance(value, bool):
        return "true" if value else "false"
    return "" if value is None else str(value)


def _split(text: str) -> list[str]:
    """Cut at commas that are not escaped; the parts keep their escapes."""
    return [match[0] for match in re.finditer(r"(?:[^\\,]|\\.|\\$)+", text, re.DOTALL)]


def _unescape(text: str) -> str:
    def one(match: re.Match[str]) -> str:
        if match[1] is None or match[1] not in "\\,=":
            raise ValueError(f"invalid field selector: invalid escape sequence: {match[0]}")
        return match[1]

    if re.search(r"(?<!\\)(?:\\\\)*=", text):
        raise ValueError("invalid field selector: unescaped character in value: =")
    return _ESCAPED.sub(one, text)

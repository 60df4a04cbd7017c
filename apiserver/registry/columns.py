"""Columns said as a list: a name and a path, or a name and a function of the object."""

from __future__ import annotations

from collections.abc import Callable
from datetime import datetime
from typing import Any, NamedTuple

from apiserver.registry import cells
from apiserver.registry.paths import at
from apiserver.registry.resource import Column, Columns
from kubraft.api.labels import selector_from_labels, selector_from_object
from kubraft.api.object import Object

Value = Callable[[Object, datetime], Any]

UNSET = "<unset>"


class Cell(NamedTuple):
    """A column and how its cell is made."""

    column: Column
    value: Value

    def shown(self) -> Cell:
        """The same, shown also where the output is not wide."""
        return Cell(self.column._replace(priority=0), self.value)


NAME = Cell(cells.NAME, lambda obj, _: obj["metadata"]["name"])
AGE = Cell(cells.AGE, cells.created)


def cell(
    name: str,
    source: str | Callable[[Object], Any],
    *,
    none: Any = "",
    type_: str = "string",
    wide: bool = False,
) -> Cell:
    """A column; `none` stands for what is absent. Wide columns are shown by `-o wide` only."""
    column = Column(name, type_, priority=1 if wide else 0)
    if isinstance(source, str):
        return Cell(column, lambda obj, _: _or(at(obj, source), none))
    return Cell(column, lambda obj, _: _or(source(obj), none))


def number(name: str, path: str, *, none: Any = 0) -> Cell:
    """A column of numbers; what is absent is 0."""
    return cell(name, path, none=none, type_="integer")


def columns(*row: Cell) -> Columns:
    """The columns of a kind, from cells in their order."""

    def values(obj: Object, now: datetime) -> list[Any]:
        return [each.value(obj, now) for each in row]

    return Columns(tuple(each.column for each in row), values)


def images(path: str = "spec.template.spec") -> tuple[Cell, Cell]:
    """The two wide columns on the containers of a Pod's spec."""
    return (
        cell("Containers", lambda obj: _each_container(obj, path, "name"), wide=True),
        cell("Images", lambda obj: _each_container(obj, path, "image"), wide=True),
    )


def selector(path: str = "spec.selector", name: str = "Selector", *, wide: bool = True) -> Cell:
    """A LabelSelector as text."""
    return cell(name, lambda obj: selector_text(at(obj, path)), none="<none>", wide=wide)


def selector_text(value: Any) -> str:
    """A LabelSelector, or a map of labels, as text; "<none>" where it selects all or nothing."""
    if not isinstance(value, dict):
        return cells.NONE
    whole = "matchLabels" in value or "matchExpressions" in value or not value
    read = selector_from_object(value) if whole else selector_from_labels(value)
    return str(read) or cells.NONE


def _each_container(obj: Object, path: str, name: str) -> str:
    found = at(obj, path) or {}
    return ",".join(str(c.get(name, "")) for c in found.get("containers") or ())


def _or(value: Any, none: Any) -> Any:
    if value is None:
        return none
    return ("true" if value else "false") if isinstance(value, bool) else value

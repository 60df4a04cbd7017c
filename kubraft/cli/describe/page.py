"""A page of labelled fields, lists and tables, laid out by indentation.

Labels of one block stand in a column; a block ends where a section begins or a table stands.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from datetime import datetime
from typing import Any, Final

from kubraft.api.time import parse_time
from kubraft.cli.table_view import aligned

NONE: Final = "<none>"
_INDENT: Final = "  "
_GAP: Final = 2


class Page:
    """Collects lines; `text` is the page."""

    def __init__(self) -> None:
        self._lines: list[str] = []
        self._block: list[tuple[str, list[str]]] = []
        self._depth = 0

    def field(self, label: str, value: Any) -> None:
        """One labelled value; a list or mapping stands with one element a line."""
        self._block.append((label, _value_lines(value)))

    def maybe(self, label: str, value: Any) -> None:
        """A field, unless there is no value."""
        if value not in (None, "", [], {}):
            self.field(label, value)

    def begin(self, label: str) -> None:
        """A section: what follows stands under `label`, one step further in."""
        self._flush()
        self._lines.append(f"{_INDENT * self._depth}{label}:")
        self._depth += 1

    def end(self) -> None:
        """Leave the section."""
        self._flush()
        self._depth -= 1

    def table(self, label: str, header: Sequence[str], rows: Iterable[Sequence[str]]) -> None:
        """A labelled table, or `<none>` in its place."""
        found = [list(row) for row in rows]
        if not found:
            self.field(label, NONE)
            return
        self.begin(label)
        ruler = ["-" * len(title) for title in header]
        for line in aligned([list(header), ruler, *found]):
            self._lines.append(f"{_INDENT * self._depth}{line}")
        self.end()

    def text(self) -> str:
        """All lines so far."""
        self._flush()
        return "\n".join(self._lines)

    def _flush(self) -> None:
        width = max((len(label) for label, _ in self._block), default=0) + 1 + _GAP
        for label, values in self._block:
            start = f"{_INDENT * self._depth}{f'{label}:':<{width}}"
            for value in values:
                self._lines.append(f"{start}{value}".rstrip())
                start = " " * len(start)
        self._block.clear()


def _value_lines(value: Any) -> list[str]:
    if value is None or value in ("", [], {}):
        return [NONE]
    if isinstance(value, Mapping):
        return [f"{key}={shown}" for key, shown in sorted(value.items())]
    if isinstance(value, bool):
        return ["True" if value else "False"]
    if isinstance(value, str):
        return value.splitlines() or [NONE]
    return [str(part) for part in value] if isinstance(value, Iterable) else [str(value)]


def long_time(timestamp: str | None) -> str:
    """A moment as people write it, in UTC."""
    if not timestamp:
        return NONE
    moment: datetime = parse_time(timestamp)
    return moment.strftime("%a, %d %b %Y %H:%M:%S +0000")


def pairs(values: Mapping[str, Any] | None, separator: str = "=") -> str:
    """Labels on one line: "a=b,c=d"."""
    return ",".join(f"{k}{separator}{v}" for k, v in sorted((values or {}).items())) or NONE

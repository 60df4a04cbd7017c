"""Counters, gauges and histograms with labels, in Prometheus' text form.

The client library adds `_total` to every counter's name; upstream has names that do not end so.

Source: Prometheus, "Exposition formats" (text, 0.0.4).
"""

from __future__ import annotations

from bisect import bisect_left
from collections.abc import Iterator, Sequence
from typing import Final

# Label values come from objects of users: a figure keeps so many series, and no more.
SERIES_MAX: Final = 10_000

Labels = tuple[str, ...]


class Counter:
    """A number that only grows, for each combination of label values."""

    def __init__(self, name: str, text: str, labels: Sequence[str]) -> None:
        self._name = name
        self._text = text
        self._labels = tuple(labels)
        self._counts: dict[Labels, int] = {}

    def inc(self, *values: str) -> None:
        """Count one; a new series beyond SERIES_MAX is dropped."""
        if values in self._counts:
            self._counts[values] += 1
        elif len(self._counts) < SERIES_MAX:
            assert len(values) == len(self._labels)
            self._counts[values] = 1

    def lines(self) -> Iterator[str]:
        """Its lines; none where it has counted nothing."""
        if not self._counts:
            return
        yield from _head(self._name, self._text, "counter")
        for values, count in self._counts.items():
            yield f"{self._name}{{{_pairs(self._labels, values)}}} {count}"


class Gauge:
    """A number that goes up and down, for each combination of label values."""

    def __init__(self, name: str, text: str, labels: Sequence[str]) -> None:
        self._name = name
        self._text = text
        self._labels = tuple(labels)
        self._values: dict[Labels, float] = {}

    def set(self, value: float, *values: str) -> None:
        """Have that value; a new series beyond SERIES_MAX is dropped."""
        if values in self._values or len(self._values) < SERIES_MAX:
            assert len(values) == len(self._labels)
            self._values[values] = value

    def lines(self) -> Iterator[str]:
        """Its lines; none where it was never set."""
        if not self._values:
            return
        yield from _head(self._name, self._text, "gauge")
        for values, value in self._values.items():
            yield f"{self._name}{{{_pairs(self._labels, values)}}} {value:g}"


class Histogram:
    """How observations spread over buckets; `bounds` are inclusive upper ends, ascending."""

    def __init__(
        self, name: str, text: str, labels: Sequence[str], bounds: Sequence[float]
    ) -> None:
        self._name = name
        self._text = text
        self._labels = tuple(labels)
        self._bounds = tuple(bounds)
        self._series: dict[Labels, tuple[list[int], list[float]]] = {}

    def observe(self, value: float, *values: str) -> None:
        """Add one observation; a new series beyond SERIES_MAX is dropped."""
        found = self._series.get(values)
        if found is None:
            if len(self._series) >= SERIES_MAX:
                return
            assert len(values) == len(self._labels)
            found = self._series[values] = ([0] * (len(self._bounds) + 1), [0.0])
        counts, total = found
        counts[bisect_left(self._bounds, value)] += 1
        total[0] += value

    def lines(self) -> Iterator[str]:
        """Its lines; none where it has observed nothing."""
        if not self._series:
            return
        name = self._name
        yield from _head(name, self._text, "histogram")
        for values, (counts, total) in self._series.items():
            pairs = _pairs(self._labels, values)
            so_far = 0
            for bound, count in zip((*self._bounds, None), counts, strict=True):
                so_far += count
                end = "+Inf" if bound is None else f"{bound:g}"
                first = f"{pairs}," if pairs else ""
                yield f'{name}_bucket{{{first}le="{end}"}} {so_far}'
            yield f"{name}_sum{{{pairs}}} {total[0]}"
            yield f"{name}_count{{{pairs}}} {so_far}"


def _head(name: str, text: str, sort: str) -> tuple[str, str]:
    return f"# HELP {name} {text}", f"# TYPE {name} {sort}"


def _pairs(labels: Labels, values: Labels) -> str:
    return ",".join(
        f'{label}="{_escaped(value)}"' for label, value in zip(labels, values, strict=True)
    )


def _escaped(value: str) -> str:
    return value.replace("\\", "\\\\").replace("\n", "\\n").replace('"', '\\"')

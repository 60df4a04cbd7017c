"""What a node's /metrics/resource says: points of CPU time and memory. Pure.

Source: the kubelet's resource metrics; Prometheus text format 0.0.4.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Final, NamedTuple

LINES_MAX: Final = 200_000
_LINE: Final = re.compile(r"(\w+)(?:\{([^}]*)\})? ([0-9.eE+-]+)(?: (\d+))?")
_LABEL: Final = re.compile(r'(\w+)="([^"\\]*)"')
_CPU: Final = "_cpu_usage_seconds_total"
_MEMORY: Final = "_memory_working_set_bytes"
_START: Final = "container_start_time_seconds"


class PodKey(NamedTuple):
    """Names a Pod."""

    namespace: str
    name: str


@dataclass(frozen=True, slots=True)
class Point:
    """CPU seconds since the beginning, and bytes, at a moment; all times are Unix seconds."""

    at_s: float
    cpu_s: float
    memory_bytes: float
    started_s: float = 0.0


@dataclass(frozen=True, slots=True)
class Scrape:
    """One node at one moment; None where it does not say."""

    node: Point | None
    pods: Mapping[PodKey, Mapping[str, Point]] = field(default_factory=dict)


@dataclass(slots=True)
class _Half:
    """A point of which not all may have come yet."""

    at_s: float = 0.0
    cpu_s: float | None = None
    memory_bytes: float | None = None
    started_s: float = 0.0

    def whole(self) -> Point | None:
        if self.cpu_s is None or self.memory_bytes is None or not self.at_s:
            return None
        return Point(self.at_s, self.cpu_s, self.memory_bytes, self.started_s)


def parse(text: str) -> Scrape:
    """Read the text of one node; lines of other metrics are passed over.

    Raises:
        ValueError: it has too many lines, or a number that is none.
    """
    lines = text.split("\n", LINES_MAX)
    if len(lines) > LINES_MAX:
        raise ValueError(f"more than {LINES_MAX} lines")
    node = _Half()
    pods: dict[PodKey, dict[str, _Half]] = {}
    for line in lines:
        if not line.startswith(("node_", "container_")):
            continue
        match = _LINE.fullmatch(line)
        if match is None:
            continue
        name, labels, value, at = match.groups()
        half = node if name.startswith("node_") else _of_container(labels or "", pods)
        _take(half, name, float(value), int(at or 0) / 1000)
    found = {
        key: {name: point for name, half in halves.items() if (point := half.whole())}
        for key, halves in pods.items()
        # As upstream: of a Pod all is known, or nothing.
        if all(half.whole() for half in halves.values())
    }
    return Scrape(node.whole(), found)


def _of_container(labels: str, pods: dict[PodKey, dict[str, _Half]]) -> _Half:
    values = dict(_LABEL.findall(labels))
    key = PodKey(values.get("namespace", ""), values.get("pod", ""))
    return pods.setdefault(key, {}).setdefault(values.get("container", ""), _Half())


def _take(half: _Half, name: str, value: float, at_s: float) -> None:
    if name.endswith(_CPU):
        half.cpu_s, half.at_s = value, at_s
    elif name.endswith(_MEMORY):
        half.memory_bytes = value
        half.at_s = half.at_s or at_s
    elif name == _START:
        half.started_s = value

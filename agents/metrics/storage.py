"""The last two points of everything, and the usage between them. Pure but for what it keeps.

Source: metrics-server's storage (which points make a rate, what a restart does, young containers).
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Final

from agents.metrics.samples import PodKey, Point, Scrape

# A container that began so lately has a rate since its beginning; a younger one has none.
YOUNG_S_MIN: Final = 10.0


@dataclass(frozen=True, slots=True)
class Usage:
    """What was used over a window that ended at `at_s`."""

    at_s: float
    window_s: float
    cpu_nano: int
    memory_bytes: int


def usage(last: Point, before: Point) -> Usage | None:
    """The usage between two points; None where there is none to tell. Pure."""
    window_s = last.at_s - before.at_s
    used_s = last.cpu_s - before.cpu_s
    if window_s <= 0 or used_s < 0:
        return None
    return Usage(last.at_s, window_s, round(used_s / window_s * 1e9), round(last.memory_bytes))


class Storage:
    """What the last rounds have found, by node; a node that is gone is forgotten."""

    def __init__(self, resolution_s: float) -> None:
        """`resolution_s` lies between two rounds."""
        self._resolution_s = resolution_s
        self._nodes: dict[str, tuple[Point, Point | None]] = {}
        self._pods: dict[PodKey, dict[str, tuple[Point, Point | None]]] = {}
        self._of_node: dict[str, frozenset[PodKey]] = {}

    def store(self, node: str, scrape: Scrape) -> None:
        """Take over what a node has said."""
        if scrape.node is not None:
            self._nodes[node] = self._next(scrape.node, self._nodes.get(node), young=False)
        for key in self._of_node.get(node, frozenset()) - scrape.pods.keys():
            self._pods.pop(key, None)
        for key, points in scrape.pods.items():
            known = self._pods.get(key, {})
            self._pods[key] = {
                name: self._next(point, known.get(name), young=True)
                for name, point in points.items()
            }
        self._of_node[node] = frozenset(scrape.pods)

    def keep_only(self, nodes: Mapping[str, object]) -> None:
        """Forget the others."""
        for node in self._of_node.keys() | self._nodes.keys():
            if node not in nodes:
                self._nodes.pop(node, None)
                for key in self._of_node.pop(node, frozenset()):
                    self._pods.pop(key, None)

    def node(self, name: str) -> Usage | None:
        """What a node uses."""
        known = self._nodes.get(name)
        return usage(known[0], known[1]) if known and known[1] else None

    def pod(self, key: PodKey) -> dict[str, Usage] | None:
        """What each container of a Pod uses; None unless that is known of all."""
        known = self._pods.get(key)
        if not known:
            return None
        found: dict[str, Usage] = {}
        for name, (last, before) in known.items():
            told = usage(last, before) if before else None
            if told is None:
                return None
            found[name] = told
        return found

    def _next(
        self, point: Point, known: tuple[Point, Point | None] | None, *, young: bool
    ) -> tuple[Point, Point | None]:
        """The last point and the one before it."""
        age_s = point.at_s - point.started_s
        if young and point.started_s and YOUNG_S_MIN <= age_s < self._resolution_s:
            return point, Point(point.started_s, 0.0, 0.0, point.started_s)
        if known is None or point.started_s > known[0].at_s or point.cpu_s < known[0].cpu_s:
            return point, None
        if point.at_s > known[0].at_s:
            return point, known[0]
        return known

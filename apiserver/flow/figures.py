"""What /metrics says of priority and fairness, under upstream's names. Pure.

Source: Kubernetes documentation, "API Priority and Fairness", good metrics.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Final

from apiserver.flow.level import Level

_PREFIX: Final = "apiserver_flowcontrol_"
_GAUGES: Final[tuple[tuple[str, str, Callable[[Level], int]], ...]] = (
    ("current_executing_seats", "Seats in use", lambda level: level.in_use),
    ("current_inqueue_requests", "Requests that wait", lambda level: level.waiting),
    ("nominal_limit_seats", "Seats of the level", lambda level: level.config.seats or 0),
)


def figures(levels: Mapping[str, Level]) -> bytes:
    """The figures of all levels in Prometheus' text form."""
    lines: list[str] = []
    for name, text, value in _GAUGES:
        lines += [f"# HELP {_PREFIX}{name} {text}", f"# TYPE {_PREFIX}{name} gauge"]
        lines += [
            f'{_PREFIX}{name}{{priority_level="{level}"}} {value(found)}'
            for level, found in levels.items()
        ]
    name = f"{_PREFIX}dispatched_requests_total"
    lines += [f"# HELP {name} Requests that had their turn", f"# TYPE {name} counter"]
    lines += [
        f'{name}{{priority_level="{level}"}} {found.dispatched}' for level, found in levels.items()
    ]
    name = f"{_PREFIX}rejected_requests_total"
    lines += [f"# HELP {name} Requests that were refused", f"# TYPE {name} counter"]
    lines += [
        f'{name}{{priority_level="{level}",reason="{reason}"}} {count}'
        for level, found in levels.items()
        for reason, count in found.rejected.items()
    ]
    return ("\n".join(lines) + "\n").encode()

"""Spans of time as people write and read them: "90s", "1h30m"; "4m59s", "3d".

Source: Go's time.ParseDuration; kubectl's ages (HumanDuration).
"""

from __future__ import annotations

import re
from datetime import datetime
from typing import Final

from kubraft.api.time import parse_time

_UNITS_S: Final = {
    "ns": 1e-9,
    "us": 1e-6,
    "µs": 1e-6,
    "ms": 1e-3,
    "s": 1.0,
    "m": 60.0,
    "h": 3600.0,
}
_PART: Final = re.compile(r"([0-9]+(?:\.[0-9]*)?|\.[0-9]+)(ns|us|µs|ms|s|m|h)")

_MINUTE: Final = 60
_HOUR: Final = 3_600
_DAY: Final = 86_400
_YEAR: Final = 365 * _DAY


def parse_duration(text: str) -> float:
    """Read "1h30m" or "90s" into seconds; "0" needs no unit.

    Raises:
        ValueError: not a span of time.
    """
    if text == "0":
        return 0.0
    parts = list(_PART.finditer(text))
    if not parts or "".join(part[0] for part in parts) != text:
        raise ValueError(f'invalid duration "{text}": use for example 90s, 5m or 1h30m')
    return sum(float(part[1]) * _UNITS_S[part[2]] for part in parts)


def human_duration(seconds: float) -> str:
    """A span with two units at most, the second only where it matters."""
    s = int(seconds)
    if s < 0:
        return "0s" if s > -2 else "<invalid>"
    for limit, unit, name, rest_limit, rest_unit, rest_name in _STEPS:
        if s < limit:
            whole, rest = divmod(s, unit)
            if s < rest_limit and rest // rest_unit:
                return f"{whole}{name}{rest // rest_unit}{rest_name}"
            return f"{whole}{name}"
    return f"{s // _YEAR}y"


# Below `limit` seconds: in units of `unit`; with a rest as well below `rest_limit`.
_STEPS: Final = (
    (2 * _MINUTE, 1, "s", 0, 1, ""),
    (10 * _MINUTE, _MINUTE, "m", 10 * _MINUTE, 1, "s"),
    (3 * _HOUR, _MINUTE, "m", 0, 1, ""),
    (8 * _HOUR, _HOUR, "h", 8 * _HOUR, _MINUTE, "m"),
    (2 * _DAY, _HOUR, "h", 0, 1, ""),
    (8 * _DAY, _DAY, "d", 8 * _DAY, _HOUR, "h"),
    (2 * _YEAR, _DAY, "d", 0, 1, ""),
    (8 * _YEAR, _YEAR, "y", 8 * _YEAR, _DAY, "d"),
)


def age(timestamp: str | None, now: datetime) -> str:
    """How long ago that was; `<unknown>` without a time that can be read."""
    try:
        seconds = (now - parse_time(timestamp or "")).total_seconds()
    except ValueError:
        return "<unknown>"
    return human_duration(seconds)

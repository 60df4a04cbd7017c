"""Schedules of cron: five fields, or a descriptor ("@daily", "@every 1h30m").

Source: robfig/cron's ParseStandard (grammar and messages), which upstream's CronJobs go by.
"""

from __future__ import annotations

from typing import NamedTuple

from kubraft.api.duration import parse_duration

_DESCRIPTORS = {
    "@yearly": "0 0 1 1 *",
    "@annually": "0 0 1 1 *",
    "@monthly": "0 0 1 * *",
    "@weekly": "0 0 * * 0",
    "@daily": "0 0 * * *",
    "@midnight": "0 0 * * *",
    "@hourly": "0 * * * *",
}


class _Field(NamedTuple):
    least: int
    most: int
    names: tuple[str, ...] = ()


_MONTHS = ("jan", "feb", "mar", "apr", "may", "jun", "jul", "aug", "sep", "oct", "nov", "dec")
_DAYS = ("sun", "mon", "tue", "wed", "thu", "fri", "sat")
_FIELDS = (_Field(0, 59), _Field(0, 23), _Field(1, 31), _Field(1, 12, _MONTHS), _Field(0, 6, _DAYS))


class Schedule(NamedTuple):
    """The minutes, hours, days of the month, months and weekdays that match.

    `any_day` and `any_weekday` say that the field was a star: where neither is, a day matches by
    either of the two. `every_s` is set instead of all that for "@every".
    """

    minutes: frozenset[int] = frozenset()
    hours: frozenset[int] = frozenset()
    days: frozenset[int] = frozenset()
    months: frozenset[int] = frozenset()
    weekdays: frozenset[int] = frozenset()
    any_day: bool = False
    any_weekday: bool = False
    every_s: float = 0.0


def parse_schedule(text: str) -> Schedule:
    """Read a schedule.

    Raises:
        ValueError: with upstream's message.
    """
    if not text:
        raise ValueError("empty spec string")
    if text.startswith("@every "):
        try:
            return Schedule(every_s=parse_duration(text.removeprefix("@every ")))
        except ValueError as error:
            raise ValueError(f"failed to parse duration {text}: {error}") from error
    if text.startswith("@"):
        if text not in _DESCRIPTORS:
            raise ValueError(f"unrecognized descriptor: {text}")
        text = _DESCRIPTORS[text]
    parts = text.split()
    if len(parts) != len(_FIELDS):
        raise ValueError(
            f"expected exactly {len(_FIELDS)} fields, found {len(parts)}: [{' '.join(parts)}]"
        )
    minutes, hours, days, months, weekdays = map(_values, parts, _FIELDS)
    return Schedule(minutes, hours, days, months, weekdays, _is_star(parts[2]), _is_star(parts[4]))


def _is_star(part: str) -> bool:
    return any(piece.startswith(("*", "?")) for piece in part.split(","))


def _values(part: str, field: _Field) -> frozenset[int]:
    found: set[int] = set()
    for piece in part.split(","):
        if piece:
            found |= set(_range(piece, field))
    return frozenset(found)


def _range(piece: str, field: _Field) -> range:
    span, *steps = piece.split("/")
    ends = span.split("-")
    if ends[0] in ("*", "?"):
        start, end = field.least, field.most
    else:
        start = _number(ends[0], field)
        if len(ends) > 2:
            raise ValueError(f"too many hyphens: {piece}")
        end = _number(ends[1], field) if len(ends) == 2 else start
    step = 1
    if len(steps) > 1:
        raise ValueError(f"too many slashes: {piece}")
    if steps:
        step = _integer(steps[0])
        if len(ends) == 1:
            end = field.most
    if start < field.least:
        raise ValueError(f"beginning of range ({start}) below minimum ({field.least}): {piece}")
    if end > field.most:
        raise ValueError(f"end of range ({end}) above maximum ({field.most}): {piece}")
    if start > end:
        raise ValueError(f"beginning of range ({start}) beyond end of range ({end}): {piece}")
    if step == 0:
        raise ValueError(f"step of range should be a positive number: {piece}")
    return range(start, end + 1, step)


def _number(text: str, field: _Field) -> int:
    lower = text.lower()
    if lower in field.names:
        return field.names.index(lower) + field.least
    return _integer(text)


def _integer(text: str) -> int:
    if not text.isascii() or not text.removeprefix("-").isdigit():
        raise ValueError(
            f'failed to parse int from {text}: strconv.Atoi: parsing "{text}": invalid syntax'
        )
    if text.startswith("-"):
        raise ValueError(f"negative number ({text}) not allowed: {text}")
    return int(text)

"""The moments of a schedule, in a time zone.

A local time that a change of the clocks leaves out has no moment; one that comes twice has two.

Source: robfig/cron's Schedule.Next, which upstream's CronJobs go by.
"""

from __future__ import annotations

from collections.abc import Iterator
from datetime import UTC, date, datetime, time, timedelta, tzinfo

from kubraft.api.cron import Schedule

# A schedule without a moment in so long has none (30 February).
DAYS_MAX = 5 * 366
_MINUTE, _DAY = timedelta(minutes=1), timedelta(days=1)


def next_after(schedule: Schedule, moment: datetime, zone: tzinfo) -> datetime | None:
    """The first moment of the schedule after `moment`."""
    if schedule.every_s:
        return _whole(moment + timedelta(seconds=max(int(schedule.every_s), 1)))
    day = moment.astimezone(zone).date()
    for _ in range(DAYS_MAX):
        if _is_day(schedule, day):
            for found in _moments(schedule, day, zone):
                if found > moment:
                    return found
        day += _DAY
    return None


def latest_until(
    schedule: Schedule, since: datetime, until: datetime, zone: tzinfo
) -> datetime | None:
    """The last moment of the schedule after `since` and not after `until`."""
    if schedule.every_s:
        every = timedelta(seconds=max(int(schedule.every_s), 1))
        count = (until - since) // every
        return _whole(since + count * every) if count > 0 else None
    day, first = until.astimezone(zone).date(), since.astimezone(zone).date()
    for _ in range(DAYS_MAX):
        if day < first:
            return None
        if _is_day(schedule, day):
            found = [m for m in _moments(schedule, day, zone) if since < m <= until]
            if found:
                return found[-1]
        day -= _DAY
    return None


def _is_day(schedule: Schedule, day: date) -> bool:
    if day.month not in schedule.months:
        return False
    by_date = day.day in schedule.days
    by_weekday = day.isoweekday() % 7 in schedule.weekdays
    if schedule.any_day or schedule.any_weekday:
        return by_date and by_weekday
    return by_date or by_weekday


def _moments(schedule: Schedule, day: date, zone: tzinfo) -> Iterator[datetime]:
    """The moments of one local day, in order."""
    # A change of the clocks makes a day up to two hours longer, or begin later.
    moment = datetime.combine(day, time(), zone).astimezone(UTC) - 2 * timedelta(hours=1)
    end = moment + _DAY + 4 * timedelta(hours=1)
    while moment < end:
        local = moment.astimezone(zone)
        if local.hour not in schedule.hours or local.date() != day:
            # On to the next hour of the local clock.
            moment += timedelta(minutes=60 - local.minute)
            continue
        if local.minute in schedule.minutes:
            yield moment
        moment += _MINUTE


def _whole(moment: datetime) -> datetime:
    return moment.replace(microsecond=0)

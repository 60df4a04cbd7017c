"""Which Job a CronJob starts now, which it drops, and what its status says.

Source: Kubernetes documentation, "CronJob"; upstream's cronjob controller (names, events, the
limit of a hundred missed starts).
"""

from __future__ import annotations

import copy
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta, tzinfo
from typing import Any

from agents.controllers.cron_job.schedule import latest_until, next_after
from agents.controllers.job.reading import is_finished, true_condition
from agents.controllers.ownership import controller_reference
from kubraft.api.cron import Schedule
from kubraft.api.gvk import JOB
from kubraft.api.object import Object, annotations_of, is_terminating, key_of, uid_of
from kubraft.api.time import format_time, parse_time

SCHEDULED = "batch.kubernetes.io/cronjob-scheduled-timestamp"
MISSED_MAX = 100
# A little later than the moment, so that it has surely come. Source: upstream.
_LATE = timedelta(milliseconds=100)

Said = tuple[str, str, str]  # type, reason and message of an Event


@dataclass(frozen=True, slots=True)
class Due:
    """The moment for which a Job is due (None: none), and how many were missed before it."""

    moment: datetime | None
    missed: int = 0


def due(cron_job: Object, schedule: Schedule, zone: tzinfo, now: datetime) -> Due:
    """The latest moment since the last start."""
    since = _since(cron_job, now)
    latest = latest_until(schedule, since, now, zone)
    if latest is None:
        return Due(None)
    first = next_after(schedule, since, zone) or latest
    second = next_after(schedule, first, zone)
    if second is None or second > now:
        return Due(latest)
    return Due(latest, int((latest - first) / (second - first)))


def next_check_s(cron_job: Object, schedule: Schedule, zone: tzinfo, now: datetime) -> float | None:
    """Seconds until the next moment."""
    latest = latest_until(schedule, _since(cron_job, now), now, zone)
    following = next_after(schedule, max(latest, now) if latest else now, zone)
    if schedule.every_s:
        following = next_after(schedule, latest or _since(cron_job, now), zone)
    return max((following + _LATE - now).total_seconds(), 0.1) if following else None


def is_too_late(cron_job: Object, moment: datetime, now: datetime) -> bool:
    """Whether a start for `moment` has waited beyond `startingDeadlineSeconds`."""
    deadline_s = cron_job["spec"].get("startingDeadlineSeconds")
    return deadline_s is not None and moment + timedelta(seconds=deadline_s) < now


def job_name(cron_job: Object, moment: datetime) -> str:
    """The name of the Job for `moment`: the same however often it is tried."""
    return f"{cron_job['metadata']['name']}-{int(moment.timestamp()) // 60}"


def job_of(cron_job: Object, moment: datetime, zone: tzinfo) -> Object:
    """The Job for `moment`."""
    template = cron_job["spec"]["jobTemplate"]
    wanted = template.get("metadata") or {}
    local = moment.astimezone(zone).isoformat().replace("+00:00", "Z")
    metadata: Object = {
        "name": job_name(cron_job, moment),
        "namespace": cron_job["metadata"]["namespace"],
        "annotations": {**(wanted.get("annotations") or {}), SCHEDULED: local},
        "ownerReferences": [controller_reference(cron_job)],
    }
    if wanted.get("labels"):
        metadata["labels"] = dict(wanted["labels"])
    return {
        "apiVersion": JOB.api_version,
        "kind": JOB.kind,
        "metadata": metadata,
        "spec": copy.deepcopy(template["spec"]),
    }


def followed(cron_job: Object, jobs: Sequence[Object]) -> tuple[dict[str, Any], list[Said]]:
    """The status after a look at the CronJob's Jobs, and what is to be said of them."""
    status = dict(cron_job.get("status") or {})
    by_uid = {uid_of(job): job for job in jobs}
    active: list[Object] = []
    said: list[Said] = []
    for reference in status.get("active") or ():
        job = by_uid.get(reference["uid"])
        if job is None:
            text = f"Active job went missing: {reference['name']}"
            said.append(("Normal", "MissingJob", text))
        elif is_finished(job):
            how = "Complete" if true_condition(job, "Complete") else "Failed"
            text = f"Saw completed job: {reference['name']}, condition: {how}"
            said.append(("Normal", "SawCompletedJob", text))
        else:
            active.append(reference)
    known = {reference["uid"] for reference in status.get("active") or ()}
    for job in jobs:
        if is_finished(job) or uid_of(job) in known:
            continue
        name = job["metadata"]["name"]
        if SCHEDULED in annotations_of(job):
            # Started, and no status was written after that.
            active.append(_reference(job))
            moment = format_time(parse_time(annotations_of(job)[SCHEDULED]))
            status["lastScheduleTime"] = max(status.get("lastScheduleTime") or "", moment)
        else:
            text = f"Saw a job that the controller did not create or forgot: {name}"
            said.append(("Warning", "UnexpectedJob", text))
    ended = [_completion(job) for job in jobs if true_condition(job, "Complete")]
    if latest := max((moment for moment in ended if moment), default=None):
        before = status.get("lastSuccessfulTime")
        if not before or parse_time(before) < parse_time(latest):
            status["lastSuccessfulTime"] = latest
    return _with_active(status, active), said


def started(status: dict[str, Any], job: Object, moment: datetime) -> dict[str, Any]:
    """The status once `job` was started for `moment`."""
    others = [r for r in status.get("active") or () if r["uid"] != uid_of(job)]
    fresh = _with_active(status, [*others, _reference(job)])
    return {**fresh, "lastScheduleTime": format_time(moment)}


def _reference(job: Object) -> Object:
    return {
        "apiVersion": JOB.api_version,
        "kind": JOB.kind,
        "name": key_of(job).name,
        "namespace": key_of(job).namespace,
        "resourceVersion": job["metadata"].get("resourceVersion", ""),
        "uid": uid_of(job),
    }


def without_job(status: dict[str, Any], uid: str) -> dict[str, Any]:
    """The status once an active Job was dropped."""
    return _with_active(status, [r for r in status.get("active") or () if r["uid"] != uid])


def outlived(cron_job: Object, jobs: Iterable[Object]) -> list[Object]:
    """Finished Jobs beyond the history limits, oldest first."""
    spec = cron_job["spec"]
    finished = [job for job in jobs if is_finished(job) and not is_terminating(job)]
    drop: list[Object] = []
    for type_, limit in (
        ("Complete", spec.get("successfulJobsHistoryLimit", 3)),
        ("Failed", spec.get("failedJobsHistoryLimit", 1)),
    ):
        kind = sorted((job for job in finished if true_condition(job, type_)), key=_start)
        if limit is not None:
            drop += kind[: max(len(kind) - limit, 0)]
    return drop


def _since(cron_job: Object, now: datetime) -> datetime:
    """After which moment starts count."""
    last = (cron_job.get("status") or {}).get("lastScheduleTime")
    since = parse_time(last or cron_job["metadata"]["creationTimestamp"])
    deadline_s = cron_job["spec"].get("startingDeadlineSeconds")
    if deadline_s is not None:
        since = max(since, now - timedelta(seconds=deadline_s))
    return since


def _with_active(status: dict[str, Any], active: list[Object]) -> dict[str, Any]:
    rest = {k: v for k, v in status.items() if k != "active"}
    return {**rest, "active": active} if active else rest


def _completion(job: Object) -> str:
    text: str = (job.get("status") or {}).get("completionTime") or ""
    return text


def _start(job: Object) -> tuple[str, str]:
    begun = (job.get("status") or {}).get("startTime")
    return begun or job["metadata"].get("creationTimestamp") or "", job["metadata"]["name"]

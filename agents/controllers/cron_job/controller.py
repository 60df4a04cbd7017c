"""Runs the plans of CronJobs.

A Job's name says for which moment it is, so a late cache or a lost answer starts none twice.
"""

from __future__ import annotations

from collections.abc import Sequence
from datetime import UTC, datetime, tzinfo
from typing import Any
from zoneinfo import ZoneInfo, ZoneInfoNotFoundError

from agents.controllers.context import Context
from agents.controllers.cron_job.plan import (
    MISSED_MAX,
    due,
    followed,
    is_too_late,
    job_name,
    job_of,
    next_check_s,
    outlived,
    started,
    without_job,
)
from agents.controllers.executor import namespace_is_ending
from agents.controllers.informers import BY_CONTROLLER
from agents.controllers.own_writes import OwnWrites
from agents.controllers.pod_control import AMBIGUOUS
from agents.controllers.status import same_status
from kubraft.api.cron import Schedule, parse_schedule
from kubraft.api.errors import AlreadyExistsError, ApiError, NotFoundError
from kubraft.api.gvk import CRON_JOB, JOB
from kubraft.api.object import Object, ObjectKey, controller_of, is_terminating, key_of, uid_of
from kubraft.client.controller import Controller

# The cache shows own writes within milliseconds; this is for the case that an event is lost.
_CACHE_LAG_S = 1.0
_TOO_MANY = (
    "too many missed start times. Set or decrease .spec.startingDeadlineSeconds or check clock skew"
)
_FORBIDDEN = "Not starting job because prior execution is running and concurrency policy is Forbid"


class CronJobController:
    """Reconciles one CronJob at a time per worker, by key."""

    def __init__(self, context: Context) -> None:
        self._client = context.client
        self._clock = context.clock
        self._recorder = context.recorder("cronjob-controller")
        self._cron_jobs = context.informers.of(CRON_JOB)
        self._jobs = context.informers.of(JOB)
        self._written = OwnWrites()  # Jobs
        self._written_self = OwnWrites()
        self._doubtful: dict[ObjectKey, datetime] = {}  # creates without an answer
        self._controller = Controller(
            "cronjob-controller",
            self.reconcile,
            workers=context.options.concurrent_cron_job_syncs,
            clock=context.clock,
        )
        self._cron_jobs.add_handler(self._on_cron_job)
        self._jobs.add_handler(self._on_job)

    async def run(self) -> None:
        await self._controller.run()

    async def reconcile(self, key: ObjectKey) -> float | None:
        """Start what is due; returns after how many seconds the next start is."""
        cron_job = self._cron_jobs.get(key)
        if cron_job is None:
            return None
        now_s = self._clock.monotonic_s()
        if not (
            self._written.seen(key, self._jobs.get, now_s)
            and self._written_self.seen(key, self._cron_jobs.get, now_s)
        ):
            return _CACHE_LAG_S
        jobs = self._jobs.by_index(BY_CONTROLLER, uid_of(cron_job))
        status, said = followed(cron_job, jobs)
        for event in said:
            self._recorder.event(cron_job, *event)
        again_s: float | None = None
        if not is_terminating(cron_job) and not cron_job["spec"].get("suspend"):
            read = self._schedule(cron_job)
            if read is not None:
                status, again_s = await self._start(cron_job, status, *read)
        await self._drop_old(cron_job, jobs)
        await self._write(cron_job, status)
        return again_s

    def _schedule(self, cron_job: Object) -> tuple[Schedule, tzinfo] | None:
        """The schedule and its zone; None, and an Event, where they make no sense."""
        spec = cron_job["spec"]
        zone: tzinfo = UTC
        if name := spec.get("timeZone"):
            try:
                zone = ZoneInfo(name)
            except (ZoneInfoNotFoundError, ValueError, OSError):
                text = f'invalid timeZone: "{name}": unknown time zone {name}'
                self._recorder.event(cron_job, "Warning", "UnknownTimeZone", text)
                return None
        try:
            return parse_schedule(spec["schedule"]), zone
        except ValueError as error:
            text = f'unparseable schedule: "{spec["schedule"]}" : {error}'
            self._recorder.event(cron_job, "Warning", "UnparseableSchedule", text)
            return None

    async def _start(
        self,
        cron_job: Object,
        status: dict[str, Any],
        schedule: Schedule,
        zone: tzinfo,
    ) -> tuple[dict[str, Any], float | None]:
        """Start the Job that is due, if its time and the others allow it."""
        now = self._clock.now()
        found = due(cron_job, schedule, zone, now)
        if found.missed > MISSED_MAX:
            self._recorder.event(cron_job, "Warning", "TooManyMissedTimes", _TOO_MANY)
        # A Job that may have been started comes first, by the same name again.
        doubtful = self._doubtful.get(key_of(cron_job))
        moment = doubtful or found.moment
        if moment is not None and (doubtful or self._may_start(cron_job, status, moment, now)):
            policy = cron_job["spec"].get("concurrencyPolicy", "Allow")
            if policy == "Replace" and not doubtful:
                status = await self._replace(cron_job, status)
            self._doubtful[key_of(cron_job)] = moment
            job = await self._create(cron_job, job_of(cron_job, moment, zone))
            del self._doubtful[key_of(cron_job)]
            if job is not None:
                status = started(status, job, moment)
                cron_job = {**cron_job, "status": status}
        return status, next_check_s(cron_job, schedule, zone, now)

    def _may_start(
        self, cron_job: Object, status: dict[str, Any], moment: datetime, now: datetime
    ) -> bool:
        active = status.get("active") or ()
        if any(reference["name"] == job_name(cron_job, moment) for reference in active):
            return False
        if is_too_late(cron_job, moment, now):
            text = f"Missed scheduled time to start a job: {moment:%a, %d %b %Y %H:%M:%S %z}"
            self._recorder.event(cron_job, "Warning", "MissSchedule", text)
            return False
        if active and cron_job["spec"].get("concurrencyPolicy") == "Forbid":
            self._recorder.event(cron_job, "Normal", "JobAlreadyActive", _FORBIDDEN)
            return False
        return True

    async def _replace(self, cron_job: Object, status: dict[str, Any]) -> dict[str, Any]:
        for reference in status.get("active") or ():
            key = ObjectKey(key_of(cron_job).namespace, reference["name"])
            await self._delete(cron_job, key, reference["uid"])
            status = without_job(status, reference["uid"])
        return status

    async def _create(self, cron_job: Object, job: Object) -> Object | None:
        """The Job as it is stored; None where its Namespace is ending or another has the name."""
        name = job["metadata"]["name"]
        try:
            made = await self._client.create(job)
        except AlreadyExistsError:
            # Ours, by a try whose answer was lost, or of a status that was not written.
            made = await self._client.get(JOB, name, key_of(job).namespace)
            owner = controller_of(made)
            if owner is None or owner["uid"] != uid_of(cron_job):
                return None
        except ApiError as error:
            if namespace_is_ending(error):
                return None
            if not isinstance(error, AMBIGUOUS):
                del self._doubtful[key_of(cron_job)]
            text = f"Error creating job: {error.message}"
            self._recorder.event(cron_job, "Warning", "FailedCreate", text)
            raise
        else:
            self._recorder.event(cron_job, "Normal", "SuccessfulCreate", f"Created job {name}")
        now_s = self._clock.monotonic_s()
        self._written.note(key_of(cron_job), made, created=True, now_s=now_s)
        return made

    async def _drop_old(self, cron_job: Object, jobs: Sequence[Object]) -> None:
        for job in outlived(cron_job, jobs):
            await self._delete(cron_job, key_of(job), uid_of(job))

    async def _delete(self, cron_job: Object, key: ObjectKey, uid: str) -> None:
        try:
            await self._client.delete(
                JOB, key.name, key.namespace, uid=uid, propagation="Background"
            )
        except NotFoundError:
            return
        except ApiError as error:
            text = f"Deleted job: {error.message}"
            self._recorder.event(cron_job, "Warning", "FailedDelete", text)
            raise
        self._recorder.event(cron_job, "Normal", "SuccessfulDelete", f"Deleted job {key.name}")

    async def _write(self, cron_job: Object, status: dict[str, Any]) -> None:
        if not same_status(cron_job.get("status"), status):
            answer = await self._client.update({**cron_job, "status": status}, "status")
            now_s = self._clock.monotonic_s()
            self._written_self.note(key_of(cron_job), answer, created=False, now_s=now_s)

    def _on_cron_job(self, old: Object | None, new: Object | None) -> None:
        key = key_of(new or old or {})
        if new is None:
            self._written.forget(key)
            self._written_self.forget(key)
            self._doubtful.pop(key, None)
        self._controller.queue.add(key)

    def _on_job(self, old: Object | None, new: Object | None) -> None:
        job = new or old or {}
        owner = controller_of(job)
        if owner is not None and owner["kind"] == CRON_JOB.kind:
            self._controller.queue.add(ObjectKey(key_of(job).namespace, owner["name"]))

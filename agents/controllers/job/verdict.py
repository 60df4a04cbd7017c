"""Whether a Job is to end, and with which condition.

Source: Kubernetes documentation, "Job termination and cleanup", "Success policy"; reasons and
messages of upstream.
"""

from __future__ import annotations

from datetime import datetime, timedelta

from agents.controllers.job.failure_policy import reason_to_fail
from agents.controllers.job.indexes import Indexes, parse_indexes
from agents.controllers.job.picture import Picture
from agents.controllers.job.reading import (
    backoff_limit_of,
    completions_of,
    is_indexed,
    is_suspended,
    limit_per_index,
    status_of,
    true_condition,
)
from kubraft.api.conditions import Condition
from kubraft.api.object import Object
from kubraft.api.pods import phase_of
from kubraft.api.time import format_time, parse_time

SUCCESS, FAILURE = "SuccessCriteriaMet", "FailureTarget"
# What follows once all Pods have ended and are counted.
FINAL = {SUCCESS: "Complete", FAILURE: "Failed"}


def condition(
    type_: str, reason: str, message: str, now: datetime, status: str = "True"
) -> Condition:
    """A condition of a Job as of `now`."""
    moment = format_time(now)
    return {
        "type": type_,
        "status": status,
        "lastProbeTime": moment,
        "lastTransitionTime": moment,
        "reason": reason,
        "message": message,
    }


def verdict(picture: Picture, now: datetime) -> Condition | None:
    """The condition that ends the Job, as it has it already or as it must get it; or None."""
    job = picture.job
    if known := true_condition(job, SUCCESS) or true_condition(job, FAILURE):
        return known
    if message := reason_to_fail(job, picture.pods):
        return condition(FAILURE, "PodFailurePolicy", message, now)
    if picture.failed > backoff_limit_of(job) or _restarted_too_often(job, picture):
        message = "Job has reached the specified backoff limit"
        return condition(FAILURE, "BackoffLimitExceeded", message, now)
    left_s = deadline_s(job, now)
    if left_s is not None and left_s <= 0:
        message = "Job was active longer than specified deadline"
        return condition(FAILURE, "DeadlineExceeded", message, now)
    if is_indexed(job):
        return _of_indexes(picture, now)
    return None


def deadline_s(job: Object, now: datetime) -> float | None:
    """Seconds until `activeDeadlineSeconds` have passed; None where nothing runs out."""
    limit, begun = job["spec"].get("activeDeadlineSeconds"), status_of(job).get("startTime")
    if limit is None or begun is None or is_suspended(job):
        return None
    return (parse_time(begun) + timedelta(seconds=limit) - now).total_seconds()


def completed(picture: Picture, active: int, now: datetime) -> Condition | None:
    """The condition of a Job whose wanted successes are there and of which nothing runs."""
    wanted = completions_of(picture.job)
    enough = picture.succeeded > 0 if wanted is None else picture.succeeded >= wanted
    if not enough or active:
        return None
    return condition(
        SUCCESS, "CompletionsReached", "Reached expected number of succeeded pods", now
    )


def _restarted_too_often(job: Object, picture: Picture) -> bool:
    """Restarts in place count as failures where the template says OnFailure."""
    if job["spec"]["template"]["spec"].get("restartPolicy") != "OnFailure":
        return False
    restarts = 0
    for pod in picture.pods:
        if phase_of(pod) in ("Running", "Pending"):
            status = pod.get("status") or {}
            for part in ("initContainerStatuses", "containerStatuses"):
                restarts += sum(c.get("restartCount", 0) for c in status.get(part) or ())
    limit = backoff_limit_of(job)
    return restarts > 0 if limit == 0 else restarts >= limit


def _of_indexes(picture: Picture, now: datetime) -> Condition | None:
    job, done, lost = picture.job, picture.done_indexes, picture.failed_indexes
    if limit_per_index(job) is not None:
        most = job["spec"].get("maxFailedIndexes")
        if most is not None and len(lost) > most:
            message = "Job has exceeded the specified maximal number of failed indexes"
            return condition(FAILURE, "MaxFailedIndexesExceeded", message, now)
        if lost and len(lost | done) >= (completions_of(job) or 0):
            return condition(FAILURE, "FailedIndexes", "Job has failed indexes", now)
    for index, rule in enumerate((job["spec"].get("successPolicy") or {}).get("rules") or ()):
        if done and _meets(rule, done, completions_of(job) or 0):
            return condition(SUCCESS, "SuccessPolicy", f"Matched rules at index {index}", now)
    return None


def _meets(rule: Object, done: Indexes, completions: int) -> bool:
    text, count = rule.get("succeededIndexes"), rule.get("succeededCount")
    if text is None:
        return count is not None and len(done) >= count
    wanted = parse_indexes(text, completions)
    return len(done & wanted) >= (len(wanted) if count is None else count)

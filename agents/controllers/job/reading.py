"""What a Job asks for and how its Pods stand.

Source: Kubernetes API reference, Job v1 (batch); upstream's job controller (labels, annotations).
"""

from __future__ import annotations

from datetime import datetime
from typing import Any

from kubraft.api.conditions import Condition, conditions_of, find_condition
from kubraft.api.object import Object, annotations_of, is_terminating
from kubraft.api.pods import phase_of
from kubraft.api.time import parse_time

FINALIZER = "batch.kubernetes.io/job-tracking"
INDEX = "batch.kubernetes.io/job-completion-index"
INDEX_FAILURES = "batch.kubernetes.io/job-index-failure-count"
INDEX_IGNORED = "batch.kubernetes.io/job-index-ignored-failure-count"
MANAGER = "kubernetes.io/job-controller"
_BACKOFF_LIMIT = 6


def is_ours(job: Object) -> bool:
    """Whether `spec.managedBy` leaves the Job to the built-in controller."""
    manager: str | None = job["spec"].get("managedBy")
    return manager in (None, MANAGER)


def is_indexed(job: Object) -> bool:
    """Whether each Pod has a completion index."""
    mode: str | None = job["spec"].get("completionMode")
    return mode == "Indexed"


def is_suspended(job: Object) -> bool:
    """Whether no Pod may run for now."""
    return bool(job["spec"].get("suspend"))


def parallelism_of(job: Object) -> int:
    """How many Pods may run at once; 1 where absent."""
    count = job["spec"].get("parallelism")
    return 1 if count is None else int(count)


def completions_of(job: Object) -> int | None:
    """How many Pods must succeed; None where the first success is enough."""
    count: int | None = job["spec"].get("completions")
    return count


def backoff_limit_of(job: Object) -> int:
    """How many failed Pods a Job survives."""
    limit = job["spec"].get("backoffLimit")
    return _BACKOFF_LIMIT if limit is None else int(limit)


def limit_per_index(job: Object) -> int | None:
    """How many failures an index survives, where indexes fail one by one."""
    limit: int | None = job["spec"].get("backoffLimitPerIndex")
    return limit


def replaces_only_failed(job: Object) -> bool:
    """Whether a terminating Pod is replaced only once it has ended."""
    policy: str | None = job["spec"].get("podReplacementPolicy")
    return policy == "Failed"


def status_of(job: Object) -> dict[str, Any]:
    """`status`, empty where absent."""
    return job.get("status") or {}


def true_condition(job: Object, type_: str) -> Condition | None:
    """The condition of that type, if its status is "True"."""
    found = find_condition(conditions_of(job), type_)
    return found if found is not None and found.get("status") == "True" else None


def is_finished(job: Object) -> bool:
    """Whether the Job is Complete or Failed."""
    return any(true_condition(job, type_) for type_ in ("Complete", "Failed"))


def finish_moment(job: Object) -> datetime | None:
    """When the Job became Complete or Failed."""
    for type_ in ("Complete", "Failed"):
        if found := true_condition(job, type_):
            text = found.get("lastTransitionTime")
            return parse_time(text) if text else None
    return None


def index_of(pod: Object) -> int | None:
    """The Pod's completion index, None where it has none that makes sense."""
    text = annotations_of(pod).get(INDEX, "")
    return int(text) if text.isascii() and text.isdigit() else None


def is_tracked(pod: Object) -> bool:
    """Whether the Pod stays until it has been counted."""
    return FINALIZER in (pod["metadata"].get("finalizers") or ())


def is_failed(pod: Object, job: Object) -> bool:
    """Whether the Pod counts as failed.

    A terminating one does at once, unless Pods are replaced only when they have failed.
    """
    if phase_of(pod) == "Failed":
        return True
    return not replaces_only_failed(job) and is_terminating(pod) and phase_of(pod) != "Succeeded"


def failures_of(pod: Object) -> int:
    """How often the Pod's index had failed, in a way that counts, before the Pod."""
    return _count(pod, INDEX_FAILURES)


def ignored_of(pod: Object) -> int:
    """How often the Pod's index had failed, in a way that does not count, before the Pod."""
    return _count(pod, INDEX_IGNORED)


def ended_at(pod: Object) -> datetime | None:
    """When the Pod ended: its last container, or else what its metadata tells."""
    status = pod.get("status") or {}
    moments = [
        state["terminated"]["finishedAt"]
        for container in status.get("containerStatuses") or ()
        if (state := container.get("state") or {}).get("terminated", {}).get("finishedAt")
    ]
    if moments:
        return max(map(parse_time, moments))
    ready = find_condition(conditions_of(pod), "Ready") or {}
    text = (
        ready.get("lastTransitionTime")
        or pod["metadata"].get("deletionTimestamp")
        or pod["metadata"].get("creationTimestamp")
    )
    return parse_time(text) if text else None


def _count(pod: Object, annotation: str) -> int:
    text = annotations_of(pod).get(annotation, "")
    return int(text) if text.isascii() and text.isdigit() else 0

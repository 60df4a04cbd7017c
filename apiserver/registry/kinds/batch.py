"""Jobs and CronJobs.

Source: Kubernetes API reference, batch/v1; texts of upstream's validation.
"""

from __future__ import annotations

import copy
import zoneinfo
from datetime import datetime
from typing import Any

from apiserver.registry.causes import immutable, invalid, required, unsupported
from apiserver.registry.columns import AGE, NAME, Cell, cell, columns, images, selector
from apiserver.registry.job_policies import failure_causes, success_causes
from apiserver.registry.metadata import annotation_causes, label_causes
from apiserver.registry.paths import at
from apiserver.registry.pod_defaults import default_pod_spec
from apiserver.registry.pod_validation import validate_pod_spec
from apiserver.registry.resource import Column, Resource
from apiserver.registry.rules import (
    RuleStrategy,
    at_least,
    check,
    fill,
    label_selector,
    needed,
    one_of,
    under,
)
from kubraft.api.cron import parse_schedule
from kubraft.api.duration import age, human_duration
from kubraft.api.errors import Cause
from kubraft.api.gvk import GroupVersionKind
from kubraft.api.names import dns1123_subdomain_errors
from kubraft.api.object import Object
from kubraft.api.time import parse_time

JOB = GroupVersionKind("batch", "v1", "Job")
CRON_JOB = GroupVersionKind("batch", "v1", "CronJob")

UID_LABEL, NAME_LABEL = "batch.kubernetes.io/controller-uid", "batch.kubernetes.io/job-name"
# The same from before labels had prefixes.
_OLD_LABELS = {UID_LABEL: "controller-uid", NAME_LABEL: "job-name"}
_BACKOFF_MAX = 2**31 - 1
# A schedule's name and a minute make the names of its Jobs, and those the names of Pods.
_CRON_NAME_MAX = 52
_STATES = ("Complete", "Failed", "Suspended", "FailureTarget", "SuccessCriteriaMet")
_SCHEDULING = ("nodeSelector", "tolerations", "affinity", "schedulingGates")

_JOB_CHECKS = (
    ("parallelism", at_least(0)),
    ("completions", at_least(0)),
    ("activeDeadlineSeconds", at_least(0)),
    ("backoffLimit", at_least(0)),
    ("ttlSecondsAfterFinished", at_least(0)),
    ("backoffLimitPerIndex", at_least(0)),
    ("maxFailedIndexes", at_least(0)),
    ("completionMode", one_of("NonIndexed", "Indexed")),
    ("podReplacementPolicy", one_of("TerminatingOrFailed", "Failed")),
    ("selector", label_selector),
)


class JobStrategy(RuleStrategy):
    """The rules of Jobs. Where a Job does not bring its own selector, it is made from its uid."""

    def prepare_for_create(self, obj: Object) -> None:
        super().prepare_for_create(obj)
        spec, template = obj.get("spec") or {}, at(obj, "spec.template")
        if spec.get("manualSelector") or not isinstance(template, dict):
            return
        labels = template.setdefault("metadata", {}).setdefault("labels", {})
        uid, name = obj["metadata"].get("uid", ""), obj["metadata"].get("name", "")
        for label, value in ((UID_LABEL, uid), (NAME_LABEL, name)):
            labels[label] = labels[_OLD_LABELS[label]] = value
        chosen = spec.setdefault("selector", {}).setdefault("matchLabels", {})
        chosen.setdefault(UID_LABEL, uid)
        _take_labels(obj)

    def validate(self, obj: Object) -> list[Cause]:
        spec = obj.get("spec") or {}
        causes = _job_spec(spec, "spec")
        if spec.get("manualSelector") and not spec.get("selector"):
            causes.append(required("spec.selector"))
        return causes

    def validate_update(self, new: Object, old: Object) -> list[Cause]:
        causes = super().validate_update(new, old)
        after, before = new["spec"], old["spec"]
        if _fixed_template(after, before, old) != before.get("template"):
            causes.append(immutable("spec.template", after.get("template")))
        if after.get("completions") != before.get("completions") and not _elastic(after, before):
            causes.append(immutable("spec.completions", after.get("completions")))
        return causes


def _elastic(after: Object, before: Object) -> bool:
    """An indexed Job may change how many it wants, together with how many run at a time."""
    return (
        before.get("completionMode") == "Indexed"
        and before.get("completions") is not None
        and after.get("completions") == after.get("parallelism")
    )


def _fixed_template(after: Object, before: Object, old: Object) -> Any:
    """The new template, with what a Job that has not begun may change put back."""
    template = copy.deepcopy(after.get("template"))
    if not before.get("suspend") or at(old, "status.startTime") or not isinstance(template, dict):
        return template
    held = before.get("template") or {}
    for names, inner, outer in (
        (_SCHEDULING, template.get("spec") or {}, held.get("spec") or {}),
        (("labels", "annotations"), template.get("metadata") or {}, held.get("metadata") or {}),
    ):
        for name in names:
            if name in outer:
                inner[name] = outer[name]
            else:
                inner.pop(name, None)
    return template


def _job_spec(spec: Object, field: str) -> list[Cause]:
    causes = under(field, check(spec, _JOB_CHECKS))
    if spec.get("completionMode") == "Indexed" and spec.get("completions") is None:
        text = "when completion mode is Indexed"
        causes.append(required(f"{field}.completions", text))
    if spec.get("maxFailedIndexes") is not None and spec.get("backoffLimitPerIndex") is None:
        text = "when maxFailedIndexes is specified"
        causes.append(required(f"{field}.backoffLimitPerIndex", text))
    causes += [*failure_causes(spec, field), *success_causes(spec, field)]
    template = spec.get("template")
    if not isinstance(template, dict):
        return [*causes, required(f"{field}.template")]
    metadata, pod = template.get("metadata") or {}, template.get("spec") or {}
    field = f"{field}.template"
    causes += label_causes(f"{field}.labels", metadata.get("labels") or {})
    causes += annotation_causes(f"{field}.annotations", metadata.get("annotations") or {})
    causes += validate_pod_spec(pod, f"{field}.spec")
    if pod.get("restartPolicy") == "Always":
        text = 'valid values: "OnFailure", "Never"'
        causes.append(required(f"{field}.spec.restartPolicy", text))
    if spec.get("podFailurePolicy") and pod.get("restartPolicy") == "OnFailure":
        text = 'only "Never" is supported when podFailurePolicy is specified'
        causes.append(invalid(f"{field}.spec.restartPolicy", "OnFailure", text))
    return causes


def _default_template(spec: Object) -> None:
    template = spec.get("template")
    if isinstance(template, dict):
        template.setdefault("metadata", {})
        default_pod_spec(template.setdefault("spec", {}), is_pod=False)


def _default_job(obj: Object) -> None:
    spec = obj.setdefault("spec", {})
    _default_template(spec)
    if spec.get("completions") is None and spec.get("parallelism") is None:
        spec["completions"] = 1
    spec.setdefault("parallelism", 1)
    limit = 6 if spec.get("backoffLimitPerIndex") is None else _BACKOFF_MAX
    spec.setdefault("backoffLimit", limit)
    only_failed = spec.get("podFailurePolicy") is not None
    spec.setdefault("podReplacementPolicy", "Failed" if only_failed else "TerminatingOrFailed")
    _take_labels(obj)
    fill(obj, "spec.podFailurePolicy.rules[].onPodConditions[].status", "True")


def _take_labels(obj: Object) -> None:
    labels = at(obj, "spec.template.metadata.labels")
    if labels and not obj["metadata"].get("labels"):
        obj["metadata"]["labels"] = dict(labels)


def _default_cron_job(obj: Object) -> None:
    spec = obj.setdefault("spec", {})
    if isinstance(at(spec, "jobTemplate.spec"), dict):
        _default_template(spec["jobTemplate"]["spec"])


def _cron_name(name: str) -> list[str]:
    if len(name) > _CRON_NAME_MAX:
        return [f"must be no more than {_CRON_NAME_MAX} characters"]
    return dns1123_subdomain_errors(name)


def _cron_causes(place: Any) -> list[Cause]:
    spec: Object = place.value or {}
    causes: list[Cause] = []
    schedule, zone = spec.get("schedule"), spec.get("timeZone")
    if schedule and "TZ" in schedule:
        text = "cannot use TZ or CRON_TZ in schedule, use timeZone field instead"
        causes.append(invalid("spec.schedule", schedule, text))
    elif schedule:
        try:
            parse_schedule(schedule)
        except ValueError as error:
            causes.append(invalid("spec.schedule", schedule, str(error)))
    if zone is not None:
        causes += _zone(zone)
    job = at(spec, "jobTemplate.spec")
    if not isinstance(job, dict):
        return causes
    causes += _job_spec(job, "spec.jobTemplate.spec")
    if job.get("selector"):
        text = "`selector` will be auto-generated"
        causes.append(invalid("spec.jobTemplate.spec.selector", job["selector"], text))
    if job.get("manualSelector"):
        choices = ("nil", "false")
        causes.append(unsupported("spec.jobTemplate.spec.manualSelector", True, choices))
    return causes


def _zone(zone: str) -> list[Cause]:
    if not zone:
        return [invalid("spec.timeZone", zone, "timeZone must be nil or non-empty string")]
    if zone.lower() == "local":
        return [invalid("spec.timeZone", zone, "timeZone must be an explicit time zone as defined "
                        "in https://www.iana.org/time-zones")]  # fmt: skip
    if _is_zone(zone) or not _is_zone("UTC"):  # a machine without a list cannot judge
        return []
    return [invalid("spec.timeZone", zone, f"unknown time zone {zone}")]


def _is_zone(zone: str) -> bool:
    try:
        zoneinfo.ZoneInfo(zone)
    except (zoneinfo.ZoneInfoNotFoundError, ValueError, OSError):
        return False
    return True


def _completions(obj: Object) -> str:
    spec, done = obj.get("spec") or {}, at(obj, "status.succeeded") or 0
    if spec.get("completions") is not None:
        return f"{done}/{spec['completions']}"
    parallelism = spec.get("parallelism") or 0
    return f"{done}/1 of {parallelism}" if parallelism > 1 else f"{done}/1"


def _job_state(obj: Object) -> str:
    held = {c.get("type") for c in at(obj, "status.conditions") or () if c.get("status") == "True"}
    if obj["metadata"].get("deletionTimestamp") and not held & {"Complete", "Failed"}:
        return "Terminating"
    return next((state for state in _STATES if state in held), "Running")


def _job_duration(obj: Object, now: datetime) -> str:
    begun, ended = at(obj, "status.startTime"), at(obj, "status.completionTime")
    if not begun:
        return ""
    end = parse_time(ended) if ended else now
    return human_duration((end - parse_time(begun)).total_seconds())


def _last_schedule(obj: Object, now: datetime) -> str:
    last = at(obj, "status.lastScheduleTime")
    return age(last, now) if last else "<none>"


ROWS = (
    Resource(
        JOB,
        "jobs",
        JobStrategy(
            defaults={
                "spec.completionMode": "NonIndexed",
                "spec.suspend": False,
                "spec.manualSelector": False,
            },
            default=_default_job,
            fixed={
                "spec.selector": "",
                "spec.completionMode": "",
                "spec.podFailurePolicy": "",
                "spec.backoffLimitPerIndex": "",
                "spec.managedBy": "",
                "spec.successPolicy": "",
            },
            generation=True,
            status={},
            status_checks=(
                ("status.active", at_least(0)),
                ("status.succeeded", at_least(0)),
                ("status.failed", at_least(0)),
            ),
        ),
        columns(
            NAME,
            cell("Status", _job_state),
            cell("Completions", _completions),
            Cell(Column("Duration"), _job_duration),
            AGE,
            *images(),
            selector(),
        ),
        categories=("all",),
        selectable_fields=("status.successful",),
        subresources=("status",),
    ),
    Resource(
        CRON_JOB,
        "cronjobs",
        RuleStrategy(
            name=_cron_name,
            defaults={
                "spec.concurrencyPolicy": "Allow",
                "spec.suspend": False,
                "spec.successfulJobsHistoryLimit": 3,
                "spec.failedJobsHistoryLimit": 1,
            },
            default=_default_cron_job,
            checks=(
                ("spec.schedule", needed()),
                ("spec.startingDeadlineSeconds", at_least(0)),
                ("spec.concurrencyPolicy", one_of("Allow", "Forbid", "Replace")),
                ("spec.successfulJobsHistoryLimit", at_least(0)),
                ("spec.failedJobsHistoryLimit", at_least(0)),
                ("spec", _cron_causes),
            ),
            generation=True,
            status={},
        ),
        columns(
            NAME,
            cell("Schedule", "spec.schedule"),
            cell("Timezone", "spec.timeZone", none="<none>"),
            cell("Suspend", lambda o: "True" if at(o, "spec.suspend") else "False"),
            cell("Active", lambda o: len(at(o, "status.active") or ()), type_="integer"),
            Cell(Column("Last Schedule"), _last_schedule),
            AGE,
            *images("spec.jobTemplate.spec.template.spec"),
            selector("spec.jobTemplate.spec.selector"),
        ),
        short_names=("cj",),
        categories=("all",),
        subresources=("status",),
    ),
)

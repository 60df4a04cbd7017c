"""What each metric of an autoscaler asks for. Pure.

Source: upstream's HorizontalController (names, reasons and messages).
"""

from __future__ import annotations

from collections.abc import Mapping
from datetime import datetime, timedelta
from typing import Any, Final, NamedTuple

from agents.controllers.horizontal_pod_autoscaler.replicas import (
    CalculationError,
    Proposal,
    Sample,
    Tolerance,
    by_average,
    by_utilization,
)
from kubraft.api.duration import parse_duration
from kubraft.api.object import Object
from kubraft.api.quantity import from_milli, parse_quantity
from kubraft.api.time import parse_time

_SOURCES: Final = {"Resource": "resource", "ContainerResource": "containerResource"}
_FAILURES: Final = {
    "Resource": "FailedGetResourceMetric",
    "ContainerResource": "FailedGetContainerResourceMetric",
    "Pods": "FailedGetPodsMetric",
    "Object": "FailedGetObjectMetric",
    "External": "FailedGetExternalMetric",
}
_NEITHER: Final = (
    "invalid resource metric source: neither an average utilization target nor an average value "
    "(usage) target was set"
)
_NO_SUCH_API: Final = {
    "Pods": "unable to fetch metrics from custom metrics API: no known available metric versions "
    "found",
    "External": "unable to fetch metrics from external metrics API: the server could not find the "
    "requested resource",
}


class Workload(NamedTuple):
    """What is scaled, at a moment; `failure` says why there are no samples."""

    pods: list[Object]
    # PodMetrics of metrics.k8s.io.
    usage: list[Object]
    failure: str
    current: int
    tolerance: Tolerance
    now: datetime


class Answer(NamedTuple):
    """What a metric asks for, or why it does not: `reason` and `failure`."""

    replicas: int = 0
    name: str = ""
    status: Object | None = None
    reason: str = ""
    failure: str = ""


class Outcome(NamedTuple):
    """What all metrics together ask for; `replicas` is None where they cannot be followed."""

    replicas: int | None
    name: str
    statuses: list[Object]
    reason: str
    message: str
    # Of the event, one for each metric that failed: reason and message.
    failures: list[tuple[str, str]]


def tolerance_of(behavior: Mapping[str, Any] | None, default: float) -> Tolerance:
    """The tolerances of an autoscaler."""

    def of(way: str) -> float:
        asked = ((behavior or {}).get(way) or {}).get("tolerance")
        return default if asked is None else parse_quantity(asked).milli_value() / 1000

    return Tolerance(of("scaleDown"), of("scaleUp"))


def outcome(metrics: list[Object], workload: Workload, replicas: int) -> Outcome:
    """The highest number that a metric asks for; some may fail where it does not go down.

    Args:
        replicas: how many the workload asks for now.
    """
    answers = [answer(metric, workload) for metric in metrics]
    good = [each for each in answers if not each.failure]
    failures = [(each.reason, each.failure) for each in answers if each.failure]
    best = max(good, key=lambda each: each.replicas, default=None)
    statuses = [each.status for each in good if each.status]
    if best is None or (failures and best.replicas < replicas):
        reason, failure = failures[0]
        first = f"the HPA was unable to compute the replica count: {failure}"
        return Outcome(None, "", statuses, reason, first, failures)
    text = f"the HPA was able to successfully calculate a replica count from {best.name}"
    return Outcome(best.replicas, best.name, statuses, "ValidMetricFound", text, failures)


def invalid(failures: list[tuple[str, str]], count: int) -> str:
    """The message on metrics of which some, or all, cannot be used."""
    first = failures[0][1]
    return f"invalid metrics ({len(failures)} invalid out of {count}), first error is: {first}"


def answer(metric: Object, workload: Workload) -> Answer:
    """What one metric asks for."""
    kind = metric["type"]
    if kind not in _SOURCES:
        return Answer(reason=_FAILURES[kind], failure=_unserved(metric))
    try:
        return _of_resource(metric, workload)
    except CalculationError as error:
        return Answer(reason=_FAILURES[kind], failure=str(error))


def _of_resource(metric: Object, workload: Workload) -> Answer:
    kind = metric["type"]
    source: Object = metric[_SOURCES[kind]]
    resource, target = source["name"], source.get("target") or {}
    container = source.get("container", "") if kind == "ContainerResource" else ""
    average, percent = target.get("averageValue"), target.get("averageUtilization")
    if average is None and percent is None:
        raise CalculationError(_NEITHER)
    word = "utilization" if average is None else "usage"
    try:
        samples = _samples(workload, resource, container)
        common: dict[str, Any] = {
            "resource": resource,
            "current": workload.current,
            "tolerance": workload.tolerance,
            "now": workload.now,
        }
        if average is None:
            assert percent is not None
            proposal = by_utilization(
                workload.pods, samples, container=container, target_percent=percent, **common
            )
        else:
            milli = parse_quantity(average).milli_value()
            proposal = by_average(workload.pods, samples, target_milli=milli, **common)
    except CalculationError as error:
        raise CalculationError(f"failed to get {resource} {word}: {error}") from error
    name = f"{resource} {'container ' if container else ''}resource"
    if average is None:
        name += " utilization (percentage of request)"
    return Answer(proposal.replicas, name, _status(kind, source, proposal))


def _status(kind: str, source: Object, proposal: Proposal) -> Object:
    current: Object = {"averageValue": str(from_milli(proposal.average_milli))}
    if proposal.percent is not None:
        current["averageUtilization"] = proposal.percent
    shown = {name: source[name] for name in ("name", "container") if name in source}
    return {"type": kind, _SOURCES[kind]: {**shown, "current": current}}


def _samples(workload: Workload, resource: str, container: str) -> dict[str, Sample]:
    """What Pods use of a resource, by name."""
    about = f"unable to get metrics for resource {resource}: "
    if workload.failure:
        raise CalculationError(
            f"{about}unable to fetch metrics from resource metrics API: {workload.failure}"
        )
    if not workload.usage:
        raise CalculationError(f"{about}no metrics returned from resource metrics API")
    found: dict[str, Sample] = {}
    for each in workload.usage:
        amounts = [
            c["usage"].get(resource)
            for c in each.get("containers") or ()
            if not container or c.get("name") == container
        ]
        if amounts and None not in amounts:
            window = timedelta(seconds=parse_duration(each.get("window") or "0s"))
            total = sum(parse_quantity(amount).milli_value() for amount in amounts)
            at = parse_time(each["timestamp"])
            found[each["metadata"]["name"]] = Sample(at, window, total)
    return found


def _unserved(metric: Object) -> str:
    """What is said of metrics whose APIs nobody serves."""
    kind = metric["type"]
    source = metric.get(kind[:1].lower() + kind[1:]) or {}
    name = (source.get("metric") or {}).get("name", "")
    why = _NO_SUCH_API["External" if kind == "External" else "Pods"]
    external = "external " if kind == "External" else ""
    return f"failed to get {name} {external}metric: unable to get {external}metric {name}: {why}"

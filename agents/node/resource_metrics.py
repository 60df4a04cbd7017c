"""/metrics/resource: usage in Prometheus' text form, under the kubelet's names. Pure.

Source: the kubelet's resource metrics collector (names, help, labels, times).
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from typing import Final, NamedTuple

from agents.node.usage import Measured, NodeUsage
from kubraft.api.time import parse_time

CONTENT_TYPE: Final = "text/plain; version=0.0.4; charset=utf-8"

_FAILED: Final = "1 if there was an error while getting container metrics, 0 otherwise"


class Sample(NamedTuple):
    """One line: labels as they are written, a value, and milliseconds of Unix time or 0."""

    labels: str
    value: float
    at_ms: int = 0


def exposition(usage: NodeUsage) -> bytes:
    """The text."""
    lines: list[str] = []
    for name, kind, text, samples in _families(usage):
        made = list(samples)
        if made:
            lines.append(f"# HELP {name} {text}")
            lines.append(f"# TYPE {name} {kind}")
        for labels, value, at_ms in made:
            at = f" {at_ms}" if at_ms else ""
            lines.append(f"{name}{labels} {value:.15g}{at}")
    return ("\n".join(lines) + "\n").encode()


def _families(usage: NodeUsage) -> Iterator[tuple[str, str, str, Iterable[Sample]]]:
    containers = [
        (_labels(container=each.name, namespace=pod.namespace, pod=pod.name), each)
        for pod in usage.pods
        for each in pod.containers
    ]
    pods = [(_labels(namespace=pod.namespace, pod=pod.name), pod) for pod in usage.pods]
    failed = 1.0 if usage.error else 0.0
    yield (
        "container_cpu_usage_seconds_total",
        "counter",
        "[STABLE] Cumulative cpu time consumed by the container in core-seconds",
        [_cpu(labels, each.measured) for labels, each in containers],
    )
    yield (
        "container_memory_working_set_bytes",
        "gauge",
        "[STABLE] Current working set of the container in bytes",
        [_memory(labels, each.measured) for labels, each in containers],
    )
    yield (
        "container_start_time_seconds",
        "gauge",
        "[STABLE] Start time of the container since unix epoch in seconds",
        [
            Sample(labels, parse_time(each.started).timestamp())
            for labels, each in containers
            if each.started
        ],
    )
    yield (
        "node_cpu_usage_seconds_total",
        "counter",
        "[STABLE] Cumulative cpu time consumed by the node in core-seconds",
        [_cpu("", usage.measured)],
    )
    yield (
        "node_memory_working_set_bytes",
        "gauge",
        "[STABLE] Current working set of the node in bytes",
        [_memory("", usage.measured)],
    )
    yield (
        "pod_cpu_usage_seconds_total",
        "counter",
        "[STABLE] Cumulative cpu time consumed by the pod in core-seconds",
        [_cpu(labels, pod.measured) for labels, pod in pods],
    )
    yield (
        "pod_memory_working_set_bytes",
        "gauge",
        "[STABLE] Current working set of the pod in bytes",
        [_memory(labels, pod.measured) for labels, pod in pods],
    )
    yield (
        "resource_scrape_error",
        "gauge",
        f"[STABLE] {_FAILED}",
        [Sample("", failed)],
    )
    yield (
        "scrape_error",
        "gauge",
        f"[ALPHA] (Deprecated since 1.29.0) {_FAILED}",
        [Sample("", failed)],
    )


def _cpu(labels: str, measured: Measured) -> Sample:
    return Sample(labels, measured.cpu_ns / 1e9, measured.at_ns // 1_000_000)


def _memory(labels: str, measured: Measured) -> Sample:
    return Sample(labels, measured.working_set_bytes, measured.at_ns // 1_000_000)


def _labels(**values: str) -> str:
    """Values are names of objects: nothing in them must be escaped."""
    return "{" + ",".join(f'{name}="{value}"' for name, value in values.items()) + "}"

"""/stats/summary: usage as the kubelet's summary API has it. Pure.

Source: k8s.io/kubelet, stats/v1alpha1 Summary.
"""

from __future__ import annotations

from collections.abc import Mapping
from datetime import UTC, datetime
from typing import Any

from agents.node.usage import Measured, NodeUsage, PodUsage
from kubraft.api.time import format_time

# Nanoseconds of CPU time and of Unix time, by container id; a Pod's uid; "" for the node.
Before = Mapping[str, Measured]


def by_key(usage: NodeUsage) -> dict[str, Measured]:
    """What a later summary takes its rates from."""
    found = {"": usage.measured}
    for pod in usage.pods:
        found[pod.uid] = pod.measured
        found |= {each.id: each.measured for each in pod.containers}
    return found


def summary(node: str, usage: NodeUsage, before: Before) -> dict[str, Any]:
    """The summary; without `before` there are no rates."""
    shown = {
        "nodeName": node,
        "startTime": format_time(datetime.fromtimestamp(usage.started_s, UTC)),
        **_both(usage.measured, before.get("")),
    }
    shown["memory"]["availableBytes"] = usage.available_bytes
    return {"node": shown, "pods": [_pod(pod, before) for pod in usage.pods]}


def _pod(pod: PodUsage, before: Before) -> dict[str, Any]:
    return {
        "podRef": {"name": pod.name, "namespace": pod.namespace, "uid": pod.uid},
        "startTime": pod.started or None,
        "containers": [
            {
                "name": each.name,
                "startTime": each.started or None,
                **_both(each.measured, before.get(each.id)),
            }
            for each in pod.containers
        ],
        **_both(pod.measured, before.get(pod.uid)),
        "process_stats": {"process_count": pod.processes},
    }


def _both(now: Measured, before: Measured | None) -> dict[str, Any]:
    at = format_time(datetime.fromtimestamp(now.at_ns / 1e9, UTC))
    cpu: dict[str, Any] = {"time": at, "usageCoreNanoSeconds": now.cpu_ns}
    if before is not None and now.at_ns > before.at_ns and now.cpu_ns >= before.cpu_ns:
        rate = (now.cpu_ns - before.cpu_ns) / (now.at_ns - before.at_ns)
        cpu["usageNanoCores"] = round(rate * 1e9)
    memory = {
        "time": at,
        "usageBytes": now.usage_bytes,
        "workingSetBytes": now.working_set_bytes,
        "rssBytes": now.rss_bytes,
        "pageFaults": now.page_faults,
        "majorPageFaults": now.major_page_faults,
    }
    return {"cpu": cpu, "memory": memory}

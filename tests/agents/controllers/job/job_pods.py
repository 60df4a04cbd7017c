"""Pods of Jobs, for tables."""

from __future__ import annotations

from typing import Any

from agents.controllers.job.pod import job_pod
from agents.controllers.job.reading import FINALIZER
from kubraft.api.object import Object
from tests.agents.controllers.objects import at


def job_pod_of(job: Object, name: str, phase: str = "Running", **parts: Any) -> Object:
    """A Pod of `job` as the cache has it: `index`, `exit_code`, `ended` (age), `tracked`."""
    pod = job_pod(job, name, parts.get("index"))
    pod["metadata"].update(uid=f"uid-{name}", resourceVersion="1", creationTimestamp=at(-900))
    status: Object = {"phase": phase}
    if phase in ("Succeeded", "Failed"):
        ended = {"exitCode": parts.get("exit_code", 1), "finishedAt": at(-parts.get("ended", 800))}
        status["containerStatuses"] = [{"name": "main", "state": {"terminated": ended}}]
    if phase == "Running":
        status["conditions"] = [{"type": "Ready", "status": "True"}]
    if "condition" in parts:
        status["conditions"] = [{"type": parts["condition"], "status": "True"}]
    if parts.get("terminating"):
        pod["metadata"]["deletionTimestamp"] = at(0)
    if not parts.get("tracked", True):
        pod["metadata"]["finalizers"] = [f for f in pod["metadata"]["finalizers"] if f != FINALIZER]
    for name_, value in parts.get("annotations", {}).items():
        pod["metadata"]["annotations"][name_] = value
    return {**pod, "status": status}

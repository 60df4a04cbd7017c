"""A Pod as a Job's template makes it.

Source: Kubernetes documentation, "Completion mode"; upstream's job controller (names).
"""

from __future__ import annotations

from agents.controllers.job.picture import new_counts
from agents.controllers.job.reading import (
    FINALIZER,
    INDEX,
    INDEX_FAILURES,
    INDEX_IGNORED,
    limit_per_index,
)
from agents.controllers.pod_template import name_prefix, pod_of_template
from kubraft.api.object import Object
from kubraft.api.pods import all_containers

INDEX_VARIABLE = "JOB_COMPLETION_INDEX"
_NAME_CHARS_MAX = 63
_RANDOM_CHARS = 5


def pod_prefix(job: Object, index: int | None) -> str:
    """What the name of a Pod begins with; the index stays whole where the name is too long."""
    if index is None:
        return name_prefix(job)
    end = f"-{index}-"
    name: str = job["metadata"]["name"]
    return name[: _NAME_CHARS_MAX - _RANDOM_CHARS - len(end)] + end


def tracked(pod: Object) -> Object:
    """`pod` with the finalizer that holds it until it is counted."""
    others = [f for f in pod["metadata"].get("finalizers") or () if f != FINALIZER]
    return {**pod, "metadata": {**pod["metadata"], "finalizers": [*others, FINALIZER]}}


def untracked(pod: Object) -> Object:
    """`pod` without that finalizer."""
    others = [f for f in pod["metadata"].get("finalizers") or () if f != FINALIZER]
    return {**pod, "metadata": {**pod["metadata"], "finalizers": others}}


def job_pod(job: Object, name: str, index: int | None, failed: Object | None = None) -> Object:
    """The Pod `name` of `job`.

    Args:
        index: its completion index, None where the Job has none.
        failed: the Pod of that index which failed last, where failures count by index.
    """
    pod = tracked(pod_of_template(job, name))
    metadata = pod["metadata"]
    metadata["generateName"] = pod_prefix(job, index)
    if index is None:
        return pod
    annotations = {**(metadata.get("annotations") or {}), INDEX: str(index)}
    metadata["labels"] = {**(metadata.get("labels") or {}), INDEX: str(index)}
    if limit_per_index(job) is not None:
        failures, ignored = new_counts(job, failed)
        annotations[INDEX_FAILURES] = str(failures)
        if ignored:
            annotations[INDEX_IGNORED] = str(ignored)
    metadata["annotations"] = annotations
    pod["spec"]["hostname"] = f"{job['metadata']['name']}-{index}"
    for container in all_containers(pod["spec"]):
        variables = container.get("env") or []
        if all(variable["name"] != INDEX_VARIABLE for variable in variables):
            container["env"] = [*variables, _index_variable()]
    return pod


def _index_variable() -> Object:
    path = f"metadata.labels['{INDEX}']"
    return {
        "name": INDEX_VARIABLE,
        "valueFrom": {"fieldRef": {"apiVersion": "v1", "fieldPath": path}},
    }

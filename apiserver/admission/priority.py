"""Priority: turns a Pod's priorityClassName into its number.

There is no PriorityClass kind yet, so the two classes that every cluster has are all there are.

Source: Kubernetes documentation, "Pod Priority and Preemption".
"""

from __future__ import annotations

from typing import Final

from apiserver.admission.plugin import Plugin
from apiserver.admission.request import AdmissionRequest

CLASSES: Final = {
    "": 0,
    "system-cluster-critical": 2_000_000_000,
    "system-node-critical": 2_000_001_000,
}


class Priority(Plugin):
    """Sets `spec.priority` of new Pods; a Pod may not choose another number than its class."""

    name = "Priority"

    def handles(self, request: AdmissionRequest) -> bool:
        return request.creates_pod

    async def mutate(self, request: AdmissionRequest) -> None:
        spec = (request.obj or {}).get("spec")
        if not isinstance(spec, dict):
            return  # validation says so
        name = spec.get("priorityClassName") or ""
        priority = CLASSES.get(name)
        if priority is None:
            raise request.forbidden(f"no PriorityClass with name {name} was found")
        if spec.get("priority") not in (None, priority):
            raise request.forbidden(
                f"the integer value of priority ({spec['priority']}) must not be provided in pod "
                f"spec; priority admission controller computed {priority} from the given "
                "PriorityClass name"
            )
        spec["priority"] = priority
        spec.setdefault("preemptionPolicy", "PreemptLowerPriority")

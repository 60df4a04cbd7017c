"""Priority: turns a Pod's priorityClassName into its number, and keeps to one default class.

Source: Kubernetes documentation, "Pod Priority and Preemption"; upstream's plugin (texts).
"""

from __future__ import annotations

from typing import Final

from apiserver.admission.plugin import Plugin
from apiserver.admission.request import AdmissionContext, AdmissionRequest, Operation
from kubraft.api.gvk import PRIORITY_CLASS
from kubraft.api.object import Object

# These two every cluster has, also before they are written.
SYSTEM: Final = {
    "system-cluster-critical": 2_000_000_000,
    "system-node-critical": 2_000_001_000,
}
_POLICY: Final = "PreemptLowerPriority"
_PROVIDED: Final = "must not be provided in pod spec; priority admission controller computed"


class Priority(Plugin):
    """Sets `spec.priority` of new Pods; a Pod may not choose another number than its class."""

    name = "Priority"

    def __init__(self, context: AdmissionContext) -> None:
        self._reader = context.reader

    def handles(self, request: AdmissionRequest) -> bool:
        if request.gvk == PRIORITY_CLASS:
            return request.operation is not Operation.DELETE
        return request.creates_pod

    async def mutate(self, request: AdmissionRequest) -> None:
        spec = (request.obj or {}).get("spec")
        if request.gvk == PRIORITY_CLASS or not isinstance(spec, dict):
            return  # validation says so
        name = spec.get("priorityClassName") or ""
        found = self._find(name) if name else self._default()
        if found is None:
            raise request.forbidden(f"no PriorityClass with name {name} was found")
        if not name and found["metadata"]["name"]:
            spec["priorityClassName"] = found["metadata"]["name"]
        priority = found.get("value", 0)
        preemption = found.get("preemptionPolicy") or _POLICY
        if spec.get("priority") not in (None, priority):
            raise request.forbidden(
                f"the integer value of priority ({spec['priority']}) {_PROVIDED} {priority} from "
                "the given PriorityClass name"
            )
        if spec.get("preemptionPolicy") not in (None, preemption):
            raise request.forbidden(
                f"the string value of PreemptionPolicy ({spec['preemptionPolicy']}) {_PROVIDED} "
                f"{preemption} from the given PriorityClass name"
            )
        spec["priority"], spec["preemptionPolicy"] = priority, preemption

    async def validate(self, request: AdmissionRequest) -> None:
        if request.gvk != PRIORITY_CLASS or not (request.obj or {}).get("globalDefault"):
            return
        default = self._default()["metadata"]["name"]
        if default and default != request.name:
            raise request.forbidden(
                f"PriorityClass {default} is already marked as default. Only one default can exist"
            )

    def _find(self, name: str) -> Object | None:
        found = self._reader.get(PRIORITY_CLASS, "", name)
        if found is None and name in SYSTEM:
            return {"metadata": {"name": name}, "value": SYSTEM[name]}
        return found

    def _default(self) -> Object:
        """The class of Pods that name none: of several defaults the lowest, as upstream."""
        found = [c for c in self._reader.list(PRIORITY_CLASS) if c.get("globalDefault")]
        none: Object = {"metadata": {"name": ""}, "value": 0}
        return min(found, key=lambda c: c.get("value", 0)) if found else none

"""ResourceQuota: charges what is about to be written to the quotas of its namespace.

It is the last step before the write. What was charged for a write that then failed is counted
back by the quota controller.

Source: Kubernetes documentation, "Resource Quotas"; upstream's plugin of that name (texts).
"""

from __future__ import annotations

from apiserver.admission.plugin import Plugin
from apiserver.admission.quota_arithmetic import hard_of, unspecified_message
from apiserver.admission.quota_charger import Charge, QuotaCharger
from apiserver.admission.request import AdmissionContext, AdmissionRequest, Operation
from kubraft.api.gvk import POD, RESOURCE_QUOTA, SERVICE
from kubraft.api.pods import Resources
from kubraft.api.quantity import ZERO
from kubraft.api.quota import in_scope, object_usage


class ResourceQuota(Plugin):
    """Counts creations of all kinds, and updates of Services, whose type decides their usage."""

    name = "ResourceQuota"

    def __init__(self, context: AdmissionContext) -> None:
        self._reader = context.reader
        self._charger = QuotaCharger(context.reader, context.writer, context.kinds)

    def handles(self, request: AdmissionRequest) -> bool:
        if request.resizes_pod:
            return request.obj is not None
        if not request.namespace or request.subresource or request.obj is None:
            return False
        if request.operation is Operation.UPDATE:
            return request.gvk == SERVICE
        return request.operation is Operation.CREATE

    async def validate(self, request: AdmissionRequest) -> None:
        deltas = self._deltas(request)
        if deltas:
            await self._charger.charge(
                Charge(request.namespace, deltas, request.forbidden, dry_run=request.dry_run)
            )

    def _deltas(self, request: AdmissionRequest) -> dict[str, Resources]:
        """By the name of the quota, what the request adds to it."""
        obj = request.obj
        if obj is None:
            return {}
        deltas: dict[str, Resources] = {}
        usage: Resources | None = None
        for quota in self._reader.list(RESOURCE_QUOTA, request.namespace):
            if not in_scope(quota, obj):
                continue
            if request.gvk == POD and (message := unspecified_message(quota, obj)):
                raise request.forbidden(message)
            if usage is None:
                usage = self._usage(request)
            hard = hard_of(quota)
            delta = {name: amount for name, amount in usage.items() if name in hard and amount}
            if delta:
                deltas[quota["metadata"]["name"]] = delta
        return deltas

    @staticmethod
    def _usage(request: AdmissionRequest) -> Resources:
        usage = object_usage(request.obj or {}, request.resource)
        if request.old is not None:
            before = object_usage(request.old, request.resource)
            for name in {*usage, *before}:
                usage[name] = usage.get(name, ZERO) - before.get(name, ZERO)
        return usage

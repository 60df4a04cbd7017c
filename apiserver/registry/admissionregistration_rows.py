"""The rows of admissionregistration.k8s.io in the resource table.

Source: upstream's printers of that group.
"""

from __future__ import annotations

from apiserver.registry.admissionregistration import WebhookStrategy
from apiserver.registry.cells import simple
from apiserver.registry.resource import Resource
from kubraft.api import gvk

_WEBHOOKS = simple("Webhooks", cells=lambda obj, _: [len(obj.get("webhooks") or ())])

ADMISSION_ROWS: tuple[Resource, ...] = (
    Resource(
        gvk.MUTATING_WEBHOOK_CONFIGURATION,
        "mutatingwebhookconfigurations",
        WebhookStrategy(mutating=True),
        _WEBHOOKS,
        namespaced=False,
        categories=("api-extensions",),
    ),
    Resource(
        gvk.VALIDATING_WEBHOOK_CONFIGURATION,
        "validatingwebhookconfigurations",
        WebhookStrategy(mutating=False),
        _WEBHOOKS,
        namespaced=False,
        categories=("api-extensions",),
    ),
)

"""The rows of admissionregistration.k8s.io in the resource table.

Source: upstream's printers of that group.
"""

from __future__ import annotations

from datetime import datetime
from typing import Any

from apiserver.registry.admissionregistration import (
    PolicyBindingStrategy,
    PolicyStrategy,
    WebhookStrategy,
)
from apiserver.registry.cells import simple
from apiserver.registry.resource import Resource
from kubraft.api import gvk
from kubraft.api.object import Object


def _policy(obj: Object, now: datetime) -> list[Any]:
    del now
    spec = obj["spec"]
    validations = len(spec.get("validations") or ())
    return [validations, _kind(spec.get("paramKind"))]


def _mutations(obj: Object, now: datetime) -> list[Any]:
    del now
    spec = obj["spec"]
    kind = _kind(spec.get("paramKind"))
    return [len(spec.get("mutations") or ()), kind, spec.get("reinvocationPolicy", "")]


def _binding(obj: Object, now: datetime) -> list[Any]:
    del now
    spec = obj["spec"]
    ref = spec.get("paramRef") or {}
    shown = UNSET
    if ref:
        place = ref.get("namespace") or "*"
        shown = f"{place}/{ref['name']}" if ref.get("name") else place
    return [spec.get("policyName", ""), shown]


def _kind(kind: dict[str, str] | None) -> str:
    return f"{kind['apiVersion']}/{kind['kind']}" if kind else UNSET


UNSET = "<unset>"
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
    Resource(
        gvk.VALIDATING_ADMISSION_POLICY,
        "validatingadmissionpolicies",
        PolicyStrategy(mutating=False),
        simple("Validations", "ParamKind", cells=_policy),
        namespaced=False,
        categories=("api-extensions",),
        subresources=("status",),
    ),
    Resource(
        gvk.VALIDATING_ADMISSION_POLICY_BINDING,
        "validatingadmissionpolicybindings",
        PolicyBindingStrategy(mutating=False),
        simple("PolicyName", "ParamRef", cells=_binding),
        namespaced=False,
        categories=("api-extensions",),
    ),
    Resource(
        gvk.MUTATING_ADMISSION_POLICY,
        "mutatingadmissionpolicies",
        PolicyStrategy(mutating=True),
        simple("Mutations", "ParamKind", "ReinvocationPolicy", cells=_mutations),
        namespaced=False,
        categories=("api-extensions",),
    ),
    Resource(
        gvk.MUTATING_ADMISSION_POLICY_BINDING,
        "mutatingadmissionpolicybindings",
        PolicyBindingStrategy(mutating=True),
        simple("PolicyName", "ParamRef", cells=_binding),
        namespaced=False,
        categories=("api-extensions",),
    ),
)

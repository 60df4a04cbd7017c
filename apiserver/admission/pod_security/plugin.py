"""PodSecurity: refuses Pods that the namespace's level forbids, and warns of them.

Source: upstream's pod-security-admission, admission (messages, annotations, exemptions).
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Final

from apiserver import notes
from apiserver.admission.matching import find_namespace
from apiserver.admission.plugin import Plugin
from apiserver.admission.pod_security.levels import (
    PREFIX,
    Policy,
    Standard,
    is_stricter,
    policy_of,
)
from apiserver.admission.pod_security.subject import Subject, Violation
from apiserver.admission.request import AdmissionContext, AdmissionRequest, Operation
from kubraft.api.errors import Cause, InvalidError
from kubraft.api.gvk import NAMESPACE, POD
from kubraft.api.object import Object, labels_of

PODS_CHECKED_MAX: Final = 3_000
_TEMPLATES: Final[Mapping[tuple[str, str], tuple[str, ...]]] = {
    ("", "ReplicationController"): ("spec", "template"),
    ("", "PodTemplate"): ("template",),
    ("apps", "ReplicaSet"): ("spec", "template"),
    ("apps", "Deployment"): ("spec", "template"),
    ("apps", "StatefulSet"): ("spec", "template"),
    ("apps", "DaemonSet"): ("spec", "template"),
    ("batch", "Job"): ("spec", "template"),
    ("batch", "CronJob"): ("spec", "jobTemplate", "spec", "template"),
}


class PodSecurity(Plugin):
    """Judges Pods before they are written, and the templates of workloads with a warning."""

    name = "PodSecurity"

    def __init__(self, context: AdmissionContext) -> None:
        self._context = context

    def handles(self, request: AdmissionRequest) -> bool:
        if request.operation not in (Operation.CREATE, Operation.UPDATE):
            return False
        if request.gvk == POD:
            return request.subresource in ("", "ephemeralcontainers", "resize")
        if request.subresource:
            return False
        return request.gvk == NAMESPACE or (request.gvk.group, request.gvk.kind) in _TEMPLATES

    async def validate(self, request: AdmissionRequest) -> None:
        if request.gvk == NAMESPACE:
            self._judge_namespace(request)
            return
        enforces = request.gvk == POD
        policy = policy_of(labels_of(await find_namespace(request.namespace, self._context)))
        modes = (policy.audit, policy.warn, *((policy.enforce,) if enforces else ()))
        if not policy.errors and all(standard.level == "privileged" for standard in modes):
            if enforces:
                notes.annotate(f"{PREFIX}enforce-policy", str(policy.enforce))
            return
        subject = _subject(request)
        if subject is None or (enforces and not _matters(request)):
            return
        _judge(request, policy, subject, enforces=enforces)

    def _judge_namespace(self, request: AdmissionRequest) -> None:
        assert request.obj is not None
        policy = policy_of(labels_of(request.obj))
        before = policy_of(labels_of(request.old)) if request.old else None
        if policy.errors and (before is None or policy.errors != before.errors):
            raise _invalid(request, policy)
        if before is None or policy.enforce == before.enforce:
            return
        now, was = policy.enforce, before.enforce
        if now.level == "privileged":
            return
        if now.minor == was.minor and not is_stricter(now.level, was.level):
            return
        self._warn_of_pods(request.name, now)

    def _warn_of_pods(self, namespace: str, standard: Standard) -> None:
        """Say which of the Pods that there are could not be made now."""
        pods = list(self._context.reader.list(POD, namespace))
        if len(pods) > PODS_CHECKED_MAX:
            notes.warn(
                "new PodSecurity enforce level only checked against the first "
                f"{PODS_CHECKED_MAX} of {len(pods)} existing pods"
            )
        found: dict[str, list[str]] = {}
        for pod in pods[:PODS_CHECKED_MAX]:
            if broken := standard.violations(Subject(pod["metadata"], pod.get("spec") or {})):
                reasons = ", ".join(violation.reason for violation in broken)
                found.setdefault(reasons, []).append(pod["metadata"]["name"])
        if found:
            notes.warn(
                f'existing pods in namespace "{namespace}" violate the new PodSecurity enforce '
                f'level "{standard}"'
            )
        for text in sorted(_with_names(names, reasons) for reasons, names in found.items()):
            notes.warn(text)


def _judge(request: AdmissionRequest, policy: Policy, subject: Subject, *, enforces: bool) -> None:
    if policy.errors:
        text = ", ".join(message for _, _, message in policy.errors)
        notes.annotate(f"{PREFIX}error", f"Failed to parse policy: {text}")
    if broken := policy.audit.violations(subject):
        said = f'would violate PodSecurity "{policy.audit}": {_details(broken)}'
        notes.annotate(f"{PREFIX}audit-violations", said)
    if enforces:
        notes.annotate(f"{PREFIX}enforce-policy", str(policy.enforce))
        if broken := policy.enforce.violations(subject):
            said = f'violates PodSecurity "{policy.enforce}": {_details(broken)}'
            raise request.forbidden(said)
    if broken := policy.warn.violations(subject):
        notes.warn(f'would violate PodSecurity "{policy.warn}": {_details(broken)}')


def _details(violations: list[Violation]) -> str:
    return ", ".join(map(str, violations))


def _subject(request: AdmissionRequest) -> Subject | None:
    """The Pod, or the template of a workload, if it has one."""
    found: Any = request.obj
    if request.gvk != POD:
        for part in _TEMPLATES[request.gvk.group, request.gvk.kind]:
            found = found.get(part) if isinstance(found, dict) else None
    if not isinstance(found, dict):
        return None
    return Subject(found.get("metadata") or {}, found.get("spec") or {})


def _matters(request: AdmissionRequest) -> bool:
    """Whether an update changes what is checked: images, and containers that are added."""
    if request.operation is not Operation.UPDATE:
        return True
    return _images(request.obj) != _images(request.old)


def _images(pod: Object | None) -> list[Any]:
    spec = (pod or {}).get("spec") or {}
    parts = ("containers", "initContainers", "ephemeralContainers")
    return [
        [(each.get("name"), each.get("image")) for each in spec.get(part) or ()] for part in parts
    ]


def _invalid(request: AdmissionRequest, policy: Policy) -> InvalidError:
    causes = [
        Cause(
            "FieldValueInvalid",
            f'Invalid value: "{value}": {message}',
            f"metadata.labels[{label}]",
        )
        for label, value, message in policy.errors
    ]
    shown = ", ".join(map(str, causes))
    return InvalidError(
        f'Namespace "{request.shown_name}" is invalid: '
        f"{f'[{shown}]' if len(causes) > 1 else shown}",
        kind="Namespace",
        name=request.shown_name,
        causes=causes,
    )


def _with_names(names: list[str], reasons: str) -> str:
    more = len(names) - 1
    others = "" if not more else f" (and {more} other {'pod' if more == 1 else 'pods'})"
    return f"{min(names)}{others}: {reasons}"

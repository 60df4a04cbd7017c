"""ValidatingAdmissionPolicy: policies, where their bindings say so, deny, warn or are noted.

Source: upstream's policy/validating dispatcher (messages, codes, annotations).
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Final

import orjson

from apiserver import notes
from apiserver.admission.conditions import ConditionError
from apiserver.admission.equivalents import Views
from apiserver.admission.figures import AdmissionFigures
from apiserver.admission.matching import is_exempt
from apiserver.admission.plugin import Plugin
from apiserver.admission.policy.match import ConfigurationError, matches, parameters, view_of
from apiserver.admission.policy.scope import Scope, namespace_object
from apiserver.admission.policy.source import Bound, Policies
from apiserver.admission.policy.validation import NOTHING, Denial, Outcome, judge
from apiserver.admission.request import AdmissionContext, AdmissionRequest
from apiserver.admission.variables import checker
from apiserver.authz import Authorizer
from apiserver.cel.authorizer import deciding
from kubraft.api.errors import (
    ApiError,
    Cause,
    ForbiddenError,
    InvalidError,
    TooLargeError,
    UnauthorizedError,
)
from kubraft.api.gvk import VALIDATING_ADMISSION_POLICY, VALIDATING_ADMISSION_POLICY_BINDING

FAILURES_MAX: Final = 50
_FAILURE_KEY: Final = "validation.policy.admission.k8s.io/validation_failure"
_ERRORS: Final[Mapping[str, type[ApiError]]] = {
    "Forbidden": ForbiddenError,
    "Invalid": InvalidError,
    "RequestEntityTooLarge": TooLargeError,
    "Unauthorized": UnauthorizedError,
}


class ValidatingAdmissionPolicy(Plugin):
    """Evaluates all policies that are bound."""

    name = "ValidatingAdmissionPolicy"

    def __init__(self, context: AdmissionContext, authorizer: Authorizer) -> None:
        self._context = context
        self._authorizer = authorizer
        self._policies = Policies(
            context, VALIDATING_ADMISSION_POLICY, VALIDATING_ADMISSION_POLICY_BINDING
        )

    def handles(self, request: AdmissionRequest) -> bool:
        return bool(self._policies.all()) and not is_exempt(request)

    async def validate(self, request: AdmissionRequest) -> None:
        verdict = _Verdict(request, self._context.figures)
        views = Views(request, self._context)
        for bound in self._policies.all():
            try:
                outcomes = await self._outcomes(bound, request, views)
            except ConfigurationError as error:
                if not bound.ignores_failure:
                    said = f"failed to configure binding: {error}"
                    verdict.deny(bound, Denial(0, said))
                continue
            for outcome in outcomes:
                verdict.add(bound, outcome)
        verdict.conclude()

    async def _outcomes(
        self, bound: Bound, request: AdmissionRequest, views: Views
    ) -> list[Outcome]:
        spec, binding = bound.policy["spec"], bound.binding["spec"]
        context = self._context
        kind = await matches(spec.get("matchConstraints"), request, context)
        if kind is None or await matches(binding.get("matchResources"), request, context) is None:
            return []
        view = await view_of(views, kind)
        found = await parameters(spec.get("paramKind"), binding.get("paramRef"), request, context)
        namespace = await namespace_object(request, context)
        with deciding(checker(self._authorizer, request.user)):
            return [
                self._judge(bound, Scope(spec, view, params, namespace), request)
                for params in found
            ]

    def _judge(self, bound: Bound, scope: Scope, request: AdmissionRequest) -> Outcome:
        spec, figures = bound.policy["spec"], self._context.figures
        labels = (bound.names[0], "policy", "validate", str(request.operation))
        try:
            if not scope.conditions_hold(spec, figures, labels):
                return NOTHING
        except ConditionError as error:
            failed = Denial(0, str(error), error="invalid_error")
            return NOTHING if bound.ignores_failure else NOTHING._replace(denials=[failed])
        return judge(spec, scope, figures.seconds)


class _Verdict:
    """Gathers what all policies say of one request."""

    def __init__(self, request: AdmissionRequest, figures: AdmissionFigures) -> None:
        self._request = request
        self._figures = figures
        self._denied: list[tuple[str, str]] = []
        self._failures: list[dict[str, Any]] = []
        self._annotations: dict[str, list[str]] = {}

    def add(self, bound: Bound, outcome: Outcome) -> None:
        for denial in outcome.denials:
            for action in bound.binding["spec"].get("validationActions") or ():
                self._act(action, bound, denial)
                self._count(bound, denial, action.lower())
        for denial in outcome.ignored:
            self._count(bound, denial, "allow")
        for key, value in outcome.annotations.items():
            values = self._annotations.setdefault(f"{bound.names[0]}/{key}", [])
            if value not in values:
                values.append(value)
        for error in outcome.annotation_errors:
            denial = Denial(0, error, error="invalid_error")
            self.deny(bound, denial)
            self._count(bound, denial, "deny")

    def _count(self, bound: Bound, denial: Denial, action: str) -> None:
        self._figures.checked(bound.names, denial.error or "no_error", action, denial.took)

    def deny(self, bound: Bound, denial: Denial) -> None:
        policy, binding = bound.names
        said = (
            f"ValidatingAdmissionPolicy '{policy}' with binding '{binding}' denied request: "
            f"{denial.message}"
        )
        self._denied.append((denial.reason or "Invalid", said))

    def _act(self, action: str, bound: Bound, denial: Denial) -> None:
        policy, binding = bound.names
        if action == "Deny":
            self.deny(bound, denial)
        elif action == "Warn":
            notes.warn(
                f"Validation failed for ValidatingAdmissionPolicy '{policy}' with binding "
                f"'{binding}': {denial.message}"
            )
        elif action == "Audit":
            actions = bound.binding["spec"]["validationActions"]
            self._failures.append(
                {
                    "message": denial.message,
                    "policy": policy,
                    "binding": binding,
                    "expressionIndex": denial.expression,
                    "validationActions": list(actions),
                }
            )

    def conclude(self) -> None:
        """Raises the first denial."""
        for key, values in self._annotations.items():
            notes.annotate(key, ", ".join(values))
        if self._failures:
            notes.annotate(_FAILURE_KEY, orjson.dumps(self._failures[:FAILURES_MAX]).decode())
        if self._denied:
            reason, message = self._denied[0]
            plain = self._request.forbidden(message)
            raise _ERRORS.get(reason, InvalidError)(
                plain.message,
                group=plain.group,
                kind=plain.kind,
                name=plain.name,
                causes=[Cause("", message, "")],
            )

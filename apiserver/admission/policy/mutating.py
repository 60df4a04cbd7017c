"""MutatingAdmissionPolicy: policies that change objects, by configurations or JSON patches.

Source: Kubernetes documentation, "Mutating Admission Policy"; upstream's policy/generic (messages).
"""

from __future__ import annotations

import copy
from collections.abc import Mapping
from typing import Any

from apiserver.admission.conditions import ConditionError
from apiserver.admission.equivalents import Views
from apiserver.admission.matching import is_exempt
from apiserver.admission.plugin import Plugin
from apiserver.admission.policy.match import ConfigurationError, matches, parameters, view_of
from apiserver.admission.policy.scope import Scope, namespace_object
from apiserver.admission.policy.source import Bound, Policies
from apiserver.admission.request import AdmissionContext, AdmissionRequest, Operation
from apiserver.admission.variables import checker
from apiserver.authz import Authorizer
from apiserver.cel import CelError, CompileError, EvaluationError
from apiserver.cel.authorizer import deciding
from kubraft.api.errors import ApiError, Cause, ForbiddenError
from kubraft.api.gvk import MUTATING_ADMISSION_POLICY, MUTATING_ADMISSION_POLICY_BINDING
from kubraft.api.object import Object

_FIXED = ("apiVersion", "kind")
_FIXED_METADATA = ("name", "namespace", "uid", "generateName")


class MutatingAdmissionPolicy(Plugin):
    """Applies all policies that are bound, one after the other."""

    name = "MutatingAdmissionPolicy"

    def __init__(self, context: AdmissionContext, authorizer: Authorizer) -> None:
        self._context = context
        self._authorizer = authorizer
        self._policies = Policies(
            context, MUTATING_ADMISSION_POLICY, MUTATING_ADMISSION_POLICY_BINDING
        )

    def handles(self, request: AdmissionRequest) -> bool:
        return (
            bool(self._policies.all())
            and request.operation in (Operation.CREATE, Operation.UPDATE)
            and request.obj is not None
            and not is_exempt(request)
        )

    async def mutate(self, request: AdmissionRequest) -> None:
        done: set[tuple[str, str]] | None = request.passes.get(self.name)
        seen = request.passes.setdefault(self.name, set())
        before = copy.deepcopy(request.obj)
        views = Views(request, self._context)
        for bound in self._policies.all():
            again = bound.policy["spec"].get("reinvocationPolicy") == "IfNeeded"
            if done is not None and not (again and bound.names in done):
                continue  # asked once already, or not for the first time now
            try:
                await self._apply(bound, request, views)
            except ConfigurationError as error:
                if not bound.ignores_failure:
                    raise _denied(request, bound, str(error)) from error
            seen.add(bound.names)
        if done is None and request.obj != before:
            request.reinvoke = True

    async def _apply(self, bound: Bound, request: AdmissionRequest, views: Views) -> None:
        spec, binding = bound.policy["spec"], bound.binding["spec"]
        context = self._context
        kind = await matches(spec.get("matchConstraints"), request, context)
        if kind is None or await matches(binding.get("matchResources"), request, context) is None:
            return
        view = await view_of(views, kind)
        seen = view.obj
        found = await parameters(spec.get("paramKind"), binding.get("paramRef"), request, context)
        namespace = await namespace_object(request, context)
        try:
            with deciding(checker(self._authorizer, request.user)):
                for params in found:
                    self._mutate(bound, view, params, namespace)
        finally:  # what the mutations before one that failed have done stays, as upstream
            if view.obj is not seen:
                await views.take_over(view)

    def _mutate(
        self,
        bound: Bound,
        request: AdmissionRequest,
        params: Object | None,
        namespace: Object | None,
    ) -> None:
        spec, figures = bound.policy["spec"], self._context.figures
        labels = (bound.names[0], "policy", "admit", str(request.operation))
        try:
            scope = Scope(spec, request, params, namespace)
            if not scope.conditions_hold(spec, figures, labels):
                return
        except ConditionError as error:
            raise ConfigurationError(str(error)) from error
        for mutation in spec.get("mutations") or ():
            # Each sees what the ones before have made.
            scope = Scope(spec, request, params, namespace)
            began, error_type = figures.seconds(), "no_error"
            try:
                request.obj = self._mutated(mutation, scope, request)
            except ConfigurationError as error:
                error_type = _error_type(error)
                raise
            finally:
                figures.mutated(bound.names, error_type, figures.seconds() - began)

    def _mutated(
        self, mutation: Mapping[str, Any], scope: Scope, request: AdmissionRequest
    ) -> Object:
        """The object as one mutation leaves it.

        Raises:
            ConfigurationError: the expression has no value, or none that makes sense.
        """
        before = request.obj
        assert before is not None
        by_patch = mutation.get("patchType") == "JSONPatch"
        part = mutation.get("jsonPatch" if by_patch else "applyConfiguration") or {}
        expression = str(part.get("expression", ""))
        try:
            value = scope.evaluate(expression)
        except CelError as error:
            raise ConfigurationError(
                f"expression '{expression}' resulted in error: {error}"
            ) from error
        if not isinstance(value, list if by_patch else dict):
            raise ConfigurationError(f"expression '{expression}' has a value of the wrong type")
        try:
            made = self._context.patch(request.gvk, copy.deepcopy(before), value)
            made = self._context.decode(request.gvk, made)
        except ApiError as error:
            raise ConfigurationError(error.message) from error
        for field in _FIXED_METADATA:
            if _metadata(made).get(field) != _metadata(before).get(field):
                raise ConfigurationError(f"metadata.{field} may not be changed")
        for field in _FIXED:
            if made.get(field) != before.get(field):
                raise ConfigurationError(f"{field} may not be changed")
        return made


def _error_type(error: ConfigurationError) -> str:
    """As metrics have it."""
    cause = error.__cause__
    if isinstance(cause, CompileError):
        return "compile_error"
    over = isinstance(cause, EvaluationError) and cause.over_budget
    return "out_of_budget" if over else "invalid_error"


def _denied(request: AdmissionRequest, bound: Bound, why: str) -> ForbiddenError:
    policy, binding = bound.names
    message = f"policy '{policy}' with binding '{binding}' denied request: {why}"
    return ForbiddenError(
        message,
        group=request.served_kind.group,
        kind=request.resource,
        name=request.shown_name,
        causes=[Cause("", message, "")],
    )


def _metadata(obj: Object) -> Mapping[str, Any]:
    """Options of connect requests have none."""
    return obj.get("metadata") or {}

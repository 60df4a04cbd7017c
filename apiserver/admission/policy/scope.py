"""The variables of one evaluation of a policy, its own ones computed where they are used.

Source: Kubernetes documentation, "Validating Admission Policy": variable composition.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from typing import Any, Final

from apiserver.admission.conditions import ConditionError, all_hold
from apiserver.admission.figures import AdmissionFigures
from apiserver.admission.matching import find_namespace
from apiserver.admission.request import AdmissionContext, AdmissionRequest
from apiserver.admission.variables import request_variables
from apiserver.cel import EvaluationError, compile_program
from apiserver.cel.construct import as_maps
from kubraft.api.gvk import NAMESPACE
from kubraft.api.object import Object

VARIABLES: Final = (
    "object",
    "oldObject",
    "request",
    "authorizer",
    "params",
    "namespaceObject",
    "variables",
)
# What a variable may hold, so that those that build on it stay bounded too.
VARIABLE_ITEMS_MAX: Final = 100_000
_USED = re.compile(r"\bvariables\s*\.\s*\??\s*([A-Za-z_]\w*)")


async def namespace_object(request: AdmissionRequest, context: AdmissionContext) -> Object | None:
    """The namespace of a request, as far as expressions see it.

    Raises:
        NotFoundError: there is none.
    """
    if not request.namespace or request.gvk == NAMESPACE:
        return None
    found = await find_namespace(request.namespace, context)
    metadata = {k: v for k, v in found["metadata"].items() if k != "managedFields"}
    return {**found, "metadata": metadata}


class Scope:
    """Evaluates the expressions of a policy on one request with one parameter object."""

    def __init__(
        self,
        spec: Mapping[str, Any],
        request: AdmissionRequest,
        params: Object | None,
        namespace: Object | None,
    ) -> None:
        self._known = {**request_variables(request), "params": params}
        self._known["namespaceObject"] = namespace
        self._expressions = {
            str(each["name"]): str(each["expression"]) for each in spec.get("variables") or ()
        }
        self._values: dict[str, Any] = {}
        self._failed: dict[str, str] = {}
        self._under_way: set[str] = set()

    def conditions_hold(
        self, spec: Mapping[str, Any], figures: AdmissionFigures, labels: Sequence[str]
    ) -> bool:
        """Whether all matchConditions are true; `labels` are those of the figures.

        Raises:
            ConditionError: that cannot be said.
        """
        conditions = spec.get("matchConditions") or ()
        if not conditions:
            return True
        with figures.conditions(*labels) as outcome:
            try:
                known = {**self._known, "variables": {}}
                outcome.hold = all_hold(conditions, known, VARIABLES)
            except ConditionError as error:
                outcome.failures = error.count
                raise
        return outcome.hold

    def evaluate(self, expression: str) -> Any:
        """The value of an expression.

        Raises:
            CelError: there is none; the message is the library's.
        """
        for name in _USED.findall(expression):
            self._compute(name)
        program = compile_program(as_maps(expression), VARIABLES)
        try:
            return program.evaluate({**self._known, "variables": self._values})
        except EvaluationError as error:
            for name, why in self._failed.items():
                if str(error) == f"no such key: {name}":
                    said = f'composited variable "{name}" fails to evaluate: {why}'
                    raise EvaluationError(said, over_budget=error.over_budget) from error
            raise

    def _compute(self, name: str) -> None:
        """Compute a variable before it is read; one that fails is missing."""
        if name in self._values or name in self._failed or name not in self._expressions:
            return
        if name in self._under_way:
            return
        self._under_way.add(name)
        try:
            value = self.evaluate(self._expressions[name])
            if _items(value) > VARIABLE_ITEMS_MAX:
                raise EvaluationError("the value is too large", over_budget=True)
            self._values[name] = value
        except ValueError as error:
            self._failed[name] = str(error)
        finally:
            self._under_way.discard(name)


def _items(value: Any) -> int:
    """About how much a value holds: characters count a hundredth of a member."""
    if isinstance(value, str):
        return 1 + len(value) // 100
    if isinstance(value, dict):
        return 1 + sum(map(_items, value.values()))
    return 1 + sum(map(_items, value)) if isinstance(value, list) else 1

"""matchConditions: expressions that all must hold for a webhook or a policy to be asked.

Source: Kubernetes documentation, "Matching requests: matchConditions"; upstream's matchconditions.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, Final

from apiserver.cel import CelError, compile_program

WEBHOOK_VARIABLES: Final = ("object", "oldObject", "request", "authorizer")


class ConditionError(Exception):
    """No condition is false, but `count` have no value; failurePolicy decides."""

    def __init__(self, message: str, count: int) -> None:
        super().__init__(message)
        self.count = count


def all_hold(
    conditions: Sequence[Mapping[str, Any]],
    variables: Mapping[str, Any],
    declared: tuple[str, ...] = WEBHOOK_VARIABLES,
) -> bool:
    """Whether all conditions are true.

    Raises:
        ConditionError: none is false, and one has no value.
    """
    failures = []
    for condition in conditions:
        expression = str(condition.get("expression", ""))
        try:
            value = compile_program(expression, declared).evaluate(variables)
        except CelError as error:
            failures.append(f"expression '{expression}' resulted in error: {error}")
            continue
        if value is False:
            return False
        if value is not True:
            failures.append(f"expression '{expression}' resulted in error: must evaluate to bool")
    if failures:
        text = failures[0] if len(failures) == 1 else f"[{', '.join(failures)}]"
        raise ConditionError(text, len(failures))
    return True

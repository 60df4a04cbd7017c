"""What a validating policy decides on one request with one parameter object. Pure.

Source: upstream's policy/validating validator (messages, fallbacks).
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any, Final, NamedTuple

from apiserver.admission.policy.scope import Scope
from apiserver.cel import CelError, CompileError, EvaluationError

MESSAGE_BYTES_MAX: Final = 5 * 1024
_OVER = (
    "validation failed due to running out of cost budget, no further validation rules will be run"
)


class Denial(NamedTuple):
    """`expression` is its number; `error` says why it has no value at all, as metrics have it.

    `took` is how many seconds it was evaluated for.
    """

    expression: int
    message: str
    reason: str = ""
    error: str = ""
    took: float = 0.0


class Outcome(NamedTuple):
    """What the validations say against a request, and annotations for the audit log.

    `ignored` are those that failed, and count for nothing by failurePolicy.
    """

    denials: list[Denial]
    annotations: dict[str, str]
    annotation_errors: list[str]
    ignored: Sequence[Denial] = ()


NOTHING: Final = Outcome([], {}, [])


def judge(spec: Mapping[str, Any], scope: Scope, seconds: Callable[[], float]) -> Outcome:
    """Evaluate all validations of a policy, timed by `seconds`; its conditions hold."""
    ignores = spec.get("failurePolicy") == "Ignore"
    denials: list[Denial] = []
    ignored: list[Denial] = []
    for index, validation in enumerate(spec.get("validations") or ()):
        began = seconds()
        denial, over = _decide(index, validation, scope)
        if denial is not None:
            into = ignored if denial.error and ignores else denials
            into.append(denial._replace(took=seconds() - began))
        if over:
            break
    annotations, errors = _annotations(spec, scope)
    return Outcome(denials, annotations, [] if ignores else errors, ignored)


def _decide(index: int, validation: Mapping[str, Any], scope: Scope) -> tuple[Denial | None, bool]:
    """The denial of one expression, and whether it is out of budget."""
    expression = str(validation.get("expression", ""))
    try:
        value = scope.evaluate(expression)
    except CompileError as error:
        return Denial(index, f"compilation error: {error}", error="compile_error"), False
    except CelError as error:
        over = isinstance(error, EvaluationError) and error.over_budget
        said = _OVER if over else f"expression '{expression}' resulted in error: {error}"
        return Denial(index, said, error="out_of_budget" if over else "invalid_error"), over
    if value is True:
        return None, False
    reason = str(validation.get("reason") or "Invalid")
    return Denial(index, _message(validation, expression, scope), reason), False


def _message(validation: Mapping[str, Any], expression: str, scope: Scope) -> str:
    if wanted := validation.get("messageExpression"):
        try:
            value = scope.evaluate(str(wanted))
        except CelError:
            value = None
        if isinstance(value, str):
            text = value.strip()
            if text and "\n" not in text and len(text.encode()) <= MESSAGE_BYTES_MAX:
                return text
    if text := str(validation.get("message") or "").strip():
        return text
    return f"failed expression: {expression.strip()}"


def _annotations(spec: Mapping[str, Any], scope: Scope) -> tuple[dict[str, str], list[str]]:
    made: dict[str, str] = {}
    errors: list[str] = []
    for annotation in spec.get("auditAnnotations") or ():
        expression = str(annotation.get("valueExpression", ""))
        try:
            value = scope.evaluate(expression)
        except CelError as error:
            errors.append(f"expression '{expression}' resulted in error: {error}")
            continue
        if isinstance(value, str):
            if text := value.strip():
                made[str(annotation.get("key", ""))] = text
        elif value is not None:
            errors.append(
                f"valueExpression '{expression}' resulted in unsupported return type. Return "
                "type must be either string or null."
            )
    return made, errors

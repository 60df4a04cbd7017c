"""Compiles and evaluates expressions: bounded in time and memory, errors in upstream's words.

Values are JSON values. A program has no state: any task may evaluate it at any time.

Source: cel-spec; Kubernetes documentation, "Common Expression Language in Kubernetes".
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from functools import lru_cache
from typing import TYPE_CHECKING, Any, Final

from apiserver.cel.cost import Actual, Estimator
from apiserver.cel.growth import CHARS_MAX, GROWTH_MAX, growth
from apiserver.cel.meter import OVER, metering
from apiserver.cel.rewriting import as_written, rewritten
from apiserver.cel.syntax import has_loop, read

if TYPE_CHECKING:
    from cel_expr_python import cel

_PROGRAMS_MAX: Final = 4_096
_MESSAGE_CHARS_MAX: Final = 1_024
# Upstream stops at 1,000,000 units that were really used; here the worst case is judged beforehand.
WORK_MAX: Final = 10_000_000
_ROUNDS_MAX: Final = 10_000
_KEY = re.compile(r'Key not found in map : "?([^"]*)"?')
_STATUS = re.compile(r"^(?:[A-Z_]+): ")
_CODE = re.compile(r" \[[A-Z_]+\]$")


class CelError(ValueError):
    """An expression is of no use; the message has no trace of the library."""


class CompileError(CelError):
    """An expression is malformed, or could cost too much."""


class EvaluationError(CelError):
    """An expression has no value for what it was given; `over_budget` where it costs too much."""

    def __init__(self, message: str, *, over_budget: bool = False) -> None:
        super().__init__(message)
        self.over_budget = over_budget


class Program:
    """One compiled expression."""

    def __init__(self, expression: str, compiled: cel.Expression) -> None:
        self.expression = expression
        self._compiled = compiled
        self.returns = compiled.return_type().name()
        self.tree = read(compiled.serialize())
        self._loops = has_loop(self.tree)

    def evaluate(self, variables: Mapping[str, Any]) -> Any:
        """The value with these variables, each declared when it was compiled.

        Raises:
            EvaluationError: there is none.
        """
        if self._loops and self.work(variables) > WORK_MAX:
            raise EvaluationError(OVER, over_budget=True)
        try:
            with metering():
                value = self._compiled.eval(data=variables)
            if value.type().name() == "ERROR":
                raise _evaluation_error(str(value.value()))
            return value.plain_value()
        except RuntimeError as error:
            raise _evaluation_error(str(error)) from error
        except (TypeError, OverflowError) as error:
            raise EvaluationError(_words(str(error))) from error

    def work(self, variables: Mapping[str, Any]) -> int:
        """What an evaluation can cost at most; the evaluator itself bounds its rounds alone."""
        estimator = Estimator(rounds_max=_ROUNDS_MAX)
        return estimator.cost(self.tree, {name: Actual(v) for name, v in variables.items()})


@lru_cache(maxsize=_PROGRAMS_MAX)
def compile_program(expression: str, variables: tuple[str, ...]) -> Program:
    """Compile an expression that may use `variables`.

    Raises:
        CompileError: it is malformed, or could cost too much.
    """
    if len(expression) > CHARS_MAX:
        raise CompileError(f"expression is longer than {CHARS_MAX} characters")
    if growth(expression) > GROWTH_MAX:
        raise CompileError("estimated cost of the expression exceeds the budget")
    try:
        compiled = _untyped(variables).compile(rewritten(expression))
        return Program(expression, compiled)
    except RuntimeError as error:
        raise CompileError(compilation_error(str(error))) from error


@lru_cache(maxsize=64)
def _untyped(variables: Iterable[str]) -> cel.Env:
    """An environment of untyped variables with Kubernetes' functions."""
    from cel_expr_python import cel  # noqa: PLC0415 - see environment

    return environment(dict.fromkeys(variables, cel.Type.DYN))


def environment(types: Mapping[str, cel.Type], messages: object = None) -> cel.Env:
    """An environment of variables with Kubernetes' functions; `messages` is a descriptor pool."""
    from cel_expr_python import cel  # noqa: PLC0415 - slow to import, and needed by few clusters
    from cel_expr_python.ext import (  # noqa: PLC0415
        ext_encoders,
        ext_optional,
        ext_strings,
    )

    from apiserver.cel.functions import declarations  # noqa: PLC0415

    return cel.NewEnv(
        messages,
        variables=types,
        extensions=[
            ext_strings.ExtStrings(),
            ext_optional.ExtOptional(),
            ext_encoders.ExtEncoders(),
        ],
        functions=declarations(),
    )


def _evaluation_error(text: str) -> EvaluationError:
    over = OVER in text or "budget" in text or "limit" in text
    return EvaluationError(OVER if over else _words(text), over_budget=over)


def compilation_error(text: str) -> str:
    """cel-go says the same with another beginning."""
    body = as_written(_CODE.sub("", _STATUS.sub("", text.strip())))
    return f"compilation failed: {body}"[:_MESSAGE_CHARS_MAX]


def _words(text: str) -> str:
    """An error of evaluation as cel-go words it."""
    text = as_written(_CODE.sub("", _STATUS.sub("", text.strip())))
    if found := _KEY.search(text):
        return f"no such key: {found[1]}"
    if text.lower().startswith("no matching overloads"):
        return "no such overload"
    if "divide by zero" in text:
        return "division by zero"
    return text[:_MESSAGE_CHARS_MAX]

"""How a library of functions is written down, and what its functions are given."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from cel_expr_python import cel

# Name, whether it is called on its first parameter, parameters, result, function.
Row = tuple[str, bool, tuple[cel.Type, ...], cel.Type, Callable[..., Any]]


def plain(value: Any) -> Any:
    """A value without the evaluator's wrapping."""
    if isinstance(value, list):
        return [plain(item) for item in value]
    return value.plain_value() if hasattr(value, "plain_value") else value


def can(function: Callable[..., Any]) -> Callable[..., bool]:
    """Whether a function takes a value."""

    def asked(*values: Any) -> bool:
        try:
            function(*values)
        except ValueError:
            return False
        return True

    return asked

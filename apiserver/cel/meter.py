"""What functions of ours may use up in one evaluation: upstream's limit on a call, in its units.

A call costs one unit, ten characters of what it is given or gives cost another, as does each item
of a list. The evaluator bounds its own loops; here is what happens inside of them.

Source: upstream's pkg/apis/cel (PerCallLimit, 1,000,000); cel-go's costs of strings (0.1).
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from typing import Any, Final

PER_CALL_LIMIT: Final = 1_000_000
OVER: Final = "operation cancelled: actual cost limit exceeded"
CHARS_PER_UNIT: Final = 10

_used: ContextVar[list[int] | None] = ContextVar("used", default=None)


class OverBudgetError(ValueError):
    """An evaluation has used up what it may."""


@contextmanager
def metering() -> Iterator[None]:
    """One evaluation: what its functions use up is counted from nothing."""
    token = _used.set([0])
    try:
        yield
    finally:
        _used.reset(token)


def metered(function: Callable[..., Any]) -> Callable[..., Any]:
    """A function that is paid for before it is called, and for what it has made."""

    def called(*values: Any) -> Any:
        used = _used.get()
        if used is None:
            return function(*values)
        _pay(used, 1 + sum(map(_units, values)))
        made = function(*values)
        _pay(used, _units(made))
        return made

    return called


def _pay(used: list[int], units: int) -> None:
    used[0] += units
    if used[0] > PER_CALL_LIMIT:
        raise OverBudgetError(OVER)


def _units(value: Any) -> int:
    if isinstance(value, str):
        return len(value) // CHARS_PER_UNIT
    return len(value) if isinstance(value, list) else 0

"""Is there an order of these operations that one register could have seen?

A history is linearizable if every operation can be given one moment between its call and its
return, such that a plain register, doing them in that order, gives the same answers. Keys are
independent, so each is checked alone (linearizability is local). An operation whose outcome is not
known may have happened at any time after its call, or not at all.

Search after Wing and Gong with Lowe's memory of visited states. Source: Lowe, "Testing for
linearizability", 2017.
"""

from __future__ import annotations

import bisect
import enum
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace

NEVER = float("inf")
_OPERATIONS_SHOWN = 40


class Kind(enum.Enum):
    READ = "read"
    WRITE = "write"
    # Write `value` if the register holds `expected`.
    CAS = "cas"


@dataclass(frozen=True, slots=True)
class Operation:
    """One call of one client. Values are compared only; None is the register that was never set.

    Attributes:
        called, returned: seconds on one clock; `returned` is NEVER while the outcome is unknown.
        result: of a READ the value seen, of a CAS whether it was done; ignored if not known.
    """

    key: str
    kind: Kind
    called: float
    returned: float
    value: str | None = None
    expected: str | None = None
    result: str | bool | None = None

    @property
    def is_known(self) -> bool:
        return self.returned != NEVER


@dataclass(frozen=True, slots=True)
class Violation:
    """A key whose operations fit no order; `operations` is its whole history by call."""

    key: str
    operations: tuple[Operation, ...]

    def culprit(self) -> Operation:
        """The first operation to return with an answer that fits no order any more."""
        known = sorted((o for o in self.operations if o.is_known), key=lambda o: o.returned)
        at = bisect.bisect_left(
            known, True, key=lambda o: not is_linearizable(_until(self.operations, o.returned))
        )
        return known[at]

    def __str__(self) -> str:
        culprit = self.culprit()
        until = _until(self.operations, culprit.returned)[-_OPERATIONS_SHOWN:]
        lines = "\n".join(f"  {operation}" for operation in until)
        return (
            f"no order explains what was seen of {self.key!r}; the last {len(until)} of its "
            f"{len(self.operations)} operations up to\n  {culprit}:\n{lines}"
        )


def _until(operations: Iterable[Operation], moment: float) -> list[Operation]:
    """What was known at a moment, in seconds: calls that had not returned may have happened."""
    return [
        operation if operation.returned <= moment else replace(operation, returned=NEVER)
        for operation in operations
        if operation.called <= moment
    ]


def check(history: Iterable[Operation]) -> list[Violation]:
    """The keys that were not linearizable; none if all is well."""
    by_key: dict[str, list[Operation]] = {}
    for operation in history:
        by_key.setdefault(operation.key, []).append(operation)
    return [
        Violation(key, tuple(sorted(operations, key=lambda o: o.called)))
        for key, operations in sorted(by_key.items())
        if not is_linearizable(operations)
    ]


def is_linearizable(operations: Sequence[Operation]) -> bool:
    """Whether operations on one register, which begins unset, have an order."""
    relevant = [o for o in operations if o.is_known or o.kind is not Kind.READ]
    return _search(sorted(relevant, key=lambda operation: operation.called))


def _search(operations: list[Operation]) -> bool:
    """Depth first; a state is the set of operations done (a bit each) and the register."""
    everything = sum(1 << i for i, operation in enumerate(operations) if operation.is_known)
    named = _named(operations)
    visited: set[tuple[int, str | None]] = set()
    stack: list[tuple[int, str | None]] = [(0, None)]
    while stack:
        done, register = stack.pop()
        if done & everything == everything:
            return True
        if (done, register) in visited:
            continue
        visited.add((done, register))
        for position in _candidates(operations, done, register, named):
            after = _apply(operations[position], register)
            if after is not None:
                stack.append((done | 1 << position, after[0]))
    return False


def _named(operations: Sequence[Operation]) -> set[str | bool | None]:
    """Values that somebody has read or compared with."""
    read = {o.result for o in operations if o.kind is Kind.READ and o.is_known}
    return read | {o.expected for o in operations if o.kind is Kind.CAS}


def _candidates(
    operations: list[Operation], done: int, register: str | None, named: set[str | bool | None]
) -> list[int]:
    """Operations that may be next: called before every other one that is left has returned.

    Of those with an unknown outcome only such as can explain something: they change the register,
    and either somebody names their value, or it makes a CAS fail that would now succeed. They come
    first, so that the search tries them last.
    """
    left = [i for i in range(len(operations)) if not done >> i & 1]
    first_return = min(operations[i].returned for i in left)
    possible = [i for i in left if operations[i].called <= first_return]
    to_fail = any(
        operations[i].kind is Kind.CAS
        and operations[i].is_known
        and not operations[i].result
        and operations[i].expected == register
        for i in possible
    )
    known = [i for i in possible if operations[i].is_known]
    unknown = [
        i
        for i in possible
        if not operations[i].is_known
        and (operations[i].kind is Kind.WRITE or operations[i].expected == register)
        and (to_fail or operations[i].value in named)
    ]
    return unknown + known


def _apply(operation: Operation, register: str | None) -> tuple[str | None] | None:
    """The register afterwards, or None where the register cannot have given that answer."""
    match operation.kind:
        case Kind.READ:
            return (register,) if operation.result == register else None
        case Kind.WRITE:
            return (operation.value,)
        case Kind.CAS:
            holds = register == operation.expected
            if operation.is_known and holds != operation.result:
                return None
            return (operation.value,) if holds else (register,)

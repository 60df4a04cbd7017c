"""Is there an order of these operations that one register could have seen?

A history is linearizable if every operation can be given one moment between its call and its
return, such that a plain register, doing them in that order, gives the same answers. Keys are
independent, so each is checked alone (linearizability is local). An operation whose outcome is not
known may have happened at any time after its call, or not at all.

Search after Wing and Gong with Lowe's memory of visited states. Source: Lowe, "Testing for
linearizability", 2017.
"""

from __future__ import annotations

import enum
from collections.abc import Iterable, Sequence
from dataclasses import dataclass

NEVER = float("inf")


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

    def __str__(self) -> str:
        lines = "\n".join(f"  {operation}" for operation in self.operations)
        return f"no order explains what was seen of {self.key!r}:\n{lines}"


def check(history: Iterable[Operation]) -> list[Violation]:
    """The keys that were not linearizable; none if all is well."""
    by_key: dict[str, list[Operation]] = {}
    for operation in history:
        by_key.setdefault(operation.key, []).append(operation)
    return [
        Violation(key, tuple(operations))
        for key, operations in sorted(by_key.items())
        if not is_linearizable(operations)
    ]


def is_linearizable(operations: Sequence[Operation]) -> bool:
    """Whether operations on one register, which begins unset, have an order."""
    relevant = sorted(_relevant(operations), key=lambda operation: operation.called)
    return _search(relevant)


def _relevant(operations: Sequence[Operation]) -> list[Operation]:
    """Without unknown operations that nobody can have noticed: they may be put at the end."""
    seen: set[str | None] = {o.result for o in operations if o.kind is Kind.READ and o.is_known}  # type: ignore[misc]
    seen |= {o.expected for o in operations if o.kind is Kind.CAS}
    return [
        operation
        for operation in operations
        if operation.is_known or (operation.kind is not Kind.READ and operation.value in seen)
    ]


def _search(operations: list[Operation]) -> bool:
    """Depth first; a state is the set of operations done (a bit each) and the register."""
    everything = (1 << len(operations)) - 1
    visited: set[tuple[int, str | None]] = set()
    stack: list[tuple[int, str | None]] = [(0, None)]
    while stack:
        done, register = stack.pop()
        if done == everything or _only_unknown_left(operations, done):
            return True
        if (done, register) in visited:
            continue
        visited.add((done, register))
        for position in _candidates(operations, done):
            after = _apply(operations[position], register)
            if after is not None:
                stack.append((done | 1 << position, after[0]))
    return False


def _only_unknown_left(operations: list[Operation], done: int) -> bool:
    return all(done >> i & 1 or not o.is_known for i, o in enumerate(operations))


def _candidates(operations: list[Operation], done: int) -> list[int]:
    """Operations that may be next: called before every other one that is left has returned."""
    left = [i for i in range(len(operations)) if not done >> i & 1]
    first_return = min(operations[i].returned for i in left)
    return [i for i in left if operations[i].called <= first_return]


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

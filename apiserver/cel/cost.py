"""What an expression can cost at most, in upstream's units, from how large its variables are.

Used twice: with the sizes that a schema allows, when a rule is written; and with the sizes of what
a rule is asked on, where it has loops, before it is.

Source: cel-go, checker/cost; upstream's pkg/cel/library/cost (factors and functions).
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from typing import Any, Final, Protocol

from apiserver.cel.syntax import Call, Constant, Entries, Items, Loop, Name, Node, Select

UNBOUNDED: Final = 2**64 - 1
_LIST, _MAP = 10, 30
_STRING: Final = 0.1
_REGEX: Final = 0.25
_CHECK: Final = 350_000
_FORMAT_REGEX: Final = 128 * _REGEX
# Linear in the first of what they are given, and as large as that.
_SAME_SIZE: Final = frozenset(("lowerAscii", "upperAscii", "substring", "trim", "url"))
_PARSED: Final = frozenset(
    (
        *("ip", "cidr", "isIP", "isCIDR", "isURL", "quantity", "isQuantity", "semver", "isSemver"),
        "ip.isCanonical",
    )
)
# What upstream counts as one unit, and the evaluator does in time that grows with a text.
_REALLY_LINEAR: Final = frozenset(("size", "string", "charAt", "quote"))
_PER_ITEM: Final = frozenset(("isSorted", "sum", "max", "min", "k8sIndexOf", "k8sLastIndexOf"))
_PER_PAIR: Final = frozenset(("sets.contains", "sets.equivalent", "sets.intersects", "distinct"))
_COPIES: Final = frozenset(("slice", "flatten", "sort", "k8sReverse", "reverse"))
_BY_KEY: Final = frozenset(("_[_]", "_[?_]", "_?._"))
_COMPARED: Final = frozenset(("_==_", "_!=_", "_<_", "_<=_", "_>_", "_>=_"))


class Sized(Protocol):
    """How large a value can be: `size` counts characters or members, 1 for all others."""

    @property
    def size(self) -> int: ...

    @property
    def weight(self) -> int:
        """What comparing it costs: characters and members, all the way down."""
        ...

    def field(self, name: str) -> Sized: ...

    def item(self) -> Sized:
        """Any member of a list, or any value of a map."""
        ...

    def key(self) -> Sized:
        """What a loop over it binds: a list's member, a map's key."""
        ...


class Flat:
    """A value that was made on the way, whose members are not known one by one."""

    def __init__(self, size: int = 1, item: Sized | None = None) -> None:
        self.size = min(size, UNBOUNDED)
        self._item = item

    @property
    def weight(self) -> int:
        return self.size * (self._item.weight if self._item else 1)

    def field(self, name: str) -> Sized:
        del name
        return self.item()

    def item(self) -> Sized:
        return self._item or ONE

    def key(self) -> Sized:
        return self.item()


ONE: Final = Flat()


class Union:
    """One of several values."""

    def __init__(self, *options: Sized) -> None:
        self._options = options

    @property
    def size(self) -> int:
        return max(each.size for each in self._options)

    @property
    def weight(self) -> int:
        return max(each.weight for each in self._options)

    def field(self, name: str) -> Sized:
        return Union(*(each.field(name) for each in self._options))

    def item(self) -> Sized:
        return Union(*(each.item() for each in self._options))

    def key(self) -> Sized:
        return Union(*(each.key() for each in self._options))


class Actual:
    """A JSON value as it is; several where any of them may be meant."""

    def __init__(self, *values: Any) -> None:
        self._values = values
        self._weight: int | None = None

    @property
    def size(self) -> int:
        return max((len(v) for v in self._values if isinstance(v, (str, list, dict))), default=1)

    @property
    def weight(self) -> int:
        if self._weight is None:
            self._weight = max(map(_weight, self._values), default=1)
        return self._weight

    def field(self, name: str) -> Sized:
        return Actual(*(v[name] for v in self._values if isinstance(v, dict) and name in v))

    def item(self) -> Sized:
        return Actual(*_members(self._values))

    def key(self) -> Sized:
        found: list[Any] = []
        for value in self._values:
            if isinstance(value, (list, dict)):
                found += value  # of a map, its keys
        return Actual(*found)


def _members(values: Iterable[Any]) -> Iterable[Any]:
    for value in values:
        if isinstance(value, list):
            yield from value
        elif isinstance(value, dict):
            yield from value.values()


def _weight(value: Any) -> int:
    if isinstance(value, str):
        return 1 + len(value)
    if isinstance(value, (list, dict)):
        return 1 + sum(map(_weight, _members((value,))))
    return 1


class Estimator:
    """Adds up what the parts of an expression cost, as often as loops ask for them.

    `rounds_max` is how often the evaluator goes round loops in all before it stops by itself.
    With it, what counts is what the evaluator does, which is more than upstream's units say: each
    round of a loop that builds a list copies what it has so far.
    """

    def __init__(self, *, rounds_max: int = UNBOUNDED) -> None:
        self._rounds_max = rounds_max
        self._real = rounds_max != UNBOUNDED
        self._cost = 0

    def cost(self, node: Node, variables: Mapping[str, Sized]) -> int:
        """The cost at most; UNBOUNDED where it is beyond all bounds."""
        self._cost = 0
        self._visit(node, dict(variables), 1)
        return min(self._cost, UNBOUNDED)

    def _pay(self, cost: float, rounds: int) -> None:
        whole = int(cost) if cost == int(cost) else int(cost) + 1
        self._cost += whole * rounds

    def _visit(self, node: Node, scope: dict[str, Sized], rounds: int) -> Sized:
        match node:
            case Constant(size=size):
                return Flat(size)
            case Name(name=name):
                self._pay(1, rounds)
                return scope.get(name, ONE)
            case Select(operand=operand, field=field, test_only=test_only):
                found = self._visit(operand, scope, rounds)
                if test_only:
                    return ONE
                self._pay(1, rounds)
                return found.field(field)
            case Items(items=items):
                found_items = [self._visit(item, scope, rounds) for item in items]
                self._pay(_LIST, rounds)
                return Flat(len(items), Union(*found_items) if items else None)
            case Entries(parts=parts):
                found_parts = [self._visit(part, scope, rounds) for part in parts]
                self._pay(_MAP, rounds)
                return Flat(len(parts) // 2, Union(*found_parts) if parts else None)
            case Loop():
                return self._loop(node, scope, rounds)
            case Call():
                return self._call(node, scope, rounds)

    def _loop(self, node: Loop, scope: dict[str, Sized], rounds: int) -> Sized:
        over = self._visit(node.range, scope, rounds)
        initial = self._visit(node.initial, scope, rounds)
        within = min(rounds * over.size, max(rounds, self._rounds_max))
        inner = {**scope, node.variable: over.key(), node.accumulator: initial}
        self._visit(node.condition, inner, within)
        step = self._visit(node.step, inner, within)
        builds = isinstance(node.initial, (Items, Entries))
        if builds and self._real:
            self._pay(over.size / 2, within)
        made: Sized = Flat(over.size, step.item()) if builds else initial
        self._visit(node.result, {**scope, node.accumulator: made}, rounds)
        return made

    def _call(self, node: Call, scope: dict[str, Sized], rounds: int) -> Sized:
        if node.function == "_?_:_":
            return self._conditional(node, scope, rounds)
        args = [self._visit(arg, scope, rounds) for arg in node.args]
        if node.function in ("_&&_", "_||_"):
            return ONE
        if node.function in _BY_KEY and isinstance(node.args[1], Constant) and node.args[1].text:
            self._pay(1, rounds)
            return args[0].field(node.args[1].text)
        cost, made = _function(node.function, args)
        if self._real and node.function in _REALLY_LINEAR:
            cost = args[0].size * _STRING
        self._pay(cost, rounds)
        return made

    def _conditional(self, node: Call, scope: dict[str, Sized], rounds: int) -> Sized:
        """The dearer of both ways."""
        self._visit(node.args[0], scope, rounds)
        before = self._cost
        first = self._visit(node.args[1], scope, rounds)
        one_way, self._cost = self._cost, before
        second = self._visit(node.args[2], scope, rounds)
        self._cost = max(self._cost, one_way)
        return Union(first, second)


def _function(name: str, args: list[Sized]) -> tuple[float, Sized]:
    """What a function costs beside its arguments, and how large what it gives is."""
    first = args[0] if args else ONE
    second = args[1] if len(args) > 1 else ONE
    size = first.size
    if name in _SAME_SIZE:
        return size * _STRING, Flat(size)
    if name in _PARSED:
        return size * _STRING, ONE
    if name in _COMPARED:
        return min(first.weight, second.weight) * _STRING, ONE
    if name in _PER_ITEM:
        return float(first.weight), first.item()
    if name in _PER_PAIR:
        other = second.size if name != "distinct" else size
        return float(size * other), first
    if name in _COPIES:
        return float(size), first
    found = _TABLE.get(name)
    return found(args) if found else (1.0, ONE)


def _add(args: list[Sized]) -> tuple[float, Sized]:
    first, second = args
    return (first.size + second.size) * _STRING, Flat(
        first.size + second.size, Union(first.item(), second.item())
    )


def _index(args: list[Sized]) -> tuple[float, Sized]:
    return 1.0, args[0].item()


def _matches(args: list[Sized]) -> tuple[float, Sized]:
    text, pattern = args[0].size, args[1].size
    return (text + 1) * _STRING * (pattern * _REGEX), Flat(text, Flat(text))


def _text_contains(args: list[Sized]) -> tuple[float, Sized]:
    return (args[0].size * _STRING) * max(1.0, args[1].size * _STRING), ONE


def _affix(args: list[Sized]) -> tuple[float, Sized]:
    return args[1].size * _STRING, ONE


def _replace(args: list[Sized]) -> tuple[float, Sized]:
    size, by = args[0].size, args[2].size if len(args) > 2 else 1
    pattern = max(1, args[1].size) if len(args) > 1 else 1
    return size * 2 * _STRING, Flat(size + (size // pattern + 1) * by)


def _split(args: list[Sized]) -> tuple[float, Sized]:
    size = args[0].size
    return size * 2 * _STRING, Flat(size, Flat(size))


def _join(args: list[Sized]) -> tuple[float, Sized]:
    by = args[1].size if len(args) > 1 else 0
    size = args[0].size * (args[0].item().size + by)
    return size * _STRING, Flat(size)


def _format(args: list[Sized]) -> tuple[float, Sized]:
    size = args[0].size + args[1].weight if len(args) > 1 else args[0].size
    return size * _STRING, Flat(size)


def _range(args: list[Sized]) -> tuple[float, Sized]:
    del args
    return 10_000.0, Flat(10_000)


_TABLE: Final[dict[str, Callable[[list[Sized]], tuple[float, Sized]]]] = {
    "_+_": _add,
    "_[_]": _index,
    "_[?_]": _index,
    "@in": lambda args: (float(args[1].size), ONE),
    "matches": _matches,
    "find": _matches,
    "findAll": _matches,
    "contains": _text_contains,
    "startsWith": _affix,
    "endsWith": _affix,
    "string": lambda args: (1.0, args[0]),
    "quote": lambda args: (1.0, args[0]),
    "replace": _replace,
    "split": _split,
    "join": _join,
    "format": _format,
    "lists.range": _range,
    "check": lambda _: (float(_CHECK), ONE),
    "k8sValidate": lambda args: (args[1].size * _STRING * _FORMAT_REGEX, ONE),
    "orValue": lambda args: (1.0, Union(*args)),
    "value": lambda args: (1.0, args[0]),
    "or": lambda args: (1.0, Union(*args)),
    "_?._": lambda args: (1.0, args[0].item()),
    "optional.of": lambda args: (1.0, args[0]),
    "optional.ofNonZeroValue": lambda args: (1.0, args[0]),
    "dyn": lambda args: (1.0, args[0]),
}

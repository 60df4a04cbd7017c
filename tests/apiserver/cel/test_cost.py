"""What expressions cost: what is let through ends soon, and what costs more is refused."""

from __future__ import annotations

import time
from typing import Any

import pytest

from apiserver.cel import CelError, compile_program
from apiserver.cel.cost import Actual, Estimator
from apiserver.cel.program import WORK_MAX

# About what an object may have at most: its texts come to 2.5 MB.
LARGE: dict[str, Any] = {
    "few": list(range(300)),
    "text": "a" * 1_500_000,
    "many": ["x" * 100] * 10_000,
    "some": ["x" * 100] * 4_000,
    "map": {str(number): number for number in range(9_000)},
}
# Far above what any of them takes (two seconds at most, on an idle machine).
SECONDS_MAX = 20.0


def _cost(expression: str, variables: dict[str, Any]) -> int:
    names = tuple(variables)
    tree = compile_program(expression, names).tree
    return Estimator().cost(tree, {name: Actual(value) for name, value in variables.items()})


@pytest.mark.parametrize(
    "expression",
    [
        "object.many.map(x, object.text + x).size() > 0",
        "object.few.map(x, object.text.replace('a', 'b')).size() > 0",
        "object.many.map(x, x).size() > 0",
        "object.many.filter(x, true).size() > 0",
        "object.few.map(x, object.many.map(y, y + y)).size() > 0",
        "object.few.all(x, object.text.contains('ab') == false)",
        "object.many.all(x, object.text.matches('(a|b)*c') == false)",
        "object.many.all(x, object.text.find('c') == '')",
        "object.many.all(x, object.text.split('').size() > 0)",
        "object.many.all(x, object.text.lowerAscii() == object.text)",
        "object.many.all(x, '%s'.format([object.text]).size() > 0)",
        "object.many.all(x, object.many == object.many)",
        "object.many.all(x, sets.equivalent(object.many, object.many))",
        "object.many.all(x, object.many.join(',') != '')",
        "object.many.exists(x, object.map == {'a': x}) || object.many.all(x, x in object.many)",
        "lists.range(10000).map(a, lists.range(10000)).size() == 3",
        "object.many.all(a, object.many.all(b, a + b != ''))",
        "object.few.all(a, object.few.all(b, object.few.all(c, a + b + c >= 0)))",
        "object.map.all(k, object.map.all(j, k + j != ''))",
        "[object].map(o, o.many.map(y, o.text + y)).size() > 0",
        "object.many.map(x, [object.text, x]).map(l, l.join('')).size() > 0",
        "[1, 2, 3].all(i, object.few.all(x, object.text.endsWith(object.text)) && i > 0)",
    ],
)
def test_what_runs_away_is_stopped_soon(expression: str) -> None:
    began_s = time.monotonic()
    with pytest.raises(CelError) as caught:
        compile_program(expression, ("object",)).evaluate({"object": LARGE})
    assert time.monotonic() - began_s < SECONDS_MAX
    assert "cost" in str(caught.value)


@pytest.mark.parametrize(
    "expression",
    [
        "object.text.replace('a', 'b').size() > 0",
        "object.text.matches('(a|b)*c') == false",
        "object.some.all(x, x.size() == 100 && x.startsWith('x'))",
        "object.map.all(k, object.map[k] >= 0)",
        "object.few.map(x, x + 1).sum() > 0",
        "object.few.all(x, object.few.exists(y, y == 3))",
        "!object.some.exists(x, x in ['a', 'b', 'c'])",
        "object.some.exists_one(x, x == '') == false",
        "object.few.filter(x, x > 10).map(x, string(x)).join(',').size() > 0",
    ],
)
def test_ordinary_work_on_large_objects_is_done(expression: str) -> None:
    began_s = time.monotonic()
    assert compile_program(expression, ("object",)).evaluate({"object": LARGE}) is True
    assert time.monotonic() - began_s < SECONDS_MAX


@pytest.mark.parametrize(
    ("expression", "cost"),
    [
        ("true", 0),
        ("object", 1),
        ("object.a", 2),
        ("has(object.a)", 1),
        ("object.a == 'xxxxx'", 3),
        ("object.a.startsWith('xxxxx')", 3),
        ("object.long.startsWith('x') && object.long.size() > 0", 7),
        ("object.long.contains('yyyyyyyyyyyyyyyyyyyy')", 22),
        ("object.long.matches('yyyyyyyyyyyyyyyyyyyy')", 53),
        ("[1, 2]", 10),
        ("{'a': 1}", 30),
        ("object.list.all(x, x > 0)", 18),
        ("object.a == 'x' ? object.long : object.a", 5),
        ("authorizer.path('/x').check('get').allowed()", 350_003),
    ],
)
def test_costs_are_counted_as_upstream_counts_them(expression: str, cost: int) -> None:
    known = {"a": "xxxxx", "long": "y" * 100, "list": [1, 2, 3]}
    assert _cost(expression, {"object": known, "authorizer": {}}) == cost


def test_a_loop_costs_as_much_as_what_it_goes_over() -> None:
    def cost(items: int) -> int:
        return _cost("object.all(x, x > 0)", {"object": list(range(items))})

    step = cost(2) - cost(1)
    assert cost(1_000) == cost(1) + 999 * step
    assert cost(1_000_000) > WORK_MAX / 2

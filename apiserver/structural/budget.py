"""Whether the rules of a schema can be afforded, judged when a definition is written.

Source: upstream's validation of CustomResourceDefinitions (limits, texts, who is named).
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Final, NamedTuple

from apiserver.registry.causes import forbidden
from apiserver.structural.rules import program
from apiserver.structural.schema import RULES, Schema, additional_of, items_of, properties_of
from apiserver.structural.sizes import RULE_COST_MAX, SCHEMA_COST_MAX, excess, rule_cost
from kubraft.api.errors import Cause

CONTRIBUTORS_MAX: Final = 4
_CONTRIBUTED: Final = (
    "contributed to estimated rule & messageExpression cost total exceeding cost limit for entire "
    "OpenAPIv3 schema"
)


class _Priced(NamedTuple):
    """An expression with its place and with what it can cost."""

    path: str
    what: str
    cost: int


def cost_causes(schema: Schema, path: str) -> list[Cause]:
    """What is too dear among the expressions of a schema, all of which compile."""
    priced = list(_priced(schema, path, 1, root=True))
    causes = [
        forbidden(each.path, said)
        for each in priced
        if (said := excess(f"estimated {each.what} cost", each.cost, RULE_COST_MAX))
    ]
    what = (
        "x-kubernetes-validations estimated rule & messageExpression cost total for entire "
        "OpenAPIv3 schema"
    )
    if said := excess(what, sum(each.cost for each in priced), SCHEMA_COST_MAX):
        dearest = sorted(priced, key=lambda each: -each.cost)[:CONTRIBUTORS_MAX]
        causes += [forbidden(each.path, _CONTRIBUTED) for each in dearest]
        causes.append(forbidden(path, said))
    return causes


def _priced(schema: Schema, path: str, count: int | None, *, root: bool) -> Iterator[_Priced]:
    for index, rule in enumerate(schema.get(RULES) or ()):
        optional = bool(rule.get("optionalOldSelf"))
        for field, what in (("rule", "rule"), ("messageExpression", "messageExpression")):
            if expression := rule.get(field):
                compiled = program(expression, optional=optional)
                cost = rule_cost(compiled, schema, count, root=root)
                yield _Priced(f"{path}.{RULES}[{index}].{field}", what, cost)
    for name, child in properties_of(schema).items():
        yield from _priced(child, f"{path}.properties[{name}]", count, root=False)
    if additional := additional_of(schema):
        inner = _times(count, schema.get("maxProperties"))
        yield from _priced(additional, f"{path}.additionalProperties", inner, root=False)
    if items := items_of(schema):
        inner = _times(count, schema.get("maxItems"))
        yield from _priced(items, f"{path}.items", inner, root=False)


def _times(count: int | None, most: object) -> int | None:
    return count * most if count is not None and isinstance(most, int) else None

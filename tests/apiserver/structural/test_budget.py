"""What rules can cost by their schema: refused with the definition, in upstream's words."""

from __future__ import annotations

from typing import Any

import pytest

from apiserver.structural.budget import cost_causes
from apiserver.structural.definition import schema_causes

_ADVICE = (
    "(try simplifying the rule, or adding maxItems, maxProperties, and maxLength where arrays, "
    "maps, and strings are declared)"
)
TEXT = {"type": "string"}


def _list(items: dict[str, Any], most: int | None = None, *rules: str) -> dict[str, Any]:
    made: dict[str, Any] = {"type": "array", "items": items}
    if most is not None:
        made["maxItems"] = most
    if rules:
        made["x-kubernetes-validations"] = [{"rule": rule} for rule in rules]
    return made


def _schema(field: dict[str, Any], *rules: str) -> dict[str, Any]:
    spec: dict[str, Any] = {"type": "object", "properties": {"field": field}}
    validations = [{"rule": rule} for rule in rules]
    if validations:
        spec["x-kubernetes-validations"] = validations
    return {"type": "object", "properties": {"spec": spec}}


_NESTED = "self.field.all(a, self.field.all(b, a == b))"


@pytest.mark.parametrize(
    ("schema", "factor"),
    [
        pytest.param(_schema(_list(TEXT), _NESTED), "more than 100x", id="nothing is bounded"),
        pytest.param(_schema(_list(TEXT, 3000), _NESTED), "more than 100x", id="long texts"),
        pytest.param(
            _schema(_list({**TEXT, "maxLength": 5}, 2000), _NESTED), "2.8x", id="a little too much"
        ),
        pytest.param(
            _schema({**TEXT}, "self.field.matches('^(a|b)*$') && self.field.matches('^(c|d)*$')"),
            "",
            id="one text may be long",
        ),
        pytest.param(
            _schema(_list({**TEXT, "maxLength": 5}, 1000), _NESTED), "", id="bounded well"
        ),
        pytest.param(_schema(_list(TEXT), "self.field.size() < 10"), "", id="no loop"),
        pytest.param(
            _schema(_list(_list(TEXT, None, "self.all(t, t != '')"))),
            "more than 100x",
            id="a rule in a list without a bound",
        ),
    ],
)
def test_rules_that_cannot_be_afforded(schema: dict[str, Any], factor: str) -> None:
    found = [
        cause
        for cause in schema_causes(schema, "s", has_status=False)
        if "estimated rule cost" in cause.message
    ]
    if not factor:
        assert found == []
        return
    (cause,) = found
    assert cause.reason == "FieldValueForbidden"
    assert cause.field.endswith("x-kubernetes-validations[0].rule")
    said = f"Forbidden: estimated rule cost exceeds budget by factor of {factor} {_ADVICE}"
    assert cause.message == said


def test_many_rules_share_one_budget() -> None:
    field = _list({**TEXT, "maxLength": 5}, 1000)
    rules = [f"{_NESTED} || {number} > 0" for number in range(20)]
    assert cost_causes(_schema(field, *rules[:3]), "s") == []
    found = cost_causes(_schema(field, *rules), "s")
    assert [cause.field for cause in found[-1:]] == ["s"]
    assert found[-1].message.startswith(
        "Forbidden: x-kubernetes-validations estimated rule & messageExpression cost total for "
        "entire OpenAPIv3 schema exceeds budget by factor of 1."
    )
    assert sum("contributed to estimated rule" in cause.message for cause in found) == 4

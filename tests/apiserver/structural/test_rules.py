"""CEL rules of schemas, as the pure core answers them."""

from __future__ import annotations

import time
from typing import Any

import pytest

from apiserver.structural.rules import compilation_causes, rule_causes
from apiserver.structural.values import ABSENT


def schema(*rules: dict[str, Any], **properties: Any) -> dict[str, Any]:
    spec = {
        "type": "object",
        "x-kubernetes-validations": list(rules),
        "properties": {
            "min": {"type": "integer"},
            "max": {"type": "integer"},
            "name": {"type": "string"},
            "when": {"type": "string", "format": "date-time"},
            "wait": {"type": "string", "format": "duration"},
            "ratio": {"type": "number"},
            "any": {"x-kubernetes-int-or-string": True},
            "labels": {"type": "object", "additionalProperties": {"type": "string"}},
            "x-y.z/w__v": {"type": "string"},
            "namespace": {"type": "string"},
            "grid": {"type": "array", "items": {"type": "array", "items": {"type": "integer"}}},
            "lists": {"type": "object", "additionalProperties": {
                "type": "array", "items": {"type": "string"}}},
            "maybe": {"type": "integer", "nullable": True},
            "free": {"type": "object", "x-kubernetes-preserve-unknown-fields": True},
            "items": {"type": "array", "items": {"type": "object", "properties": {
                "a": {"type": "integer"}}}},
            **properties,
        },
    }  # fmt: skip
    return {"type": "object", "properties": {"spec": spec}}


def causes(rule: dict[str, Any], spec: Any, old: Any = ABSENT, **properties: Any) -> list[str]:
    before = ABSENT if old is ABSENT else {"spec": old}
    return [str(c) for c in rule_causes({"spec": spec}, schema(rule, **properties), before, [])]


@pytest.mark.parametrize(
    ("rule", "spec"),
    [
        ("self.min <= self.max", {"min": 1, "max": 2}),
        ("!has(self.name) || self.name.startsWith('a')", {"min": 1}),
        ("self.when < timestamp('2030-01-01T00:00:00Z')", {"when": "2026-01-01T00:00:00Z"}),
        ("self.wait == duration('90s')", {"wait": "1m30s"}),
        ("self.ratio > 1.5", {"ratio": 2}),
        ("type(self.any) == int ? self.any > 1 : self.any == 'x'", {"any": 2}),
        ("type(self.any) == int ? self.any > 1 : self.any == 'x'", {"any": "x"}),
        ("self.ratio > 1 && self.min < 1.5 && self.any != null", {"ratio": 2, "min": 1, "any": 1}),
        ("self.grid.all(row, row.all(x, x > 0))", {"grid": [[1, 2]]}),
        ("self.lists.all(k, self.lists[k].size() == 1)", {"lists": {"a": ["b"]}}),
        ("self.maybe == null || self.maybe > 3", {"maybe": None}),
        (
            "self.free.x.y == 'z' && self.items.filter(i, i.a > 0).map(i, i.a).sum() == 3",
            {"free": {"x": {"y": "z"}}, "items": [{"a": 1}, {"a": 2}]},
        ),
        ("self.labels.all(k, k.matches('^[a-z.-]+$'))", {"labels": {"a.b-c": "d"}}),
        ("self.x__dash__y__dot__z__slash__w__underscores__v == 'v'", {"x-y.z/w__v": "v"}),
        ("self.__namespace__ == 'v'", {"namespace": "v"}),
        ("self.items.map(i, i.a).sum() == 3", {"items": [{"a": 1}, {"a": 2}]}),
        ("self.items.exists_one(i, i.a == 1)", {"items": [{"a": 1}, {"a": 2}]}),
        ("self.name.lowerAscii() == 'ab'", {"name": "AB"}),
        ("quantity(self.name).isGreaterThan(quantity('1Mi'))", {"name": "1Gi"}),
        ("isURL(self.name) && url(self.name).getHost() == 'a.b'", {"name": "https://a.b/c"}),
        ("isIP(self.name) && ip(self.name).family() == 4", {"name": "10.1.2.3"}),
        ("cidr('10.0.0.0/8').containsIP(self.name)", {"name": "10.1.2.3"}),
        ("cidr('10.0.0.0/8').containsIP(ip(self.name))", {"name": "10.1.2.3"}),
        ("quantity(self.name).add(quantity('1')).asInteger() == 3", {"name": "2"}),
        ("self.?name.orValue('x') == 'x'", {}),
    ],
)
def test_rules_that_hold(rule: str, spec: dict[str, Any]) -> None:
    assert compilation_causes(schema({"rule": rule}), "s") == []
    assert causes({"rule": rule}, spec) == []


@pytest.mark.parametrize(
    ("rule", "spec", "expected"),
    [
        pytest.param(
            {"rule": "self.min <= self.max"},
            {"min": 3, "max": 2},
            "spec: Invalid value: failed rule: self.min <= self.max",
            id="no message",
        ),
        pytest.param(
            {"rule": "self.min <= self.max", "message": "min must not exceed max"},
            {"min": 3, "max": 2},
            "spec: Invalid value: min must not exceed max",
            id="message",
        ),
        pytest.param(
            {
                "rule": "self.min <= self.max",
                "message": "unused",
                "messageExpression": "'min ' + string(self.min) + ' exceeds ' + string(self.max)",
            },
            {"min": 3, "max": 2},
            "spec: Invalid value: min 3 exceeds 2",
            id="messageExpression",
        ),
        pytest.param(
            {"rule": "false", "message": "no", "reason": "FieldValueForbidden"},
            {},
            "spec: Forbidden: no",
            id="reason",
        ),
        pytest.param(
            {"rule": "has(self.name)", "message": "needed", "reason": "FieldValueRequired",
             "fieldPath": ".name"},
            {},
            "spec.name: Required value: needed",
            id="fieldPath",
        ),
        pytest.param(
            {"rule": "self.name == 'x'"},
            {},
            'spec: Invalid value: "object": no such key: name evaluating rule: self.name == \'x\'',
            id="absent field",
        ),
        pytest.param(
            {"rule": "self.any > 1"},
            {"any": "x"},
            "spec: Invalid value: \"object\": 'no such overload': call arguments did not match a "
            "supported operator, function or macro signature for rule: self.any > 1",
            id="wrong type",
        ),
    ],
)  # fmt: skip
def test_rules_that_do_not_hold(rule: dict[str, Any], spec: dict[str, Any], expected: str) -> None:
    assert causes(rule, spec) == [expected]


def test_rules_on_changes_are_asked_on_updates_alone() -> None:
    rule = {"rule": "self.min >= oldSelf.min", "message": "min only grows"}
    assert causes(rule, {"min": 1}) == []
    assert causes(rule, {"min": 1}, {"min": 1}) == []
    assert causes(rule, {"min": 1}, {"min": 2}) == ["spec: Invalid value: min only grows"]


def test_an_optional_old_self_is_there_on_create_too() -> None:
    rule = {
        "rule": "oldSelf.hasValue() ? self.min >= oldSelf.value().min : self.min == 0",
        "optionalOldSelf": True,
        "message": "starts at 0 and grows",
    }
    assert compilation_causes(schema(rule), "s") == []
    assert causes(rule, {"min": 0}) == []
    assert causes(rule, {"min": 1}) == ["spec: Invalid value: starts at 0 and grows"]
    assert causes(rule, {"min": 1}, {"min": 0}) == []


def test_what_stayed_is_not_held_to_a_new_rule() -> None:
    rule = {"rule": "self.min <= self.max"}
    assert causes(rule, {"min": 3, "max": 2}, {"min": 3, "max": 2}) == []
    assert causes(rule, {"min": 4, "max": 2}, {"min": 3, "max": 2}) != []


def test_items_of_a_map_are_compared_with_what_they_were() -> None:
    ports = {
        "type": "array",
        "x-kubernetes-list-type": "map",
        "x-kubernetes-list-map-keys": ["name"],
        "items": {
            "type": "object",
            "x-kubernetes-validations": [{"rule": "self.port == oldSelf.port", "message": "stays"}],
            "properties": {"name": {"type": "string"}, "port": {"type": "integer"}},
        },
    }
    old = {"ports": [{"name": "a", "port": 1}, {"name": "b", "port": 2}]}
    new = {"ports": [{"name": "b", "port": 3}, {"name": "a", "port": 1}, {"name": "c", "port": 4}]}
    found = causes({"rule": "true"}, new, old, ports=ports)
    assert found == ["spec.ports[0]: Invalid value: stays"]


def test_at_the_root_metadata_is_seen() -> None:
    whole = {"type": "object", "x-kubernetes-validations": [{"rule": "self.metadata.name != 'x'"}]}
    named = {"kind": "K", "metadata": {"name": "x"}}
    assert compilation_causes(whole, "s") == []
    assert [c.field for c in rule_causes(named, whole, ABSENT, [])] == ["<nil>"]


@pytest.mark.parametrize(
    ("rule", "field", "message"),
    [
        pytest.param(
            {"rule": "self.mni > 1"},
            "rule",
            "compilation failed: ERROR: <input>:1:5: undefined field 'mni'",
            id="undefined field",
        ),
        *(
            pytest.param({"rule": rule}, "rule", message, id=rule)
            for rule, message in (
                (
                    "self.min + self.name == ''",
                    "no matching overload for '_+_' applied to '(int, st",
                ),
                ("self.name > 3", "no matching overload for '_>_' applied to '(string, int)'"),
                ("self.min == null", "applied to '(int, null_type)'"),
                ("self.items.all(i, i.b > 1)", "undefined field 'b'"),
                ("self.items.all(i, i.a == 'x')", "'_==_' applied to '(int, string)'"),
                ("self.labels.all(k, self.labels[k] > 1)", "applied to '(string, int)'"),
                ("self.when == 'now'", "'_==_' applied to '(timestamp, string)'"),
                ("oldSelf.min == self.name", "'_==_' applied to '(int, string)'"),
                ("self.map(x, x) == []", "cannot be the range of a comprehension"),
                ("self.min", "cel expression must evaluate to a bool"),
                ("self.name ? true : false", "no matching overload for '_?_:_'"),
            )
        ),
        pytest.param({"rule": "self.min >"}, "rule", "Syntax error", id="syntax"),
        pytest.param(
            {"rule": "'a' + 'b'"}, "rule", "cel expression must evaluate to a bool", id="no bool"
        ),
        pytest.param({"rule": "other.x"}, "rule", "undeclared reference to 'other", id="unknown"),
        pytest.param(
            {"rule": "true", "messageExpression": "1 + 1"},
            "messageExpression",
            "messageExpression must evaluate to a string",
            id="message is no text",
        ),
        pytest.param(
            {"rule": "self.min > 0", "optionalOldSelf": True},
            "optionalOldSelf",
            "may not be set if oldSelf is not used in rule",
            id="optionalOldSelf for nothing",
        ),
    ],
)
def test_rules_that_cannot_be(rule: dict[str, Any], field: str, message: str) -> None:
    found = compilation_causes(schema(rule), "s")
    assert [cause.field for cause in found] == [
        f"s.properties[spec].x-kubernetes-validations[0].{field}"
    ]
    assert message in found[0].message


def test_a_change_cannot_be_told_where_items_have_no_names() -> None:
    rule = {"rule": "self.a == oldSelf.a"}
    items = {
        "type": "array",
        "items": {"type": "object", "properties": {"a": {"type": "integer"}},
                  "x-kubernetes-validations": [rule]},
    }  # fmt: skip
    found = compilation_causes(schema(items=items), "s")
    assert "oldSelf cannot be used on the uncorrelatable portion of the schema within" in (
        found[0].message
    )


def test_a_large_object_runs_out_of_budget() -> None:
    loops = "self.items.all(a, self.items.all(b, self.items.all(c, true)))"
    rules = [{"rule": f"{loops} || {number} > 0"} for number in range(100)]
    spec = {"items": [{"a": number} for number in range(2000)]}
    began_s = time.monotonic()
    found = rule_causes({"spec": spec}, schema(*rules), ABSENT, [])
    assert time.monotonic() - began_s < 30
    assert "cost" in found[-1].message
    assert "no further validation rules will be run" in found[-1].message


def test_ordinary_rules_are_asked_of_large_objects() -> None:
    rules = [{"rule": f"self.items.all(i, i.a >= 0 || {number} > 20)"} for number in range(10)]
    spec = {"items": [{"a": number} for number in range(3000)]}
    assert rule_causes({"spec": spec}, schema(*rules), ABSENT, []) == []


def test_rules_of_very_many_items_run_out_of_budget() -> None:
    rule = {"rule": "self.a >= 0"}
    item = {"type": "object", "properties": {"a": {"type": "integer"}}}
    items = {"type": "array", "items": {**item, "x-kubernetes-validations": [rule]}}
    spec = {"items": [{"a": number} for number in range(60_000)]}
    began_s = time.monotonic()
    found = rule_causes({"spec": spec}, schema(items=items), ABSENT, [])
    assert time.monotonic() - began_s < 30
    assert "running out of cost budget" in found[-1].message


def test_rules_are_not_asked_of_what_has_the_wrong_shape() -> None:
    from kubraft.api.errors import Cause

    blocking = Cause("FieldValueRequired", "Required value", "spec.min")
    found = rule_causes({"spec": {}}, schema({"rule": "self.min > 0"}), ABSENT, [blocking])
    assert str(found[0]) == (
        '<nil>: Invalid value: "null": some validation rules were not checked because the object '
        "was invalid; correct the existing errors to complete validation"
    )

"""Pruning, defaulting and validation of values, beside what the REST tests show."""

from __future__ import annotations

import copy
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from apiserver.structural.defaulting import default
from apiserver.structural.formats import fits
from apiserver.structural.json_path import compile_path, find
from apiserver.structural.list_type import uniqueness_causes
from apiserver.structural.pruning import prune
from apiserver.structural.values import value_causes

TEXT = {"type": "string"}


def obj(**properties: Any) -> dict[str, Any]:
    return {"type": "object", "properties": properties}


@pytest.mark.parametrize(
    ("schema", "value", "kept", "dropped"),
    [
        pytest.param(obj(a=TEXT), {"a": "1", "b": 2}, {"a": "1"}, ["b"], id="unknown"),
        pytest.param(
            obj(a=obj(x=TEXT)), {"a": {"x": "", "y": {}}}, {"a": {"x": ""}}, ["a.y"], id="deep"
        ),
        pytest.param(
            obj(a={"type": "array", "items": obj(x=TEXT)}),
            {"a": [{"y": 1}, {"x": ""}]},
            {"a": [{}, {"x": ""}]},
            ["a[0].y"],
            id="items",
        ),
        pytest.param(
            obj(a={"type": "object", "additionalProperties": obj(x=TEXT)}),
            {"a": {"k": {"x": "", "y": 1}}},
            {"a": {"k": {"x": ""}}},
            ["a.k.y"],
            id="map",
        ),
        pytest.param(
            obj(a={**obj(x=obj(y=TEXT)), "x-kubernetes-preserve-unknown-fields": True}),
            {"a": {"z": {"any": 1}, "x": {"y": "", "w": 1}}},
            {"a": {"z": {"any": 1}, "x": {"y": ""}}},
            ["a.x.w"],
            id="preserved, but for what is specified",
        ),
        pytest.param(
            obj(a={**obj(spec=obj()), "x-kubernetes-embedded-resource": True}),
            {"a": {"kind": "K", "apiVersion": "v1", "metadata": {"name": "x"}, "b": 1}},
            {"a": {"kind": "K", "apiVersion": "v1", "metadata": {"name": "x"}}},
            ["a.b"],
            id="embedded",
        ),
        pytest.param(obj(), {"kind": "K", "metadata": {"x": 1}},
                     {"kind": "K", "metadata": {"x": 1}}, [], id="root"),
    ],
)  # fmt: skip
def test_pruning(schema: Any, value: Any, kept: Any, dropped: list[str]) -> None:
    assert prune(value, schema) == dropped
    assert value == kept


@pytest.mark.parametrize(
    ("schema", "value", "filled"),
    [
        pytest.param(obj(a={**TEXT, "default": "x"}), {}, {"a": "x"}, id="absent"),
        pytest.param(obj(a={**TEXT, "default": "x"}), {"a": None}, {"a": "x"}, id="null"),
        pytest.param(
            obj(a={**TEXT, "default": "x", "nullable": True}),
            {"a": None},
            {"a": None},
            id="null that may be",
        ),
        pytest.param(obj(a=TEXT), {"a": None}, {}, id="null that may not be"),
        pytest.param(
            obj(a={**obj(b={**TEXT, "default": "x"}), "default": {}}),
            {},
            {"a": {"b": "x"}},
            id="a default within a default",
        ),
        pytest.param(
            obj(a=obj(b={**TEXT, "default": "x"})), {}, {}, id="no parent is made for a default"
        ),
        pytest.param(
            obj(a={"type": "array", "items": obj(b={**TEXT, "default": "x"})}),
            {"a": [{}, {"b": "y"}]},
            {"a": [{"b": "x"}, {"b": "y"}]},
            id="items",
        ),
    ],
)
def test_defaulting(schema: Any, value: Any, filled: Any) -> None:
    default(value, schema)
    assert value == filled


def message(schema: Any, value: Any) -> list[str]:
    return [str(cause) for cause in value_causes({"a": value}, obj(a=schema))]


@pytest.mark.parametrize(
    ("schema", "value", "expected"),
    [
        ({"type": "integer"}, 1.0, []),
        ({"type": "number"}, 1, []),
        ({"type": "integer"}, True, [('a: Invalid value: "boolean": a in body must be of type '
                                     'integer: "boolean"')]),
        ({"type": "string", "nullable": True}, None, []),
        ({"type": "string"}, None, [('a: Invalid value: "null": a in body must be of type string: '
                                    '"null"')]),
        ({"x-kubernetes-int-or-string": True}, "a", []),
        ({"x-kubernetes-int-or-string": True}, True,
         ['a: Invalid value: "boolean": a in body must be of type integer,string: "boolean"']),
        ({"type": "string", "maxLength": 2}, "abc",
         ["a: Too long: may not be more than 2 bytes"]),
        ({"type": "string", "minLength": 2}, "a",
         ['a: Invalid value: "a": a in body should be at least 2 chars long']),
        ({"type": "integer", "minimum": 1, "exclusiveMinimum": True}, 1,
         ["a: Invalid value: 1: a in body should be greater than 1"]),
        ({"type": "integer", "multipleOf": 3}, 4,
         ["a: Invalid value: 4: a in body should be a multiple of 3"]),
        ({"type": "string", "enum": ["x", "y"]}, "z",
         ['a: Unsupported value: "z": supported values: "x", "y"']),
        ({"type": "array", "items": TEXT, "maxItems": 1}, ["a", "b"],
         ["a: Too many: 2: must have at most 1 items"]),
        ({"type": "array", "items": TEXT, "minItems": 1}, [],
         ["a: Invalid value: 0: a in body should have at least 1 items"]),
        ({"type": "string", "format": "ipv4"}, "x",
         ['a: Invalid value: "x": a in body must be of type ipv4: "x"']),
        ({"type": "string", "format": "unheard-of"}, "x", []),
        ({"type": "integer", "oneOf": [{"minimum": 1}, {"maximum": 1}]}, 1,
         [('<nil>: Invalid value: "": "a" must validate one and only one schema (oneOf). Found 2 '
          "valid alternatives")]),
        ({"type": "integer", "not": {"minimum": 1}}, 1,
         ['<nil>: Invalid value: "": "a" must not validate the schema (not)']),
        ({"type": "object", "required": ["b"], "properties": {"b": TEXT}}, {},
         ["a.b: Required value"]),
    ],
)  # fmt: skip
def test_validation(schema: Any, value: Any, expected: list[str]) -> None:
    assert message(schema, value) == expected


@pytest.mark.parametrize(
    ("name", "good", "bad"),
    [
        ("date-time", "2026-01-02T03:04:05Z", "yesterday"),
        ("date", "2026-01-02", "2026-13-01"),
        ("duration", "1h30m", "long"),
        ("uuid", "0e4bbd6c-1e5a-4c3f-9f0e-123456789abc", "0e4b"),
        ("hostname", "a.example.com", "-a"),
        ("email", "a@example.com", "a"),
        ("ipv6", "::1", "1.2.3.4"),
        ("cidr", "10.0.0.0/8", "10.0.0.0"),
        ("mac", "01:23:45:67:89:ab", "01:23"),
        ("byte", "YWI=", "*"),
        ("uri", "https://a/b", "no uri"),
        ("hexcolor", "#FFFFFF", "white"),
        ("isbn", "978-0321751041", "978-0321751042"),
        ("k8s-short-name", "a-b", "A"),
    ],
)
def test_formats(name: str, good: str, bad: str) -> None:
    assert fits(name, good)
    assert not fits(name, bad)


def test_maps_of_items_have_each_key_once() -> None:
    schema = obj(
        a={
            "type": "array",
            "x-kubernetes-list-type": "map",
            "x-kubernetes-list-map-keys": ["k"],
            "items": obj(k=TEXT),
        }
    )
    value = {"a": [{"k": "1"}, {"k": "2"}, {"k": "1"}]}
    assert [str(c) for c in uniqueness_causes(value, schema)] == [
        'a[2]: Duplicate value: {"k":"1"}'
    ]


@pytest.mark.parametrize(
    ("path", "found"),
    [
        (".spec.a", [1]),
        (".spec.list[1].n", [2]),
        (".spec.list[*].n", [1, 2]),
        ('.spec.list[?(@.n=="2")].n', [2]),
        (".metadata.labels.a\\.b/c", ["x"]),
        (".metadata.labels['a.b/c']", ["x"]),
        (".spec.none.of.this", []),
        (".", [{"spec": {"a": 1, "list": [{"n": 1}, {"n": 2}]},
                "metadata": {"labels": {"a.b/c": "x"}}}]),
    ],
)  # fmt: skip
def test_paths(path: str, found: list[Any]) -> None:
    value = {
        "spec": {"a": 1, "list": [{"n": 1}, {"n": 2}]},
        "metadata": {"labels": {"a.b/c": "x"}},
    }
    assert find(compile_path(path), value) == found


JSON = st.recursive(
    st.none() | st.booleans() | st.integers(-5, 5) | st.text("ab", max_size=2),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.sampled_from("abc"), inner),
    max_leaves=12,
)
SCHEMAS = st.recursive(
    st.sampled_from(
        [TEXT, {"type": "integer", "default": 1}, {"type": "string", "nullable": True}]
    ),
    lambda inner: (
        st.dictionaries(st.sampled_from("abc"), inner, max_size=3).map(lambda p: obj(**p))
        | inner.map(lambda item: {"type": "array", "items": item})
    ),
    max_leaves=6,
)


@given(SCHEMAS, st.dictionaries(st.sampled_from("abc"), JSON))
def test_pruning_and_defaulting_twice_is_as_once(schema: Any, value: Any) -> None:
    prune(value, schema)
    default(value, schema)
    once = copy.deepcopy(value)
    assert prune(value, schema) == []
    default(value, schema)
    assert value == once
    assert value_causes(value, schema, old=value) == []

"""Which fields a configuration has, and what a change changes."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given

from apiserver.apply import fields as sets
from apiserver.apply import merging
from apiserver.apply.walk import compare, fields_of
from tests.apiserver.apply.schema import CONFIGS, KIND

A80 = 'k:{"name":"a","port":80}'
B80 = 'k:{"name":"b","port":80}'


def spec(**fields: Any) -> dict[str, Any]:
    return {"spec": fields}


@pytest.mark.parametrize(
    ("config", "expected"),
    [
        pytest.param(spec(replicas=1), {"f:replicas": {}}, id="a scalar"),
        pytest.param(spec(replicas=None), {"f:replicas": {}}, id="a null"),
        pytest.param(spec(args=["a"]), {"f:args": {}}, id="an atomic list"),
        pytest.param(spec(selector={"a": "b"}), {"f:selector": {}}, id="an atomic map"),
        pytest.param(spec(labels={"a": "b"}), {"f:labels": {"f:a": {}}}, id="a map"),
        pytest.param(spec(labels={}), {"f:labels": {}}, id="an empty map"),
        pytest.param(spec(tags=["x"]), {"f:tags": {'v:"x"': {}}}, id="a set"),
        pytest.param(
            spec(items=[{"name": "a", "image": "i"}]),
            {"f:items": {A80: {".": {}, "f:image": {}, "f:name": {}}}},
            id="an item with a default for a key",
        ),
        pytest.param(
            spec(free={"a": {"b": [1]}}),
            {"f:free": {"f:a": {".": {}, "f:b": {}}}},
            id="untyped",
        ),
    ],
)
def test_fields_of_a_configuration(config: Any, expected: Any) -> None:
    assert fields_of(KIND, config) == {"f:spec": expected}


@pytest.mark.parametrize(
    ("old", "new", "removed", "modified", "added"),
    [
        pytest.param(spec(replicas=1), spec(replicas=1), {}, {}, {}, id="nothing"),
        pytest.param(spec(replicas=1), spec(replicas=2), {}, {"f:replicas": {}}, {}, id="a scalar"),
        pytest.param(
            spec(args=["a"]), spec(args=["b"]), {}, {"f:args": {}}, {}, id="an atomic list"
        ),
        pytest.param(
            spec(),
            spec(labels={"a": "b"}),
            {},
            {},
            {"f:labels": {".": {}, "f:a": {}}},
            id="a new map is a field itself",
        ),
        pytest.param(
            spec(labels={"a": "1", "b": "1"}),
            spec(labels={"b": "2", "c": "1"}),
            {"f:labels": {"f:a": {}}},
            {"f:labels": {"f:b": {}}},
            {"f:labels": {"f:c": {}}},
            id="a map",
        ),
        pytest.param(
            spec(items=[{"name": "a"}, {"name": "b"}]),
            spec(items=[{"name": "b", "image": "x"}]),
            {"f:items": {A80: {".": {}, "f:name": {}}}},
            {},
            {"f:items": {B80: {"f:image": {}}}},
            id="items of a list",
        ),
        pytest.param(
            spec(tags=["x", "y"]), spec(tags=["y", "x"]), {}, {}, {}, id="a set has no order"
        ),
        pytest.param(
            spec(tags=["x", "x"]),
            spec(tags=["x"]),
            {"f:tags": {'v:"x"': {}}},
            {},
            {"f:tags": {'v:"x"': {}}},
            id="one that was there twice",
        ),
        pytest.param(
            spec(free={"a": "b"}),
            spec(free={"a": ["b"]}),
            {},
            {"f:free": {"f:a": {}}},
            {},
            id="another type",
        ),
    ],
)
def test_changes(old: Any, new: Any, removed: Any, modified: Any, added: Any) -> None:
    def wrapped(fields: Any) -> Any:
        return {"f:spec": fields} if fields else {}

    assert tuple(compare(KIND, old, new)) == tuple(map(wrapped, (removed, modified, added)))


@given(CONFIGS, CONFIGS)
def test_a_merge_says_what_was_applied(live: Any, config: Any) -> None:
    merged = merging.merge(KIND, live, config)
    assert merging.merge(KIND, merged, config) == merged
    changes = compare(KIND, config, merged)
    assert not changes.removed
    assert not changes.modified
    gone = compare(KIND, live, merged)
    assert not gone.removed or "f:free" in gone.removed["f:spec"]


@given(CONFIGS, CONFIGS)
def test_changes_are_the_same_in_both_directions(old: Any, new: Any) -> None:
    forth, back = compare(KIND, old, new), compare(KIND, new, old)
    assert forth.modified == back.modified
    assert forth.added == back.removed


@given(CONFIGS)
def test_what_is_removed_is_gone(config: Any) -> None:
    fields = fields_of(KIND, config)
    left = merging.remove(KIND, config, merging.with_named(KIND, fields))
    assert not left
    assert merging.remove(KIND, config, {}) == config
    assert sets.difference(fields, fields) == {}


@pytest.mark.parametrize(
    ("live", "config", "merged"),
    [
        ("abc", "c", "abc"),
        ("abc", "ca", "bca"),
        ("abc", "dx", "abcdx"),
        ("abc", "xa", "xabc"),
        ("", "ba", "ba"),
    ],
)
def test_order_follows_the_configuration(live: str, config: str, merged: str) -> None:
    found = merging.merge(KIND, spec(tags=list(live)), spec(tags=list(config)))
    assert "".join(found["spec"]["tags"]) == merged

"""Sets of fields behave as sets of paths do."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from apiserver.apply import fields as sets
from apiserver.apply import path
from apiserver.apply.path import Path

ELEMENTS = st.sampled_from(["f:a", "f:b", 'k:{"name":"x"}', 'v:"y"', "i:0"])
PATHS = st.lists(ELEMENTS, min_size=1, max_size=3).map(tuple)
MEMBERS = st.frozensets(PATHS, max_size=8)


def members(fields: sets.FieldSet) -> frozenset[Path]:
    found = list(sets.paths(fields))
    assert len(found) == len(set(found))
    assert all(sets.has(fields, each) for each in found)
    return frozenset(found)


@given(MEMBERS, MEMBERS)
def test_a_set_of_fields_is_a_set_of_paths(left: frozenset[Path], right: frozenset[Path]) -> None:
    one, other = sets.of_paths(*sorted(left)), sets.of_paths(*sorted(right))
    assert members(one) == left
    assert members(sets.union(one, other)) == left | right
    assert members(sets.intersection(one, other)) == left & right
    assert members(sets.difference(one, other)) == left - right
    cut = {p for p in left if not any(p[: len(r)] == r for r in right)}
    assert members(sets.without(one, other)) == cut


@given(MEMBERS)
def test_a_set_has_one_form(paths: frozenset[Path]) -> None:
    forward = sets.of_paths(*sorted(paths))
    assert forward == sets.of_paths(*sorted(paths, reverse=True))
    assert sets.difference(forward, forward) == {}
    assert sets.union(forward, forward) == forward


@pytest.mark.parametrize(
    ("element", "shown"),
    [
        pytest.param("f:spec", ".spec", id="field"),
        pytest.param('k:{"name":"a"}', '[name="a"]', id="key"),
        pytest.param('k:{"port":80,"protocol":"TCP"}', '[port=80,protocol="TCP"]', id="keys"),
        pytest.param('v:"a"', '[="a"]', id="value"),
        pytest.param("i:3", "[3]", id="index"),
    ],
)
def test_elements_are_shown_as_upstream_shows_them(element: str, shown: str) -> None:
    assert path.element_text(element) == shown


@pytest.mark.parametrize(
    ("written", "kept"),
    [
        ("f:a", "f:a"),
        ('k:{"b": 1, "a": 2}', 'k:{"a":2,"b":1}'),
        ('v: "x"', 'v:"x"'),
        ("i:07", "i:7"),
        ("z:1", None),
    ],
)
def test_elements_have_one_form(written: str, kept: str | None) -> None:
    assert path.canonical(written) == kept


@pytest.mark.parametrize("written", ["k:{}", "k:[1]", "k:", "v:", "i:x"])
def test_malformed_elements_are_refused(written: str) -> None:
    with pytest.raises(ValueError):  # noqa: PT011 - any of its kinds
        path.canonical(written)


def test_paths_come_in_upstreams_order() -> None:
    fields: dict[str, Any] = {'v:"a"': {}, 'k:{"a":1}': {}, "f:b": {"f:c": {}}, "f:a": {}}
    assert list(sets.paths(fields)) == [("f:a",), ('k:{"a":1}',), ('v:"a"',), ("f:b", "f:c")]

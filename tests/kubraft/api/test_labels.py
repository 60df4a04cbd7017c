import re
from collections.abc import Mapping
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from kubraft.api.labels import (
    EVERYTHING,
    NOTHING,
    LabelSelector,
    Operator,
    Requirement,
    parse_selector,
    selector_from_labels,
    selector_from_object,
)

WEB = {"app": "web", "tier": "front", "weight": "5"}


@pytest.mark.parametrize(
    ("text", "matches"),
    [
        pytest.param("", True, id="empty selects everything"),
        pytest.param("app=web", True, id="equals"),
        pytest.param("app==web", True, id="double equals"),
        pytest.param("app=db", False, id="another value"),
        pytest.param("app!=db", True, id="not equals"),
        pytest.param("colour!=red", True, id="not equals holds for an absent key"),
        pytest.param("app in (db, web)", True, id="in"),
        pytest.param("app notin (db,web)", False, id="notin"),
        pytest.param("colour notin (red)", True, id="notin holds for an absent key"),
        pytest.param("app", True, id="exists"),
        pytest.param("!app", False, id="does not exist"),
        pytest.param("! colour", True, id="space after the bang"),
        pytest.param("app=web,tier in (front),!colour", True, id="all must hold"),
        pytest.param("app=web,tier=back", False, id="one does not hold"),
        pytest.param("weight>4", True, id="greater"),
        pytest.param("weight<5", False, id="less"),
        pytest.param("app>4", False, id="greater of what is no number"),
        pytest.param("app=", False, id="empty value"),
        pytest.param("in in (in)", False, id="the word in as key and value"),
        pytest.param("example.com/role notin (x)", True, id="prefixed key"),
    ],
)
def test_selectors_match(text: str, matches: bool) -> None:
    assert parse_selector(text).matches(WEB) is matches


@pytest.mark.parametrize(
    ("text", "message"),
    [
        pytest.param("=a", "found '=', expected: !, identifier, or 'end of string'", id="no key"),
        pytest.param(
            "a b",
            "unable to parse requirement: found 'b', expected: in, notin, =, ==, !=, gt, lt",
            id="no operator",
        ),
        pytest.param("a,", "found '', expected: identifier after ','", id="comma at the end"),
        pytest.param("a=b c", "found 'c', expected: ',' or 'end of string'", id="two values"),
        pytest.param(
            "a in b", "unable to parse requirement: found 'b' expected: '('", id="in without ("
        ),
        pytest.param("a in (b", "found '', expected: ',' or ')'", id="in without )"),
        pytest.param("a in ()", "for 'in', 'notin' operators, values set can't be empty", id="()"),
        pytest.param("a>b", "for 'Gt', 'Lt' operators, the value must be an integer", id="a>b"),
        pytest.param(
            "a@=b", '<nil>: Invalid value: "a@": name part must consist of', id="malformed key"
        ),
        pytest.param("a=b@", "a valid label must be an empty string or consist", id="bad value"),
    ],
)
def test_malformed_selectors_are_refused_in_upstreams_words(text: str, message: str) -> None:
    with pytest.raises(ValueError, match=re.escape(message)):
        parse_selector(text)


@pytest.mark.parametrize(
    ("selector", "matches"),
    [
        pytest.param(None, False, id="absent selects nothing"),
        pytest.param({}, True, id="empty selects everything"),
        pytest.param({"matchLabels": {"app": "web"}}, True, id="matchLabels"),
        pytest.param(
            {
                "matchLabels": {"app": "web"},
                "matchExpressions": [
                    {"key": "tier", "operator": "NotIn", "values": ["front", "x"]}
                ],
            },
            False,
            id="both must hold",
        ),
        pytest.param(
            {"matchExpressions": [{"key": "tier", "operator": "Exists"}]}, True, id="Exists"
        ),
        pytest.param(
            {"matchExpressions": [{"key": "tier", "operator": "DoesNotExist"}]}, False, id="absent"
        ),
    ],
)
def test_selector_objects_match(selector: Mapping[str, Any] | None, matches: bool) -> None:
    assert selector_from_object(selector).matches(WEB) is matches


def test_an_unknown_operator_is_refused() -> None:
    with pytest.raises(ValueError, match='"Like" is not a valid label selector operator'):
        selector_from_object({"matchExpressions": [{"key": "a", "operator": "Like"}]})


def test_only_the_selector_of_everything_is_false() -> None:
    assert not EVERYTHING
    assert NOTHING
    assert selector_from_labels({"a": "b"})
    assert str(selector_from_labels({"b": "2", "a": "1"})) == "a=1,b=2"


words = st.from_regex(r"[a-z]([a-z0-9.-]{0,6}[a-z0-9])?", fullmatch=True)
value_sets = st.lists(words, min_size=1, max_size=3)
requirements = st.one_of(
    st.builds(Requirement, words, st.sampled_from([Operator.IN, Operator.NOT_IN]), value_sets),
    st.builds(
        Requirement,
        words,
        st.sampled_from([Operator.EQUALS, Operator.NOT_EQUALS]),
        words.map(lambda value: [value]),
    ),
    st.builds(Requirement, words, st.sampled_from([Operator.EXISTS, Operator.DOES_NOT_EXIST])),
)


@given(st.lists(requirements, max_size=4).map(LabelSelector))
def test_reading_what_was_written_gives_the_same_selector(selector: LabelSelector) -> None:
    assert parse_selector(str(selector)) == selector


@given(words, value_sets, st.dictionaries(words, words, max_size=4))
def test_in_and_notin_are_opposites(key: str, values: list[str], labels: dict[str, str]) -> None:
    inside = Requirement(key, Operator.IN, values).matches(labels)
    assert Requirement(key, Operator.NOT_IN, values).matches(labels) is not inside

import re

import pytest
from hypothesis import given
from hypothesis import strategies as st

from kubraft.api.fields import FieldSelector, Term, parse_field_selector

POD = {
    "metadata": {"name": "web-0", "namespace": "default"},
    "spec": {"nodeName": "node-1", "hostNetwork": True},
    "status": {"phase": "Running"},
}


@pytest.mark.parametrize(
    ("text", "matches"),
    [
        pytest.param("", True, id="empty selects everything"),
        pytest.param("metadata.name=web-0", True, id="equals"),
        pytest.param("metadata.name==web-1", False, id="another value"),
        pytest.param("status.phase!=Failed,spec.nodeName=node-1", True, id="all hold"),
        pytest.param("spec.nodeName=", False, id="empty value"),
        pytest.param("status.podIP=", True, id="an absent field is empty"),
        pytest.param("spec.hostNetwork=true", True, id="booleans"),
        pytest.param("spec.unschedulable=false", True, id="absent boolean is false"),
        pytest.param(r"metadata.name!=a\,b", True, id="escaped comma"),
    ],
)
def test_selectors_match(text: str, matches: bool) -> None:
    assert parse_field_selector(text).matches_object(POD) is matches


@pytest.mark.parametrize(
    ("text", "message"),
    [
        pytest.param("a", "invalid selector: 'a'; can't understand 'a'", id="no operator"),
        pytest.param("a=b=c", "unescaped character in value: =", id="two equals signs"),
        pytest.param("a=b\\x", "invalid escape sequence: \\x", id="unknown escape"),
    ],
)
def test_malformed_selectors_are_refused(text: str, message: str) -> None:
    with pytest.raises(ValueError, match=re.escape(message)):
        parse_field_selector(text)


def test_required_value_of_a_field() -> None:
    selector = parse_field_selector("spec.nodeName=n,metadata.name!=x")
    assert selector.required("spec.nodeName") == "n"
    assert selector.required("metadata.name") is None


fields = st.from_regex(r"[a-z]{1,4}(\.[a-zA-Z]{1,4})?", fullmatch=True)
values = st.text(st.characters(codec="ascii", categories=["L", "N", "P", "S"]), max_size=6)


@given(st.lists(st.builds(Term, fields, st.booleans(), values), max_size=4))
def test_reading_what_was_written_gives_the_same_terms(terms: list[Term]) -> None:
    assert parse_field_selector(str(FieldSelector(terms))).terms == tuple(terms)

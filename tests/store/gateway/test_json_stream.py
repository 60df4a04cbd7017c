"""Values out of a body that comes in pieces."""

from __future__ import annotations

import json
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from store.gateway.json_stream import ValueSplitter

_OBJECTS = st.dictionaries(
    st.text(max_size=5),
    st.recursive(st.text(max_size=9) | st.integers(), lambda x: st.lists(x, max_size=3)),
    max_size=3,
)
_BLANKS = st.sampled_from(["", " ", "\n", "\t\r\n "])


@given(st.lists(st.tuples(_OBJECTS, _BLANKS), max_size=4), st.integers(1, 9), st.booleans())
@settings(deadline=None, suppress_health_check=[HealthCheck.too_slow])
def test_values_come_whole_however_they_are_cut(
    values: list[tuple[dict[str, Any], str]], step: int, ascii_only: bool
) -> None:
    text = "".join(json.dumps(value, ensure_ascii=ascii_only) + blank for value, blank in values)
    data = text.encode("utf-8", "surrogatepass")
    splitter = ValueSplitter()
    found = []
    for at in range(0, len(data), step):
        splitter.feed(data[at : at + step])
        while (value := splitter.next_value()) is not None:
            found.append(json.loads(value))
    splitter.feed(b"", last=True)
    assert splitter.rest().strip() == ""
    replaced = [json.loads(json.dumps(value)) for value, _ in values]
    assert found == replaced


@pytest.mark.parametrize(
    ("text", "first", "rest"),
    [
        pytest.param('{"a":"}"}{', '{"a":"}"}', "{", id="bracket-in-string"),
        pytest.param(r'{"a":"\"}"}x', r'{"a":"\"}"}', "x", id="quote-in-string"),
        pytest.param('{"a', None, '{"a', id="string-is-not-whole"),
        pytest.param("nul", None, "nul", id="literal-may-go-on"),
        pytest.param("12 {", "12", " {", id="number"),
        pytest.param("}{", "}", "{", id="bracket-too-many"),
    ],
)
def test_first_value(text: str, first: str | None, rest: str) -> None:
    splitter = ValueSplitter()
    splitter.feed(text.encode())
    assert (splitter.next_value(), splitter.rest()) == (first, rest)

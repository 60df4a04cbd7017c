"""Bodies of requests: what JSON can say twice, too deeply or in another form."""

from __future__ import annotations

from typing import Any

import pytest

from apiserver.rpc import body
from kubraft.api.errors import BadRequestError


@pytest.mark.parametrize(
    ("raw", "names"),
    [
        pytest.param(b'{"a":1,"a":2}', '"a"', id="twice"),
        pytest.param(b'{"m":{"a":1,"b":2,"a":1}}', '"m.a"', id="further in"),
        pytest.param(b'{"a":1,"b":1,"a":2,"b":2}', '"a", duplicate field "b"', id="two fields"),
        pytest.param(b'{"a":1,"\\u0061":2}', '"a"', id="the same name written otherwise"),
        pytest.param(b'{"a":1,"a":1e6}', '"a"', id="as long as without the duplicate"),
    ],
)
def test_a_field_named_twice_is_refused_where_strict(raw: bytes, names: str) -> None:
    with pytest.raises(BadRequestError) as refusal:
        body.read_json(raw, strict=True)
    assert refusal.value.message == f"strict decoding error: duplicate field {names}"
    assert isinstance(body.read_json(raw, strict=False), dict)


@pytest.mark.parametrize(
    ("raw", "value"),
    [
        pytest.param(b'{ "a" : [1, 2] }', {"a": [1, 2]}, id="spaces"),
        pytest.param(b'{"a":"\\u00e9"}', {"a": "é"}, id="escapes"),
        pytest.param(b'{"a":80.0,"b":1.5}', {"a": 80, "b": 1.5}, id="a number without fraction"),
        pytest.param(b'[{"a":1},{"a":1}]', [{"a": 1}, {"a": 1}], id="one name in two objects"),
    ],
)
def test_other_forms_are_read(raw: bytes, value: Any) -> None:
    read = body.read_json(raw, strict=True)
    assert read == value
    assert repr(read) == repr(value)  # 80 and 80.0 are equal


@pytest.mark.parametrize("opening", [b"[", b'{"a":'], ids=["lists", "objects"])
def test_depth_is_bounded(opening: bytes) -> None:
    closing = b"]" if opening == b"[" else b"}"

    def nested(levels: int) -> bytes:
        return opening * levels + b"1" + closing * levels

    assert body.read_json(nested(body.DEPTH_MAX), strict=True)
    with pytest.raises(BadRequestError, match="nested deeper than 64 levels"):
        body.read_json(nested(body.DEPTH_MAX + 1), strict=True)


@pytest.mark.parametrize("raw", [b"", b"{", b"\xff", b'{"a":NaN}', b"1 2"])
def test_what_is_no_json_is_refused(raw: bytes) -> None:
    with pytest.raises(BadRequestError, match="the body is not valid JSON"):
        body.read_json(raw, strict=False)


def test_an_object_is_one() -> None:
    with pytest.raises(BadRequestError, match="must be a JSON object"):
        body.read_object(b"[]", strict=True)

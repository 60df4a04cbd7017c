"""Path and query of a request's target."""

from __future__ import annotations

import pytest

from kubraft.grpc_server.exchange import target


@pytest.mark.parametrize(
    ("text", "path", "query"),
    [
        pytest.param("/a%20b/c?d=%20", "/a b/c", "d=%20", id="only the path is decoded"),
        pytest.param("http://host:1/a?b", "/a", "b", id="the absolute form"),
        pytest.param("http://host", "/", "", id="the absolute form without a path"),
        pytest.param("/a?to=http://host/b", "/a", "to=http://host/b", id="a URL in the query"),
        pytest.param("/a/http://host/b", "/a/http://host/b", "", id="a URL in the path"),
        pytest.param("*", "*", "", id="the server itself"),
    ],
)
def test_targets(text: str, path: str, query: str) -> None:
    assert target(text) == (path, query)


@pytest.mark.parametrize("text", ["", "a", "host:1"])
def test_what_is_no_target(text: str) -> None:
    with pytest.raises(ValueError, match="malformed"):
        target(text)

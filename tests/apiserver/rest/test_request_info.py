"""What URLs and methods are taken for. Expectations are those of upstream's RequestInfo."""

from __future__ import annotations

import contextlib

import pytest
from hypothesis import given
from hypothesis import strategies as st

from apiserver.rest.request_info import parse, read_query
from kubraft.api.errors import ApiError, BadRequestError, MethodNotAllowedError


@pytest.mark.parametrize(
    ("request_line", "expected"),
    [
        ("GET /api/v1/nodes", ("list", "", "", "nodes", "", "")),
        ("GET /api/v1/nodes?watch=true", ("watch", "", "", "nodes", "", "")),
        ("GET /api/v1/nodes?watch=0", ("list", "", "", "nodes", "", "")),
        ("GET /api/v1/nodes/n?watch=1", ("get", "", "", "nodes", "n", "")),
        ("HEAD /api/v1/nodes/n", ("get", "", "", "nodes", "n", "")),
        ("GET /api/v1/namespaces", ("list", "", "", "namespaces", "", "")),
        ("GET /api/v1/namespaces/x", ("get", "", "", "namespaces", "x", "")),
        ("PUT /api/v1/namespaces/x/finalize", ("update", "", "", "namespaces", "x", "finalize")),
        ("GET /api/v1/namespaces/x/status", ("get", "", "", "namespaces", "x", "status")),
        ("POST /api/v1/namespaces/x/pods", ("create", "", "x", "pods", "", "")),
        ("DELETE /api/v1/namespaces/x/pods", ("deletecollection", "", "x", "pods", "", "")),
        ("DELETE /api/v1/namespaces/x/pods/p", ("delete", "", "x", "pods", "p", "")),
        ("GET /api/v1/namespaces/x/pods/p/log", ("get", "", "x", "pods", "p", "log")),
        ("GET /api/v1/watch/namespaces/x/pods/p", ("watch", "", "x", "pods", "p", "")),
        ("PATCH /apis/apps/v1/namespaces/x/deployments/d/scale", ("patch", "apps", "x",
         "deployments", "d", "scale")),
        ("OPTIONS /api/v1/nodes/n/proxy/a/../%2e", ("", "", "", "nodes", "n", "proxy")),
        ("PUT /api/v1/namespaces/x/pods/p/proxy" + "/a" * 99, ("update", "", "x", "pods", "p",
         "proxy")),
        ("GET /apis/apps/v1/deployments", ("list", "apps", "", "deployments", "", "")),
        ("GET /apis/apps/v1", ("get", "", "", "", "", "")),
        ("GET /api", ("get", "", "", "", "", "")),
        ("POST /elsewhere", ("post", "", "", "", "", "")),
    ],
)  # fmt: skip
def test_a_url_and_a_method_name_what_is_asked(
    request_line: str, expected: tuple[str, ...]
) -> None:
    method, _, url = request_line.partition(" ")
    path, _, query = url.partition("?")
    info = parse(method, path, read_query(query))
    found = (info.verb, info.group, info.namespace, info.resource, info.name, info.subresource)
    assert found == expected


@pytest.mark.parametrize(
    ("method", "path", "error"),
    [
        pytest.param("GET", "/api/v1/namespaces/../pods", BadRequestError, id="parent"),
        pytest.param("GET", "/api/v1/namespaces//pods", BadRequestError, id="empty"),
        pytest.param("GET", "/api/v1/nodes/a\0b", BadRequestError, id="nul"),
        pytest.param("GET", "/api/v1/nodes/" + "a" * 254, BadRequestError, id="long"),
        pytest.param("BREW", "/api/v1/nodes", MethodNotAllowedError, id="method"),
    ],
)
def test_what_no_object_can_have_is_refused(method: str, path: str, error: type[ApiError]) -> None:
    with pytest.raises(error):
        parse(method, path, {})


@given(st.sampled_from(["GET", "PUT", "POST", "X"]), st.text(max_size=200), st.text(max_size=200))
def test_any_target_is_read_or_refused(method: str, path: str, query: str) -> None:
    with contextlib.suppress(BadRequestError, MethodNotAllowedError):
        info = parse(method, "/api/v1/" + path, read_query(query))
        assert "/" not in info.name + info.namespace + info.resource

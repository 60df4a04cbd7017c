"""Content negotiation, and YAML bodies that mean harm."""

from __future__ import annotations

import contextlib

import pytest
from hypothesis import given
from hypothesis import strategies as st

from apiserver.rest.content import read_yaml
from apiserver.rest.media import View, accepted, is_yaml
from kubraft.api.errors import BadRequestError, NotAcceptableError, UnsupportedMediaTypeError

TABLE = "application/json;as=Table;v=v1;g=meta.k8s.io"


@pytest.mark.parametrize(
    ("accept", "view", "yaml"),
    [
        pytest.param("", View.OBJECT, False, id="nothing"),
        pytest.param("*/*", View.OBJECT, False, id="anything"),
        pytest.param("application/yaml", View.OBJECT, True, id="yaml"),
        pytest.param(f"{TABLE},application/json", View.TABLE, False, id="kubectl get"),
        pytest.param(
            "application/vnd.kubernetes.protobuf, application/json", View.OBJECT, False, id="binary"
        ),
        pytest.param("text/html, application/json;q=0.9, */*;q=0.1", View.OBJECT, False, id="q"),
        pytest.param(
            "application/json;as=Table;g=other;v=v1,application/json", View.OBJECT, False,
            id="unknown group",
        ),
        pytest.param(
            "application/json;as=PartialObjectMetadata;g=meta.k8s.io;v=v1", View.METADATA, False,
            id="metadata",
        ),
    ],
)  # fmt: skip
def test_the_first_form_that_the_server_has_is_taken(accept: str, view: View, yaml: bool) -> None:
    form = accepted(accept)
    assert (form.view, form.yaml) == (view, yaml)


@pytest.mark.parametrize("accept", ["text/html", "application/json;q=0", f"{TABLE};v=v9"])
def test_a_form_that_nobody_has_is_406(accept: str) -> None:
    with pytest.raises(NotAcceptableError, match="only the following media types are accepted"):
        accepted(accept)


def test_yaml_is_read_as_json_would_be() -> None:
    text = b"a: 2026-01-02\nb: [1, 2.5, yes, null]\nbase: &x {k: v}\nagain: *x\n"
    assert read_yaml(text) == {
        "a": "2026-01-02",
        "b": [1, 2.5, True, None],
        "base": {"k": "v"},
        "again": {"k": "v"},
    }


BOMB = "a0: &a0 [x,x,x,x,x,x,x,x,x]\n" + "".join(
    f"a{n}: &a{n} [{','.join([f'*a{n - 1}'] * 9)}]\n" for n in range(1, 12)
)


@pytest.mark.parametrize(
    "text",
    [
        pytest.param(BOMB, id="aliases that double"),
        pytest.param("a: &a [*a]", id="contains itself"),
        pytest.param("[" * 5000, id="deep"),
        pytest.param("- " * 5000, id="deep blocks"),
        pytest.param("{a: 1", id="open"),
        pytest.param("!!python/object/apply:os.system [id]", id="code"),
        pytest.param("? [a]\n: b", id="key that is no string"),
        pytest.param("\xff\xfe\x00", id="no text"),
    ],
)
def test_yaml_that_means_harm_is_refused(text: str) -> None:
    with pytest.raises(BadRequestError, match="yaml: "):
        read_yaml(text.encode("latin-1"))


def test_a_number_that_json_has_not_is_nothing() -> None:
    assert read_yaml(b"a: .nan") == {"a": None}


@given(st.binary(max_size=300))
def test_any_bytes_are_yaml_or_refused(raw: bytes) -> None:
    with contextlib.suppress(BadRequestError):
        read_yaml(raw)


@given(st.text(max_size=100))
def test_any_header_is_understood_or_refused(text: str) -> None:
    for read in (accepted, is_yaml):
        with contextlib.suppress(NotAcceptableError, UnsupportedMediaTypeError):
            read(text)

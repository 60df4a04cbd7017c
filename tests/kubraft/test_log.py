from __future__ import annotations

import io
import logging
from collections.abc import Iterator

import pytest
import structlog

from kubraft.log import FIELD_CHARS_MAX, configure, get_logger


@pytest.fixture
def stream() -> Iterator[io.StringIO]:
    root = logging.getLogger()
    handlers, level = root.handlers, root.level
    out = io.StringIO()
    configure("info", stream=out)
    yield out
    structlog.reset_defaults()
    root.handlers, root.level = handlers, level


def test_a_line_is_an_event_with_fields(stream: io.StringIO) -> None:
    get_logger("store.member", member="store-0").info("ready", term=2, note="two words")
    line = stream.getvalue()
    assert line.startswith("time=2")
    assert line.endswith(
        ' level=info component=store.member event=ready member=store-0 term=2 note="two words"\n'
    )


def test_an_exception_stays_on_one_line(stream: io.StringIO) -> None:
    try:
        (1).to_bytes(0)
    except OverflowError:
        get_logger("x").exception("stopped")
    assert stream.getvalue().count("\n") == 1
    assert "too big" in stream.getvalue()


def test_a_level_below_the_wanted_one_is_not_written(stream: io.StringIO) -> None:
    get_logger("x").debug("detail")
    assert stream.getvalue() == ""


def test_a_librarys_records_become_our_lines(stream: io.StringIO) -> None:
    logging.getLogger("asyncio").warning("slow %s", "callback")
    assert 'level=warning component=asyncio event="slow callback"' in stream.getvalue()


@pytest.mark.parametrize(
    ("field", "value"),
    [
        pytest.param("token", "s3cr3t-value", id="a token"),
        pytest.param("bearer_token", b"s3cr3t-value", id="a bearer token as bytes"),
        pytest.param("password", "s3cr3t-value", id="a password"),
        pytest.param("client_key_data", "s3cr3t-value", id="a key"),
        pytest.param("header", "Authorization: Bearer s3cr3t-value", id="a header in free text"),
        pytest.param("detail", "got eyJhbGciOiJFUz.s3cr3t-value.xyz", id="a JWT in free text"),
        pytest.param(
            "detail",
            "-----BEGIN EC PRIVATE KEY-----\ns3cr3t-value\n-----END EC PRIVATE KEY-----",
            id="a private key in free text",
        ),
        pytest.param("request", {"auth": "bearer s3cr3t-value"}, id="inside a structure"),
    ],
)
def test_secrets_are_never_written(stream: io.StringIO, field: str, value: object) -> None:
    get_logger("x").info("event", **{field: value})
    assert "s3cr3t-value" not in stream.getvalue()
    assert "hidden" in stream.getvalue()


@pytest.mark.parametrize("field", ["token_file", "key", "revision"])
def test_what_only_sounds_secret_is_written(stream: io.StringIO, field: str) -> None:
    get_logger("x").info("event", **{field: "plain"})
    assert f"{field}=plain" in stream.getvalue()


def test_a_field_has_a_bound(stream: io.StringIO) -> None:
    get_logger("x").info("event", text="x" * FIELD_CHARS_MAX * 3)
    assert len(stream.getvalue()) < FIELD_CHARS_MAX + 200


def test_an_unknown_level_is_refused() -> None:
    with pytest.raises(ValueError, match="'loud' is none of debug, info"):
        configure("loud")

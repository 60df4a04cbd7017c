from __future__ import annotations

import base64
from datetime import timedelta

import pytest

from agents.controllers.token_cleaner import TYPE, left_s
from kubraft.api.object import Object
from kubraft.api.time import format_time
from tests.agents.controllers.objects import NOW


def _token(expiration: str | None, type_: str = TYPE) -> Object:
    data = {"token-id": base64.b64encode(b"abcdef").decode()}
    if expiration is not None:
        data["expiration"] = base64.b64encode(expiration.encode()).decode()
    return {"metadata": {"name": "bootstrap-token-abcdef"}, "type": type_, "data": data}


@pytest.mark.parametrize(
    ("expiration", "left"),
    [
        pytest.param(format_time(NOW + timedelta(hours=1)), 3600.0, id="an hour left"),
        pytest.param(format_time(NOW - timedelta(seconds=5)), -5.0, id="expired"),
        pytest.param(None, None, id="never"),
        pytest.param("", None, id="empty is never"),
        pytest.param("tomorrow", 0.0, id="no moment"),
        pytest.param("\u00e9", 0.0, id="no text"),
    ],
)
def test_how_long_a_token_has(expiration: str | None, left: float | None) -> None:
    assert left_s(_token(expiration), NOW) == left


def test_other_secrets_stay() -> None:
    assert left_s(_token(format_time(NOW - timedelta(days=1)), "Opaque"), NOW) is None


def test_what_is_not_base64_has_expired() -> None:
    token = _token(None)
    token["data"]["expiration"] = "!!"
    assert left_s(token, NOW) == 0.0

from typing import Any

import pytest

from agents.controllers.resource_quota import gives_back


@pytest.mark.parametrize(
    ("before", "after", "less"),
    [
        pytest.param(None, {"pods": "0"}, False, id="never counted"),
        pytest.param({}, {"pods": "0"}, False, id="a new name"),
        pytest.param({"pods": "2"}, {"pods": "2"}, False, id="the same"),
        pytest.param({"cpu": "1000m"}, {"cpu": "1"}, False, id="the same in other words"),
        pytest.param({"pods": "2"}, {"pods": "3"}, False, id="more"),
        pytest.param({"pods": "2", "cpu": "1"}, {"pods": "3", "cpu": "900m"}, True, id="less"),
        pytest.param({"pods": "2", "cpu": "1"}, {"cpu": "1"}, False, id="no longer limited"),
    ],
)
def test_giving_back(before: dict[str, Any] | None, after: dict[str, str], less: bool) -> None:
    status = None if before is None else {"used": before}
    assert gives_back(status, {"used": after}) is less

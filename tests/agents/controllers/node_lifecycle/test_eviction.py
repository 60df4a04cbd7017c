from __future__ import annotations

from datetime import timedelta
from typing import Any

import pytest

from agents.controllers.node_lifecycle.eviction import AT_ONCE, evict_at
from tests.agents.controllers.objects import NOW, at, pod

LOST = {"key": "node.kubernetes.io/unreachable", "effect": "NoExecute", "timeAdded": at(-10)}
OTHER = {"key": "maintenance", "effect": "NoExecute"}


def toleration(key: str, seconds: int | None = None) -> dict[str, Any]:
    found: dict[str, Any] = {"key": key, "operator": "Exists", "effect": "NoExecute"}
    return found if seconds is None else {**found, "tolerationSeconds": seconds}


@pytest.mark.parametrize(
    ("tolerations", "taints", "seconds"),
    [
        pytest.param([], [], None, id="no taint"),
        pytest.param([], [LOST], "at once", id="not tolerated"),
        pytest.param([toleration(LOST["key"])], [LOST], None, id="tolerated for ever"),
        pytest.param([toleration(LOST["key"], 5)], [LOST], -5, id="from the taint's time"),
        pytest.param([toleration(LOST["key"], 0)], [LOST], "at once", id="zero seconds"),
        pytest.param(
            [toleration(LOST["key"], 30), toleration("maintenance", 4)],
            [LOST, OTHER],
            4,
            id="the earliest of two; without a time, from when it was first seen",
        ),
        pytest.param(
            [toleration(LOST["key"], 30)], [LOST, OTHER], "at once", id="one of two not tolerated"
        ),
    ],
)
def test_when_a_pod_must_leave(
    tolerations: list[dict[str, Any]], taints: list[dict[str, Any]], seconds: int | str | None
) -> None:
    moment = evict_at(pod("a", tolerations=tolerations), taints, NOW)
    if seconds is None:
        assert moment is None
    elif seconds == "at once":
        assert moment == AT_ONCE
    else:
        assert isinstance(seconds, int)
        assert moment == NOW + timedelta(seconds=seconds)

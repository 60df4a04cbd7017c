from __future__ import annotations

import pytest

from agents.controllers.deployment.strategy import Bounds, bounds_of
from tests.agents.controllers.objects import deployment


@pytest.mark.parametrize(
    ("replicas", "surge", "unavailable", "expected"),
    [
        pytest.param(10, "25%", "25%", Bounds(10, 3, 2), id="surge rounds up, the other down"),
        pytest.param(3, "25%", "25%", Bounds(3, 1, 0), id="the defaults with three"),
        pytest.param(4, 0, 0, Bounds(4, 0, 1), id="never both nothing"),
        pytest.param(1, 0, "25%", Bounds(1, 0, 1), id="never both nothing, rounded"),
        pytest.param(2, 5, 7, Bounds(2, 5, 2), id="no more unavailable than there are"),
        pytest.param(0, "25%", 1, Bounds(0, 0, 0), id="none wanted"),
        pytest.param(4, "150%", 0, Bounds(4, 6, 0), id="surge over 100 %"),
    ],
)
def test_bounds(replicas: int, surge: int | str, unavailable: int | str, expected: Bounds) -> None:
    rolling = {"maxSurge": surge, "maxUnavailable": unavailable}
    strategy = {"type": "RollingUpdate", "rollingUpdate": rolling}
    assert bounds_of(deployment(replicas=replicas, strategy=strategy)) == expected


def test_recreate_has_no_room_to_move() -> None:
    recreate = deployment(replicas=3, strategy={"type": "Recreate"})
    assert bounds_of(recreate) == Bounds(3, 0, 0)

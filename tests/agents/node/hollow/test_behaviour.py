from __future__ import annotations

import math

import pytest

from agents.node.hollow.behaviour import PREFIX, Behaviour, Defaults, behaviour_of
from tests.agents.node.pods import pod

DEFAULTS = Defaults(start_after_s=1.0, ready_after_s=2.0, job_s=3.0)


@pytest.mark.parametrize(
    ("said", "policy", "wanted"),
    [
        pytest.param({}, "Always", Behaviour(1, 2, math.inf), id="defaults"),
        pytest.param({}, "Never", Behaviour(1, 2, 3), id="what is meant to end ends"),
        pytest.param({"run-for": "forever"}, "OnFailure", Behaviour(1, 2, math.inf), id="unless"),
        pytest.param(
            {"start-after": "0", "ready-after": "never", "run-for": "1m", "exit-code": "2"},
            "Always",
            Behaviour(0, math.inf, 60, 2),
            id="all of it said",
        ),
        pytest.param({"stop-after": "5s"}, "Always", Behaviour(1, 2, math.inf, 0, 5), id="slow"),
        pytest.param(
            {"run-for": "soon", "exit-code": "-1"}, "Never", Behaviour(1, 2, 3), id="nonsense"
        ),
    ],
)
def test_annotations_come_before_defaults(
    said: dict[str, str], policy: str, wanted: Behaviour
) -> None:
    annotations = {PREFIX + name: value for name, value in said.items()}
    asked = pod(metadata={"annotations": annotations}, restartPolicy=policy)
    assert behaviour_of(asked, DEFAULTS) == wanted

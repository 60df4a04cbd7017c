from __future__ import annotations

import pytest

from agents.node.condition_events import condition_events
from kubraft.api.object import Object


def status(**conditions: str) -> Object:
    return {"conditions": [{"type": name, "status": said} for name, said in conditions.items()]}


@pytest.mark.parametrize(
    ("old", "new", "reasons"),
    [
        pytest.param(
            {},
            status(MemoryPressure="False", DiskPressure="False", PIDPressure="False", Ready="True"),
            [
                "NodeHasSufficientMemory",
                "NodeHasNoDiskPressure",
                "NodeHasSufficientPID",
                "NodeReady",
            ],
            id="new",
        ),
        pytest.param(status(Ready="Unknown"), status(Ready="True"), ["NodeReady"], id="back"),
        pytest.param(status(Ready="True"), status(Ready="True"), [], id="as before"),
        pytest.param(status(Ready="True"), status(Ready="False"), ["NodeNotReady"], id="ill"),
        pytest.param(status(), status(Ready="Unknown", Other="True"), [], id="not ours to say"),
    ],
)
def test_a_condition_that_turns_is_an_event(old: Object, new: Object, reasons: list[str]) -> None:
    told = list(condition_events("n", old, new))
    assert told == [(reason, f"Node n status is now: {reason}") for reason in reasons]

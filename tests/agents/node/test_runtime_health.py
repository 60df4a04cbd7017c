"""What a runtime that answers may lack."""

from __future__ import annotations

import pytest

from agents.node.runtime_health import missing
from kubraft.pb.criv1 import api_pb2 as cri

READY = cri.RuntimeCondition(type="RuntimeReady", status=True)
NETWORK = cri.RuntimeCondition(type="NetworkReady", status=True)
NO_NETWORK = cri.RuntimeCondition(
    type="NetworkReady", status=False, reason="NetworkPluginNotReady", message="no config"
)


@pytest.mark.parametrize(
    ("conditions", "words"),
    [
        pytest.param((READY, NETWORK), "", id="nothing"),
        pytest.param(
            (READY, NO_NETWORK),
            "container runtime network not ready: NetworkReady=false "
            "reason:NetworkPluginNotReady message:no config",
            id="a network",
        ),
        pytest.param(
            (NETWORK,),
            "container runtime not ready: RuntimeReady=false reason: message:",
            id="it does not say that it is ready",
        ),
    ],
)
def test_missing(conditions: tuple[cri.RuntimeCondition, ...], words: str) -> None:
    assert missing(cri.RuntimeStatus(conditions=conditions)) == words

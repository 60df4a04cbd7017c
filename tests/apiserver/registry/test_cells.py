"""The rows of kinds other than Pods."""

from __future__ import annotations

import datetime as dt
from typing import Any

import pytest

from apiserver.registry import cells

NOW = dt.datetime(2026, 1, 1, 0, 1, tzinfo=dt.UTC)


@pytest.mark.parametrize(
    ("ingress", "shown"),
    [
        pytest.param([], "<pending>", id="not given yet"),
        pytest.param([{"ip": "10.0.0.1"}, {"hostname": "a.b"}], "10.0.0.1,a.b", id="given"),
        pytest.param([{}, {"hostname": "a.b"}], "a.b", id="one that names nothing"),
    ],
)
def test_external_addresses_of_a_load_balancer(ingress: list[dict[str, Any]], shown: str) -> None:
    service = {
        "metadata": {"name": "web", "creationTimestamp": "2026-01-01T00:00:00Z"},
        "spec": {"type": "LoadBalancer", "clusterIP": "10.96.0.1", "ports": [{"port": 80}]},
        "status": {"loadBalancer": {"ingress": ingress}},
    }
    row = cells.SERVICE.cells(service, NOW)
    assert row[:5] == ["web", "LoadBalancer", "10.96.0.1", shown, "80/TCP"]

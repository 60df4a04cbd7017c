from __future__ import annotations

from dataclasses import replace
from datetime import UTC, datetime, timedelta

import pytest

from agents.node.node_admission import refusal
from agents.node.node_object import (
    Machine,
    Usage,
    allocatable,
    node_object,
    node_status,
    without_heartbeat,
)
from kubraft.api.conditions import find_condition
from kubraft.api.object import Object
from tests.agents.node.pods import pod

NOW = datetime(2026, 1, 1, tzinfo=UTC)
MACHINE = Machine(
    name="node-0",
    cpus=2,
    memory_bytes=4 * 2**30,
    disk_bytes=2**40,
    pods_max=3,
    port=10250,
    host_ip="127.0.0.1",
    pod_cidr="127.64.0.0/24",
    architecture="amd64",
    info={"kubeletVersion": "v1.37.0"},
)
FINE = Usage(2**30, 0.5, 0.9)


@pytest.mark.parametrize(
    ("usage", "type_", "status", "reason"),
    [
        pytest.param(FINE, "Ready", "True", "KubeletReady", id="well"),
        pytest.param(
            replace(FINE, runtime_error="container runtime is down"),
            *("Ready", "False", "KubeletNotReady"),
            id="no runtime",
        ),
        pytest.param(
            replace(FINE, memory_available_bytes=50 * 2**20),
            *("MemoryPressure", "True", "KubeletHasInsufficientMemory"),
            id="memory",
        ),
        pytest.param(
            replace(FINE, disk_available_part=0.05),
            *("DiskPressure", "True", "KubeletHasDiskPressure"),
            id="disk",
        ),
        pytest.param(
            replace(FINE, pids_available_part=0.01),
            *("PIDPressure", "True", "KubeletHasInsufficientPID"),
            id="processes",
        ),
    ],
)
def test_conditions(usage: Usage, type_: str, status: str, reason: str) -> None:
    node = node_object(MACHINE, usage, NOW)
    condition = find_condition(node["status"]["conditions"], type_)
    assert condition is not None
    assert (condition["status"], condition["reason"]) == (status, reason)


def test_only_heartbeats_differ_when_nothing_has_changed() -> None:
    old = node_object(MACHINE, FINE, NOW)["status"]
    old["images"] = ["somebody else's"]
    new = node_status(old, MACHINE, FINE, NOW + timedelta(minutes=1))
    assert new != old
    assert without_heartbeat(new) == without_heartbeat(old)


def asking(**requests: str) -> Object:
    wanted = pod()
    wanted["spec"]["containers"][0]["resources"] = {"requests": requests}
    return wanted


@pytest.mark.parametrize(
    ("wanted", "others", "reason"),
    [
        pytest.param(asking(cpu="1"), [asking(cpu="1")], None, id="it fits exactly"),
        pytest.param(asking(cpu="1"), [asking(cpu="1001m")], "OutOfcpu", id="one milli too many"),
        pytest.param(asking(memory="5Gi"), [], "OutOfmemory", id="memory"),
        pytest.param(pod(), [pod()] * 3, "OutOfpods", id="number of Pods"),
        pytest.param(pod(nodeSelector={"a": "b"}), [], "NodeAffinity", id="selector"),
        pytest.param(asking(**{"example.com/gpu": "1"}), [], None, id="what it does not count"),
    ],
)
def test_admission(wanted: Object, others: list[Object], reason: str | None) -> None:
    refused = refusal(wanted, others, allocatable(MACHINE), {})
    assert (refused.reason if refused else None) == reason


def test_addresses_of_a_cloud_are_kept() -> None:
    own = node_status({}, MACHINE, FINE, NOW)["addresses"]
    more = [*own, {"type": "ExternalIP", "address": "192.0.2.1"}]
    assert node_status({"addresses": more}, MACHINE, FINE, NOW)["addresses"] == more
    # Those of a life under another address are not.
    assert node_status({"addresses": more[1:]}, MACHINE, FINE, NOW)["addresses"] == own

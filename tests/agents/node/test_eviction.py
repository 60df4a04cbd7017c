"""Who goes when the node runs short, and what is said; and a node's own end."""

from __future__ import annotations

import asyncio
from pathlib import Path
from typing import Any

import pytest

from agents.node.eviction import (
    HARD_DEFAULT,
    Pressure,
    Reading,
    Threshold,
    eviction_message,
    first_to_go,
    parse_thresholds,
    refusal_under,
)
from kubraft.api.conditions import find_condition
from kubraft.api.object import Object
from tests.agents.node.node_process import running_node, state
from tests.agents.node.pods import pod
from tests.harness.api import ApiUnderTest

MIB = 1024 * 1024
MEMORY = Threshold("memory.available", "100Mi")


def named(name: str, asked: str = "", **spec: Any) -> Object:
    found = pod(metadata={"name": name, "uid": name}, **spec)
    if asked:
        resources = {"requests": {"memory": asked}}
        found["spec"]["containers"][0]["resources"] = resources
    return found


def test_thresholds_are_read_as_the_kubelet_reads_them() -> None:
    found = parse_thresholds(
        "memory.available<1.5Gi, nodefs.available<10%", "memory.available=1m30s"
    )
    assert found == (
        Threshold("memory.available", "1.5Gi", 90.0),
        Threshold("nodefs.available", "10%"),
    )
    assert found[0].amount(1) == 1.5 * 1024 * MIB
    assert found[1].amount(200) == 20
    assert len(parse_thresholds(HARD_DEFAULT)) == HARD_DEFAULT.count("<")
    for wrong in ("memory<1", "memory.available>1", "memory.available"):
        with pytest.raises(ValueError, match="eviction"):
            parse_thresholds(wrong)


def test_a_soft_threshold_waits_and_a_condition_lasts() -> None:
    soft = Threshold("memory.available", "100Mi", grace_s=30)
    pressure = Pressure((soft,), transition_s=60)
    low = {"memory.available": Reading(50 * MIB, 1000 * MIB)}
    enough = {"memory.available": Reading(500 * MIB, 1000 * MIB)}
    seen = [pressure.look(low, now) for now in (0, 29, 31)]
    assert [bool(due) for _, due in seen] == [False, False, True]
    assert [conditions for conditions, _ in seen] == [{"MemoryPressure"}] * 3
    assert pressure.look(enough, 40) == (frozenset({"MemoryPressure"}), None)
    assert pressure.look(enough, 120) == (frozenset(), None)
    assert pressure.look(low, 200)[1] is None  # its time begins anew


@pytest.mark.parametrize(
    ("pods", "used", "first"),
    [
        pytest.param(
            [named("a", "100Mi", priority=0), named("b", "10Mi", priority=100)],
            {"a": 50, "b": 20},
            "b",
            id="more than it asked for",
        ),
        pytest.param(
            [named("a", priority=100), named("b", priority=1)],
            {"a": 90, "b": 10},
            "b",
            id="worth least",
        ),
        pytest.param([named("a"), named("b")], {"a": 10, "b": 90}, "b", id="uses most"),
        pytest.param(
            [named("a", priority=2_000_001_000)], {"a": 90}, None, id="what the node lives by"
        ),
    ],
)
def test_who_goes_first(pods: list[Object], used: dict[str, int], first: str | None) -> None:
    found = first_to_go(pods, MEMORY, {uid: n * MIB for uid, n in used.items()}, {})
    assert (found["metadata"]["name"] if found else None) == first


@pytest.mark.parametrize(
    ("pods", "first"),
    [
        pytest.param([named("a"), named("b"), named("c")], "b", id="has most processes"),
        pytest.param([named("a"), named("b", priority=1)], "a", id="is worth least"),
    ],
)
def test_who_goes_first_where_processes_are_short(pods: list[Object], first: str) -> None:
    found = first_to_go(pods, Threshold("pid.available", "5%"), {"a": MIB}, {"a": 2, "b": 90})
    assert found is not None
    assert found["metadata"]["name"] == first


def test_what_is_said() -> None:
    reading = Reading(90 * MIB, 1000 * MIB)
    text = eviction_message(named("a", "10Mi"), MEMORY, reading, {"main": 20 * MIB})
    assert text == (
        "The node was low on resource: memory. Threshold quantity: 102400Ki, available: 92160Ki. "
        "Container main was using 20480Ki, request is 10Mi, has larger consumption of memory. "
    )


def test_whom_a_node_under_pressure_takes() -> None:
    short = frozenset({"MemoryPressure"})
    assert refusal_under(short, named("a")) == "The node had condition: [MemoryPressure]. "
    assert not refusal_under(short, named("a", "1Mi"))
    assert refusal_under(frozenset({"DiskPressure"}), named("a", "1Mi"))
    assert not refusal_under(short, named("a", priority=2_000_000_000))


@pytest.mark.e2e
async def test_a_pod_of_a_node_without_memory_is_evicted(api: ApiUnderTest, tmp_path: Path) -> None:
    flags = ("--eviction-hard=memory.available<1Pi", "--eviction-pressure-transition-period=1s")
    async with running_node(api, tmp_path / "node") as node:
        asked = {"resources": {"requests": {"memory": "1Mi"}}}
        command = "echo so far; exec sleep 1000"
        await node.run(node.pod("evicted", "sh", "-c", command, container=asked))
        await node.until_logs("evicted", "so far\n")
        node.agent.kill()
        node.agent.start(*flags)
        failed = await node.until("evicted", lambda p: p["status"].get("phase") == "Failed")
        assert failed["status"]["reason"] == "Evicted"
        assert failed["status"]["message"].startswith("The node was low on resource: memory. Thr")
        condition = find_condition(failed["status"]["conditions"], "DisruptionTarget")
        assert condition is not None
        assert condition["reason"] == "TerminationByKubelet"
        await node.until_event("evicted", "Evicted", "The node was low on resource: memory.")
        await node.until_event("evicted", "Killing", "Stopping container main")
        assert "terminated" in state(failed)["state"]
        await node.until_logs("evicted", "so far\n")  # they are there as long as the Pod is
        await node.run(node.pod("besteffort", "sleep", "1000"))
        refused = await node.until("besteffort", lambda p: p["status"].get("phase") == "Failed")
        why = "The node had condition: [MemoryPressure]. "
        assert refused["status"]["message"] == f"Pod was rejected: {why}"
        assert "containerStatuses" not in refused["status"]
        await node.until_event("besteffort", "Evicted", why)


@pytest.mark.e2e
async def test_a_node_that_ends_stops_its_pods_first(api: ApiUnderTest, tmp_path: Path) -> None:
    flags = ("--shutdown-grace-period=20s",)
    async with running_node(api, tmp_path / "node", flags=flags) as node:
        command = "trap 'sleep 0.3; echo bye > /dev/termination-log; exit 0' TERM; "
        command += "while :; do sleep 0.05; done"
        pod = node.pod("ending", "sh", "-c", command)
        pod["spec"]["terminationGracePeriodSeconds"] = 20
        await node.run(pod)
        await node.until_ready("ending")
        assert await asyncio.to_thread(node.agent.terminate) == 0
        ended = (await node.get("ending"))["status"]
        assert (ended["phase"], ended["reason"]) == ("Failed", "Terminated")
        shown = "Pod was terminated in response to imminent node shutdown."
        assert ended["message"] == shown
        (container,) = ended["containerStatuses"]
        assert container["state"]["terminated"]["message"] == "bye\n"

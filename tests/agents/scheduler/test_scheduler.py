"""The whole scheduler against the Objects service, with what can go wrong between the two."""

import asyncio
from collections.abc import AsyncIterator
from random import Random
from typing import Any

import orjson
import pytest

from agents.scheduler.handle import Handle
from agents.scheduler.registry import default_profile
from agents.scheduler.scheduler import Scheduler
from kubraft.api.conditions import conditions_of, find_condition
from kubraft.api.object import ObjectKey
from kubraft.api.time import SystemClock
from kubraft.client.client import ApiClient
from kubraft.client.events import EventRecorder
from kubraft.pb.v1 import objects_pb2 as pb
from tests.agents.scheduler.binding_wire import BindingWire
from tests.agents.scheduler.world import node, pod
from tests.harness.eventually import eventually

FAILED = "FailedScheduling"


@pytest.fixture
async def wire() -> AsyncIterator[BindingWire]:
    server = BindingWire()
    await server.start()
    yield server
    await server.stop()


@pytest.fixture
async def scheduler(wire: BindingWire) -> AsyncIterator[Scheduler]:
    client, clock = ApiClient(wire.address, ca_file=None), SystemClock()
    recorder = EventRecorder(client, "default-scheduler", clock=clock)
    handle = Handle(client, clock, Random(1))
    made = Scheduler(
        handle, profiles=[default_profile(handle)], recorders={"default-scheduler": recorder}
    )
    tasks = [asyncio.ensure_future(work) for work in (made.follow(), made.run(), recorder.run())]
    yield made
    for task in tasks:
        task.cancel()
    await asyncio.gather(*tasks, return_exceptions=True)
    await client.close()


@pytest.mark.usefixtures("scheduler")
async def test_pods_get_nodes_and_an_event_says_so(wire: BindingWire) -> None:
    await wire.put(node("a", cpu="1"))
    await wire.put(node("b", cpu="1"))
    for name in ("p", "q"):
        await wire.put(pod(name, cpu="1"))
    await eventually(lambda: {wire.node_of("p"), wire.node_of("q")} == {"a", "b"})
    message = f"Successfully assigned default/p to {wire.node_of('p')}"
    await eventually(lambda: message in wire.events("Scheduled"))


@pytest.mark.usefixtures("scheduler")
async def test_a_pod_that_fits_nowhere_says_why_and_goes_once_there_is_room(
    wire: BindingWire,
) -> None:
    await wire.put(node("a", cpu="1"))
    await wire.put(pod("big", cpu="2"))
    message = (
        "0/1 nodes are available: 1 Insufficient cpu. "
        "preemption: 0/1 nodes are available: 1 Preemption is not helpful for scheduling."
    )

    def condition() -> dict[str, Any]:
        return find_condition(conditions_of(wire.pod("big")), "PodScheduled") or {}

    await eventually(lambda: condition().get("message") == message)
    assert (condition()["status"], condition()["reason"]) == ("False", "Unschedulable")
    await eventually(lambda: message in wire.events("FailedScheduling"))
    await wire.put(node("b", cpu="2"))
    await eventually(lambda: wire.node_of("big") == "b")


@pytest.mark.usefixtures("scheduler")
async def test_an_important_pod_takes_the_place_of_another(wire: BindingWire) -> None:
    await wire.put(node("a", cpu="1"))
    await wire.put(pod("low", cpu="1"))
    await eventually(lambda: wire.node_of("low") == "a")
    await wire.put(pod("vip", cpu="1", priority=10))
    await eventually(lambda: wire.node_of("vip") == "a")
    assert ("Pod", "default", "low") not in wire.objects
    await eventually(lambda: wire.events("Preempted") == ["Preempted by pod uid-vip on node a"])
    requests = [r for r in wire.requests if isinstance(r, pb.PatchRequest) and r.name == "low"]
    (condition,) = orjson.loads(requests[0].json)["status"]["conditions"]
    assert (condition["type"], condition["reason"]) == (
        "DisruptionTarget",
        "PreemptionByScheduler",
    )


@pytest.mark.usefixtures("scheduler")
async def test_a_pod_that_left_makes_room(wire: BindingWire) -> None:
    await wire.put(node("a", cpu="1"))
    await wire.put(pod("first", cpu="1"))
    await eventually(lambda: wire.node_of("first") == "a")
    await wire.put(pod("second", cpu="1"))
    await eventually(lambda: wire.events("FailedScheduling"))
    ended = {**wire.pod("first"), "status": {"phase": "Succeeded"}}
    await wire.put(ended)
    await eventually(lambda: wire.node_of("second") == "a")


async def test_figures_tell_what_was_done(wire: BindingWire, scheduler: Scheduler) -> None:
    await wire.put(node("a", cpu="1"))
    await wire.put(pod("p", cpu="1"))
    await wire.put(pod("big", cpu="2"))
    result = 'scheduler_schedule_attempts_total{profile="default-scheduler",result='
    wanted = {
        result + '"scheduled"} 1',
        result + '"unschedulable"} 1',
        'scheduler_pending_pods{queue="unschedulable"} 1',
        'scheduler_pending_pods{queue="active"} 0',
        'scheduler_pod_scheduling_sli_duration_seconds_count{attempts="1"} 1',
    }
    await eventually(lambda: wanted <= set(scheduler.figures()))


async def test_pods_of_other_schedulers_are_left_alone(
    wire: BindingWire, scheduler: Scheduler
) -> None:
    await wire.put(node("a"))
    await wire.put(pod("other", schedulerName="mine"))
    await wire.put(pod("ours"))
    await eventually(lambda: wire.node_of("ours"))
    assert wire.node_of("other") == ""
    await eventually(lambda: len(scheduler.queue) == 0)


@pytest.mark.parametrize("when", ["before", "after"])
async def test_a_lost_answer_neither_loses_nor_doubles_a_pod(
    wire: BindingWire, scheduler: Scheduler, when: str
) -> None:
    await wire.put(node("a", cpu="2"))
    setattr(wire, f"lose_{when}", 1)
    await wire.put(pod("p", cpu="1"))
    await eventually(lambda: wire.node_of("p") == "a")
    await eventually(lambda: not scheduler.cluster.is_assumed(ObjectKey("default", "p")))
    free = scheduler.cluster.snapshot().nodes["a"].free("cpu")
    assert free == 1000


@pytest.mark.usefixtures("scheduler")
async def test_many_pods_fill_the_nodes_exactly(wire: BindingWire) -> None:
    for index in range(10):
        await wire.put(node(f"n{index}", cpu="4"))
    wire.lose_after, wire.lose_before = 5, 5
    for index in range(45):
        await wire.put(pod(f"p{index}", cpu="1"))
    await eventually(lambda: sum(bool(wire.node_of(f"p{i}")) for i in range(45)) == 40)
    counts = [wire.node_of(f"p{i}") for i in range(45)]
    assert all(counts.count(f"n{i}") == 4 for i in range(10))


async def test_a_pod_that_is_deleted_before_it_is_bound_frees_its_place(
    wire: BindingWire, scheduler: Scheduler
) -> None:
    await wire.put(node("a", cpu="1"))
    wire.before_binding["p"] = lambda: wire.remove("Pod", "default", "p")
    await wire.put(pod("p", cpu="1"))
    await eventually(lambda: ("Pod", "default", "p") not in wire.objects)
    await wire.put(pod("q", cpu="1"))
    await eventually(lambda: wire.node_of("q") == "a")
    await eventually(lambda: not len(scheduler.queue))
    assert scheduler.cluster.snapshot().nodes["a"].free("cpu") == 0


async def test_a_node_that_vanishes_before_the_binding_takes_nothing_with_it(
    wire: BindingWire, scheduler: Scheduler
) -> None:
    await wire.put(node("a", cpu="1"))
    wire.before_binding["p"] = lambda: wire.remove("Node", "", "a")
    await wire.put(pod("p", cpu="1"))
    # As on the real one the binding is taken; the garbage collector of Pods will find it.
    await eventually(lambda: wire.node_of("p") == "a")
    await eventually(lambda: not scheduler.cluster.snapshot().nodes)
    await wire.put(pod("q", cpu="1"))
    await eventually(lambda: "no nodes available to schedule pods" in wire.events(FAILED))
    await wire.put(node("b", cpu="1"))
    await eventually(lambda: wire.node_of("q") == "b")


async def test_a_pod_that_nothing_suits_is_not_tried_while_nothing_changes(
    wire: BindingWire, scheduler: Scheduler
) -> None:
    await wire.put(node("a", cpu="1"))
    await wire.put(pod("big", cpu="2"))
    await eventually(lambda: wire.events(FAILED))
    for index in range(50):  # which is no reason to try the other one again
        await wire.put(pod(f"p{index}"))
    await eventually(lambda: all(wire.node_of(f"p{index}") for index in range(50)))
    assert scheduler.queue.history(ObjectKey("default", "big"))[0] == 1


@pytest.mark.usefixtures("scheduler")
async def test_a_restarted_api_server_changes_nothing(wire: BindingWire) -> None:
    await wire.put(node("a"))
    await wire.put(pod("p"))
    await eventually(lambda: wire.node_of("p"))
    await wire.stop()
    await wire.put(pod("q"))
    await wire.start()
    await eventually(lambda: wire.node_of("q"))

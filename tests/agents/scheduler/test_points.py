"""Plugins of somebody else's, at every point, in a whole scheduler."""

import asyncio
from collections.abc import AsyncIterator, Callable
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from random import Random

import pytest

from agents.scheduler.framework import POINTS, Change, Plugin, Rejection, Weighted
from agents.scheduler.handle import Handle
from agents.scheduler.node_info import NodeInfo
from agents.scheduler.plugins.queueing import PrioritySort
from agents.scheduler.pod_info import PodInfo
from agents.scheduler.profile import profile_of
from agents.scheduler.scheduler import Scheduler
from kubraft.api.conditions import conditions_of, find_condition
from kubraft.api.errors import ConflictError
from kubraft.api.gvk import CONFIG_MAP
from kubraft.api.time import SystemClock
from kubraft.client.client import ApiClient
from kubraft.client.events import EventRecorder
from tests.agents.scheduler.binding_wire import BindingWire
from tests.agents.scheduler.world import node, pod
from tests.harness.eventually import eventually

Running = Callable[..., AbstractAsyncContextManager[Scheduler]]


class Diary(Plugin):
    """Writes down what it is called for; refuses where a test says so."""

    name = "Diary"

    def __init__(self, **refusals: str) -> None:
        self.told: list[str] = []
        self.refusals = refusals

    def note(self, point: str, node_name: str) -> str | None:
        self.told.append(f"{point} {node_name}")
        return self.refusals.pop(point, None)

    def reserve(self, pod: PodInfo, node_name: str) -> str | None:
        return self.note("reserve", node_name)

    def unreserve(self, pod: PodInfo, node_name: str) -> None:
        self.note("unreserve", node_name)

    async def permit(self, pod: PodInfo, node_name: str) -> str | None:
        return self.note("permit", node_name)

    async def pre_bind(self, pod: PodInfo, node_name: str) -> str | None:
        await asyncio.sleep(0)
        return self.note("pre_bind", node_name)

    async def bind(self, pod: PodInfo, node_name: str) -> bool:
        if refused := self.note("bind", node_name):
            raise ConflictError(refused)
        return False

    def post_bind(self, pod: PodInfo, node_name: str) -> None:
        self.note("post_bind", node_name)


class Even(Plugin):
    """A node's name must end in an even digit."""

    name = "Even"

    def filter(self, pod: PodInfo, node: NodeInfo) -> Rejection | None:
        return Rejection(("node(s) were odd",)) if int(node.name[-1]) % 2 else None


class Switch(Plugin):
    """Lets nothing through until a ConfigMap "on" is there."""

    name = "Switch"
    requeue_on = Change(0)
    watches = (CONFIG_MAP,)

    def __init__(self, handle: Handle) -> None:
        self.maps = handle.informer(CONFIG_MAP)

    def filter(self, pod: PodInfo, node: NodeInfo) -> Rejection | None:
        return None if len(self.maps) else Rejection(("it is off",))


class Hold(Switch):
    """The same, before a Pod is queued."""

    name = "Hold"

    def pre_enqueue(self, pod: PodInfo) -> str | None:
        return None if len(self.maps) else "it is off"

    def filter(self, pod: PodInfo, node: NodeInfo) -> Rejection | None:
        return None


@pytest.fixture
async def wire() -> AsyncIterator[BindingWire]:
    server = BindingWire()
    await server.start()
    yield server
    await server.stop()


@pytest.fixture
def running(wire: BindingWire) -> Running:
    @asynccontextmanager
    async def run(*plugins: Plugin | Callable[[Handle], Plugin]) -> AsyncIterator[Scheduler]:
        client, clock = ApiClient(wire.address, ca_file=None), SystemClock()
        recorder = EventRecorder(client, "default-scheduler", clock=clock)
        handle = Handle(client, clock, Random(1))
        made = [p if isinstance(p, Plugin) else p(handle) for p in (PrioritySort(), *plugins)]
        profile = profile_of({point: [Weighted(p, 1) for p in made] for point in POINTS})
        scheduler = Scheduler(
            handle,
            profiles=[profile],
            recorders={"default-scheduler": recorder},
            backoff_s_min=0.05,
        )
        works = (scheduler.follow(), scheduler.run(), recorder.run())
        tasks = [asyncio.ensure_future(work) for work in works]
        yield scheduler
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
        await client.close()

    return run


async def test_all_points_are_called_in_order(wire: BindingWire, running: Running) -> None:
    diary = Diary()
    await wire.put(node("n1"))
    await wire.put(node("n2"))
    await wire.put(pod("p"))
    async with running(Even(), diary):
        await eventually(lambda: "post_bind n2" in diary.told)
    assert wire.node_of("p") == "n2"
    assert diary.told == [
        "reserve n2", "permit n2", "pre_bind n2", "bind n2", "post_bind n2",
    ]  # fmt: skip


@pytest.mark.parametrize(
    ("point", "message"),
    [
        ("reserve", "no"),
        ("permit", "no"),
        ("pre_bind", 'running PreBind plugin "Diary": no'),
        ("bind", "binding rejected: no"),
    ],
)
async def test_a_refusal_gives_back_says_why_and_is_tried_again(
    wire: BindingWire, running: Running, point: str, message: str
) -> None:
    diary = Diary(**{point: "no"})
    await wire.put(node("n2"))
    await wire.put(pod("p"))
    async with running(diary):
        await eventually(lambda: "post_bind n2" in diary.told)
        await eventually(lambda: message in wire.events("FailedScheduling"))
    assert diary.told.count("unreserve n2") == 1
    assert diary.told.count("reserve n2") == 2


async def test_a_plugin_may_wait_for_objects_of_its_own_kinds(
    wire: BindingWire, running: Running
) -> None:
    await wire.put(node("n2"))
    await wire.put(pod("p"))
    async with running(Switch):
        message = "0/1 nodes are available: 1 it is off."
        await eventually(lambda: message in wire.events("FailedScheduling"))
        await eventually(
            lambda: find_condition(conditions_of(wire.pod("p")), "PodScheduled") is not None
        )
        await wire.put(
            {"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": "on", "namespace": "x"}}
        )
        await eventually(lambda: wire.node_of("p") == "n2")


async def test_a_plugin_may_keep_pods_out_of_the_queue(wire: BindingWire, running: Running) -> None:
    await wire.put(node("n2"))
    await wire.put(pod("p"))
    async with running(Hold) as scheduler:
        await eventually(lambda: len(scheduler.queue) == 1)
        assert wire.node_of("p") == ""
        await wire.put(
            {"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": "on", "namespace": "x"}}
        )
        await eventually(lambda: wire.node_of("p") == "n2")
        assert wire.events("FailedScheduling") == []

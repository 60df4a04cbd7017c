from __future__ import annotations

import asyncio
import itertools
from ipaddress import IPv4Network

import pytest

from agents.node.hollow.behaviour import Behaviour
from agents.node.hollow.runtime import HollowRuntime
from agents.node.pod_view import CREATED, ContainerView, PodView
from agents.node.status import Observed, pod_status
from kubraft.api.time import ManualClock
from kubraft.pb.criv1 import api_pb2 as cri
from tests.agents.node.pods import pod

CONFIG = cri.PodSandboxConfig(metadata=cri.PodSandboxMetadata(uid="u", name="p"))
FOREVER = Behaviour()


class World:
    def __init__(self, network: str = "10.128.0.0/24") -> None:
        self.clock = ManualClock()
        numbers = itertools.count()
        self.runtime = HollowRuntime(self.clock, IPv4Network(network), lambda: f"id{next(numbers)}")

    async def run(self, behaviour: Behaviour = FOREVER) -> PodView:
        sandbox = await self.runtime.run_sandbox(CONFIG)
        life = ContainerView("", "main", 0, sandbox, CREATED, image="busybox", log_path="hollow")
        self.runtime.start_container("u", life, behaviour)
        return await self.runtime.view("u")


async def test_a_container_runs_as_long_as_it_is_told() -> None:
    world = World()
    view = await world.run(Behaviour(run_for_s=5, exit_code=3))
    assert [c.state for c in view.containers] == ["running"]
    assert world.runtime.next_end_s("u") == 5
    await world.clock.advance(5)
    (ended,) = (await world.runtime.view("u")).containers
    assert (ended.state, ended.exit_code, ended.reason) == ("exited", 3, "Error")
    assert ended.finished_at_ns - ended.started_at_ns == 5_000_000_000
    assert world.runtime.next_end_s("u") is None


@pytest.mark.parametrize(
    ("stop_after_s", "grace_s", "waits_s", "code"),
    [
        pytest.param(0, 30, 0, 143, id="obeys at once"),
        pytest.param(4, 30, 4, 143, id="obeys within its grace"),
        pytest.param(40, 30, 30, 137, id="is killed when its grace is over"),
        pytest.param(0, 0, 0, 137, id="has no grace"),
    ],
)
async def test_a_container_stops_within_its_grace(
    stop_after_s: float, grace_s: float, waits_s: float, code: int
) -> None:
    world = World()
    (life,) = (await world.run(Behaviour(stop_after_s=stop_after_s))).containers
    stopping = asyncio.ensure_future(world.runtime.stop_container(life.id, grace_s))
    await asyncio.sleep(0)
    if waits_s:
        await world.clock.advance(waits_s - 0.5)
        assert not stopping.done()
        await world.clock.advance(0.5)
    await stopping
    (ended,) = (await world.runtime.view("u")).containers
    assert (ended.state, ended.exit_code) == ("exited", code)


async def test_addresses_are_used_again_and_end() -> None:
    world = World("10.128.0.0/30")
    first, second = [await world.runtime.run_sandbox(CONFIG) for _ in range(2)]
    addresses = {s.address for s in (await world.runtime.view("u")).sandboxes}
    assert addresses == {"10.128.0.1", "10.128.0.2"}
    await world.runtime.remove_sandbox(first)
    await world.runtime.stop_sandbox(second)
    view = await world.run()
    assert view.sandboxes[0].address in addresses


async def test_a_new_process_finds_what_the_one_before_it_had_begun() -> None:
    world = World()
    view = await world.run(Behaviour(run_for_s=60))
    status = pod_status(
        pod(), Observed(view, "127.0.0.1", runtime_name="hollow"), world.clock.now()
    )
    again = World()
    again.runtime.adopt(pod(status=status), Behaviour(run_for_s=60))
    found = await again.runtime.view("u")
    assert [(c.id, c.state, c.attempt) for c in found.containers] == [
        (c.id, c.state, c.attempt) for c in view.containers
    ]
    assert found.sandbox is not None
    assert found.sandbox.address == view.sandboxes[0].address
    assert again.runtime.next_end_s("u") == pytest.approx(60, abs=1)
    # Its address is taken.
    await again.runtime.run_sandbox(CONFIG)
    assert len({s.address for s in (await again.runtime.view("u")).sandboxes}) == 2


async def test_nothing_is_found_of_a_pod_that_is_new_or_of_another_runtime() -> None:
    runtime = World().runtime
    other = {"name": "main", "containerID": "process://1", "state": {"running": {}}}
    for status in ({}, {"containerStatuses": [other]}):
        runtime.adopt(pod(status=status), Behaviour())
        assert not runtime.knows("u")


async def test_what_is_removed_is_forgotten() -> None:
    world = World()
    view = await world.run()
    await world.runtime.remove_container(view.containers[0].id)
    await world.runtime.remove_sandbox(view.sandboxes[0].id)
    assert not world.runtime.knows("u")
    assert (await world.runtime.view("u")).empty


@pytest.mark.parametrize("jump_s", [-3600.0, 3600.0])
async def test_a_clock_that_jumps_ends_nothing_early_or_late(jump_s: float) -> None:
    world = World()
    view = await world.run(Behaviour(run_for_s=10))
    sandbox = view.sandboxes[0].id
    world.clock.jump_wall(jump_s)
    assert (await world.runtime.view("u")).running
    assert world.runtime.next_end_s("u") == 10
    assert world.runtime.sandbox_age_s(sandbox) == 0
    await world.clock.advance(10)
    assert not (await world.runtime.view("u")).running

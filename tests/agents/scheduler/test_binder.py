"""A binding whose answer is lost: the binder finds out, and does not guess."""

import asyncio
from collections.abc import AsyncIterator

import pytest

from agents.scheduler.binder import Binder, Outcome
from kubraft.api.time import SystemClock
from kubraft.client.client import ApiClient
from tests.agents.scheduler.binding_wire import BindingWire
from tests.agents.scheduler.world import info, pod
from tests.harness.eventually import eventually


@pytest.fixture
async def wire() -> AsyncIterator[BindingWire]:
    server = BindingWire()
    await server.start()
    await server.put(pod("p"))
    yield server
    await server.stop()


@pytest.fixture
async def binder(wire: BindingWire) -> AsyncIterator[Binder]:
    client = ApiClient(wire.address, ca_file=None, connect_timeout_s=0.2)
    yield Binder(client, SystemClock())
    await client.close()


@pytest.mark.parametrize(
    ("lost", "outcome"),
    [
        pytest.param("", Outcome.BOUND, id="nothing lost"),
        pytest.param("after", Outcome.BOUND, id="lost after it took effect"),
        pytest.param("before", Outcome.FAILED, id="lost before it took effect"),
    ],
)
async def test_the_outcome_is_what_the_server_has(
    wire: BindingWire, binder: Binder, lost: str, outcome: Outcome
) -> None:
    if lost:
        setattr(wire, f"lose_{lost}", 1)
    found = await binder.bind(info("p"), "a")
    assert found.outcome is outcome
    assert bool(wire.node_of("p")) is (outcome is Outcome.BOUND)


async def test_a_pod_that_somebody_else_bound_is_not_ours(
    wire: BindingWire, binder: Binder
) -> None:
    await wire.put(pod("p", on="b"))
    found = await binder.bind(info("p"), "a")
    assert found.outcome is Outcome.FAILED
    assert "already assigned" in found.message


async def test_a_pod_that_is_gone_meanwhile_is_a_failure(wire: BindingWire, binder: Binder) -> None:
    wire.lose_before = 1
    binding = asyncio.ensure_future(binder.bind(info("p"), "a"))
    await eventually(lambda: wire.lose_before == 0)
    await wire.remove("Pod", "default", "p")
    assert (await binding).outcome is Outcome.FAILED


async def test_it_waits_for_a_server_that_is_away(wire: BindingWire, binder: Binder) -> None:
    wire.lose_after = 1
    await wire.stop()
    binding = asyncio.ensure_future(binder.bind(info("p"), "a"))
    await asyncio.sleep(0.5)
    assert not binding.done()
    await wire.start()
    await binding

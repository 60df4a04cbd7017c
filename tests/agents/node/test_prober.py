from __future__ import annotations

from collections.abc import AsyncIterator, Mapping
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from agents.node.plan import Unhealthy
from agents.node.probe import Kind, Outcome, ProbeState, Timing, initial_state, timing
from agents.node.probe_handlers import port_number
from agents.node.prober import Prober
from kubraft.api.object import Object
from kubraft.api.time import ManualClock, settle
from tests.agents.node.pods import life, pod


@pytest.mark.parametrize(
    ("outcomes", "numbers", "healthy"),
    [
        pytest.param("ok", Timing(), True, id="one success is enough"),
        pytest.param("no", Timing(), False, id="not before a success"),
        pytest.param("ok no no", Timing(), True, id="two failures are borne"),
        pytest.param("ok no no no", Timing(), False, id="three are not"),
        pytest.param("ok no no ok no no", Timing(), True, id="a success in between counts"),
        pytest.param("ok", Timing(success_threshold=2), False, id="two successes wanted"),
        pytest.param("ok no ok", Timing(success_threshold=2), False, id="in a row"),
        pytest.param("ok ok", Timing(success_threshold=2), True, id="and had"),
    ],
)
def test_thresholds(outcomes: str, numbers: Timing, healthy: bool) -> None:
    state = initial_state(Kind.READINESS, was_ready=False)
    for word in outcomes.split():
        state = state.after(Outcome(word == "ok"), numbers)
    assert state.healthy is healthy


@given(st.lists(st.booleans()), st.integers(1, 5), st.integers(1, 5))
def test_health_is_what_the_last_long_run_said(
    outcomes: list[bool], success: int, failure: int
) -> None:
    numbers = Timing(success_threshold=success, failure_threshold=failure)
    state = ProbeState(healthy=False)
    expected = False
    for index, outcome in enumerate(outcomes):
        state = state.after(Outcome(outcome), numbers)
        run = 0
        while run <= index and outcomes[index - run] == outcome:
            run += 1
        if run >= (success if outcome else failure):
            expected = outcome
        assert state.healthy is expected


def test_defaults_are_the_apis() -> None:
    assert timing({}) == Timing(0, 10, 1, 1, 3)


def test_ports_by_name() -> None:
    container = {"ports": [{"name": "http", "containerPort": 8080}]}
    assert port_number("http", container) == 8080
    assert port_number("81", container) == 81
    with pytest.raises(ValueError, match="couldn't find port: no"):
        port_number("no", container)


class Events:
    """Keeps what is reported."""

    def __init__(self) -> None:
        self.messages: list[str] = []

    def event(self, _obj: Object, _type: str, _reason: str, message: str, **_more: str) -> None:
        self.messages.append(message)


class World:
    """A prober in virtual time, of a container whose health the test decides."""

    def __init__(self) -> None:
        self.clock = ManualClock()
        self.events = Events()
        self.healthy: dict[str, bool] = {}
        self.tries: dict[str, list[float]] = {}
        self.changes = 0
        self.prober = Prober(
            self.clock,
            self.events,  # type: ignore[arg-type]
            self._changed,
            lambda _id: None,  # type: ignore[arg-type, return-value]
            self._run,
        )

    def _changed(self, _uid: str) -> None:
        self.changes += 1

    async def _run(self, spec: Mapping[str, Any], *_more: Any) -> Outcome:
        self.tries.setdefault(spec["exec"], []).append(self.clock.monotonic_s())
        return Outcome(self.healthy.get(spec["exec"], False), "no")

    def follow(self, *, was_ready: bool = False, **probes: Mapping[str, Any]) -> None:
        container = {"name": "main"}
        for name, spec in probes.items():
            container[f"{name}Probe"] = {"exec": name, **spec}  # type: ignore[assignment]
        self.prober.follow(
            pod(), container, life("main", "running"), "", was_ready=was_ready, started_for_s=0
        )


@pytest.fixture
async def world() -> AsyncIterator[World]:
    world = World()
    yield world
    await world.prober.close()


async def test_without_probes_a_running_container_is_started_and_ready(world: World) -> None:
    world.follow()
    assert world.prober.ready("main0")
    assert world.prober.started("main0")
    assert not world.prober.ready("other")


async def test_liveness_fails_after_its_threshold_and_says_so_once(world: World) -> None:
    world.follow(liveness={"periodSeconds": 10})
    await world.clock.advance(19)
    assert world.prober.unhealthy() == {}
    await world.clock.advance(2)
    message = "Container main failed liveness probe"
    assert world.prober.unhealthy() == {"main0": Unhealthy(message)}
    assert world.events.messages == ["Liveness probe failed: no"] * 3
    await world.clock.advance(100)
    assert len(world.tries["liveness"]) == 3, "it waits for the container's next life"


async def test_the_initial_delay_is_kept(world: World) -> None:
    world.follow(liveness={"initialDelaySeconds": 30})
    await world.clock.advance(29)
    assert not world.tries
    await world.clock.advance(2)
    assert world.tries["liveness"] == [30]


async def test_readiness_comes_and_goes(world: World) -> None:
    world.healthy["readiness"] = True
    world.follow(readiness={"periodSeconds": 5, "failureThreshold": 2})
    await settle()
    assert world.prober.ready("main0")
    world.healthy["readiness"] = False
    await world.clock.advance(6)
    assert world.prober.ready("main0")
    await world.clock.advance(5)
    assert not world.prober.ready("main0")
    assert world.prober.unhealthy() == {}
    assert world.changes == 2


async def test_a_program_that_needs_a_moment_is_not_made_to_wait_a_period(world: World) -> None:
    world.follow(readiness={"periodSeconds": 10})
    await world.clock.advance(0.2)
    world.healthy["readiness"] = True
    await world.clock.advance(0.3)
    assert world.prober.ready("main0")
    assert world.events.messages == []


async def test_the_others_wait_for_the_startup_probe(world: World) -> None:
    world.follow(startup={"periodSeconds": 1, "failureThreshold": 30}, liveness={}, readiness={})
    await world.clock.advance(10)
    assert set(world.tries) == {"startup"}
    assert not world.prober.started("main0")
    world.healthy |= {"startup": True, "readiness": True, "liveness": True}
    await world.clock.advance(2)
    assert world.prober.started("main0")
    assert world.prober.ready("main0")
    tries = len(world.tries["startup"])
    await world.clock.advance(20)
    assert len(world.tries["startup"]) == tries, "it has done its work"


async def test_a_startup_probe_that_never_succeeds_restarts(world: World) -> None:
    world.follow(startup={"periodSeconds": 2, "failureThreshold": 3})
    await world.clock.advance(20)
    message = "Container main failed startup probe"
    assert world.prober.unhealthy() == {"main0": Unhealthy(message)}


async def test_a_container_that_was_ready_before_stays_so(world: World) -> None:
    world.follow(was_ready=True, readiness={"periodSeconds": 1})
    assert world.prober.ready("main0")
    await world.clock.advance(3)
    assert not world.prober.ready("main0")


async def test_forgotten_lives_are_not_probed(world: World) -> None:
    world.follow(liveness={})
    await settle()
    world.prober.forget_all_but("u", ())
    await world.clock.advance(60)
    assert len(world.tries["liveness"]) == 1

"""Runs the probes of running containers, one task a probe, and remembers their answers."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from typing import Any

from agents.node.plan import Unhealthy
from agents.node.pod_view import ContainerView
from agents.node.probe import (
    Kind,
    Outcome,
    ProbeState,
    initial_state,
    killing_message,
    timing,
)
from agents.node.probe_handlers import Execute, probe
from kubraft.api.object import Object
from kubraft.api.time import Clock
from kubraft.client.events import EventRecorder

# How often a probe that waits for the startup probe looks whether it may begin.
_HELD_BACK_S = 0.5
# A program that was just started is asked a few times in quick succession whether it is up; these
# tries count for nothing unless they succeed. Without them a Pod that needs 50 ms to listen would
# be ready only after a whole period.
_EAGER_S_MIN = 0.05
_EAGER_S_MAX = 0.5


@dataclass(slots=True)
class _Watched:
    """One life of a container, and its probes."""

    uid: str
    states: dict[Kind, ProbeState]
    tasks: dict[Kind, asyncio.Task[None]]
    unhealthy: Unhealthy | None = None
    ending: bool = False


Run = Callable[[Mapping[str, Any], Mapping[str, Any], str, float, Execute], Any]


class Prober:
    """All probes of this node. `on_change` is called with a Pod's uid when an answer changed."""

    def __init__(
        self,
        clock: Clock,
        recorder: EventRecorder,
        on_change: Callable[[str], None],
        execute: Callable[[str], Execute],
        run: Run = probe,
    ) -> None:
        self._clock = clock
        self._recorder = recorder
        self._on_change = on_change
        self._execute = execute
        self._run = run
        self._watched: dict[str, _Watched] = {}  # by container id

    def follow(
        self,
        pod: Object,
        container: Mapping[str, Any],
        life: ContainerView,
        address: str,
        *,
        was_ready: bool,
        started_for_s: float,
    ) -> None:
        """See to it that the probes of this running life are running.

        Args:
            pod: for events.
            container: its spec.
            life: the running life.
            address: the Pod's.
            was_ready: what the API last said of this very life.
            started_for_s: how long it has been running.
        """
        if life.id in self._watched:
            return
        kinds = [kind for kind in Kind if container.get(kind.field)]
        states = {kind: initial_state(kind, was_ready=was_ready) for kind in kinds}
        if was_ready and Kind.STARTUP in states:
            states[Kind.STARTUP] = ProbeState(healthy=True)
        watched = _Watched(pod["metadata"]["uid"], states, {})
        self._watched[life.id] = watched
        for kind in kinds:
            work = self._probe(pod, container, life, address, kind, started_for_s=started_for_s)
            watched.tasks[kind] = asyncio.create_task(work)

    def forget_all_but(self, uid: str, ids: Iterable[str]) -> None:
        """Stop probing the lives of Pod `uid` that are not among `ids`."""
        keep = set(ids)
        for container_id, watched in list(self._watched.items()):
            if watched.uid == uid and container_id not in keep:
                del self._watched[container_id]
                for task in watched.tasks.values():
                    task.cancel()

    def only_readiness(self, uid: str) -> None:
        """The Pod ends: whether it may be sent requests is still asked, and nothing else."""
        for watched in self._watched.values():
            if watched.uid == uid and not watched.ending:
                watched.ending = True
                watched.unhealthy = None
                for kind, task in watched.tasks.items():
                    if kind is not Kind.READINESS:
                        task.cancel()

    def ready(self, container_id: str) -> bool:
        """Whether its readiness probe, if it has one, says yes."""
        return self._answer(container_id, Kind.READINESS)

    def started(self, container_id: str) -> bool:
        """Whether its startup probe, if it has one, has succeeded."""
        return self._answer(container_id, Kind.STARTUP)

    def unhealthy(self) -> dict[str, Unhealthy]:
        """The lives that must not go on, and what their Killing event says."""
        return {i: w.unhealthy for i, w in self._watched.items() if w.unhealthy is not None}

    def _answer(self, container_id: str, kind: Kind) -> bool:
        watched = self._watched.get(container_id)
        if watched is None:
            return False
        state = watched.states.get(kind)
        return state is None or state.healthy

    async def close(self) -> None:
        """Stop all probes."""
        tasks = [task for watched in self._watched.values() for task in watched.tasks.values()]
        self._watched.clear()
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)

    async def _probe(
        self,
        pod: Object,
        container: Mapping[str, Any],
        life: ContainerView,
        address: str,
        kind: Kind,
        *,
        started_for_s: float,
    ) -> None:
        spec = container[kind.field]
        numbers = timing(spec)
        watched = self._watched[life.id]
        eager_s = _EAGER_S_MIN
        await self._clock.sleep(numbers.initial_delay_s - started_for_s)
        while True:
            if kind is not Kind.STARTUP and not self.started(life.id):
                await self._clock.sleep(min(_HELD_BACK_S, numbers.period_s))
                continue
            outcome = await self._run(
                spec, container, address, numbers.timeout_s, self._execute(life.id)
            )
            if (
                not outcome.success
                and self._is_coming_up(watched, kind)
                and eager_s < min(_EAGER_S_MAX, numbers.period_s)
            ):
                await self._clock.sleep(eager_s)
                eager_s *= 2
                continue
            if not outcome.success:
                self._report(pod, life, kind, outcome)
            if self._take(watched, life, kind, outcome, spec):
                return
            await self._clock.sleep(numbers.period_s)

    def _is_coming_up(self, watched: _Watched, kind: Kind) -> bool:
        """Whether a failure says no more than that the program has only just been started."""
        state = watched.states[kind]
        return kind is not Kind.LIVENESS and not state.healthy and state.failures == 0

    def _take(
        self,
        watched: _Watched,
        life: ContainerView,
        kind: Kind,
        outcome: Outcome,
        spec: Mapping[str, Any],
    ) -> bool:
        """Count one outcome; whether this probe has nothing more to find out."""
        numbers = timing(spec)
        old = watched.states[kind]
        new = watched.states[kind] = old.after(outcome, numbers)
        failed = kind is not Kind.READINESS and new.has_failed(numbers)
        if failed:
            grace_s = spec.get("terminationGracePeriodSeconds")
            watched.unhealthy = Unhealthy(killing_message(kind, life.name), grace_s)
        if failed or new.healthy != old.healthy:
            self._on_change(watched.uid)
        return failed or (kind is Kind.STARTUP and new.healthy)

    def _report(self, pod: Object, life: ContainerView, kind: Kind, outcome: Outcome) -> None:
        self._recorder.event(
            pod,
            "Warning",
            "Unhealthy",
            f"{kind.value} probe failed: {outcome.message}",
            field_path=f"spec.containers{{{life.name}}}",
        )

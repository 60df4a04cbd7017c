"""What to do next for one Pod: the decision, without any of the doing.

`plan` looks at the Pod as it is wanted, at what the runtime has of it, and at what this agent knows
besides, and names the next steps. It is level-based: it may be asked at any time, and an agent
that starts anew decides the same from the same picture.

Source: Kubernetes documentation, "Pod Lifecycle", "Init Containers", "Sidecar Containers".
"""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

import orjson

from agents.node.action import (
    Action,
    CreateSandbox,
    FinishDeletion,
    RemoveContainer,
    RemoveSandbox,
    StartContainer,
    StopContainer,
    StopSandbox,
)
from agents.node.pod_view import CREATED, ContainerView, PodView, SandboxView
from agents.node.restart_backoff import RestartBackoff
from agents.node.restart_policy import should_restart
from kubraft.api.object import Object, is_terminating
from kubraft.api.pods import all_containers, is_sidecar, is_terminated

Container = dict[str, Any]
_KILLED = 137


@dataclass(frozen=True, slots=True)
class Waiting:
    """Why a container does not run."""

    reason: str
    message: str


@dataclass(frozen=True, slots=True)
class Unhealthy:
    """A container that must not go on; `message` is the beginning of its Killing event."""

    message: str
    grace_s: float | None = None  # the probe's own; None: the Pod's
    exact: bool = False  # the message is all that is said
    crashed: bool = False  # it counts as one that ended by itself: its exit code decides


@dataclass(frozen=True, slots=True)
class Facts:
    """What the agent knows beside object and runtime."""

    backoff: RestartBackoff
    stopping: frozenset[str] = frozenset()  # ids of containers and sandboxes being stopped
    started: frozenset[str] = frozenset()  # ids whose startup probe (if any) has succeeded
    unhealthy: Mapping[str, Unhealthy] = field(default_factory=dict)  # by id
    hooking: frozenset[str] = frozenset()  # ids whose postStart hook runs
    renewed: frozenset[str] = frozenset()  # ids that were stopped to be started anew
    ended: bool = False  # the Pod must not run: rejected, or past its deadline
    now_s: float = 0.0
    failed_at_s: Mapping[str, float] = field(default_factory=dict)  # id -> on the clock of now_s


@dataclass(slots=True)
class Plan:
    """The next steps, in order; and when to look again even if nothing happens."""

    actions: list[Action] = field(default_factory=list)
    waiting: dict[str, Waiting] = field(default_factory=dict)
    wake_after_s: float | None = None

    def wake(self, after_s: float) -> None:
        """Look again after `after_s` at the latest."""
        if self.wake_after_s is None or after_s < self.wake_after_s:
            self.wake_after_s = after_s


def spec_hash(container: Container) -> str:
    """Changes when a container must be made anew: its name or its image differs."""
    identity = {"name": container["name"], "image": container.get("image", "")}
    return hashlib.sha256(orjson.dumps(identity, option=orjson.OPT_SORT_KEYS)).hexdigest()[:8]


def plan(pod: Object, view: PodView, facts: Facts) -> Plan:
    """The next steps for a Pod that exists in the API."""
    result = Plan()
    if is_terminating(pod) or is_terminated(pod) or facts.ended:
        _stop_all(pod["spec"], view, facts, result)
        if is_terminating(pod) and not result.actions and not _busy(view, facts):
            result.actions.append(FinishDeletion())
        return result
    _Planner(pod, view, facts, result).run()
    _collect_garbage(view, facts, result)
    return result


def plan_removal(view: PodView, facts: Facts, spec: Mapping[str, Any] | None = None) -> Plan:
    """The next steps for what is left of a Pod that is not in the API any more.

    `spec` is what it was, where that is known: it says which containers are sidecars.
    """
    result = Plan()
    _stop_all(spec or {}, view, facts, result)
    if not result.actions and not _busy(view, facts):
        result.actions += [RemoveContainer(c.id) for c in view.containers]
        result.actions += [RemoveSandbox(s.id) for s in view.sandboxes]
    return result


def _busy(view: PodView, facts: Facts) -> bool:
    ids = {c.id for c in view.running} | {s.id for s in view.sandboxes if s.ready}
    return bool(ids & facts.stopping) or bool(view.running)


def _stop_all(spec: Mapping[str, Any], view: PodView, facts: Facts, result: Plan) -> None:
    """Stop containers first, then, once none runs, the sandboxes.

    All are told at once, but a sidecar gets its signal only after those that started after it
    have ended: the main containers first, then the sidecars, the last one first.
    """
    order = {c["name"]: n for n, c in enumerate(spec.get("initContainers") or ()) if is_sidecar(c)}
    last = len(order) + len(spec.get("initContainers") or ())
    turns = sorted(view.running, key=lambda c: -order.get(c.name, last))
    for container in turns:
        if container.id not in facts.stopping:
            mine = order.get(container.name, last)
            after = tuple(c.id for c in turns if order.get(c.name, last) > mine)
            message = f"Stopping container {container.name}"
            stop = StopContainer(container.id, container.name, message, after=after)
            result.actions.append(stop)
    if not view.running:
        for sandbox in view.sandboxes:
            if sandbox.ready and sandbox.id not in facts.stopping:
                result.actions.append(StopSandbox(sandbox.id))


def _collect_garbage(view: PodView, facts: Facts, result: Plan) -> None:
    """Keep the newest two lives of each container (the second for `logs --previous`)."""
    lives: dict[str, int] = {}
    kept_sandboxes = {view.sandboxes[0].id} if view.sandboxes else set()
    for container in view.containers:
        lives[container.name] = lives.get(container.name, 0) + 1
        if lives[container.name] > 2 and not container.running:
            result.actions.append(RemoveContainer(container.id))
        else:
            kept_sandboxes.add(container.sandbox_id)
    for sandbox in view.sandboxes:
        if sandbox.id in kept_sandboxes or sandbox.id in facts.stopping:
            continue
        result.actions.append(RemoveSandbox(sandbox.id))


class _Planner:
    """The steps of a Pod that shall run."""

    def __init__(self, pod: Object, view: PodView, facts: Facts, result: Plan) -> None:
        self._spec = pod["spec"]
        self._status = pod.get("status") or {}
        self._view = view
        self._facts = facts
        self._result = result
        self._policy = self._spec.get("restartPolicy") or "Always"
        self._init: list[Container] = self._spec.get("initContainers") or []
        self._main: list[Container] = self._spec["containers"]
        self._ephemeral: list[Container] = self._spec.get("ephemeralContainers") or []

    def run(self) -> None:
        sandbox = self._view.sandbox
        for old in self._view.sandboxes:
            if old is not sandbox and old.ready and old.id not in self._facts.stopping:
                self._result.actions.append(StopSandbox(old.id))
        if sandbox is None:
            self._plan_sandbox()
            return
        self._run_ephemeral()
        if self._initialized(sandbox):
            self._run_main(sandbox)
        else:
            self._run_init(sandbox)

    # The sandbox

    def _plan_sandbox(self) -> None:
        if self._view.running:  # of a sandbox that broke: they end before there is a new one
            _stop_all(self._spec, self._view, self._facts, self._result)
            return
        if not self._view.sandboxes and not self._finished_before():
            self._result.actions.append(CreateSandbox(0))
        elif any(self._should_run(c, self._view.newest(c["name"])) for c in self._main):
            attempt = self._view.sandboxes[0].attempt + 1 if self._view.sandboxes else 0
            self._result.actions.append(CreateSandbox(attempt))

    def _finished_before(self) -> bool:
        """Whether containers ran and ended, as far as only the API still knows."""
        statuses = self._status.get("containerStatuses")
        return bool(statuses) and all(map(self._ended_in_status, self._main))

    # Ephemeral containers

    def _run_ephemeral(self) -> None:
        """Each is started once, whatever the others do, and never again."""
        known = {
            status["name"]
            for status in self._status.get("ephemeralContainerStatuses") or ()
            if status.get("containerID")
        }
        for container in self._ephemeral:
            life = self._view.newest(container["name"])
            if life is None and container["name"] not in known:
                self._result.actions.append(StartContainer(container["name"], 0))
            elif life is not None and life.state == CREATED:
                self._start(container, life)

    # Init containers

    def _initialized(self, sandbox: SandboxView) -> bool:
        """Once a main container exists in this sandbox, all init containers have done theirs."""
        return any(self._view.newest(c["name"], sandbox.id) for c in self._main)

    def _run_init(self, sandbox: SandboxView) -> None:
        """One after another; sidecars among them stay, and are kept up, while later ones run."""
        lives = [self._view.newest(c["name"], sandbox.id) for c in self._init]
        begun = max((n for n, life in enumerate(lives) if life is not None), default=-1)
        for number, (container, life) in enumerate(zip(self._init, lives, strict=True)):
            if is_sidecar(container):
                if not self._keep_sidecar(container, life) and number >= begun:
                    return
            elif life is None or life.state == CREATED:
                self._start(container, life)
                return
            elif not life.exited:
                return
            elif life.exit_code != 0:
                if should_restart(container, self._policy, life.exit_code):
                    self._start(container, life)
                else:
                    _stop_all(self._spec, self._view, self._facts, self._result)
                return
        self._run_main(sandbox)

    def _keep_sidecar(self, container: Container, life: ContainerView | None) -> bool:
        """Have it run; whether it is up, so that what comes after it may start."""
        if life is None or not life.running:
            self._start(container, life)
            return False
        self._check_running(container, life)
        return life.id in self._facts.started and life.id not in self._facts.hooking

    # Main containers

    def _run_main(self, sandbox: SandboxView) -> None:
        wanted = held_back = False
        for container in self._main:
            newest = self._view.newest(container["name"])
            if newest is not None and newest.running and newest.sandbox_id == sandbox.id:
                wanted = True
                self._check_running(container, newest)
                # As upstream, the next one is started when the hook of this one is through.
                held_back = held_back or newest.id in self._facts.hooking
            elif self._should_run(container, newest):
                wanted = True
                if not held_back:
                    self._start(container, newest)
        if not wanted:
            _stop_all(self._spec, self._view, self._facts, self._result)
            return
        for container in self._init:
            if is_sidecar(container) and container["name"] not in self._planned():
                self._keep_sidecar(container, self._view.newest(container["name"], sandbox.id))

    def _planned(self) -> set[str]:
        """Whose start, or wait for it, this plan has already."""
        started = {a.name for a in self._result.actions if isinstance(a, StartContainer)}
        stopped = {a.name for a in self._result.actions if isinstance(a, StopContainer)}
        return started | stopped | set(self._result.waiting)

    def _should_run(self, container: Container, newest: ContainerView | None) -> bool:
        if newest is None:
            return not self._ended_in_status(container)
        if not newest.exited or newest.id in self._facts.renewed:
            return True
        return should_restart(container, self._policy, newest.exit_code)

    def _ended_in_status(self, container: Container) -> bool:
        """For a container that the runtime has forgotten: whether it must not run again."""
        for status in self._status.get("containerStatuses") or ():
            if status["name"] == container["name"]:
                ended = (status.get("state") or {}).get("terminated")
                if ended is None:
                    return False
                code = int(ended.get("exitCode") or 0)
                return not should_restart(container, self._policy, code)
        return False

    def _check_running(self, container: Container, life: ContainerView) -> None:
        """Stop a running container that must be made anew; once it has ended it is started."""
        if life.id in self._facts.stopping:
            return
        if life.spec_hash and life.spec_hash != spec_hash(container):
            message = f"Container {life.name} definition changed, will be restarted"
            self._result.actions.append(StopContainer(life.id, life.name, message, restart=True))
        elif unhealthy := self._facts.unhealthy.get(life.id):
            again = should_restart(container, self._policy, _KILLED)
            message = unhealthy.message
            if again and not unhealthy.exact:
                message += ", will be restarted"
            restart = again and not unhealthy.crashed
            stop = StopContainer(life.id, life.name, message, unhealthy.grace_s, restart=restart)
            self._result.actions.append(stop)

    def _start(self, container: Container, former: ContainerView | None) -> None:
        """Start `container`, now or after its back-off."""
        name = container["name"]
        facts = self._facts
        if former is not None and former.exited:
            failed_at_s = facts.failed_at_s.get(former.id, former.finished_at_ns / 1e9)
            remaining_s = facts.backoff.remaining_s(name, failed_at_s, facts.now_s)
            if remaining_s > 0:
                self._result.waiting[name] = Waiting("CrashLoopBackOff", name)
                self._result.wake(remaining_s)
                return
            self._result.actions.append(StartContainer(name, self._next_attempt(name), failed_at_s))
            return
        self._result.actions.append(StartContainer(name, self._next_attempt(name)))

    def _next_attempt(self, name: str) -> int:
        newest = self._view.newest(name)
        if newest is not None:
            return newest.attempt + 1
        for kind in ("containerStatuses", "initContainerStatuses"):
            for status in self._status.get(kind) or ():
                if status["name"] == name and status.get("containerID"):
                    return int(status.get("restartCount", 0)) + 1
        return 0


def container_spec(pod: Object, name: str) -> Container:
    """The spec of container `name`, of any kind; raises KeyError."""
    spec = pod["spec"]
    ephemeral: list[Container] = spec.get("ephemeralContainers") or []
    for container in (*all_containers(spec), *ephemeral):
        if container["name"] == name:
            return container
    raise KeyError(name)

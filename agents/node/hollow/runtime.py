"""A runtime that only remembers: the sandboxes and containers of one hollow node, in memory.

It takes the calls that the node agent's reconciler makes of CRI. What it knows of a container is
when it began and when it will have ended, so nothing has to happen for it to end, and thousands
of them cost nothing. What was there before the process began is read back from the Pods' status.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass, field, replace
from ipaddress import IPv4Network
from typing import Any, Final

from agents.node.hollow.behaviour import Behaviour
from agents.node.pod_view import EXITED, RUNNING, ContainerView, PodView, SandboxView
from kubraft.api.object import Object, uid_of
from kubraft.api.time import Clock, parse_time
from kubraft.pb.criv1 import api_pb2 as cri

NAME: Final = "hollow"
VERSION: Final = "0.1.0"
_SECOND_NS: Final = 1_000_000_000
_TERMINATED: Final = 128 + 15
_KILLED: Final = 128 + 9
_STATUSES: Final = ("initContainerStatuses", "containerStatuses", "ephemeralContainerStatuses")


@dataclass(slots=True)
class _Life:
    """A container: what is shown of it, and when and how it ends by itself."""

    view: ContainerView
    behaviour: Behaviour
    ends_at_s: float  # on the monotonic clock: the other one may jump

    def at(self, now_s: float) -> ContainerView:
        """It, at that moment."""
        if self.view.exited or now_s < self.ends_at_s:
            return self.view
        ended_ns = self.view.started_at_ns + int(self.behaviour.run_for_s * _SECOND_NS)
        self.view = _ended(self.view, ended_ns, self.behaviour.exit_code)
        return self.view


@dataclass(slots=True)
class _Pod:
    uid: str
    sandboxes: dict[str, SandboxView] = field(default_factory=dict)
    lives: dict[str, _Life] = field(default_factory=dict)


class HollowRuntime:
    """Of one node. Its Pods' addresses are of `network`."""

    def __init__(self, clock: Clock, network: IPv4Network, new_id: Callable[[], str]) -> None:
        self._clock = clock
        self._network = network
        self._new_id = new_id
        self._pods: dict[str, _Pod] = {}
        self._pod_of: dict[str, _Pod] = {}  # of the ids of sandboxes and containers
        self._addresses: set[str] = set()
        self._made_at_s: dict[str, float] = {}  # sandboxes

    def knows(self, uid: str) -> bool:
        """Whether there is anything of that Pod."""
        return uid in self._pods

    def next_end_s(self, uid: str) -> float | None:
        """In how many seconds the next container of a Pod ends; None where none will."""
        now_s = self._clock.monotonic_s()
        pod = self._pods.get(uid) or _Pod(uid)
        ends = [life.ends_at_s for life in pod.lives.values() if life.at(now_s).running]
        soonest = min(ends, default=math.inf)
        return None if math.isinf(soonest) else max(0.0, soonest - now_s)

    def sandbox_age_s(self, sandbox_id: str) -> float:
        """For how long a sandbox has been there, as far as this process knows."""
        now_s = self._clock.monotonic_s()
        return now_s - self._made_at_s.get(sandbox_id, now_s)

    # What the reconciler asks for, as of CRI

    async def view(self, uid: str) -> PodView:
        """All there is of Pod `uid`."""
        now_s = self._clock.monotonic_s()
        pod = self._pods.get(uid) or _Pod(uid)
        sandboxes = sorted(pod.sandboxes.values(), key=lambda s: s.attempt, reverse=True)
        lives = [life.at(now_s) for life in pod.lives.values()]
        lives.sort(key=lambda c: (c.attempt, c.created_at_ns), reverse=True)
        return PodView(tuple(sandboxes), tuple(lives))

    async def run_sandbox(self, config: cri.PodSandboxConfig, handler: str = "") -> str:
        """Make a sandbox with an address of its own."""
        del handler
        attempt, now_ns = config.metadata.attempt, self._now_ns()
        sandbox = SandboxView(self._new_id(), attempt, True, self._take_address(), now_ns)
        self._keep_sandbox(config.metadata.uid, sandbox)
        return sandbox.id

    async def stop_sandbox(self, sandbox_id: str) -> None:
        """Have it not ready any more; its address is free again."""
        if (pod := self._pod_of.get(sandbox_id)) is not None:
            sandbox = pod.sandboxes[sandbox_id]
            self._addresses.discard(sandbox.address)
            pod.sandboxes[sandbox_id] = replace(sandbox, ready=False)

    async def remove_sandbox(self, sandbox_id: str) -> None:
        """Forget it."""
        await self.stop_sandbox(sandbox_id)
        if (pod := self._pod_of.pop(sandbox_id, None)) is not None:
            del pod.sandboxes[sandbox_id], self._made_at_s[sandbox_id]
            self._forget_if_empty(pod)

    async def stop_container(self, container_id: str, grace_s: float) -> None:
        """End it: when it obeys the signal, or when its grace is over."""
        pod = self._pod_of.get(container_id)
        if pod is None:
            return
        obeys_after_s = pod.lives[container_id].behaviour.stop_after_s
        if obeys_after_s > 0 and grace_s > 0:
            await self._clock.sleep(min(obeys_after_s, grace_s))
        life = pod.lives.get(container_id)
        if life is not None and life.at(self._clock.monotonic_s()).running:
            code = _TERMINATED if grace_s > 0 and obeys_after_s <= grace_s else _KILLED
            life.view = _ended(life.view, self._now_ns(), code)

    async def update_resources(
        self, container_id: str, resources: cri.LinuxContainerResources
    ) -> None:
        """There is nothing that could use more or less."""

    async def remove_container(self, container_id: str) -> None:
        """Forget it."""
        if (pod := self._pod_of.pop(container_id, None)) is not None:
            del pod.lives[container_id]
            self._forget_if_empty(pod)

    def start_container(self, uid: str, life: ContainerView, behaviour: Behaviour) -> str:
        """Begin a life of a container, of which `life` says all but the moment and the id.

        Returns:
            Its id.
        """
        now_ns = self._now_ns()
        begun = replace(
            life, id=self._new_id(), state=RUNNING, created_at_ns=now_ns, started_at_ns=now_ns
        )
        self._keep_life(uid, begun, behaviour, age_s=0.0)
        return begun.id

    # What was there before

    def adopt(self, pod: Object, behaviour: Behaviour) -> None:
        """Remember what a Pod's status says of this runtime's work."""
        status = pod.get("status") or {}
        found = [s for kind in _STATUSES for s in status.get(kind) or () if _is_ours(s)]
        if not found:
            return
        running = any("running" in (s.get("state") or {}) for s in found)
        address = status.get("podIP") or ""
        began_ns = _nanoseconds(status.get("startTime"))
        sandbox = SandboxView(self._new_id(), 0, running, address, began_ns)
        self._keep_sandbox(uid_of(pod), sandbox)
        for each in found:
            life = _life_of(each, sandbox.id)
            age_s = (self._now_ns() - life.started_at_ns) / _SECOND_NS
            self._keep_life(uid_of(pod), life, behaviour, age_s=max(0.0, age_s))

    def _keep_sandbox(self, uid: str, sandbox: SandboxView) -> None:
        pod = self._pods.setdefault(uid, _Pod(uid))
        pod.sandboxes[sandbox.id] = sandbox
        self._made_at_s[sandbox.id] = self._clock.monotonic_s()
        self._pod_of[sandbox.id] = pod
        if sandbox.ready:
            self._addresses.add(sandbox.address)

    def _keep_life(
        self, uid: str, life: ContainerView, behaviour: Behaviour, *, age_s: float
    ) -> None:
        pod = self._pods.setdefault(uid, _Pod(uid))
        ends_at_s = self._clock.monotonic_s() + behaviour.run_for_s - age_s
        pod.lives[life.id] = _Life(life, behaviour, ends_at_s)
        self._pod_of[life.id] = pod

    def _forget_if_empty(self, pod: _Pod) -> None:
        if not pod.sandboxes and not pod.lives:
            self._pods.pop(pod.uid, None)

    def _take_address(self) -> str:
        for host in self._network.hosts():
            if str(host) not in self._addresses:
                self._addresses.add(str(host))
                return str(host)
        return ""  # more Pods than addresses: the Pod has none

    def _now_ns(self) -> int:
        return int(self._clock.now().timestamp() * _SECOND_NS)


def _ended(life: ContainerView, at_ns: int, code: int) -> ContainerView:
    reason = "Completed" if code == 0 else "Error"
    return replace(life, state=EXITED, finished_at_ns=at_ns, exit_code=code, reason=reason)


def _is_ours(status: dict[str, Any]) -> bool:
    return str(status.get("containerID") or "").startswith(f"{NAME}://")


def _life_of(status: dict[str, Any], sandbox_id: str) -> ContainerView:
    state = status.get("state") or {}
    ended = state.get("terminated")
    began_ns = _nanoseconds((ended or state.get("running") or {}).get("startedAt"))
    life = ContainerView(
        id=status["containerID"].partition("://")[2],
        name=status["name"],
        attempt=int(status.get("restartCount") or 0),
        sandbox_id=sandbox_id,
        state=RUNNING,
        created_at_ns=began_ns,
        started_at_ns=began_ns,
        image=status.get("image") or "",
        image_id=status.get("imageID") or "",
        log_path=NAME,
    )
    if "running" in state:
        return life
    ended = ended or (status.get("lastState") or {}).get("terminated") or {}
    at_ns = _nanoseconds(ended.get("finishedAt"))
    return _ended(life, at_ns, int(ended.get("exitCode") or 0))


def _nanoseconds(text: str | None) -> int:
    return int(parse_time(text).timestamp() * _SECOND_NS) if text else 0

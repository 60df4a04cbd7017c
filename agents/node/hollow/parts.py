"""What stands in for the parts of the node agent that would touch the machine."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from agents.node.action import StartContainer, StopContainer
from agents.node.container_start import StartError
from agents.node.fields import Place
from agents.node.hollow.behaviour import Behaviour, Defaults, behaviour_of
from agents.node.hollow.runtime import NAME, HollowRuntime
from agents.node.plan import Unhealthy, container_spec, spec_hash
from agents.node.pod_identity import PodIdentity
from agents.node.pod_memory import PodMemory
from agents.node.pod_stopper import PodStopper
from agents.node.pod_view import CREATED, ContainerView, SandboxView
from agents.node.post_start import PostStartHooks
from kubraft.api.object import Object, uid_of
from kubraft.api.pods import is_sidecar
from kubraft.api.time import Clock
from kubraft.client.client import ApiClient
from kubraft.client.events import EventRecorder


class NoVolumes:
    """No program looks into a volume, so there are none, and no Secret is read for them."""

    def __init__(self, root: Path) -> None:
        self._root = root

    def pod_directory(self, uid: str) -> Path:
        """Where everything of a Pod would be."""
        return self._root / "pods" / uid

    async def set_up(self, pod: Object, place: Place) -> dict[str, Path]:
        """There is nothing to do."""
        del pod, place
        return {}

    def empty_directory(self, pod: Object, name: str) -> Path:
        """Where an empty directory would be."""
        return self.pod_directory(uid_of(pod)) / name

    def remove(self, uid: str) -> None:
        """There is nothing to do."""


@dataclass(frozen=True, slots=True)
class HollowStarter:
    """Begins containers' lives, with the events of a node agent."""

    runtime: HollowRuntime
    recorder: EventRecorder
    defaults: Defaults
    identity: PodIdentity
    volumes: NoVolumes
    place: Callable[[str], Place]

    async def handler(self, pod: Object) -> str:
        """They are all alike."""
        del pod
        return ""

    async def start(
        self, pod: Object, sandbox: SandboxView, action: StartContainer, memory: PodMemory
    ) -> str:
        """Have a container run, once the Pod's images would have been pulled; returns its id.

        Raises:
            StartError: that is still to come.
        """
        del memory
        behaviour = behaviour_of(pod, self.defaults)
        age_s = self.runtime.sandbox_age_s(sandbox.id)
        if action.attempt == 0 and (left_s := behaviour.start_after_s - age_s) > 0:
            initial = bool(pod["spec"].get("initContainers"))
            reason = "PodInitializing" if initial else "ContainerCreating"
            raise StartError(reason, "", retry_after_s=min(left_s, 3600.0))
        container = container_spec(pod, action.name)
        image = container.get("image") or ""
        life = ContainerView(
            id="",
            name=action.name,
            attempt=action.attempt,
            sandbox_id=sandbox.id,
            state=CREATED,
            image=image,
            image_id=f"{NAME}://{image}",
            spec_hash=spec_hash(container),
            log_path=NAME,
        )
        behaviour = _of_container(pod, container, behaviour)
        container_id = self.runtime.start_container(uid_of(pod), life, behaviour)
        for reason, text in (
            ("Pulled", f'Container image "{image}" already present on machine'),
            ("Created", f"Created container: {action.name}"),
            ("Started", f"Started container {action.name}"),
        ):
            path = f"spec.containers{{{action.name}}}"
            self.recorder.event(pod, "Normal", reason, text, field_path=path)
        return container_id


def _of_container(pod: Object, container: Mapping[str, Any], behaviour: Behaviour) -> Behaviour:
    """Init containers succeed at once; sidecars run as long as the Pod."""
    if is_sidecar(container):
        return Behaviour(stop_after_s=behaviour.stop_after_s)
    if container in (pod["spec"].get("initContainers") or ()):
        return Behaviour(run_for_s=0.0)
    return behaviour


class HollowProber:
    """Containers get ready when their Pod says; there is nobody to ask."""

    def __init__(self, clock: Clock, defaults: Defaults) -> None:
        self._clock = clock
        self._defaults = defaults
        self._ready_at_s: dict[str, float] = {}  # by container
        self._ids: dict[str, set[str]] = {}  # of a Pod's containers

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
        """Remember when a running life gets ready."""
        del container, address
        if life.id not in self._ready_at_s:
            after_s = 0.0 if was_ready else behaviour_of(pod, self._defaults).ready_after_s
            self._ready_at_s[life.id] = self._clock.monotonic_s() + after_s - started_for_s
            self._ids.setdefault(uid_of(pod), set()).add(life.id)

    def forget_all_but(self, uid: str, ids: Iterable[str]) -> None:
        """Forget the lives of Pod `uid` that are not among `ids`."""
        keep = set(ids)
        for container_id in self._ids.get(uid, set()) - keep:
            del self._ready_at_s[container_id]
        self._ids[uid] = self._ids.get(uid, set()) & keep
        if not self._ids[uid]:
            del self._ids[uid]

    def ready(self, container_id: str) -> bool:
        """Whether its time has come."""
        return self._ready_at_s.get(container_id, math.inf) <= self._clock.monotonic_s()

    def started(self, container_id: str) -> bool:
        """Whether it is followed: nothing is slow to start."""
        return container_id in self._ready_at_s

    def only_readiness(self, uid: str) -> None:
        """The Pod ends; what is ready stays so until its containers do."""

    def unhealthy(self) -> dict[str, Unhealthy]:
        """None is."""
        return {}

    def next_ready_s(self, uid: str) -> float | None:
        """In how many seconds the next container of a Pod gets ready; None where none will."""
        now_s = self._clock.monotonic_s()
        waits = [self._ready_at_s[i] - now_s for i in self._ids.get(uid, ())]
        soonest = min((wait for wait in waits if wait > 0), default=math.inf)
        return None if math.isinf(soonest) else soonest


class HollowStopper(PodStopper):
    """Stops as ever, but for hooks: there is no program and no address to call."""

    async def _pre_stop(
        self, pod: Object, action: StopContainer, grace_s: float, address: str
    ) -> None:
        try:
            container = container_spec(pod, action.name)
        except KeyError:
            return
        if "sleep" in ((container.get("lifecycle") or {}).get("preStop") or {}):
            await super()._pre_stop(pod, action, grace_s, address)


class NoHooks(PostStartHooks):
    """There is no program to be told that it has been started."""

    def begin(
        self, pod: Object, container: Mapping[str, Any], container_id: str, address: str
    ) -> None:
        """There is nothing to do."""


class ThrottledRecorder(EventRecorder):
    """Drops Events beyond a rate, as upstream's node agent does (its eventRecordQPS and burst)."""

    def __init__(
        self, client: ApiClient, component: str, *, host: str, clock: Clock, per_second: float
    ) -> None:
        super().__init__(client, component, host=host, clock=clock)
        self._throttle_clock = clock
        self._per_second = per_second
        self._tokens = 2 * per_second
        self._filled_at_s = clock.monotonic_s()

    def event(
        self, obj: Object, type_: str, reason: str, message: str, *, field_path: str = ""
    ) -> None:
        """Report that, unless there was too much to report."""
        now_s = self._throttle_clock.monotonic_s()
        self._tokens += (now_s - self._filled_at_s) * self._per_second
        self._tokens = min(self._tokens, 2 * self._per_second)
        self._filled_at_s = now_s
        if self._tokens < 1:
            self.dropped_count += 1
            return
        self._tokens -= 1
        super().event(obj, type_, reason, message, field_path=field_path)

"""Makes the runtime follow the Pods of this node: look, plan, act, report.

One call of `reconcile` handles one Pod, by uid, and never waits for a container to stop: that goes
on in the background and calls for another look.
"""

from __future__ import annotations

import asyncio
import shutil
from collections.abc import Callable, Iterable, Mapping
from pathlib import Path

from agents.node import action as actions
from agents.node import plan as planning
from agents.node.allocation import adopt, allocate, resources_of, with_allocation
from agents.node.container_start import StartError
from agents.node.cri_client import RuntimeCallError
from agents.node.cri_config import grace_left_s, grace_period_s, log_directory
from agents.node.eviction import EVICTED
from agents.node.hosts_file import HostNameError
from agents.node.plan import Facts, Plan, Unhealthy, Waiting, container_spec
from agents.node.pod_memory import PodMemory
from agents.node.pod_parts import PodProber, PodRuntime, PodStarter
from agents.node.pod_reporter import PodReporter
from agents.node.pod_stopper import PodStopper
from agents.node.pod_view import PodView
from agents.node.post_start import PostStartHooks
from agents.node.resizer import actuate
from agents.node.restart_backoff import RestartBackoff
from agents.node.runtime_class import RuntimeClassError
from agents.node.volume_watch import PERIOD_S, check_limits, size_limits
from agents.node.volumes import VolumeSetUpError
from kubraft.api.errors import ApiError, ConflictError, NotFoundError
from kubraft.api.gvk import POD
from kubraft.api.object import Object, is_terminating, key_of, uid_of
from kubraft.api.pods import all_containers, is_terminated
from kubraft.api.time import Clock, parse_time
from kubraft.client.client import ApiClient
from kubraft.client.events import EventRecorder
from kubraft.log import get_logger

_RETRY_S_MIN = 1.0
_RETRY_S_MAX = 10.0
_RUNTIME_AWAY_RETRY_S = 1.0
# How often the files of a running Pod's volumes are compared with the API, as upstream.
_VOLUMES_PERIOD_S = 60.0
_ORPHAN_GRACE_S = 30
# How often a resize that found no room is tried again.
_RESIZE_RETRY_S = 10.0

log = get_logger("node.pods")


class PodSync:
    """The Pods of one node."""

    def __init__(
        self,
        *,
        client: ApiClient,
        runtime: PodRuntime,
        starter: PodStarter,
        prober: PodProber,
        stopper: PodStopper,
        hooks: PostStartHooks,
        recorder: EventRecorder,
        clock: Clock,
        root: Path,
        host_ip: str,
        find_pod: Callable[[str], Object | None],
        refuse: Callable[[Object], Waiting | None],
        backoff_s: tuple[float, float],
        runtime_name: str = "process",
        forget: Callable[[str], None] = lambda _uid: None,
        again: Callable[[str], None] = lambda _uid: None,
        reports_sandboxes: bool = True,
        uid_in_api: Callable[[Object], str] = uid_of,
    ) -> None:
        self._client = client
        self._runtime = runtime
        self._starter = starter
        self._prober = prober
        self._stopper = stopper
        self._hooks = hooks
        self._recorder = recorder
        self._clock = clock
        self._root = root
        self._host_ip = host_ip
        self._find_pod = find_pod
        self._refuse = refuse
        self._backoff_s = backoff_s
        self._forget = forget
        self._again = again
        # Whether a status is written between sandbox and containers, which may take long to start.
        self._reports_sandboxes = reports_sandboxes
        self._reporter = PodReporter(
            client,
            starter.volumes,
            prober,
            hooks,
            clock,
            host_ip=host_ip,
            runtime_name=runtime_name,
            find_pod=find_pod,
            uid_in_api=uid_in_api,
        )
        self._memories: dict[str, PodMemory] = {}
        self._began_s = clock.now().timestamp()

    def running_pods(self) -> list[Object]:
        """The Pods that were let in and have not ended: what new ones are weighed against."""
        return [
            with_allocation(memory.pod, memory.allocation)
            for memory in self._memories.values()
            if memory.pod is not None and memory.admitted and not is_terminated(memory.pod)
        ]

    def evict(self, uid: str, why: Waiting, grace_s: float) -> None:
        """Have a Pod fail: its containers get `grace_s`, or less where they have less."""
        memory = self._memories.get(uid)
        if memory is None or memory.pod is None or memory.ended is not None:
            return
        memory.ended = why
        memory.grace_s = min(grace_s, grace_period_s(memory.pod))
        memory.disruption = True
        if why.reason == EVICTED:
            self._recorder.event(memory.pod, "Warning", why.reason, why.message)
        self._again(uid)

    def unfinished(self) -> list[Object]:
        """The Pods whose end the API has not been told."""
        pods = [memory.pod for memory in self._memories.values() if memory.pod is not None]
        return [pod for pod in pods if not is_terminated(self._find_pod(uid_of(pod)) or pod)]

    def known(self) -> Iterable[str]:
        """The uids of which there is a memory."""
        return list(self._memories)

    async def reconcile(self, uid: str) -> float | None:
        """Move one Pod forward; returns after how many seconds to look again.

        Raises:
            ApiError: its status could not be written; the runtime's part has been done.
        """
        try:
            view = await self._runtime.view(uid)
            pod = self._find_pod(uid)
            if pod is None and view.empty and uid not in self._memories:
                # Of a Pod that went while this agent was away there may be files.
                await asyncio.to_thread(self._starter.volumes.remove, uid)
                return None
            memory = self._memory(uid)
            if pod is None:
                return await self._remove(uid, memory, view)
            memory.pod = pod
            return await self._sync(uid, pod, memory, view)
        except RuntimeCallError as error:
            log.warning("runtime call failed", pod_uid=uid, cause=str(error))
            return _RUNTIME_AWAY_RETRY_S

    def _memory(self, uid: str) -> PodMemory:
        if uid not in self._memories:
            base_s, max_s = self._backoff_s
            backoffs = RestartBackoff(base_s, max_s), RestartBackoff(base_s, max_s)
            self._memories[uid] = PodMemory(*backoffs)
        return self._memories[uid]

    # A Pod that is gone

    async def _remove(self, uid: str, memory: PodMemory, view: PodView) -> float | None:
        self._prober.forget_all_but(uid, ())
        self._hooks.forget(uid)
        pod = memory.pod
        spec = pod["spec"] if pod is not None else None
        plan = planning.plan_removal(view, self._facts(uid, memory, view), spec)
        if pod is not None:
            grace_s: float = grace_period_s(pod)
        else:
            grace_s = _ORPHAN_GRACE_S if view.grace_period_s is None else view.grace_period_s
        for action in plan.actions:
            await self._act(uid, memory, view, action, grace_s)
        if plan.actions or memory.stopping:
            return 1.0 if not memory.stopping else None
        if not view.empty:
            return 1.0
        del self._memories[uid]
        self._forget(uid)
        await asyncio.to_thread(self._starter.volumes.remove, uid)
        if pod is not None:
            await asyncio.to_thread(_remove_tree, log_directory(self._root, pod))
        log.info("pod removed", pod_uid=uid)
        return None

    # A Pod that exists

    async def _sync(self, uid: str, pod: Object, memory: PodMemory, view: PodView) -> float | None:
        self._admit(pod, memory, view)
        pod = self._allocate(pod, memory)
        restarts = await actuate(self._runtime, pod, memory.allocation, view)
        wake = self._check_deadline(pod, memory)
        limited = await self._check_volumes(pod, memory)
        self._follow_probes(pod, view)
        if is_terminating(pod) or memory.ended is not None:
            self._hooks.forget(uid)
        if is_terminating(pod):
            self._stopper.shorten(uid, memory, grace_period_s(pod))
        plan = planning.plan(pod, view, self._facts(uid, memory, view, restarts))
        if memory.allocation.pending is not None:
            plan.wake(_RESIZE_RETRY_S)
        if wake is not None:
            plan.wake(wake)
        if limited:
            plan.wake(PERIOD_S)
        finishing = any(isinstance(a, actions.FinishDeletion) for a in plan.actions)
        changed = await self._perform(uid, pod, memory, view, plan)
        if changed:
            view = await self._runtime.view(uid)
            self._follow_probes(pod, view)
            if not self._reports_sandboxes and not view.containers and view.sandbox is not None:
                return await self._sync(uid, pod, memory, view)
        await self._refresh_volumes(pod, memory, view, plan)
        await self._reporter.report(pod, memory, view)
        if finishing:
            await self._finish_deletion(pod)
        return 0.0 if changed else plan.wake_after_s

    def _allocate(self, pod: Object, memory: PodMemory) -> Object:
        """The Pod with the CPU and memory that this node gives it."""
        allocation = memory.allocation
        if not allocation.allocated:
            adopt(pod, allocation)
        if memory.ended is None and not is_terminated(pod) and not is_terminating(pod):
            capacity = self._starter.place("").allocatable
            allocate(pod, allocation, capacity, self._refuse)
        return with_allocation(pod, allocation)

    def _facts(
        self,
        uid: str,
        memory: PodMemory,
        view: PodView,
        restarts: Mapping[str, Unhealthy] | None = None,
    ) -> Facts:
        return Facts(
            backoff=memory.backoff,
            stopping=frozenset(memory.stopping),
            started=frozenset(c.id for c in view.running if self._prober.started(c.id)),
            unhealthy={
                **(restarts or {}),
                **self._prober.unhealthy(),
                **self._hooks.unhealthy(uid),
            },
            hooking=self._hooks.running(uid),
            renewed=frozenset(memory.renewed),
            ended=memory.ended is not None,
            now_s=self._clock.monotonic_s(),
            failed_at_s={
                c.id: self._moment(memory, c.id, c.finished_at_ns / 1e9)
                for c in view.containers
                if c.exited
            },
        )

    def _moment(self, memory: PodMemory, what: str, wall_s: float) -> float:
        """When that happened, on the monotonic clock: the wall clock is asked once and may jump."""
        if what not in memory.moments:
            age_s = max(0.0, self._clock.now().timestamp() - wall_s)
            memory.moments[what] = self._clock.monotonic_s() - age_s
        return memory.moments[what]

    def _admit(self, pod: Object, memory: PodMemory, view: PodView) -> None:
        """Have the node's word on a Pod that it sees for the first time."""
        if memory.admitted or memory.ended is not None:
            return
        new = view.empty and not is_terminated(pod) and not is_terminating(pod)
        if new and (why := self._refuse(pod)) is not None:
            memory.ended = Waiting(why.reason, f"Pod was rejected: {why.message}")
            self._recorder.event(pod, "Warning", why.reason, why.message)
            return
        memory.admitted = True

    def _check_deadline(self, pod: Object, memory: PodMemory) -> float | None:
        """End a Pod that is past spec.activeDeadlineSeconds; else say when that will be."""
        seconds = pod["spec"].get("activeDeadlineSeconds")
        began = (pod.get("status") or {}).get("startTime")
        if not seconds or not began or memory.ended is not None or is_terminated(pod):
            return None
        began_s = self._moment(memory, "began", parse_time(began).timestamp())
        left_s = began_s + float(seconds) - self._clock.monotonic_s()
        if left_s > 0:
            return float(left_s)
        message = "Pod was active on the node longer than the specified deadline"
        memory.ended = Waiting("DeadlineExceeded", message)
        self._recorder.event(pod, "Normal", "DeadlineExceeded", message)
        return None

    async def _check_volumes(self, pod: Object, memory: PodMemory) -> bool:
        """Evict a Pod whose volumes outgrew their limits; whether it has such volumes."""
        limits = size_limits(pod)
        if limits:
            now_s = self._clock.monotonic_s()
            volumes = self._starter.volumes
            if ended := await check_limits(volumes, pod, memory, limits, now_s):
                memory.ended = ended
                self._recorder.event(pod, "Warning", ended.reason, ended.message)
        return bool(limits)

    def _follow_probes(self, pod: Object, view: PodView) -> None:
        uid = uid_of(pod)
        running = {c.name: c for c in view.running}
        self._prober.forget_all_but(uid, [c.id for c in running.values()])
        if is_terminating(pod):
            self._prober.only_readiness(uid)
            return
        hooking = self._hooks.running(uid)
        now_s = self._clock.now().timestamp()
        for container in all_containers(pod["spec"]):
            life = running.get(container["name"])
            if life is None or life.id in hooking:
                continue
            started_s = life.started_at_ns / 1e9
            self._prober.follow(
                pod,
                container,
                life,
                view.sandboxes[0].address or self._host_ip,
                was_ready=started_s < self._began_s and _was_ready(pod, life.id),
                started_for_s=max(0.0, now_s - started_s),
            )

    # Acting

    async def _perform(
        self, uid: str, pod: Object, memory: PodMemory, view: PodView, plan: Plan
    ) -> bool:
        """Carry out a plan's steps; returns whether the runtime's picture changed."""
        changed = False
        wanted = {a.name for a in plan.actions if isinstance(a, actions.StartContainer)}
        failed = self._hooks.failed(uid)
        for life in view.containers:
            if life.running and life.id in failed:
                memory.waiting[life.name] = Waiting("PostStartHookError", failed[life.id])
                wanted.add(life.name)
        for name in [n for n in memory.waiting if n not in wanted and n not in plan.waiting]:
            if view.newest(name) is not None or is_terminating(pod):
                memory.waiting.pop(name, None)
        self._say_back_off(pod, memory, plan)
        for action in plan.actions:
            if isinstance(action, actions.StartContainer):
                try:
                    await self._start(pod, memory, view, action)
                except StartError as error:
                    self._note_failure(action.name, memory, plan, error)
                else:
                    changed = True
                    memory.waiting.pop(action.name, None)
                    memory.failures = 0
            elif isinstance(action, actions.CreateSandbox):
                changed = await self._create_sandbox(pod, memory, view, action, plan) or changed
            else:
                now_s = self._clock.now().timestamp()
                grace_s = grace_left_s(pod, began_s=self._began_s, now_s=now_s)
                await self._act(uid, memory, view, action, grace_s)
        return changed

    async def _start(
        self, pod: Object, memory: PodMemory, view: PodView, action: actions.StartContainer
    ) -> None:
        sandbox = view.sandbox
        assert sandbox is not None
        if action.failed_at_s:
            memory.backoff.next(action.name, action.failed_at_s, self._clock.monotonic_s())
        container_id = await self._starter.start(pod, sandbox, action, memory)
        address = sandbox.address or self._host_ip
        container = container_spec(pod, action.name)
        memory.allocation.actual[container_id] = resources_of(container)
        self._hooks.begin(pod, container, container_id, address)

    def _note_failure(self, name: str, memory: PodMemory, plan: Plan, error: StartError) -> None:
        memory.waiting[name] = error.waiting
        memory.failures += 1
        retry_s = min(_RETRY_S_MAX, _RETRY_S_MIN * 2.0 ** min(memory.failures - 1, 10))
        plan.wake(retry_s if error.retry_after_s is None else error.retry_after_s)

    def _say_back_off(self, pod: Object, memory: PodMemory, plan: Plan) -> None:
        """Put the figures and names into the reasons of containers that wait for a restart."""
        metadata = pod["metadata"]
        full_name = f"{metadata['name']}_{metadata['namespace']}({metadata['uid']})"
        for name in plan.waiting:
            delay = _go_duration(memory.backoff.delay_s(name))
            message = f"back-off {delay} restarting failed container={name} pod={full_name}"
            waiting = Waiting("CrashLoopBackOff", message)
            if memory.waiting.get(name) != waiting:
                text = f"Back-off restarting failed container {name} in pod {full_name}"
                path = f"spec.containers{{{name}}}"
                self._recorder.event(pod, "Warning", "BackOff", text, field_path=path)
            memory.waiting[name] = waiting

    async def _create_sandbox(
        self,
        pod: Object,
        memory: PodMemory,
        view: PodView,
        action: actions.CreateSandbox,
        plan: Plan,
    ) -> bool:
        if view.sandboxes:
            message = "Pod sandbox changed, it will be killed and re-created."
            self._recorder.event(pod, "Normal", "SandboxChanged", message)
        identity = self._starter.identity
        for reason, text in identity.dns(pod).warnings:
            self._recorder.event(pod, "Warning", reason, text)
        try:
            handler = await self._starter.handler(pod)
            await self._runtime.run_sandbox(identity.sandbox(pod, action.attempt), handler)
        except (RuntimeCallError, RuntimeClassError, HostNameError) as error:
            message = f"Failed to create pod sandbox: {error}"
            self._recorder.event(pod, "Warning", "FailedCreatePodSandBox", message)
            memory.failures += 1
            plan.wake(min(_RETRY_S_MAX, _RETRY_S_MIN * 2.0 ** min(memory.failures - 1, 10)))
            return False
        return True

    async def _act(
        self,
        uid: str,
        memory: PodMemory,
        view: PodView,
        action: actions.Action,
        pod_grace_s: float,
    ) -> None:
        match action:
            case actions.StopContainer():
                if action.restart:
                    memory.renewed.add(action.id)
                grace_s = pod_grace_s if action.grace_s is None else action.grace_s
                if memory.grace_s is not None:
                    grace_s = min(grace_s, memory.grace_s)
                address = view.sandboxes[0].address if view.sandboxes else ""
                self._stopper.stop_container(uid, memory, action, grace_s, address or self._host_ip)
            case actions.StopSandbox():
                self._stopper.stop_sandbox(uid, memory, action.id)
            case actions.RemoveContainer():
                memory.messages.pop(action.id, None)
                memory.allocation.actual.pop(action.id, None)
                memory.moments.pop(action.id, None)
                memory.renewed.discard(action.id)
                for container in view.containers:
                    if container.id == action.id:
                        await asyncio.to_thread(_remove_log, container.log_path)
                await self._runtime.remove_container(action.id)
            case actions.RemoveSandbox():
                await self._runtime.remove_sandbox(action.id)

    async def _refresh_volumes(
        self, pod: Object, memory: PodMemory, view: PodView, plan: Plan
    ) -> None:
        """Bring the files of a running Pod up to date, and see to it that it happens again."""
        if not view.running or not pod["spec"].get("volumes") or is_terminating(pod):
            return
        now_s = self._clock.monotonic_s()
        if not memory.volumes_checked_at_s:
            memory.volumes_checked_at_s = now_s
        elif now_s - memory.volumes_checked_at_s >= _VOLUMES_PERIOD_S:
            memory.volumes_checked_at_s = now_s
            try:
                place = self._starter.place(view.sandboxes[0].address)
                await self._starter.volumes.set_up(pod, place)
            except (ApiError, VolumeSetUpError) as error:
                log.info("volumes not refreshed", pod=str(key_of(pod)), cause=str(error))
        plan.wake(memory.volumes_checked_at_s + _VOLUMES_PERIOD_S - now_s + 0.01)

    async def _finish_deletion(self, pod: Object) -> None:
        key = key_of(pod)
        try:
            await self._client.delete(
                POD, key.name, key.namespace, grace_period_s=0, uid=uid_of(pod)
            )
        except (NotFoundError, ConflictError):
            return


def _was_ready(pod: Object, container_id: str) -> bool:
    """What the API last said of this very life of a container."""
    status = pod.get("status") or {}
    statuses = [
        *(status.get("containerStatuses") or ()),
        *(status.get("initContainerStatuses") or ()),
    ]
    return any(
        s.get("ready") and (s.get("containerID") or "").endswith(f"://{container_id}")
        for s in statuses
    )


def _go_duration(seconds: float) -> str:
    """As Go prints it: 10s, 1m20s, 5m0s."""
    whole = round(seconds)
    if whole < 60:
        return f"{seconds:g}s"
    return f"{whole // 60}m{whole % 60}s"


def _remove_log(path: str) -> None:
    if path:
        for file in Path(path).parent.glob(Path(path).name + "*"):
            file.unlink(missing_ok=True)


def _remove_tree(path: Path) -> None:
    shutil.rmtree(path, ignore_errors=True)

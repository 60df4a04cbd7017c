"""Tells the API what became of a Pod."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from pathlib import Path

from agents.node.container_start import termination_log
from agents.node.last_words import last_words
from agents.node.plan import container_spec
from agents.node.pod_memory import PodMemory
from agents.node.pod_parts import PodProber, PodVolumes
from agents.node.pod_view import PodView
from agents.node.post_start import PostStartHooks
from agents.node.status import Observed, pod_status
from kubraft.api.errors import ConflictError, NotFoundError
from kubraft.api.gvk import POD
from kubraft.api.object import Object, key_of, uid_of
from kubraft.api.patch import diff_merge_patch
from kubraft.api.time import Clock
from kubraft.client.client import ApiClient


class PodReporter:
    """Writes the status of the Pods of one node."""

    def __init__(
        self,
        client: ApiClient,
        volumes: PodVolumes,
        prober: PodProber,
        hooks: PostStartHooks,
        clock: Clock,
        *,
        host_ip: str,
        runtime_name: str,
        find_pod: Callable[[str], Object | None],
        uid_in_api: Callable[[Object], str],
    ) -> None:
        self._client = client
        self._volumes = volumes
        self._prober = prober
        self._hooks = hooks
        self._clock = clock
        self._host_ip = host_ip
        self._runtime_name = runtime_name
        self._find_pod = find_pod
        self._uid_in_api = uid_in_api

    async def report(self, pod: Object, memory: PodMemory, view: PodView) -> None:
        """Write the status where it differs from what the API has.

        Raises:
            ApiError: it could not be written.
        """
        await self._read_last_words(pod, memory, view)
        observed = Observed(
            view=view,
            host_ip=self._host_ip,
            waiting=memory.waiting,
            hooking=self._hooks.running(uid_of(pod)),
            ready=self._prober.ready,
            started=self._prober.started,
            messages=memory.messages,
            ended=memory.ended,
            runtime_name=self._runtime_name,
            allocation=memory.allocation,
            disruption=memory.disruption,
        )
        latest = self._find_pod(uid_of(pod)) or pod
        status = pod_status(latest, observed, self._clock.now())
        change = diff_merge_patch(latest.get("status") or {}, status)
        if not change:
            return
        key = key_of(pod)
        uid = self._uid_in_api(pod)
        if not uid:
            return
        merge = {"metadata": {"uid": uid}, "status": change}
        try:
            await self._client.patch(POD, key.name, merge, key.namespace, "status")
        except (NotFoundError, ConflictError):
            return  # it is gone, or another Pod has its name: the watch says so

    async def _read_last_words(self, pod: Object, memory: PodMemory, view: PodView) -> None:
        for life in view.containers:
            if not life.exited or life.id in memory.messages:
                continue
            try:
                container = container_spec(pod, life.name)
            except KeyError:
                continue
            path = termination_log(self._volumes, uid_of(pod), life.name, life.attempt)
            policy = container.get("terminationMessagePolicy") or "File"
            fallback = policy == "FallbackToLogsOnError" and life.exit_code != 0
            log_path = Path(life.log_path) if fallback and life.log_path else None
            memory.messages[life.id] = await asyncio.to_thread(last_words, path, log_path)

"""Keeps this node's Node object and Lease: registers, renews, reports, and registers again."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from typing import Any

from agents.node.condition_events import condition_events
from agents.node.node_object import (
    Machine,
    Usage,
    labels,
    lease_object,
    node_object,
    node_status,
    without_heartbeat,
)
from kubraft.api.errors import (
    AlreadyExistsError,
    ApiError,
    ConflictError,
    NotFoundError,
)
from kubraft.api.gvk import LEASE, NODE
from kubraft.api.object import Object, labels_of, uid_of
from kubraft.api.patch import diff_merge_patch
from kubraft.api.time import Clock, format_micro_time
from kubraft.client.client import ApiClient
from kubraft.client.events import EventRecorder
from kubraft.log import get_logger

_NAMESPACE = "kube-node-lease"
_RETRY_S_MIN = 0.2
_RETRY_S_MAX = 7.0

log = get_logger("node.registration")


@dataclass(frozen=True, slots=True)
class Periods:
    """How often what is done; upstream's defaults."""

    lease_duration_s: int = 40
    status_update_s: float = 10.0  # how often the machine is looked at
    status_report_s: float = 300.0  # how often it is reported although nothing has changed


class Registration:
    """The Node and the Lease of this machine."""

    def __init__(
        self,
        client: ApiClient,
        machine: Machine,
        usage: Callable[[], Awaitable[Usage]],
        recorder: EventRecorder,
        *,
        clock: Clock,
        periods: Periods,
    ) -> None:
        self._client = client
        self._machine = machine
        self._usage = usage
        self._recorder = recorder
        self._clock = clock
        self._periods = periods
        self._node: Object | None = None
        self._lease: Object | None = None
        self._reported_at_s = 0.0
        self._look = asyncio.Event()
        self.registered = asyncio.Event()

    @property
    def labels(self) -> dict[str, str]:
        """The Node's labels, as far as is known."""
        return labels_of(self._node) if self._node else labels(self._machine)

    def look_now(self) -> None:
        """Look at the machine now rather than in a while: something has changed."""
        self._look.set()

    def on_node(self, _old: Object | None, new: Object | None) -> None:
        """Follow the Node object: one that was deleted is made again."""
        if new is None and self.registered.is_set():
            log.warning("node object deleted, registering again", node=self._machine.name)
            self._node = self._lease = None
            self.look_now()
        elif new is not None:
            self._node = new

    async def run(self) -> None:
        """Register, then keep Lease and status until cancelled."""
        async with asyncio.TaskGroup() as group:
            group.create_task(self._keep_status())
            group.create_task(self._keep_lease())

    # Node

    async def _keep_status(self) -> None:
        retry_s = _RETRY_S_MIN
        while True:
            try:
                await self.report()
                retry_s = _RETRY_S_MIN
                wait_s = self._periods.status_update_s
            except ApiError as error:
                log.warning("node status not written", cause=error.message)
                wait_s, retry_s = retry_s, min(retry_s * 2, _RETRY_S_MAX)
            await self._wait(wait_s)

    async def _wait(self, seconds: float) -> None:
        self._look.clear()
        looking = asyncio.ensure_future(self._look.wait())
        sleeping = asyncio.ensure_future(self._clock.sleep(seconds))
        try:
            await asyncio.wait({looking, sleeping}, return_when=asyncio.FIRST_COMPLETED)
        finally:
            looking.cancel()
            sleeping.cancel()

    async def report(self) -> None:
        """Register where the Node is missing; write its status where it changed or is old.

        Raises:
            ApiError: the API server does not take it.
        """
        usage = await self._usage()
        if self._node is None:
            await self._register(usage)
        assert self._node is not None
        old = self._node.get("status") or {}
        new = node_status(old, self._machine, usage, self._clock.now())
        changed = without_heartbeat(new) != without_heartbeat(old)
        now_s = self._clock.monotonic_s()
        if not changed and now_s - self._reported_at_s < self._periods.status_report_s:
            return
        change = diff_merge_patch(old, new)
        try:
            self._node = await self._client.patch(
                NODE, self._machine.name, {"status": change}, subresource="status"
            )
        except NotFoundError:
            self._node = self._lease = None
            raise
        self._reported_at_s = now_s
        self._tell(old, new)

    def _tell(self, old: Object, new: Object) -> None:
        for reason, message in condition_events(self._machine.name, old, new):
            self._recorder.event(self._node or {}, "Normal", reason, message)

    async def _register(self, usage: Usage) -> None:
        wanted = node_object(self._machine, usage, self._clock.now())
        try:
            self._node = await self._client.create(wanted)
            self._tell({}, wanted.get("status") or {})
        except AlreadyExistsError:
            found = await self._client.get(NODE, self._machine.name)
            change: dict[str, Any] = {}
            if not labels(self._machine).items() <= labels_of(found).items():
                change["metadata"] = {"labels": labels(self._machine)}
            if not (found.get("spec") or {}).get("podCIDR") and self._machine.pod_cidr:
                change["spec"] = wanted["spec"]
            if change:
                found = await self._client.patch(NODE, self._machine.name, change)
            self._node = found
        if not self.registered.is_set():
            self._recorder.event(self._node, "Normal", "Starting", "Starting kubelet.")
        self.registered.set()
        log.info("node registered", node=self._machine.name)

    # Lease

    async def _keep_lease(self) -> None:
        await self.registered.wait()
        period_s = self._periods.lease_duration_s / 4
        retry_s = _RETRY_S_MIN
        while True:
            try:
                await self.renew()
                retry_s = _RETRY_S_MIN
                wait_s = period_s
            except ApiError as error:
                log.warning("lease not renewed", cause=error.message)
                self._lease = None
                wait_s, retry_s = retry_s, min(retry_s * 2, _RETRY_S_MAX, period_s)
            await self._clock.sleep(wait_s)

    async def renew(self) -> None:
        """Renew the Lease, or make it.

        Raises:
            ApiError: the API server does not take it.
        """
        now = self._clock.now()
        if self._lease is not None:
            spec = {**self._lease["spec"], "renewTime": format_micro_time(now)}
            spec["leaseDurationSeconds"] = self._periods.lease_duration_s
            spec["holderIdentity"] = self._machine.name
            try:
                self._lease = await self._client.update({**self._lease, "spec": spec})
            except (ConflictError, NotFoundError):
                self._lease = None
            else:
                return
        if self._node is None:
            return
        wanted = lease_object(
            self._machine.name, uid_of(self._node), self._periods.lease_duration_s, now
        )
        try:
            self._lease = await self._client.create(wanted)
        except AlreadyExistsError:
            found = await self._client.get(LEASE, self._machine.name, _NAMESPACE)
            spec = {**(found.get("spec") or {}), **wanted["spec"]}
            metadata = {
                **found["metadata"],
                "ownerReferences": wanted["metadata"]["ownerReferences"],
            }
            self._lease = await self._client.update({**found, "metadata": metadata, "spec": spec})

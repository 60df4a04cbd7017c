"""One hollow node: the node agent's registration and reconciler, on parts that only remember."""

from __future__ import annotations

import os
from collections.abc import Callable
from dataclasses import dataclass
from ipaddress import IPv4Network
from pathlib import Path

from agents.node.dns import ClusterDns
from agents.node.fields import Place
from agents.node.hollow.behaviour import Defaults, behaviour_of
from agents.node.hollow.fleet import USAGE
from agents.node.hollow.parts import HollowProber, HollowStarter, HollowStopper, NoHooks, NoVolumes
from agents.node.hollow.runtime import NAME, HollowRuntime
from agents.node.node_admission import refusal
from agents.node.node_object import Machine, Usage, allocatable
from agents.node.plan import Waiting
from agents.node.pod_identity import PodIdentity
from agents.node.pod_sync import PodSync
from agents.node.probe_handlers import Execute
from agents.node.registration import Periods, Registration
from kubraft.api.conditions import conditions_of, find_condition
from kubraft.api.object import Object, uid_of
from kubraft.api.time import Clock
from kubraft.client.client import ApiClient
from kubraft.client.events import EventRecorder


@dataclass(frozen=True, slots=True)
class Shared:
    """What all hollow nodes of a process have together.

    Attributes:
        pods: the Pods bound to a node, by its name.
        again: has a Pod of a node looked at again.
    """

    client: ApiClient
    clock: Clock
    recorder: EventRecorder
    root: Path
    defaults: Defaults
    periods: Periods
    backoff_s: tuple[float, float]
    find_pod: Callable[[str], Object | None]
    again: Callable[[str, str], None]
    new_id: Callable[[], str]


class HollowNode:
    """Has no task of its own: it is told when to register, to beat and to look at a Pod."""

    def __init__(self, machine: Machine, shared: Shared) -> None:
        self.name = machine.name
        self.is_gone = False  # its Node was deleted, so it does nothing until there is one again
        self.is_due = True  # its status must be looked at
        self._shared = shared
        self._machine = machine
        clock = shared.clock
        self.runtime = HollowRuntime(clock, IPv4Network(machine.pod_cidr), shared.new_id)
        self._prober = HollowProber(clock, shared.defaults)
        self._registration = Registration(
            shared.client, machine, _usage, shared.recorder, clock=clock, periods=shared.periods
        )
        available = allocatable(machine)

        def place(address: str) -> Place:
            return Place(address or machine.host_ip, machine.host_ip, machine.name, available)

        def refuse(pod: Object) -> Waiting | None:
            others = [p for p in self._sync.running_pods() if uid_of(p) != uid_of(pod)]
            return refusal(pod, others, available, self._registration.labels)

        def again(uid: str) -> None:
            shared.again(machine.name, uid)

        # Nobody in the Pod asks for names; a server there is keeps the warning away that none is.
        identity = PodIdentity(shared.root, ClusterDns((machine.host_ip,)), Path(os.devnull))
        volumes = NoVolumes(shared.root)
        starter = HollowStarter(
            self.runtime, shared.recorder, shared.defaults, identity, volumes, place
        )
        self._sync = PodSync(
            client=shared.client,
            runtime=self.runtime,
            starter=starter,
            prober=self._prober,
            stopper=HollowStopper(self.runtime, shared.recorder, clock, _execute, again),
            hooks=NoHooks(shared.recorder, clock, _execute, again),
            recorder=shared.recorder,
            clock=clock,
            root=shared.root,
            host_ip=machine.host_ip,
            find_pod=shared.find_pod,
            refuse=refuse,
            backoff_s=shared.backoff_s,
            runtime_name=NAME,
            reports_sandboxes=False,
        )

    def on_node(self, new: Object | None) -> None:
        """Follow the Node object. One that is deleted is left alone, until somebody makes it."""
        self.is_gone = new is None
        if new is not None:
            self._registration.on_node(None, new)
            ready = find_condition(conditions_of(new), "Ready")
            self.is_due = self.is_due or ready is None or ready.get("status") != "True"

    async def report(self) -> None:
        """Register, or write the status where it must be.

        Raises:
            ApiError: the API server does not take it.
        """
        await self._registration.report()
        self.is_due = False

    async def beat(self) -> None:
        """Renew the Lease.

        Raises:
            ApiError: the API server does not take it.
        """
        await self._registration.renew()

    async def reconcile(self, uid: str) -> float | None:
        """Move one Pod forward; returns after how many seconds to look again.

        Raises:
            ApiError: its status could not be written.
        """
        if not self.runtime.knows(uid) and (pod := self._shared.find_pod(uid)) is not None:
            self.runtime.adopt(pod, behaviour_of(pod, self._shared.defaults))
        waits = (
            await self._sync.reconcile(uid),
            self.runtime.next_end_s(uid),
            self._prober.next_ready_s(uid),
        )
        return min((wait for wait in waits if wait is not None), default=None)


async def _usage() -> Usage:
    return USAGE


def _execute(_container_id: str) -> Execute:
    async def execute(command: list[str], timeout_s: float) -> tuple[int, str]:
        del command, timeout_s
        return 0, ""

    return execute

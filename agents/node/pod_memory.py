"""What this agent remembers of a Pod between two looks at it; lost, and not missed, on restart."""

from __future__ import annotations

import asyncio
from dataclasses import dataclass, field

from agents.node.allocation import Allocation
from agents.node.plan import Waiting
from agents.node.restart_backoff import RestartBackoff
from kubraft.api.object import Object


@dataclass(slots=True)
class PodMemory:
    """One Pod's."""

    backoff: RestartBackoff
    pulls: RestartBackoff
    pod: Object | None = None  # as last seen, for when it is gone
    admitted: bool = False
    ended: Waiting | None = None  # rejected, or past its deadline
    waiting: dict[str, Waiting] = field(default_factory=dict)  # what the last try said
    pull_failed_at_s: dict[str, float] = field(default_factory=dict)  # image -> when
    pull_errors: dict[str, str] = field(default_factory=dict)  # image -> what the pull said
    allocation: Allocation = field(default_factory=Allocation)
    moments: dict[str, float] = field(default_factory=dict)  # what happened -> monotonic seconds
    disruption: bool = False  # the node ends the Pod, which others are told by a condition
    grace_s: float | None = None  # what the Pod has to stop, where the node says so
    failures: int = 0  # of starting, in a row
    renewed: set[str] = field(default_factory=set)  # containers stopped to be started anew
    stopping: dict[str, Stop] = field(default_factory=dict)  # containers and sandboxes
    messages: dict[str, str] = field(default_factory=dict)  # container id -> last words
    volumes_checked_at_s: float = 0.0
    volumes_measured_at_s: float = 0.0
    volumes_awaited_since_s: float | None = None  # None while all is well


@dataclass(slots=True)
class Stop:
    """A stop under way."""

    tasks: list[asyncio.Task[None]]
    until_s: float  # when the grace period ends
    ended: asyncio.Event = field(default_factory=asyncio.Event)

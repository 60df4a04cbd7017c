"""What a controller is given: client, caches, clock, options, a way to record Event objects."""

from __future__ import annotations

from dataclasses import dataclass, field
from random import Random
from typing import Protocol

from agents.controllers.discovery import Discovery
from agents.controllers.informers import Informers
from agents.controllers.options import Options
from kubraft.api.time import Clock
from kubraft.client.client import ApiClient
from kubraft.client.events import EventRecorder


class Runnable(Protocol):
    """A controller. It is made before the caches are filled, and reads nothing until it runs."""

    async def run(self) -> None:
        """Control until cancelled; called once, when the caches have had their first list."""
        ...


@dataclass(slots=True)
class Context:
    """One term of leadership: nothing in it outlives the loss of the Lease.

    `client` writes only while the Lease is held.
    """

    client: ApiClient
    informers: Informers
    discovery: Discovery
    options: Options
    clock: Clock
    rng: Random
    recorders: list[EventRecorder] = field(default_factory=list)

    def recorder(self, component: str) -> EventRecorder:
        """A recorder of Event objects that name `component` as their source."""
        recorder = EventRecorder(self.client, component, clock=self.clock)
        self.recorders.append(recorder)
        return recorder

"""What plugins are given when they are made: the cluster's objects, and the way to write them."""

from __future__ import annotations

from dataclasses import dataclass, field
from random import Random

from kubraft.api.gvk import GroupVersionKind
from kubraft.api.time import Clock
from kubraft.client.client import ApiClient
from kubraft.client.informer import Informer


@dataclass(frozen=True, slots=True)
class Handle:
    """Shared by the plugins of all profiles of one process.

    `client` writes only while this process holds the Lease.
    """

    client: ApiClient
    clock: Clock
    rng: Random
    informers: dict[GroupVersionKind, Informer] = field(default_factory=dict)

    def informer(self, kind: GroupVersionKind) -> Informer:
        """The cache of all objects of `kind`; the scheduler runs it. Ask when a plugin is made.

        It does not change while a decision is made, and is complete before the first one.
        """
        found = self.informers.get(kind)
        if found is None:
            found = Informer(self.client, kind, clock=self.clock, rng=self.rng)
            self.informers[kind] = found
        return found

"""Sums over all nodes by domain, kept up to date by what changed instead of made anew.

How many Pods of one kind each zone or host has is asked for every Pod of a series, and each answer
differs from the last by a node or two. A tally remembers what each node contributed, so that only
nodes that changed since are looked at.
"""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Callable, Hashable, Iterable, Mapping
from dataclasses import dataclass, field

from agents.scheduler.node_info import NodeInfo

# Different sums that are remembered; those not asked for in the longest time are made anew.
TALLIES_MAX = 512
# Changes of nodes that are remembered; then all sums are made anew.
CHANGES_MAX = 20_000

Domain = Hashable
Contribution = Iterable[tuple[Domain, float]]
# What one node adds to which domains; 0 makes a domain exist.
Contribute = Callable[[NodeInfo], Contribution]
Totals = Mapping[Domain, float]


@dataclass(slots=True)
class Tally:
    """One sum, as of some moment."""

    contribute: Contribute
    seen: int = 0  # changes that it has taken in
    totals: dict[Domain, float] = field(default_factory=dict)
    _nodes: dict[Domain, int] = field(default_factory=dict)  # that contribute to a domain
    _by_node: dict[str, tuple[tuple[Domain, float], ...]] = field(default_factory=dict)

    def take(self, name: str, node: NodeInfo | None) -> None:
        """Replace what the node of that name contributes; None: it is gone."""
        for domain, amount in self._by_node.pop(name, ()):
            self._nodes[domain] -= 1
            if self._nodes[domain]:
                self.totals[domain] -= amount
            else:
                del self._nodes[domain], self.totals[domain]
        if node is None:
            return
        given = tuple(self.contribute(node))
        if not given:
            return
        self._by_node[name] = given
        for domain, amount in given:
            self.totals[domain] = self.totals.get(domain, 0) + amount
            self._nodes[domain] = self._nodes.get(domain, 0) + 1


class Tallies:
    """The tallies of one cluster, for its newest snapshot."""

    def __init__(self) -> None:
        self._tallies: OrderedDict[Hashable, Tally] = OrderedDict()
        self._changed: list[str] = []

    @property
    def version(self) -> int:
        """Grows with each change; snapshots of another version are not these."""
        return len(self._changed)

    def changed(self, name: str) -> None:
        """Note that a node is another value now, or gone."""
        self._changed.append(name)

    def totals(
        self, key: Hashable, nodes: Mapping[str, NodeInfo], contribute: Contribute
    ) -> Totals:
        """The sums by domain over `nodes`, the newest; read-only, valid until the next change.

        `key` must name all that `contribute` depends on besides the node.
        """
        tally = self._tallies.get(key)
        if tally is None:
            tally = self._tallies[key] = Tally(contribute, len(self._changed))
            for name, node in nodes.items():
                tally.take(name, node)
            if len(self._tallies) > TALLIES_MAX:
                self._tallies.popitem(last=False)
            return tally.totals
        self._tallies.move_to_end(key)
        if tally.seen < len(self._changed):
            for name in dict.fromkeys(self._changed[tally.seen :]):
                tally.take(name, nodes.get(name))
            tally.seen = len(self._changed)
        return tally.totals


def summed(nodes: Iterable[NodeInfo], contribute: Contribute) -> Totals:
    """The same sums without memory."""
    totals: dict[Domain, float] = {}
    for node in nodes:
        for domain, amount in contribute(node):
            totals[domain] = totals.get(domain, 0) + amount
    return totals


def moved(totals: Totals, contribute: Contribute, before: NodeInfo, after: NodeInfo) -> Totals:
    """The sums as they were if `after` stood in place of `before`."""
    changed = dict(totals)
    for domain, amount in contribute(before):
        changed[domain] = changed.get(domain, 0) - amount
    for domain, amount in contribute(after):
        changed[domain] = changed.get(domain, 0) + amount
    return changed

"""From one ruleset to the next, in nft's words. Pure.

A transaction is applied whole or not at all: clients never see half of it. Chains and sets that
nothing leads to any more are emptied at once and deleted by a later transaction: older kernels
refuse to delete a chain in the transaction that removes the last element that leads to it.

Source: nft(8).
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Iterator, Mapping
from typing import NamedTuple

from agents.proxy.ruleset import TABLE, Chain, Element, Holder, Ruleset


class Stale(NamedTuple):
    """What is to be deleted by a later transaction."""

    chains: frozenset[str] = frozenset()
    holders: frozenset[tuple[str, str]] = frozenset()  # kind, name

    def __bool__(self) -> bool:
        return bool(self.chains or self.holders)

    def without(self, ruleset: Ruleset) -> Stale:
        """Less what is wanted again."""
        return Stale(
            self.chains.difference(ruleset.chains),
            frozenset(each for each in self.holders if each[1] not in ruleset.holders),
        )

    def __or__(self, other: Stale) -> Stale:
        return Stale(self.chains | other.chains, self.holders | other.holders)


def table_of(ruleset: Ruleset) -> str:
    """The table as nft names it."""
    return f"{'ip' if ruleset.family == 'IPv4' else 'ip6'} {TABLE}"


def whole(ruleset: Ruleset) -> str:
    """Replace the table, whatever it holds now; its clients' affinities are forgotten."""
    table = table_of(ruleset)
    empty = Ruleset(ruleset.family, {}, {}, {})
    head = f'add table {table} {{ comment "rules for kube-proxy"; }}\n'
    return f"{head}delete table {table}\n{head}{step(empty, ruleset)}"


def over(ruleset: Ruleset, chains: Iterable[str], holders: Mapping[str, str]) -> tuple[str, Stale]:
    """Make a table whose chains and sets have these names, with any content, this ruleset.

    Args:
        ruleset: what is wanted.
        chains: names of all that are there.
        holders: the kind ("set", "map") of all that are there, by name. Those that the kernel
            fills keep their elements.
    """
    table = table_of(ruleset)
    lines = [f"flush table {table}\n"]
    lines += [
        f"flush {kind} {table} {name}\n"
        for name, kind in sorted(holders.items())
        if name not in ruleset.holders or not ruleset.holders[name].learned
    ]
    there = Ruleset(
        ruleset.family,
        {name: Chain((), ruleset.chains[name].hook) for name in chains if name in ruleset.chains},
        {name: ruleset.holders[name] for name in holders if name in ruleset.holders},
        {},
    )
    stale = Stale(
        frozenset(chains), frozenset((kind, name) for name, kind in holders.items())
    ).without(ruleset)
    return "".join(lines) + step(there, ruleset), stale


def stale_after(old: Ruleset, new: Ruleset) -> Stale:
    """What the step between them leaves behind, empty."""
    chains = frozenset(old.chains.keys() - new.chains.keys())
    names = old.holders.keys() - new.holders.keys()
    return Stale(chains, frozenset((old.holders[name].kind, name) for name in names))


def deletion(stale: Stale, ruleset: Ruleset) -> str:
    """Delete what is stale; it must be there, and nothing may lead to it."""
    table = table_of(ruleset)
    lines = [f"delete chain {table} {name}\n" for name in sorted(stale.chains)]
    lines += [f"delete {kind} {table} {name}\n" for kind, name in sorted(stale.holders)]
    return "".join(lines)


def step(old: Ruleset, new: Ruleset) -> str:
    """What changes; "" where nothing does. What is left behind is empty: `stale_after`."""
    table = table_of(new)
    return "".join(
        [
            *_new_holders(table, old.holders, new.holders),
            *_chains(table, old.chains, new.chains),
            *_elements(table, old, new),
            *(f"flush chain {table} {name}\n" for name in _gone(old.chains, new.chains)),
        ]
    )


def _gone(old: Mapping[str, Chain], new: Mapping[str, Chain]) -> list[str]:
    return sorted(name for name, chain in old.items() if name not in new and chain.rules)


def _new_holders(table: str, old: Mapping[str, Holder], new: Mapping[str, Holder]) -> Iterator[str]:
    for name, holder in new.items():
        if name not in old:
            yield f"add {holder.kind} {table} {name} {{ {holder.spec} }}\n"


def _chains(table: str, old: Mapping[str, Chain], new: Mapping[str, Chain]) -> Iterator[str]:
    """All new chains first: rules may lead to any of them."""
    changed = [name for name, chain in new.items() if old.get(name) != chain]
    for name in changed:
        if name not in old:
            hook = f" {{ {new[name].hook} }}" if new[name].hook else ""
            yield f"add chain {table} {name}{hook}\n"
        elif old[name].rules:
            yield f"flush chain {table} {name}\n"
    for name in changed:
        for rule in new[name].rules:
            yield f"add rule {table} {name} {rule}\n"


def _elements(table: str, old: Ruleset, new: Ruleset) -> Iterator[str]:
    gone: dict[str, list[Element]] = defaultdict(list)
    come: dict[str, list[Element]] = defaultdict(list)
    for element, verdict in old.elements.items():
        if new.elements.get(element) != verdict:
            gone[element.holder].append(element)
    for element, verdict in new.elements.items():
        if old.elements.get(element) != verdict:
            come[element.holder].append(element)
    for holder, elements in sorted(gone.items()):
        keys = ", ".join(element.key for element in elements)
        yield f"delete element {table} {holder} {{ {keys} }}\n"
    for holder, elements in sorted(come.items()):
        each = ", ".join(
            f"{element.key} : {verdict}" if (verdict := new.elements[element]) else element.key
            for element in elements
        )
        yield f"add element {table} {holder} {{ {each} }}\n"

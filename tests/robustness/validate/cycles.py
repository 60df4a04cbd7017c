"""Is there one order of these list txns that real time allows? Elle's question, asked in small.

Who reads a list sees who wrote each of its elements, and in which order. That gives edges between
txns: one wrote before another (ww), was read by another (wr), read what another then overwrote
(rw), or had ended before another began (real time). Strict serializability is that no edges form a
cycle. Source: Kingsbury and Alvaro, "Elle: Inferring isolation anomalies", 2020.
"""

from __future__ import annotations

import itertools
from collections.abc import Iterator, Sequence

from tests.robustness.history import ListTxn

# A txn by its number in the history, or a moment in real time: a negative number.
Node = int
Edges = dict[Node, dict[Node, str]]


def anomalies(txns: Sequence[ListTxn]) -> Iterator[str]:
    """A sentence for each way in which the txns fit no order."""
    writers, twice = _writers(txns)
    yield from twice
    orders: dict[str, tuple[str, ...]] = {}
    for number, txn in _done(txns):
        for key, elements in txn.reads:
            longest = orders.setdefault(key, elements)
            shorter, longer = sorted((longest, elements), key=len)
            if longer[: len(shorter)] != shorter:
                yield f"txn {number} read {key!r} as {elements}, another as {longest}"
            orders[key] = longer
    for key, elements in orders.items():
        for element in elements:
            writer = writers.get((key, element))
            if writer is None:
                yield f"{key!r} has {element!r}, which nobody put there"
            elif txns[writer].done is False:
                yield f"{key!r} has {element!r} of txn {writer}, which was not done"
    edges = _edges(txns, writers, orders)
    for cycle in _cycles(edges):
        yield f"cycle: {_tell(cycle, edges)}"


def _done(txns: Sequence[ListTxn]) -> Iterator[tuple[int, ListTxn]]:
    return ((number, txn) for number, txn in enumerate(txns) if txn.done)


def _writers(txns: Sequence[ListTxn]) -> tuple[dict[tuple[str, str], int], list[str]]:
    writers: dict[tuple[str, str], int] = {}
    twice = []
    for number, txn in enumerate(txns):
        for key, element in txn.appends:
            if (key, element) in writers:
                twice.append(f"{element!r} was put behind {key!r} twice")
            writers[key, element] = number
    return writers, twice


def _unread(txns: Sequence[ListTxn], orders: dict[str, tuple[str, ...]]) -> dict[str, list[Node]]:
    """By list, the txns that were done and whose element nobody read: they came last."""
    found: dict[str, list[Node]] = {}
    for number, txn in _done(txns):
        for key, element in txn.appends:
            if element not in orders.get(key, ()):
                found.setdefault(key, []).append(number)
    return found


def _edges(
    txns: Sequence[ListTxn],
    writers: dict[tuple[str, str], int],
    orders: dict[str, tuple[str, ...]],
) -> Edges:
    edges: Edges = {}

    def add(one: Node | None, other: Node | None, kind: str) -> None:
        if one is not None and other is not None and one != other:
            edges.setdefault(one, {}).setdefault(other, kind)

    unread = _unread(txns, orders)
    for key, elements in orders.items():
        chain = [writers.get((key, element)) for element in elements]
        for before, after in itertools.pairwise(chain):
            add(before, after, "ww")
    seen = {writers[key, e] for key, order in orders.items() for e in order if (key, e) in writers}
    for number, txn in _done(txns):
        for key, elements in txn.reads:
            if elements:
                add(writers.get((key, elements[-1])), number, "wr")
            order = orders[key]
            if len(elements) < len(order):
                add(number, writers.get((key, order[len(elements)])), "rw")
            else:
                for appender in unread.get(key, ()):
                    add(number, appender, "rw")
    _add_real_time(edges, txns, seen)
    return edges


def _add_real_time(edges: Edges, txns: Sequence[ListTxn], seen: set[int]) -> None:
    """Moments in a row: a txn comes before the moment of its end, and behind that of its call."""
    moments: list[tuple[float, int, int]] = []
    for number, txn in enumerate(txns):
        if txn.done:
            moments.append((txn.returned, 1, number))
        if txn.done or number in seen:
            moments.append((txn.called, 0, number))
    moments.sort()
    last: Node | None = None
    for position, (_, is_end, number) in enumerate(moments):
        if is_end:
            moment = -1 - position
            edges.setdefault(number, {})[moment] = "real time"
            if last is not None:
                edges.setdefault(last, {})[moment] = "real time"
            last = moment
        elif last is not None:
            edges.setdefault(last, {})[number] = "real time"


def _cycles(edges: Edges) -> Iterator[list[Node]]:
    """One short cycle of each strongly connected part."""
    for part in _components(edges):
        if len(part) > 1:
            yield _shortest_cycle(edges, set(part))


def _components(edges: Edges) -> Iterator[list[Node]]:
    """Tarjan's, with a stack of its own."""
    index: dict[Node, int] = {}
    low: dict[Node, int] = {}
    path: list[Node] = []
    on_path: set[Node] = set()
    for root in edges:
        if root in index:
            continue
        work: list[tuple[Node, Iterator[Node]]] = [(root, iter(edges.get(root, ())))]
        index[root] = low[root] = len(index)
        path.append(root)
        on_path.add(root)
        while work:
            node, successors = work[-1]
            for successor in successors:
                if successor not in index:
                    index[successor] = low[successor] = len(index)
                    path.append(successor)
                    on_path.add(successor)
                    work.append((successor, iter(edges.get(successor, ()))))
                    break
                if successor in on_path:
                    low[node] = min(low[node], index[successor])
            else:
                work.pop()
                if work:
                    low[work[-1][0]] = min(low[work[-1][0]], low[node])
                if low[node] == index[node]:
                    at = path.index(node)
                    part, path[at:] = path[at:], []
                    on_path.difference_update(part)
                    yield part


def _shortest_cycle(edges: Edges, part: set[Node]) -> list[Node]:
    """Breadth first from one node of the part back to it."""
    start = min(part, key=lambda node: (node < 0, node))
    came_from: dict[Node, Node] = {}
    queue = [start]
    for node in queue:
        for successor in edges.get(node, ()):
            if successor == start:
                return _path(came_from, start, node)
            if successor in part and successor not in came_from:
                came_from[successor] = node
                queue.append(successor)
    raise AssertionError("a strongly connected part without a cycle")


def _path(came_from: dict[Node, Node], start: Node, end: Node) -> list[Node]:
    found = [end]
    while found[-1] != start:
        found.append(came_from[found[-1]])
    return found[::-1]


def _tell(cycle: list[Node], edges: Edges) -> str:
    """Moments are left out: what they join is joined by real time."""
    parts = []
    for node, successor in zip(cycle, [*cycle[1:], cycle[0]], strict=True):
        if node >= 0:
            parts.append(f"txn {node} -{edges[node][successor]}->")
    return " ".join((*parts, f"txn {cycle[0]}"))

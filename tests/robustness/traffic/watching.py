"""Watches of all kinds, and those that watch everything to the end."""

from __future__ import annotations

import asyncio
import dataclasses
from collections.abc import Callable

from tests.robustness.client import Client
from tests.robustness.history import Watch, WatchRequest
from tests.robustness.traffic.load import HISTORY_KEPT, Load

EVERYTHING = WatchRequest("\0", "\0", 1, prev_kv=True)
_PREFIXES = ("register/", "many/", "registry/", "leased/", "lists/", "locks/")


async def watches(load: Load, client: Client) -> None:
    """Short watches of all kinds, from past revisions too, broken off and resumed elsewhere."""
    while await load.rest():
        request = _draw(load)
        for _ in range(3):
            stop = enough(load, load.rng.randint(2, 30))
            number, watch = await client.watch(request, stop, eager=load.rng.random() < 0.5)
            request = resumed(number, watch)
            if load.stop.is_set():
                return


async def shared_streams(load: Load, client: Client) -> None:
    """Several watches on one stream, some of the same keys; all are resumed together elsewhere."""
    while await load.rest():
        requests = [_draw(load) for _ in range(load.rng.randint(2, 6))]
        requests.append(requests[0])
        for _ in range(3):
            stop = enough(load, load.rng.randint(5, 40))
            found = await client.watch_all(requests, stop, eager=load.rng.random() < 0.7)
            requests = [resumed(number, watch) for number, watch in found]
            if load.stop.is_set():
                return


def _draw(load: Load) -> WatchRequest:
    newest = max(load.collected.values(), default=1)
    start = load.rng.choice((0, max(1, newest - load.rng.randrange(3 * HISTORY_KEPT))))
    if load.rng.random() < 0.1:
        start = newest + load.rng.randrange(1, 50)  # not there yet
    prefix = load.rng.choice((*_PREFIXES, "many/1"))
    return WatchRequest(
        prefix,
        "" if prefix == "many/1" else prefix[:-1] + chr(ord(prefix[-1]) + 1),
        start,
        no_put=load.rng.random() < 0.15,
        no_delete=load.rng.random() < 0.15,
        prev_kv=load.rng.random() < 0.6,
        fragment=load.rng.random() < 0.5,
    )


async def collect(load: Load, client: Client, until: Callable[[int], bool]) -> None:
    """Watch everything to the end: the source of the model's states."""
    number = len(load.collected)
    load.collected[number] = 0
    request = EVERYTHING

    def stop(watch: Watch) -> bool:
        load.collected[number] = max(load.collected[number], reached(watch))
        return until(load.collected[number])

    while not until(load.collected[number]):
        index, watch = await client.watch(request, stop)
        request = resumed(index, watch)
        await asyncio.sleep(0.05)


def reached(watch: Watch) -> int:
    """The revision up to which a client of this watch has all."""
    last = max(0, watch.request.start - 1)
    for response in watch.responses:
        if response.events or response.progress:
            last = max(
                last, response.revision if response.progress else response.events[-1].revision
            )
        elif response.created and not watch.request.start:
            last = response.revision
    return last


def resumed(number: int, watch: Watch) -> WatchRequest:
    """The request that goes on where a watch ended, or where history now begins."""
    old = watch.request
    compacted = max((response.compacted for response in watch.responses), default=0)
    follows = -1 if compacted else number
    start = compacted or reached(watch) + 1
    if not watch.responses and not old.start:
        start, follows = 0, -1
    return dataclasses.replace(old, start=start, resumes=follows)


def enough(load: Load, responses: int) -> Callable[[Watch], bool]:
    return lambda watch: load.stop.is_set() or len(watch.responses) > responses

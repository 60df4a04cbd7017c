"""What the clients do: small programs that run until they are stopped, each a row of TRAFFIC.

Every value is written once only, so that who wrote what is plain. Keys whose first part is the
same belong to one program; `register/` alone is judged by the search for a linear order.
"""

from __future__ import annotations

import asyncio
import random
from collections.abc import Callable, Coroutine
from dataclasses import dataclass, field

from tests.robustness.client import Client, Connections
from tests.robustness.history import Kv, Watch, WatchRequest, Write

EVERYTHING = WatchRequest("\0", "\0", 1, prev_kv=True)
REGISTERS = "register/"
# Registers are given up for new ones after so many operations of a client, or the search for an
# order of what was done to one would take too long.
_REGISTER_OPERATIONS = 60
_HISTORY_KEPT = 200  # revisions behind the slowest collector, at least


@dataclass(slots=True)
class Load:
    """What the programs share."""

    connections: Connections
    rng: random.Random
    stop: asyncio.Event
    pause_s: float
    # The revision up to which each watch of everything has all.
    collected: dict[int, int] = field(default_factory=dict)

    async def rest(self) -> bool:
        """A short pause; whether to go on."""
        await asyncio.sleep(self.pause_s * self.rng.random() * 2)
        return not self.stop.is_set()


Program = Callable[[Load, Client], Coroutine[None, None, None]]


async def registers(load: Load, client: Client) -> None:
    """Put, compare-and-swap, delete and read a few keys that others use too."""
    number = 0
    last: dict[str, str | None] = {}
    while await load.rest():
        number += 1
        key = f"{REGISTERS}{number // _REGISTER_OPERATIONS}/{load.rng.randrange(3)}"
        match load.rng.choice(("put", "cas", "cas", "delete", "read", "read", "stale read")):
            case "put":
                value = client.value()
                await client.put(key, value)
                last[key] = value
            case "cas":
                value = client.value()
                guard = (key, last.get(key))
                call = await client.txn([Write(key, value)], guard=guard)
                if call.succeeded:
                    last[key] = value if call.done else _value(call.kvs)
            case "delete":
                await client.delete(key)
                last[key] = None
            case "read":
                last[key] = _value((await client.read(key)).kvs)
            case _:
                await client.read(key, serializable=True)


def _value(kvs: tuple[Kv, ...]) -> str | None:
    return kvs[0].value if kvs else None


async def transactions(load: Load, client: Client) -> None:
    """Write and delete several keys at one revision, sometimes only if another is as it was."""
    while await load.rest():
        keys = load.rng.sample([f"many/{number}" for number in range(8)], 4)
        writes = [Write(key, client.value()) for key in keys[:3]]
        writes.append(Write(keys[3], None))
        guard = None
        if load.rng.random() < 0.5:
            seen = _value((await client.read(keys[0], serializable=True)).kvs)
            guard = (keys[0], seen)
        await client.txn(writes, guard=guard)


async def objects(load: Load, client: Client) -> None:
    """What an apiserver does: list, create if absent, update and delete by revision, watch."""
    prefix, end = "registry/pods/", "registry/pods0"
    while await load.rest():
        listed = await client.read(prefix, end)
        if not listed.succeeded:
            continue
        if load.rng.random() < 0.2:
            watch = WatchRequest(prefix, end, listed.revision + 1, prev_kv=True)
            await client.watch(watch, _enough(load, 10))
        for _ in range(6):
            await _change_object(load, client, listed.kvs, prefix)
            if not await load.rest():
                return


async def _change_object(load: Load, client: Client, kvs: tuple[Kv, ...], prefix: str) -> None:
    name = f"{prefix}ns-{load.rng.randrange(2)}/pod-{load.rng.randrange(6)}"
    seen = next((kv for kv in kvs if kv.key == name), None)
    if seen is None:
        await client.txn([Write(name, client.value())], guard=(name, None))
        return
    value = None if load.rng.random() < 0.3 else client.value()
    await client.txn([Write(name, value)], guard=(name, seen.value), seen=seen)


async def leases(load: Load, client: Client) -> None:
    """Grant, hang keys on it, keep it alive or not, revoke it or let it end."""
    while await load.rest():
        grant = await client.grant(load.rng.randint(2, 3))
        if not grant.succeeded:
            continue
        keys = [f"leased/{load.rng.randrange(5)}" for _ in range(2)]
        for key in keys:
            await client.put(key, client.value(), grant.lease)
        for _ in range(load.rng.randrange(3)):
            await asyncio.sleep(0.5)
            await client.keep_alive(grant.lease)
        fate = load.rng.random()
        if fate < 0.4:
            await client.revoke(grant.lease)
        elif fate < 0.6:
            await client.put(keys[0], client.value())  # without the lease, so it must stay


async def ranges(load: Load, client: Client) -> None:
    """Read all of it, fresh, stale, and as it was."""
    while await load.rest():
        await asyncio.sleep(load.pause_s * 4)
        newest = max(load.collected.values(), default=1)
        match load.rng.randrange(3):
            case 0:
                await client.read("\0", "\0")
            case 1:
                await client.read("many/", "many0", serializable=True)
            case _:
                revision = max(1, newest - load.rng.randrange(2 * _HISTORY_KEPT))
                await client.read("many/", "many0", at_revision=revision)


async def compactions(load: Load, client: Client) -> None:
    """Forget what every collector has long seen."""
    while await load.rest():
        await asyncio.sleep(0.5)
        oldest = min(load.collected.values(), default=0)
        if oldest > 2 * _HISTORY_KEPT:
            await client.compact(oldest - load.rng.randint(_HISTORY_KEPT, 2 * _HISTORY_KEPT))


async def watches(load: Load, client: Client) -> None:
    """Short watches of all kinds, from past revisions too, broken off and resumed elsewhere."""
    while await load.rest():
        newest = max(load.collected.values(), default=1)
        prefix = load.rng.choice(("register/", "many/", "registry/", "leased/", "many/1"))
        request = WatchRequest(
            prefix,
            prefix[:-1] + chr(ord(prefix[-1]) + 1) if prefix != "many/1" else "",
            load.rng.choice((0, max(1, newest - load.rng.randrange(3 * _HISTORY_KEPT)))),
            no_put=load.rng.random() < 0.15,
            no_delete=load.rng.random() < 0.15,
            prev_kv=load.rng.random() < 0.6,
        )
        for _ in range(3):
            stop = _enough(load, load.rng.randint(2, 30))
            number, watch = await client.watch(request, stop, eager=load.rng.random() < 0.5)
            request = resumed(number, watch)
            if load.stop.is_set():
                return


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
    return WatchRequest(
        old.key, old.end, start, old.no_put, old.no_delete, old.prev_kv, resumes=follows
    )


def _enough(load: Load, responses: int) -> Callable[[Watch], bool]:
    return lambda watch: load.stop.is_set() or len(watch.responses) > responses


# Program, and how many clients run it.
TRAFFIC: tuple[tuple[Program, int], ...] = (
    (registers, 5),
    (transactions, 2),
    (objects, 2),
    (leases, 2),
    (ranges, 1),
    (watches, 3),
    (compactions, 1),
)
COLLECTORS = 2

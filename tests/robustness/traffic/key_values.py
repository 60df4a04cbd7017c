"""Puts, deletes, reads, txns, leases and compactions."""

from __future__ import annotations

import asyncio

from tests.robustness.client import Client
from tests.robustness.history import Kv, Write
from tests.robustness.traffic.load import HISTORY_KEPT, Load

REGISTERS = "register/"
# Registers are given up for new ones after so many operations of a client, or the search for an
# order of what was done to one would take too long.
_REGISTER_OPERATIONS = 60


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
                guards = [(key, last.get(key))]
                call = await client.txn([Write(key, value)], guards=guards)
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
        guarded = keys[: load.rng.choice((0, 0, 1, 2))]
        seen = [(await client.read(key, serializable=True)).kvs for key in guarded]
        await client.txn(writes, guards=list(zip(guarded, map(_value, seen), strict=True)))


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
                revision = max(1, newest - load.rng.randrange(2 * HISTORY_KEPT))
                await client.read("many/", "many0", at_revision=revision)


async def compactions(load: Load, client: Client) -> None:
    """Forget what every collector has long seen."""
    while await load.rest():
        await asyncio.sleep(0.5)
        oldest = min(load.collected.values(), default=0)
        if oldest > 2 * HISTORY_KEPT:
            await client.compact(oldest - load.rng.randint(HISTORY_KEPT, 2 * HISTORY_KEPT))

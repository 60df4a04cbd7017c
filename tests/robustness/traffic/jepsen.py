"""Jepsen's workloads for etcd: set, append and lock.

Its register is `key_values.registers`, its watch is `watching.collect` with all other watches.
Source: jepsen-io/etcd; Jepsen, etcd 3.4.3, 2020.
"""

from __future__ import annotations

import asyncio

from tests.conformance.linearizability import NEVER
from tests.robustness.client import Client
from tests.robustness.history import Call, Kv, ListTxn, Write
from tests.robustness.traffic.load import Load

SETS = "sets/"
LISTS = "lists/"
LOCKS = "locks/"
# Sets and lists are given up for new ones after so many changes, as they grow.
_SET_ADDS = 40
_LIST_APPENDS = 60
_LIST_KEYS = 3
_LEASE_S = 2

Elements = tuple[tuple[str, str], ...]  # key, element
Lists = tuple[tuple[str, tuple[str, ...]], ...]


async def sets(load: Load, client: Client) -> None:
    """Add elements, a key each, and read the whole set."""
    number = 0
    while await load.rest():
        number += 1
        name = f"{SETS}{number // _SET_ADDS}/"
        if load.rng.random() < 0.7:
            value = client.value()
            await client.put(name + value, value)
        else:
            await client.read(name, name[:-1] + "0")


async def appends(load: Load, client: Client) -> None:
    """Read several lists at once, put elements behind some, if nobody did meanwhile."""
    number = 0
    while await load.rest():
        number += 1
        name = f"{LISTS}{number // _LIST_APPENDS}/"
        read = await client.read(name, name[:-1] + "0")
        if not read.succeeded:
            continue
        keys = load.rng.sample([f"{name}{key}" for key in "abc"[:_LIST_KEYS]], 2)
        seen = {kv.key: kv for kv in read.kvs if kv.key in keys}
        reads = tuple((key, _elements(seen, key)) for key in keys)
        if load.rng.random() < 0.3:
            client.note(_outcome(read, read, reads, ()))
            continue
        chosen = keys[: load.rng.randint(1, 2)]
        elements = tuple((key, client.value()) for key in chosen)
        call = await client.txn(
            [Write(key, " ".join((*_elements(seen, key), element))) for key, element in elements],
            guards=[(key, seen[key].value if key in seen else None) for key in keys],
            seen=list(seen.values()),
        )
        client.note(_outcome(read, call, reads, elements))


def _outcome(read: Call, last: Call, reads: Lists, appended: Elements) -> ListTxn:
    done = None if last.returned == NEVER else last.succeeded and last.done
    return ListTxn(read.called, last.returned, done, reads, appended)


def _elements(seen: dict[str, Kv], key: str) -> tuple[str, ...]:
    return tuple(seen[key].value.split()) if key in seen else ()


async def locks(load: Load, client: Client) -> None:
    """Take a lock, write under its protection, and give it back, or forget to.

    Jepsen found that a holder may believe in a lock that it has lost: its lease can end before it
    hears of it. What holds is a write that is made only if the lock's key is still there.
    """
    while await load.rest():
        grant = await client.grant(_LEASE_S)
        if not grant.succeeded:
            continue
        name = f"{LOCKS}{load.rng.randrange(2)}"
        call = await client.lock(name, grant.lease)
        if not call.succeeded:
            await client.revoke(grant.lease)
            continue
        (held,) = call.writes
        for _ in range(load.rng.randrange(4)):
            writes = [Write(f"guarded/{name}", client.value())]
            await client.txn(writes, guards=[(held.key, "")])
            await asyncio.sleep(load.rng.random() * _LEASE_S / 2)
            if load.rng.random() < 0.5:
                await client.keep_alive(grant.lease)
        if load.rng.random() < 0.8:
            await client.unlock(held.key)

"""What an apiserver does: pages of a list and a watch behind it, updates by revision, deletes."""

from __future__ import annotations

from tests.robustness.client import Client
from tests.robustness.history import Kv, WatchRequest, Write
from tests.robustness.traffic.load import Load
from tests.robustness.traffic.watching import enough

_PREFIX, _END = "registry/pods/", "registry/pods0"
_PAGE = 5


async def objects(load: Load, client: Client) -> None:
    """List, create if absent, update and delete by revision."""
    while await load.rest():
        listed = await client.read(_PREFIX, _END)
        if not listed.succeeded:
            continue
        for _ in range(6):
            await _change_object(load, client, listed.kvs, _PREFIX)
            if not await load.rest():
                return


async def reflectors(load: Load, client: Client) -> None:
    """List in pages of one revision, then watch from there; from the start where that is gone."""
    while await load.rest():
        revision = await _list(load, client)
        if revision:
            watch = WatchRequest(_PREFIX, _END, revision + 1, prev_kv=True)
            await client.watch(watch, enough(load, 10), eager=load.rng.random() < 0.3)


async def _list(load: Load, client: Client) -> int:
    """The revision of a whole list, or 0: a page failed."""
    key, revision = _PREFIX, 0
    while True:
        page = await client.read(key, _END, at_revision=revision, limit=_PAGE)
        if not page.succeeded:
            return 0
        revision = revision or page.revision
        if page.count <= len(page.kvs):
            return revision
        key = page.kvs[-1].key + "\0"
        if not await load.rest():
            return 0


async def _change_object(load: Load, client: Client, kvs: tuple[Kv, ...], prefix: str) -> None:
    name = f"{prefix}ns-{load.rng.randrange(2)}/pod-{load.rng.randrange(8)}"
    seen = next((kv for kv in kvs if kv.key == name), None)
    if seen is None:
        await client.txn([Write(name, client.value())], guards=[(name, None)])
        return
    value = None if load.rng.random() < 0.3 else client.value()
    await client.txn([Write(name, value)], guards=[(name, seen.value)], seen=[seen])

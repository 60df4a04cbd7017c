"""What an application does with the Python client aetcd, as a program: `HOST PORT [USER PASSWORD]`.

A process of its own, because the client brings its own copy of etcd's messages. It ends with
status 0 when all came out as said here.
"""

import asyncio
import io
import sys

import aetcd


async def keys(client: aetcd.Client) -> None:
    put = await client.put(b"app/a", b"1")
    assert (await client.put(b"app/a", b"2", prev_kv=True)).prev_kv.value == b"1"
    got = await client.get(b"app/a")
    assert (got.value, got.version, got.create_revision) == (b"2", 2, put.header.revision)
    assert await client.get(b"app/none", serializable=True) is None
    for name in (b"b", b"c"):
        await client.put(b"app/" + name, name)
    found = await client.get_prefix(b"app/", sort_order="descend", keys_only=True)
    assert [kv.key for kv in found] == [b"app/c", b"app/b", b"app/a"]
    ranged = await client.get_range(b"app/a", b"app/c", sort_order="ascend", sort_target="mod")
    assert [kv.key for kv in ranged] == [b"app/a", b"app/b"]
    deleted = await client.delete(b"app/c", prev_kv=True)
    assert deleted.prev_kv.value == b"c"
    assert (await client.delete_prefix(b"app/")).deleted == 2


async def transactions(client: aetcd.Client) -> None:
    await client.put(b"app/t", b"old")
    assert await client.replace(b"app/t", b"old", b"new")
    assert not await client.replace(b"app/t", b"old", b"newer")
    txn = client.transactions
    done, answers = await client.transaction(
        compare=[txn.value(b"app/t") == b"new", txn.version(b"app/t") > 1],
        success=[txn.put(b"app/u", b"1"), txn.get(b"app/t")],
        failure=[txn.delete(b"app/t")],
    )
    assert done
    assert answers[1][0][0] == b"new"


async def leases(client: aetcd.Client) -> None:
    lease = await client.lease(60, lease_id=4711)
    try:
        await client.lease(60, lease_id=4711)
    except aetcd.DuplicateLeaseError:
        pass
    else:
        raise AssertionError("a lease of the same id")
    await client.put(b"app/l", b"1", lease=lease)
    assert list(await lease.keys()) == [b"app/l"]
    assert 50 < await lease.remaining_ttl() <= 60
    await lease.refresh()
    await lease.revoke()
    assert await client.get(b"app/l") is None


async def watches(client: aetcd.Client) -> None:
    began = (await client.put(b"app/w", b"0")).header.revision
    watch = await client.watch_prefix(b"app/w", start_revision=began, prev_kv=True)
    other = await client.watch(b"app/w", kind=aetcd.EventKind.DELETE)
    await client.put(b"app/w", b"1")
    await client.delete(b"app/w")
    seen = []
    async for event in watch:
        seen.append((event.kind, event.kv.value, event.prev_kv.value if event.prev_kv else b""))
        if len(seen) == 3:
            break
    put, delete = aetcd.EventKind.PUT, aetcd.EventKind.DELETE
    assert seen == [(put, b"0", b""), (put, b"1", b"0"), (delete, b"", b"1")], seen
    async for event in other:
        assert event.kind == delete
        break
    await watch.cancel()
    await other.cancel()
    now = (await client.put(b"app/w", b"2")).header.revision
    await client.compact(now, physical=True)
    compacted = 0
    try:
        async for _ in await client.watch(b"app/w", start_revision=began):
            break
    except aetcd.RevisionCompactedError as error:
        compacted = error.compacted_revision
    assert compacted == now


async def locks(client: aetcd.Client) -> None:
    async with client.lock(b"app/lock", ttl=30) as held:
        assert await held.is_acquired()
        rival = client.lock(b"app/lock", ttl=30)
        assert not await rival.acquire(timeout=0)
        waiting = asyncio.create_task(rival.acquire(timeout=30))
        await held.release()
        assert await waiting
        await rival.release()


async def maintenance(client: aetcd.Client) -> None:
    assert (await client.status()).version.startswith("3.")
    assert [member.name async for member in client.members()] == ["store-0"]
    assert not [alarm async for alarm in client.list_alarms()]
    await client.defragment()
    file = io.BytesIO()
    await client.snapshot(file)
    assert file.tell() > 1000


async def main(host: str, port: str, *credentials: str) -> None:
    name, password = credentials or (None, None)
    client = aetcd.Client(host, int(port), username=name, password=password, timeout=30)
    async with client:
        await client.delete_prefix(b"app/")
        if name is None:
            # The client asks without its token.
            assert await client.hash() >= 0
        for chapter in (keys, transactions, leases, watches, locks, maintenance):
            await chapter(client)


if __name__ == "__main__":
    asyncio.run(main(*sys.argv[1:]))

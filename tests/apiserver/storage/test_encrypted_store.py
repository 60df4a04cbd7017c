"""Secrets at rest: a registry on a store whose values are sealed."""

from __future__ import annotations

import asyncio
import base64
from collections.abc import Callable
from typing import Any

import pytest

from apiserver.registry.registry import WatchQuery
from apiserver.registry.resources import Resources
from apiserver.storage.cached_reads import CachedReads
from apiserver.storage.encrypted_store import EncryptedStore, KnownReads
from apiserver.storage.encryption_config import Encryption, parse
from apiserver.storage.memory_store import MemoryStore
from apiserver.storage.reads import ListOptions
from kubraft.api import gvk
from kubraft.api.errors import InternalError
from tests.apiserver.harness import Bench, running_registry, simple

FOLDERS = {row.prefix: (row.gvk.group, row.plural) for row in Resources()}
HEAD = "apiVersion: apiserver.config.k8s.io/v1\nkind: EncryptionConfiguration\n"
PATH = "/registry/secrets/default/x"
VALUE = base64.b64encode(b"a very private word").decode()


def encryption(*names: str, resources: str = "secrets", identity: bool = True) -> Encryption:
    keys = [
        f"{{aesgcm: {{keys: [{{name: {n}, secret: {base64.b64encode(n[:1].encode() * 32).decode()}"
        "}]}}"
        for n in names
    ]
    providers = ", ".join([*keys, *(["{identity: {}}"] if identity else [])])
    text = f"{HEAD}resources: [{{resources: ['{resources}'], providers: [{providers}]}}]"
    return parse(text, lambda n: b"n" * n)


def secret(value: str = VALUE) -> dict[str, Any]:
    return simple("Secret", data={"word": value})


async def eventually(found: Callable[[], bool]) -> None:
    async with asyncio.timeout(30):
        while not found():  # noqa: ASYNC110 - the cache has no event for it
            await asyncio.sleep(0.005)


async def stored(store: MemoryStore, key: str = PATH) -> bytes:
    found = await store.find(key)
    assert found is not None
    return found.value


async def test_secrets_are_sealed_in_the_store_and_plain_to_readers() -> None:
    plain = MemoryStore()
    async with running_registry(EncryptedStore(plain, encryption("one"), FOLDERS)) as bench:
        await bench.create(secret())
        await bench.create(simple("ConfigMap", data={"word": "public"}))

        raw = await stored(plain)
        assert raw.startswith(b"k8s:enc:aesgcm:v1:one:")
        assert VALUE.encode() not in raw
        assert b"public" in await stored(plain, "/registry/configmaps/default/x")
        assert (await bench.get(gvk.SECRET, "x"))["data"] == {"word": VALUE}
        assert (await bench.update(secret("bmV3")))["data"] == {"word": "bmV3"}
        assert (await bench.get(gvk.SECRET, "x"))["data"] == {"word": "bmV3"}


async def test_watchers_see_plain_objects() -> None:
    plain = MemoryStore()
    async with running_registry(EncryptedStore(plain, encryption("one"), FOLDERS)) as bench:
        call = bench.call(gvk.SECRET)
        events = bench.registry.watch(call, WatchQuery())
        await bench.create(secret())
        async with asyncio.timeout(30):
            event = await anext(events)
        assert event.entry is not None
        assert event.entry.decode()["data"] == {"word": VALUE}
        await events.aclose()


async def test_plain_secrets_of_before_are_read_and_written_anew_by_an_update_of_nothing() -> None:
    plain = MemoryStore()
    async with running_registry(plain) as bench:
        await bench.create(secret())
        before = await stored(plain)
        assert VALUE.encode() in before

        store = EncryptedStore(plain, encryption("one"), FOLDERS)
        async with running_registry(store) as sealed:
            found = await sealed.get(gvk.SECRET, "x")
            await sealed.update(found)
            assert (await stored(plain)).startswith(b"k8s:enc:aesgcm:v1:one:")
            await eventually(lambda: not store.outdated(PATH))

            again = await sealed.get(gvk.SECRET, "x")
            assert (await sealed.update(again))["metadata"] == again["metadata"]


async def test_keys_are_rotated_while_it_serves() -> None:
    plain = MemoryStore()
    store = EncryptedStore(plain, encryption("one"), FOLDERS)
    async with running_registry(store) as bench:
        await bench.create(secret())
        await eventually(lambda: PATH in bench.cache.resources["/registry/secrets/"].entries)
        store.use(encryption("two", "one"))
        found = await bench.get(gvk.SECRET, "x")
        await bench.update(found)
        assert (await stored(plain)).startswith(b"k8s:enc:aesgcm:v1:two:")

        store.use(encryption("two", identity=False))
        assert (await bench.get(gvk.SECRET, "x"))["data"] == {"word": VALUE}


async def _unreadable() -> tuple[MemoryStore, EncryptedStore]:
    plain = MemoryStore()
    async with running_registry(EncryptedStore(plain, encryption("one"), FOLDERS)) as bench:
        await bench.create(secret())
        await bench.create(simple("ConfigMap", data={"word": "public"}))
        other = EncryptedStore(_unclosed(plain), encryption("two"), FOLDERS)
    return plain, other


def _unclosed(store: MemoryStore) -> MemoryStore:
    """One that outlives the first registry on it."""

    async def keep() -> None:
        pass

    store.close = keep  # type: ignore[method-assign]
    return store


def _knowing(bench: Bench, store: EncryptedStore) -> KnownReads:
    return KnownReads(CachedReads(store, bench.cache), store.unreadable)


async def test_what_no_key_opens_is_an_error_and_not_absent() -> None:
    _, store = await _unreadable()
    async with running_registry(store) as bench:
        reads = _knowing(bench, store)
        with pytest.raises(InternalError) as caught:
            await reads.get("/registry/secrets/", PATH)
        assert caught.value.message == (
            f'Internal error occurred: unable to transform key "{PATH}": no matching prefix found'
        )
        with pytest.raises(InternalError):
            await reads.list("/registry/secrets/", "/registry/secrets/default/", ListOptions())
        other = await reads.list("/registry/secrets/", "/registry/secrets/other/", ListOptions())
        assert other.entries == []
        assert (await bench.get(gvk.CONFIG_MAP, "x"))["data"] == {"word": "public"}
        with pytest.raises(InternalError):
            await bench.update(secret())


async def test_the_right_key_makes_it_readable_again() -> None:
    plain, store = await _unreadable()
    async with running_registry(store) as bench:
        assert PATH in store.unreadable
        store.use(encryption("two", "one"))
        await plain.create("/registry/configmaps/default/y", b"{}")  # any event wakes the feed
        secrets = bench.cache.resources["/registry/secrets/"]
        await eventually(lambda: PATH in secrets.entries)
        assert (await bench.get(gvk.SECRET, "x"))["data"] == {"word": VALUE}


async def test_all_resources_custom_ones_too() -> None:
    plain = MemoryStore()
    store = EncryptedStore(plain, encryption("one", resources="*.*"), FOLDERS)
    for key in ("/registry/pods/default/a", "/registry/example.com/things/default/a"):
        await store.create(key, b"{}")
        assert (await stored(plain, key)).startswith(b"k8s:enc:")
        found = await store.find(key)
        assert found is not None
        assert found.value == b"{}"
    for key in ("/registry/ranges/serviceips/1", "/elsewhere"):
        await store.create(key, b"{}")
        assert await stored(plain, key) == b"{}"

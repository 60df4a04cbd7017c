"""Writes whose answer got lost, and what is said of a store that does not answer."""

from __future__ import annotations

import asyncio
import socket
import uuid
from collections.abc import AsyncIterator, Iterator
from contextlib import aclosing
from typing import Any, cast

import grpc.aio
import pytest

from apiserver.storage.endpoints import Endpoint, Endpoints, unavailable_message
from apiserver.storage.errors import KeyExistsError, RevisionMismatchError
from apiserver.storage.etcd_store import EtcdStore
from kubraft.api.errors import ServiceUnavailableError
from kubraft.pb.etcdserverpb import rpc_pb2 as rpc
from kubraft.pb.etcdserverpb import rpc_pb2_grpc
from tests.conformance.storage.etcd import find_etcd, running_etcd
from tests.harness.eventually import eventually
from tests.harness.ports import free_port


class LossyEndpoints(Endpoints):
    """Carries every write out, loses the answer, and asks again, as after a cut connection.

    `between` runs after the write whose answer is lost: somebody else may be quick.
    """

    between: Any = None

    async def call(self, method: Any, request: Any, **options: Any) -> tuple[Any, bool]:
        if not isinstance(request, rpc.TxnRequest):
            return await super().call(method, request, **options)
        await super().call(method, request, **options)
        if self.between is not None:
            between, self.between = self.between, None
            await between()
        return (await super().call(method, request, **options))[0], True


@pytest.fixture(scope="module")
def url(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    if find_etcd() is None:
        pytest.skip("there is no etcd executable")
    with running_etcd(tmp_path_factory.mktemp("etcd")) as made:
        yield made


@pytest.fixture
async def lossy(url: str) -> AsyncIterator[tuple[EtcdStore, LossyEndpoints]]:
    endpoints = LossyEndpoints([url])
    store = EtcdStore(endpoints)
    yield store, endpoints
    await store.close()


@pytest.fixture
async def plain(url: str) -> AsyncIterator[EtcdStore]:
    store = EtcdStore(Endpoints([url]))
    yield store
    await store.close()


@pytest.fixture
def key() -> str:
    return f"/registry/things/{uuid.uuid4().hex}"


Lossy = tuple[EtcdStore, LossyEndpoints]


async def test_a_create_without_answer_is_found_out_to_have_happened(
    lossy: Lossy, key: str
) -> None:
    store, _ = lossy
    revision = await store.create(key, b"mine")
    found = await store.find(key)
    assert found is not None
    assert (found.value, found.mod_revision) == (b"mine", revision)


async def test_so_is_one_that_was_changed_since(lossy: Lossy, plain: EtcdStore, key: str) -> None:
    store, endpoints = lossy

    async def change() -> None:
        found = await plain.find(key)
        assert found is not None
        await plain.replace(key, b"theirs", mod_revision=found.mod_revision)

    endpoints.between = change
    revision = await store.create(key, b"mine")
    found = await store.find(key)
    assert found is not None
    assert (found.value, found.mod_revision > revision) == (b"theirs", True)


async def test_a_create_that_somebody_else_won_is_refused(
    lossy: Lossy, plain: EtcdStore, key: str
) -> None:
    await plain.create(key, b"theirs")
    with pytest.raises(KeyExistsError):
        await lossy[0].create(key, b"mine")


async def test_a_replace_without_answer_is_found_out(
    lossy: Lossy, plain: EtcdStore, key: str
) -> None:
    first = await plain.create(key, b"1")
    second = await lossy[0].replace(key, b"2", mod_revision=first)
    found = await plain.find(key)
    assert found is not None
    assert (found.value, found.mod_revision) == (b"2", second)
    with pytest.raises(RevisionMismatchError):
        await lossy[0].replace(key, b"3", mod_revision=first)


async def test_a_remove_without_answer_is_found_out(
    lossy: Lossy, plain: EtcdStore, key: str
) -> None:
    revision = await plain.create(key, b"1")
    await lossy[0].remove(key, mod_revision=revision)
    assert await plain.find(key) is None


async def test_keys_that_vanish_share_a_lease(plain: EtcdStore, url: str, key: str) -> None:
    for number in range(3):
        await plain.create(f"{key}-{number}", b"x", ttl_s=600)
    endpoints = Endpoints([url])
    leases, _ = await endpoints.call(lambda e: e.lease.LeaseLeases, rpc.LeaseLeasesRequest())
    found = []
    for lease in leases.leases:
        request = rpc.LeaseTimeToLiveRequest(ID=lease.ID, keys=True)
        answer, _ = await endpoints.call(lambda e: e.lease.LeaseTimeToLive, request)
        if any(k.decode().startswith(key) for k in answer.keys):
            found.append((answer.grantedTTL, len(answer.keys)))
    assert found == [(660, 3)]
    await endpoints.close()


async def test_a_dead_member_is_passed_over(url: str, key: str) -> None:
    dead = f"http://127.0.0.1:{free_port()}"
    store = EtcdStore(Endpoints([dead, url]))
    await store.create(key, b"1")
    assert await store.find(key) is not None
    await store.close()


async def test_no_member_at_all_is_said_in_one_line() -> None:
    urls = [f"http://127.0.0.1:{free_port()}" for _ in range(2)]
    endpoints = Endpoints(urls)
    with pytest.raises(ServiceUnavailableError) as error:
        await endpoints.call(lambda e: e.kv.Range, rpc.RangeRequest(key=b"a"), budget_s=0.5)
    for url in urls:
        assert f"{url}: connection refused" in error.value.message
    await endpoints.close()


@pytest.mark.parametrize(
    ("failures", "message"),
    [
        pytest.param(
            {"a": "failed to connect", "b": "etcdserver: no leader: quorum lost, 1 of 3"},
            "etcdserver: no leader: quorum lost, 1 of 3",
            id="lost quorum comes first",
        ),
        pytest.param(
            {"a": "Deadline Exceeded", "b": "etcdserver: leader changed"},
            "etcdserver: leader changed",
            id="then what a member says",
        ),
        pytest.param(
            {"a": "Deadline Exceeded", "b": "connection refused"},
            "the store does not answer: a: no answer in time; b: connection refused",
            id="else each member's failure",
        ),
        pytest.param({}, "the store did not answer in time", id="nothing is known"),
    ],
)
def test_what_is_said(failures: dict[str, str], message: str) -> None:
    assert unavailable_message(failures) == message


@pytest.mark.parametrize("url", ["", "localhost:2379", "https://localhost:1"])
def test_a_url_that_cannot_be_used_is_refused(url: str) -> None:
    with pytest.raises(ValueError, match="--etcd-servers"):
        Endpoints([url])


async def test_keys_of_others_that_are_no_text_stop_no_watch(
    url: str, plain: EtcdStore, key: str
) -> None:
    odd = b"\xff\xfe" + key.encode()
    after = await plain.revision()
    async with grpc.aio.insecure_channel(url.removeprefix("http://")) as channel:
        kv: Any = rpc_pb2_grpc.KVStub(channel)
        await kv.Put(rpc.PutRequest(key=odd, value=b"1"))
    await plain.create(key, b"2")
    seen: list[str] = []
    stream: Any = plain.watch("", after=after)
    async with aclosing(stream) as watch:
        async for batch in watch:
            seen += [event.key for event in batch.events]
            if key in seen:
                break
    assert [name.encode(errors="surrogateescape") for name in seen] == [odd, key.encode()]
    found = await plain.find(seen[0])
    assert found is not None
    assert found.value == b"1"


async def test_a_member_never_asked_is_no_reason_to_leave_one_that_is_slow(url: str) -> None:
    fresh = Endpoint(url, None)
    try:
        assert not fresh.may_answer()
        await eventually(fresh.may_answer, "connected")
    finally:
        await fresh.channel.close()


@pytest.fixture
def silent() -> Iterator[str]:
    """A member that takes connections and says nothing, as one that is paused."""
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        listener.listen()
        yield f"http://127.0.0.1:{listener.getsockname()[1]}"


async def first_batch(store: EtcdStore) -> None:
    async for _ in store.watch("/registry/", after=0):
        return


async def test_a_watch_that_never_connected_can_be_given_up(silent: str) -> None:
    store = EtcdStore(Endpoints([silent]))
    watching = asyncio.create_task(first_batch(store))
    await asyncio.sleep(0.1)
    store.suspect()
    with pytest.raises(ServiceUnavailableError, match="does not answer"):
        async with asyncio.timeout(2):
            await watching
    await store.close()


async def test_a_watch_that_is_given_up_and_cancelled_ends(silent: str) -> None:
    store = EtcdStore(Endpoints([silent]))
    watching = asyncio.create_task(first_batch(store))
    await asyncio.sleep(0.1)
    store.suspect()
    watching.cancel()
    with pytest.raises(asyncio.CancelledError):
        await watching
    await store.close()


async def _next_key(watching: Any) -> str:
    batch = await anext(watching)
    while not batch.events:
        batch = await anext(watching)
    return str(batch.events[-1].key)


async def test_a_caller_that_leaves_while_it_asks_for_progress_ends_no_watch(
    plain: EtcdStore, key: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def in_order() -> bool:  # whatever the version of this etcd
        return True

    monkeypatch.setattr(plain, "_progress_in_order", in_order)
    async with aclosing(cast("Any", plain.watch("", after=await plain.revision()))) as watching:
        await plain.create(key, b"1")
        assert await _next_key(watching) == key
        reading = asyncio.create_task(_next_key(watching))
        for turns in range(8):
            asking = asyncio.create_task(plain.progress())
            for _ in range(turns):
                await asyncio.sleep(0)
            asking.cancel()
            await asyncio.wait([asking])
        await plain.create(f"{key}-2", b"2")
        assert await reading == f"{key}-2"


async def test_a_watch_whose_call_is_cancelled_is_lost_and_its_reader_is_not(
    plain: EtcdStore, key: str
) -> None:
    async with aclosing(cast("Any", plain.watch("", after=await plain.revision()))) as watching:
        await plain.create(key, b"1")
        assert await _next_key(watching) == key
        reading = asyncio.create_task(_next_key(watching))
        await asyncio.sleep(0)
        (stream,) = plain._streams
        stream._call.cancel()
        with pytest.raises(ServiceUnavailableError):
            await reading


async def test_a_reader_that_is_cancelled_stays_so(plain: EtcdStore) -> None:
    async with aclosing(cast("Any", plain.watch("", after=await plain.revision()))) as watching:
        reading = asyncio.create_task(_next_key(watching))
        await asyncio.sleep(0.05)
        reading.cancel()
        with pytest.raises(asyncio.CancelledError):
            await reading


async def test_a_stream_that_failed_before_it_was_used_is_lost(silent: str) -> None:
    store = EtcdStore(Endpoints([silent]))
    watching = asyncio.create_task(first_batch(store))
    await asyncio.sleep(0)  # the stream is there, its request not yet
    for stream in store._streams:
        stream._call.cancel()
    with pytest.raises(ServiceUnavailableError, match="watch broke"):
        async with asyncio.timeout(2):
            await watching
    await store.close()

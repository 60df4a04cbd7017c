"""Waiting in line by keys: what locks and elections are made of.

Everybody who wants a turn puts a key under one prefix; whose key was created first has it. To wait
is to watch the one key that was created right before one's own, so that the end of a turn wakes
one waiter and not all. Waiting looks at this member's applied state, which only ever shows what a
quorum has agreed on. Source: etcd, client/v3/concurrency.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Iterator
from contextlib import contextmanager, suppress

import grpc

from kubraft.pb.etcdserverpb.rpc_pb2 import (
    Compare,
    DeleteRangeRequest,
    LeaseGrantRequest,
    LeaseGrantResponse,
    PutRequest,
    RangeRequest,
    RequestOp,
    TxnRequest,
)
from kubraft.pb.mvccpb.kv_pb2 import KeyValue
from store.mvcc.command import Kind
from store.mvcc.errors import MvccError
from store.mvcc.key_index import ONE_KEY
from store.mvcc.revision import Revision
from store.mvcc.store import Reply
from store.mvcc.watch import EventBatch, Watcher, WatchHub, WatchID
from store.raft.engine import EngineError
from store.rpc import lease
from store.rpc.errors import RefusedError
from store.rpc.range import range_
from store.rpc.service import MemberServices

Verb = Callable[[MemberServices, bytes], Awaitable[bytes]]

# Source: etcd, client/v3/concurrency (defaultSessionTTL).
_SESSION_TTL_S = 60


def as_client(verb: Verb) -> Verb:
    """Refusals by the store without their codes: in etcd a client of its own stands in between."""

    async def call(services: MemberServices, data: bytes) -> bytes:
        try:
            return await verb(services, data)
        except MvccError as error:
            raise RefusedError(grpc.StatusCode.UNKNOWN, error.message) from error

    return call


def prefix_of(name: bytes) -> bytes:
    return name + b"/"


def prefix_end(prefix: bytes) -> bytes:
    """The first key behind all keys with `prefix`, whose last byte is below 255."""
    return prefix[:-1] + bytes((prefix[-1] + 1,))


def key_of(name: bytes, lease_id: int) -> bytes:
    return prefix_of(name) + b"%x" % lease_id


async def session(services: MemberServices, lease_id: int) -> int:
    """The lease that a turn is tied to: the caller's, or a new one that nobody keeps alive."""
    if lease_id:
        return lease_id
    request = LeaseGrantRequest(TTL=_SESSION_TTL_S)
    granted = await lease.grant(services, request.SerializeToString())
    return LeaseGrantResponse.FromString(granted).ID


async def enter(services: MemberServices, key: bytes, value: bytes, lease_id: int) -> Reply:
    """Put `key` unless it is there; the reply of the txn, whose one range has it if it was.

    Raises:
        MvccError: no such lease, no space, no permission.
    """
    request = TxnRequest(
        compare=[Compare(key=key, target=Compare.CREATE, create_revision=0)],
        success=[RequestOp(request_put=PutRequest(key=key, value=value, lease=lease_id))],
        failure=[RequestOp(request_range=RangeRequest(key=key))],
    )
    await services.check_space()
    return await services.propose(Kind.TXN, request.SerializeToString())


async def if_created_at(
    services: MemberServices, key: bytes, create_revision: int, operation: RequestOp
) -> Reply:
    """Do `operation` if `key` is still of that life."""
    compare = Compare(key=key, target=Compare.CREATE, create_revision=create_revision)
    request = TxnRequest(compare=[compare], success=[operation])
    return await services.propose(Kind.TXN, request.SerializeToString())


async def leave(services: MemberServices, key: bytes) -> Reply:
    request = DeleteRangeRequest(key=key)
    return await services.propose(Kind.DELETE_RANGE, request.SerializeToString())


async def give_up(services: MemberServices, key: bytes) -> None:
    """Leave if that can be; without a quorum the key goes with its lease."""
    with suppress(EngineError):
        await asyncio.shield(leave(services, key))


def find(services: MemberServices, key: bytes) -> KeyValue | None:
    record = services.store.find(key)
    return None if record is None else KeyValue.FromString(record)


async def check_readable(services: MemberServices, prefix: bytes) -> None:
    """A linearizable look at the prefix, for its permission and its freshness."""
    request = RangeRequest(key=prefix, range_end=prefix_end(prefix), count_only=True)
    await range_(services, request.SerializeToString())


def first_created(services: MemberServices, prefix: bytes) -> KeyValue | None:
    """Whose turn it is."""
    return min(_all(services, prefix), key=lambda kv: kv.create_revision, default=None)


def _last_created_before(services: MemberServices, prefix: bytes, before: int) -> KeyValue | None:
    earlier = (kv for kv in _all(services, prefix) if kv.create_revision < before)
    return max(earlier, key=lambda kv: kv.create_revision, default=None)


def _all(services: MemberServices, prefix: bytes) -> Iterator[KeyValue]:
    store = services.store
    for key in list(store.index.keys(prefix, prefix_end(prefix))):
        record = store.find(key)
        assert record is not None
        yield KeyValue.FromString(record)


async def wait_for_turn(services: MemberServices, prefix: bytes, create_revision: int) -> bool:
    """Wait until no key with the prefix is older than `create_revision`; whether that took time."""
    waited = False
    while (ahead := _last_created_before(services, prefix, create_revision)) is not None:
        with changes(services, ahead.key, ONE_KEY) as change:
            while True:
                now = find(services, ahead.key)
                if now is None or now.create_revision != ahead.create_revision:
                    break
                waited = True
                await change.wait()
    return waited


class Change:
    """Implements `store.mvcc.watch.Sink`: says that something happened, not what."""

    def __init__(self, hub: WatchHub, key: bytes, end: bytes | None) -> None:
        self._hub = hub
        self._news = asyncio.Event()
        self._watcher = Watcher(WatchID(0), key, end, 0, self)
        hub.add(self._watcher)

    def offer(self, watcher: Watcher, batch: EventBatch, revision: Revision) -> None:
        del watcher, batch, revision
        self._news.set()

    def lag(self, watcher: Watcher) -> None:
        self._hub.add(watcher)
        self._news.set()

    async def wait(self) -> None:
        """Wait for a change since the last call."""
        await self._news.wait()
        self._news.clear()

    def close(self) -> None:
        self._hub.remove(self._watcher)


@contextmanager
def changes(services: MemberServices, key: bytes, end: bytes | None) -> Iterator[Change]:
    """Changes of a key or range from now on; look at the state first, then wait."""
    change = Change(services.hub, key, end)
    try:
        yield change
    finally:
        change.close()

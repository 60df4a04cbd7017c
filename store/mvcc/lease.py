"""Lease commands. Source: etcd v3 API, Lease."""

from __future__ import annotations

from kubraft.pb.etcdserverpb.rpc_pb2 import (
    LeaseCheckpoint,
    LeaseGrantRequest,
    LeaseKeepAliveRequest,
    LeaseRevokeRequest,
)
from store.figures import FIGURES
from store.mvcc.store import MvccStore, Reply, Transaction
from store.mvcc.wire import field_varint


def grant(store: MvccStore, request: LeaseGrantRequest, *, index: int) -> Reply:
    """Raises LeaseExistsError, LeaseTtlTooLargeError."""
    lease = store.lessor.grant(request.ID, request.TTL, index=index)
    store.save_lease(lease)
    return Reply(store.revision, field_varint(2, lease.id) + field_varint(3, lease.ttl_s))


def keep_alive(store: MvccStore, request: LeaseKeepAliveRequest, *, index: int) -> Reply:
    """Raises LeaseNotFoundError."""
    lease = store.lessor.renew(request.ID, index=index)
    store.save_lease(lease)
    return Reply(store.revision, field_varint(2, lease.id) + field_varint(3, lease.ttl_s))


def revoke(store: MvccStore, request: LeaseRevokeRequest) -> Reply:
    """Delete the lease and, at one revision, all of its keys.

    Raises:
        LeaseNotFoundError: no such lease.
    """
    return _remove(store, request.ID)


def expire(store: MvccStore, request: LeaseCheckpoint) -> Reply:
    """Revoke a lease unless it was renewed since the leader looked; then nothing happens."""
    lease = store.lessor.find(request.ID)
    if lease is None or lease.renewed != request.remaining_TTL:
        return Reply(store.revision, b"")
    FIGURES.leases_expired += 1
    return _remove(store, request.ID)


def _remove(store: MvccStore, lease_id: int) -> Reply:
    lease = store.lessor.get(lease_id)
    txn = Transaction(store)
    txn.delete(sorted(lease.keys))
    store.lessor.remove(lease_id)
    store.backend.set_lease(lease_id, None)
    return Reply(txn.end(), b"")

"""Commands: what travels in the log, in a form that later versions can still read.

    byte 0   version of this layout
    byte 1   kind
    rest     the request, an encoded message of etcdserverpb as the client sent it

Kinds are for ever: a number is never given a second meaning.
"""

from __future__ import annotations

import enum
from typing import NamedTuple

from google.protobuf.message import DecodeError, Message

from kubraft.pb.etcdserverpb import rpc_pb2
from store.mvcc.errors import MalformedCommandError

VERSION = 1


class Kind(enum.IntEnum):
    PUT = 1
    DELETE_RANGE = 2
    TXN = 3
    COMPACT = 4
    LEASE_GRANT = 5
    LEASE_REVOKE = 6
    # A keep-alive is a command, so any member can serve it and every member knows of it.
    LEASE_KEEP_ALIVE = 7
    # LeaseCheckpoint: `remaining_TTL` holds the log index of the renewal that ran out.
    LEASE_EXPIRE = 8
    # Member: a member tells its name and client URLs.
    PUBLISH = 9
    ALARM = 10


_MESSAGES: dict[Kind, type[Message]] = {
    Kind.PUT: rpc_pb2.PutRequest,
    Kind.DELETE_RANGE: rpc_pb2.DeleteRangeRequest,
    Kind.TXN: rpc_pb2.TxnRequest,
    Kind.COMPACT: rpc_pb2.CompactionRequest,
    Kind.LEASE_GRANT: rpc_pb2.LeaseGrantRequest,
    Kind.LEASE_REVOKE: rpc_pb2.LeaseRevokeRequest,
    Kind.LEASE_KEEP_ALIVE: rpc_pb2.LeaseKeepAliveRequest,
    Kind.LEASE_EXPIRE: rpc_pb2.LeaseCheckpoint,
    Kind.PUBLISH: rpc_pb2.Member,
    Kind.ALARM: rpc_pb2.AlarmRequest,
}
_KINDS = frozenset(map(int, Kind))
_PREFIXES = {kind: bytes((VERSION, kind)) for kind in Kind}


class DecodedCommand(NamedTuple):
    kind: Kind
    request: Message


def encode(kind: Kind, request: bytes) -> bytes:
    """`request` is the encoded message that belongs to `kind`."""
    return _PREFIXES[kind] + request


def decode(data: bytes) -> DecodedCommand:
    """Raises MalformedCommandError: not a command that this version knows."""
    if len(data) < 2 or data[0] != VERSION or data[1] not in _KINDS:
        raise MalformedCommandError
    kind = Kind(data[1])
    try:
        return DecodedCommand(kind, _MESSAGES[kind].FromString(data[2:]))
    except DecodeError as error:
        raise MalformedCommandError from error

"""Commands: what travels in the log, in a form that later versions can still read.

    byte 0   version of this layout: 1
    byte 1   kind
    rest     the request, an encoded message of etcdserverpb as the client sent it

While users and permissions count, a command says on whose behalf it is:

    byte 0   version of this layout: 2
    byte 1   kind
    8 bytes  revision of the users and roles that the caller was recognised at
    2 bytes  length of the user's name, in bytes
    ...      the user's name
    rest     the request

Kinds are for ever: a number is never given a second meaning.
"""

from __future__ import annotations

import enum
import struct
from typing import NamedTuple

from google.protobuf.message import DecodeError, Message

from kubraft.pb.etcdserverpb import rpc_pb2
from store.mvcc.errors import MalformedCommandError

VERSION = 1
VERSION_WITH_IDENTITY = 2
_IDENTITY = struct.Struct(">QH")


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
    AUTH_ENABLE = 11
    AUTH_DISABLE = 12
    # AuthenticateRequest: `password` holds the random part of a simple token, never a password.
    AUTHENTICATE = 13
    # The two requests with passwords carry them hashed only.
    USER_ADD = 14
    USER_DELETE = 15
    USER_CHANGE_PASSWORD = 16
    USER_GRANT_ROLE = 17
    USER_REVOKE_ROLE = 18
    ROLE_ADD = 19
    ROLE_DELETE = 20
    ROLE_GRANT_PERMISSION = 21
    ROLE_REVOKE_PERMISSION = 22


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
    Kind.AUTH_ENABLE: rpc_pb2.AuthEnableRequest,
    Kind.AUTH_DISABLE: rpc_pb2.AuthDisableRequest,
    Kind.AUTHENTICATE: rpc_pb2.AuthenticateRequest,
    Kind.USER_ADD: rpc_pb2.AuthUserAddRequest,
    Kind.USER_DELETE: rpc_pb2.AuthUserDeleteRequest,
    Kind.USER_CHANGE_PASSWORD: rpc_pb2.AuthUserChangePasswordRequest,
    Kind.USER_GRANT_ROLE: rpc_pb2.AuthUserGrantRoleRequest,
    Kind.USER_REVOKE_ROLE: rpc_pb2.AuthUserRevokeRoleRequest,
    Kind.ROLE_ADD: rpc_pb2.AuthRoleAddRequest,
    Kind.ROLE_DELETE: rpc_pb2.AuthRoleDeleteRequest,
    Kind.ROLE_GRANT_PERMISSION: rpc_pb2.AuthRoleGrantPermissionRequest,
    Kind.ROLE_REVOKE_PERMISSION: rpc_pb2.AuthRoleRevokePermissionRequest,
}
_KINDS = frozenset(map(int, Kind))
_PREFIXES = {kind: bytes((VERSION, kind)) for kind in Kind}


class Identity(NamedTuple):
    """Who proposed a command: a user, as recognised at a revision of the users and roles."""

    user: str
    auth_revision: int


NOBODY = Identity("", 0)


class DecodedCommand(NamedTuple):
    kind: Kind
    request: Message
    who: Identity = NOBODY


def encode(kind: Kind, request: bytes, who: Identity = NOBODY) -> bytes:
    """`request` is the encoded message that belongs to `kind`."""
    if who is NOBODY:
        return _PREFIXES[kind] + request
    name = who.user.encode()
    identity = _IDENTITY.pack(who.auth_revision, len(name)) + name
    return bytes((VERSION_WITH_IDENTITY, kind)) + identity + request


def decode(data: bytes) -> DecodedCommand:
    """Raises MalformedCommandError: not a command that this version knows."""
    if len(data) < 2 or data[1] not in _KINDS:
        raise MalformedCommandError
    kind = Kind(data[1])
    try:
        if data[0] == VERSION:
            return DecodedCommand(kind, _MESSAGES[kind].FromString(data[2:]))
        if data[0] == VERSION_WITH_IDENTITY:
            who, rest = _decode_identity(data)
            return DecodedCommand(kind, _MESSAGES[kind].FromString(rest), who)
    except (DecodeError, struct.error, UnicodeDecodeError) as error:
        raise MalformedCommandError from error
    raise MalformedCommandError


def _decode_identity(data: bytes) -> tuple[Identity, bytes]:
    revision, length = _IDENTITY.unpack_from(data, 2)
    begin = 2 + _IDENTITY.size
    if len(data) < begin + length:
        raise MalformedCommandError
    return Identity(data[begin : begin + length].decode(), revision), data[begin + length :]

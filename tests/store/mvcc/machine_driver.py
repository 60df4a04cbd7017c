"""A machine in a directory, driven by requests, for tests without consensus."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from google.protobuf.message import Message

from kubraft.pb.etcdserverpb import rpc_pb2
from store.mvcc.command import Kind, encode
from store.mvcc.machine import KvMachine
from store.mvcc.range import range_reply
from store.mvcc.store import Reply

MAP_BYTES = 1 << 28

_KINDS: dict[type[Message], Kind] = {
    rpc_pb2.PutRequest: Kind.PUT,
    rpc_pb2.DeleteRangeRequest: Kind.DELETE_RANGE,
    rpc_pb2.TxnRequest: Kind.TXN,
    rpc_pb2.CompactionRequest: Kind.COMPACT,
    rpc_pb2.LeaseGrantRequest: Kind.LEASE_GRANT,
    rpc_pb2.LeaseRevokeRequest: Kind.LEASE_REVOKE,
    rpc_pb2.LeaseKeepAliveRequest: Kind.LEASE_KEEP_ALIVE,
    rpc_pb2.LeaseCheckpoint: Kind.LEASE_EXPIRE,
    rpc_pb2.Member: Kind.PUBLISH,
    rpc_pb2.AlarmRequest: Kind.ALARM,
    rpc_pb2.AuthEnableRequest: Kind.AUTH_ENABLE,
    rpc_pb2.AuthenticateRequest: Kind.AUTHENTICATE,
    rpc_pb2.AuthUserAddRequest: Kind.USER_ADD,
    rpc_pb2.AuthUserGrantRoleRequest: Kind.USER_GRANT_ROLE,
    rpc_pb2.AuthRoleAddRequest: Kind.ROLE_ADD,
}


@dataclass(frozen=True, slots=True)
class LogEntry:
    index: int
    term: int
    data: bytes


class MachineDriver:
    """Applies requests as a log of one command an entry; `reopen` is a crash and a restart."""

    def __init__(self, directory: Path, *, map_bytes: int = MAP_BYTES) -> None:
        self._directory = directory
        self.log: list[LogEntry] = []
        self.machine = KvMachine.open(directory, map_bytes=map_bytes)

    def apply(self, request: Message) -> object:
        data = encode(_KINDS[type(request)], request.SerializeToString())
        return self.apply_data(data)

    def apply_data(self, data: bytes) -> object:
        entry = LogEntry(len(self.log) + 1, 1, data)
        self.log.append(entry)
        (result,) = self.machine.apply([entry])
        return result

    def reply(self, request: Message) -> Reply:
        result = self.apply(request)
        assert isinstance(result, Reply), result
        return result

    def put(self, key: str, value: str = "", lease: int = 0) -> None:
        self.reply(rpc_pb2.PutRequest(key=key.encode(), value=value.encode(), lease=lease))

    def range(self, request: rpc_pb2.RangeRequest) -> rpc_pb2.RangeResponse:
        return rpc_pb2.RangeResponse.FromString(range_reply(self.machine.store, request).body)

    def value(self, key: str) -> str | None:
        kvs = self.range(rpc_pb2.RangeRequest(key=key.encode())).kvs
        return kvs[0].value.decode() if kvs else None

    def reopen(self) -> None:
        """Lose what is not durable, start again and replay the rest of the log."""
        self.machine.close()
        self.machine = KvMachine.open(self._directory, map_bytes=MAP_BYTES)
        index, _ = self.machine.durable_index()
        self.machine.apply(self.log[index:])

    def close(self) -> None:
        self.machine.close()

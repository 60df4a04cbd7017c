"""Alarms: replicated notes that a member is out of space or corrupt.

While any member is out of space every member refuses what makes the store grow, and goes on to do
so until the alarm is taken back, however much room there is by then. Source: etcd v3 API,
Maintenance.Alarm; etcd, server/etcdserver/apply (capped.go).
"""

from __future__ import annotations

from kubraft.pb.etcdserverpb.rpc_pb2 import (
    CORRUPT,
    NONE,
    NOSPACE,
    AlarmMember,
    AlarmRequest,
    AlarmResponse,
    TxnRequest,
)
from store.mvcc.backend import Backend
from store.mvcc.command import DecodedCommand, Kind
from store.mvcc.errors import CorruptError, NoSpaceError

META_ALARM = b"alarm/"

_WRITES = frozenset({Kind.PUT, Kind.DELETE_RANGE, Kind.TXN, Kind.COMPACT})
_LEASE_WRITES = frozenset({Kind.LEASE_GRANT, Kind.LEASE_REVOKE})


class Alarms:
    """The alarms that are on, by kind and member."""

    def __init__(self, backend: Backend) -> None:
        self._backend = backend
        self._on: dict[tuple[int, int], AlarmMember] = {}
        for _, value in backend.all_meta(META_ALARM):
            alarm = AlarmMember.FromString(value)
            self._on[alarm.alarm, alarm.memberID] = alarm

    def get(self, kind: int = NONE) -> list[AlarmMember]:
        """Alarms of a kind, of all kinds for NONE, by kind and member."""
        return [alarm for _, alarm in sorted(self._on.items()) if kind in {NONE, alarm.alarm}]

    def is_on(self, kind: int) -> bool:
        return bool(self._on) and any(key[0] == kind for key in self._on)

    def has(self, kind: int, member_id: int) -> bool:
        return (kind, member_id) in self._on

    def change(self, request: AlarmRequest) -> AlarmResponse:
        """Switch an alarm on or off; the response has it if that was news, or on anyway."""
        key = (request.alarm, request.memberID)
        alarm = AlarmMember(memberID=request.memberID, alarm=request.alarm)
        if request.action == AlarmRequest.GET:
            return AlarmResponse(alarms=self.get(request.alarm))
        if request.action == AlarmRequest.ACTIVATE and request.alarm != NONE:
            self._on[key] = alarm
            self._backend.set_meta(_name(key), alarm.SerializeToString())
            return AlarmResponse(alarms=[alarm])
        if request.action == AlarmRequest.DEACTIVATE and key in self._on:
            del self._on[key]
            self._backend.set_meta(_name(key), None)
            return AlarmResponse(alarms=[alarm])
        return AlarmResponse()

    def check(self, command: DecodedCommand) -> None:
        """Refuse a command that the alarms forbid.

        Raises:
            NoSpaceError: it would make the store grow.
            CorruptError: it would change a store whose members differ.
        """
        if not self._on:
            return
        if self.is_on(CORRUPT) and (command.kind in _WRITES or command.kind in _LEASE_WRITES):
            raise CorruptError
        if not self.is_on(NOSPACE):
            return
        request = command.request
        if command.kind in {Kind.PUT, Kind.LEASE_GRANT}:
            raise NoSpaceError
        if isinstance(request, TxnRequest) and may_grow(request):
            raise NoSpaceError


def may_grow(request: TxnRequest) -> bool:
    """Whether a branch of the txn puts a key; nested txns do not count, as in etcd 3.5."""
    operations = request.success[:] + request.failure[:]
    return any(op.WhichOneof("request") == "request_put" for op in operations)


def _name(key: tuple[int, int]) -> bytes:
    return META_ALARM + b"%d/%016x" % key

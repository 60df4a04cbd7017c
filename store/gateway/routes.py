"""Which method each path of the gateway stands for.

Source: etcd 3.5 and 3.6, the HTTP annotations in rpc.proto, v3lock.proto and v3election.proto.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import cache

from google.protobuf.descriptor import FileDescriptor
from google.protobuf.message import Message
from google.protobuf.message_factory import GetMessageClass

from kubraft.pb.etcdserverpb import rpc_pb2
from kubraft.pb.v3electionpb import v3election_pb2
from kubraft.pb.v3lockpb import v3lock_pb2

PREFIX = "/v3/"
# What older clients say instead.
OLD_PREFIX = "/v3beta/"

_FILES: dict[str, FileDescriptor] = {
    "etcdserverpb": rpc_pb2.DESCRIPTOR,
    "v3lockpb": v3lock_pb2.DESCRIPTOR,
    "v3electionpb": v3election_pb2.DESCRIPTOR,
}
_PATHS = {
    "etcdserverpb.KV": {
        "kv/range": "Range",
        "kv/put": "Put",
        "kv/deleterange": "DeleteRange",
        "kv/txn": "Txn",
        "kv/compaction": "Compact",
    },
    "etcdserverpb.Watch": {"watch": "Watch"},
    "etcdserverpb.Lease": {
        "lease/grant": "LeaseGrant",
        "lease/revoke": "LeaseRevoke",
        "lease/keepalive": "LeaseKeepAlive",
        "lease/timetolive": "LeaseTimeToLive",
        "lease/leases": "LeaseLeases",
        "kv/lease/revoke": "LeaseRevoke",
        "kv/lease/timetolive": "LeaseTimeToLive",
        "kv/lease/leases": "LeaseLeases",
    },
    "etcdserverpb.Cluster": {
        "cluster/member/add": "MemberAdd",
        "cluster/member/remove": "MemberRemove",
        "cluster/member/update": "MemberUpdate",
        "cluster/member/list": "MemberList",
        "cluster/member/promote": "MemberPromote",
    },
    "etcdserverpb.Maintenance": {
        "maintenance/alarm": "Alarm",
        "maintenance/status": "Status",
        "maintenance/defragment": "Defragment",
        "maintenance/hash": "Hash",
        "maintenance/hashkv": "HashKV",
        "maintenance/snapshot": "Snapshot",
        "maintenance/transfer-leadership": "MoveLeader",
        "maintenance/downgrade": "Downgrade",
    },
    "etcdserverpb.Auth": {
        "auth/enable": "AuthEnable",
        "auth/disable": "AuthDisable",
        "auth/status": "AuthStatus",
        "auth/authenticate": "Authenticate",
        "auth/user/add": "UserAdd",
        "auth/user/get": "UserGet",
        "auth/user/list": "UserList",
        "auth/user/delete": "UserDelete",
        "auth/user/changepw": "UserChangePassword",
        "auth/user/grant": "UserGrantRole",
        "auth/user/revoke": "UserRevokeRole",
        "auth/role/add": "RoleAdd",
        "auth/role/get": "RoleGet",
        "auth/role/list": "RoleList",
        "auth/role/delete": "RoleDelete",
        "auth/role/grant": "RoleGrantPermission",
        "auth/role/revoke": "RoleRevokePermission",
    },
    "v3lockpb.Lock": {"lock/lock": "Lock", "lock/unlock": "Unlock"},
    "v3electionpb.Election": {
        "election/campaign": "Campaign",
        "election/proclaim": "Proclaim",
        "election/leader": "Leader",
        "election/observe": "Observe",
        "election/resign": "Resign",
    },
}


@dataclass(frozen=True, slots=True)
class Route:
    """A method, as gRPC calls it, and its messages."""

    service: str
    name: str
    request: type[Message]
    response: type[Message]

    @property
    def path(self) -> str:
        return f"/{self.service}/{self.name}"


@cache
def routes() -> dict[str, Route]:
    """All routes by path below `PREFIX`."""
    found = {}
    for service, paths in _PATHS.items():
        package, _, short = service.partition(".")
        methods = _FILES[package].services_by_name[short].methods_by_name
        for path, name in paths.items():
            method = methods[name]
            request, response = GetMessageClass(method.input_type), method.output_type
            found[path] = Route(service, name, request, GetMessageClass(response))
    return found

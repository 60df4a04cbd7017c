"""The gRPC server of a member: every method, its handler, and the server's limits."""

from __future__ import annotations

import ssl
from collections.abc import Awaitable, Callable
from dataclasses import replace
from functools import partial
from typing import Any

import grpc
from grpc_health.v1 import health, health_pb2_grpc
from grpc_reflection.v1alpha import _async as aio_reflection
from grpc_reflection.v1alpha import reflection, reflection_pb2_grpc

from kubraft.grpc_server.server import GrpcServer
from store.figures import FIGURES
from store.front_options import FrontOptions
from store.gateway.gateway import Gateway
from store.http_front import HttpFront
from store.probes import Probes
from store.rpc import (
    auth,
    cluster,
    compact,
    delete_range,
    election,
    lease,
    lock,
    maintenance,
    put,
    txn,
    watch,
)
from store.rpc.calls import counted, kind_of
from store.rpc.health import Health
from store.rpc.range import range_
from store.rpc.service import REQUEST_OVERHEAD_BYTES, MemberServices
from store.urls import Address

Verb = Callable[[MemberServices, bytes], Awaitable[bytes]]

_UNARY: dict[str, dict[str, Verb]] = {
    "etcdserverpb.KV": {
        "Range": range_,
        "Put": put.put,
        "DeleteRange": delete_range.delete_range,
        "Txn": txn.txn,
        "Compact": compact.compact,
    },
    "etcdserverpb.Watch": {},
    "etcdserverpb.Auth": auth.VERBS,
    "etcdserverpb.Lease": {
        "LeaseGrant": lease.grant,
        "LeaseRevoke": lease.revoke,
        "LeaseTimeToLive": lease.time_to_live,
        "LeaseLeases": lease.leases,
    },
    "etcdserverpb.Cluster": {
        "MemberAdd": cluster.member_add,
        "MemberRemove": cluster.member_remove,
        "MemberUpdate": cluster.member_update,
        "MemberList": cluster.member_list,
        "MemberPromote": cluster.member_promote,
    },
    "etcdserverpb.Maintenance": {
        "Status": maintenance.status,
        "Alarm": maintenance.alarm,
        "Defragment": maintenance.defragment,
        "Hash": maintenance.hash_,
        "HashKV": maintenance.hash_of_revision,
        "MoveLeader": maintenance.move_leader,
        "Downgrade": maintenance.downgrade,
    },
    "v3lockpb.Lock": {"Lock": lock.lock, "Unlock": lock.unlock},
    "v3electionpb.Election": {
        "Campaign": election.campaign,
        "Proclaim": election.proclaim,
        "Leader": election.leader,
        "Resign": election.resign,
    },
}
_STREAMS: dict[str, dict[str, Callable[[MemberServices], grpc.RpcMethodHandler[bytes, bytes]]]] = {
    "etcdserverpb.Watch": {"Watch": watch.handler},
    "etcdserverpb.Lease": {"LeaseKeepAlive": lease.keep_alive_handler},
    "etcdserverpb.Maintenance": {"Snapshot": maintenance.snapshot_handler},
    "v3electionpb.Election": {"Observe": election.observe_handler},
}


# What a learner answers for itself, a Range only where serializable; it streams snapshots too.
# Source: etcd, server/etcdserver/api/v3rpc (isRPCSupportedForLearner).
_FOR_LEARNERS = {("etcdserverpb.KV", "Range"), ("etcdserverpb.Maintenance", "Status")}


class StoreServer:
    """Serves etcd v3, its JSON gateway, health, reflection and `probes` on the client port.

    `listen`, then `start`, at last `stop`. With `http_apart` only ports of `listen_http` serve what
    is not gRPC, and nothing else.
    """

    def __init__(
        self,
        services: MemberServices,
        probes: Probes,
        options: FrontOptions,
        *,
        http_apart: bool = False,
    ) -> None:
        bytes_max = services.options.request_bytes_max + REQUEST_OVERHEAD_BYTES
        limits = replace(options.limits, message_bytes_max=bytes_max)
        gateway = Gateway(self._find, message_bytes_max=bytes_max) if options.gateway else None
        front = HttpFront(
            probes, gateway, access=options.access, names_count=services.callers.names_count
        )
        self._server = GrpcServer(limits, http=None if http_apart else front.handle)
        self._http = GrpcServer(limits, http=front.handle)
        self._health = Health()
        for service, verbs in _UNARY.items():
            handlers = {
                name: services.unary(
                    partial(verb, services),
                    FIGURES.calls_of(service, name, "unary"),
                    learners=(service, name) in _FOR_LEARNERS,
                )
                for name, verb in verbs.items()
            }
            for name, make in _STREAMS.get(service, {}).items():
                handler = make(services)
                tally = FIGURES.calls_of(service, name, kind_of(handler))
                handlers[name] = counted(handler, tally)
            self._server.add_generic_rpc_handlers(
                (grpc.method_handlers_generic_handler(service, handlers),)
            )
        health_pb2_grpc.add_HealthServicer_to_server(self._health, self._server)
        names = (*_UNARY, health.SERVICE_NAME, reflection.SERVICE_NAME)
        reflection_pb2_grpc.add_ServerReflectionServicer_to_server(
            aio_reflection.ReflectionServicer(names), self._server
        )

    def _find(self, path: str) -> Any:
        return self._server.find(path)

    def listen(self, address: Address, tls: ssl.SSLContext | None) -> int:
        """Bind `address`; returns the port.

        Raises:
            OSError: it cannot be bound.
        """
        return bind(self._server, address, tls)

    def listen_http(self, address: Address, tls: ssl.SSLContext | None) -> int:
        """The same for the JSON gateway and the probes alone."""
        return bind(self._http, address, tls)

    async def start(self) -> None:
        await self._server.start()
        await self._http.start()

    async def set_serving(self, *, serving: bool) -> None:
        """Tell health checks."""
        await self._health.set_serving(serving=serving)

    async def stop(self, grace_s: float) -> None:
        """Refuse new calls, let running ones end for `grace_s`, then cut them."""
        await self._health.enter_graceful_shutdown()
        await self._server.stop(grace_s)
        await self._http.stop(0)


def bind(server: GrpcServer, address: Address, tls: ssl.SSLContext | None) -> int:
    """Let `server` listen at `address`; returns the port, 0 for a socket.

    Raises:
        OSError: it cannot be bound.
    """
    if address.path:
        server.listen_at(address.path, tls)
        return 0
    return server.listen(address.host, address.port, tls)

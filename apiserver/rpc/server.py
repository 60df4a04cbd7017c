"""The gRPC servers: one for bearer tokens, one for client certificates, both over TLS.

grpcio can demand a client certificate or not ask for one, so each way has a port of its own.
Replicas share the ports by SO_REUSEPORT.
"""

from __future__ import annotations

import functools
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TypeVar, cast

import grpc
import grpc.aio
from google.protobuf.message import DecodeError
from grpc_health.v1 import health, health_pb2, health_pb2_grpc
from grpc_reflection.v1alpha import reflection

from apiserver.audit.record import Auditor
from apiserver.rpc import audited, failure, wire
from apiserver.rpc.body import BODY_BYTES_MAX
from apiserver.rpc.logs import PodsService
from apiserver.rpc.objects import ObjectsService
from kubraft.api.errors import BadRequestError
from kubraft.pb.v1 import objects_pb2 as pb

T = TypeVar("T")
OBJECTS, PODS = "kubraft.v1.Objects", "kubraft.v1.Pods"
STOP_GRACE_S = 2.0
# The largest body, and room for the message around it.
_MESSAGE_BYTES_MAX = BODY_BYTES_MAX + 64 * 1024
_OPTIONS: list[tuple[str, Any]] = [
    ("grpc.max_receive_message_length", _MESSAGE_BYTES_MAX),
    ("grpc.max_send_message_length", -1),
    ("grpc.max_metadata_size", 64 * 1024),
    # As many as the HTTPS port lets one connection have.
    ("grpc.max_concurrent_streams", 1000),
    ("grpc.server_handshake_timeout_ms", 30_000),
    ("grpc.so_reuseport", 1),
    ("grpc.keepalive_time_ms", 30_000),
    ("grpc.keepalive_timeout_ms", 10_000),
    ("grpc.keepalive_permit_without_calls", 1),
    ("grpc.http2.min_ping_interval_without_data_ms", 5_000),
    ("grpc.http2.max_ping_strikes", 0),
]


@dataclass(frozen=True, slots=True)
class ServerTls:
    """Files of the servers, PEM; `client_ca_file` signs client certificates."""

    cert_file: Path
    key_file: Path
    client_ca_file: Path

    def credentials(self, *, demand_client: bool) -> grpc.ServerCredentials:
        """Raises OSError where a file cannot be read."""
        pair = (self.key_file.read_bytes(), self.cert_file.read_bytes())
        if not demand_client:
            return grpc.ssl_server_credentials([pair])
        return grpc.ssl_server_credentials(
            [pair], self.client_ca_file.read_bytes(), require_client_auth=True
        )


class RpcServer:
    """Both servers with their services, reflection and health."""

    def __init__(
        self, objects: ObjectsService, pods: PodsService, audit: Auditor | None = None
    ) -> None:
        self._health = cast("Any", health).aio.HealthServicer()
        self._handlers = [_objects_handler(objects, audit), _pods_handler(pods, audit)]
        self._servers: list[grpc.aio.Server] = []

    async def start(self, address: str, tls: ServerTls | None, *, mutual: bool = False) -> int:
        """Serve on `address`; without `tls` in plain text, for tests.

        Returns:
            The port, which is another where `address` asks for port 0.

        Raises:
            OSError: the address is taken, or a file cannot be read.
        """
        server = grpc.aio.server(options=_OPTIONS)
        server.add_generic_rpc_handlers(tuple(self._handlers))
        health_pb2_grpc.add_HealthServicer_to_server(self._health, server)
        names = (OBJECTS, PODS, health.SERVICE_NAME, reflection.SERVICE_NAME)
        reflection.enable_server_reflection(names, server)
        try:
            if tls is None:
                port = server.add_insecure_port(address)
            else:
                port = server.add_secure_port(address, tls.credentials(demand_client=mutual))
        except RuntimeError as error:
            raise OSError(f"cannot listen on {address}: the address is taken") from error
        await server.start()
        self._servers.append(server)
        return port

    async def set_serving(self, *, serving: bool) -> None:
        """Tell health checks whether requests are welcome."""
        status = health_pb2.HealthCheckResponse
        value = status.SERVING if serving else status.NOT_SERVING
        for name in ("", OBJECTS, PODS):
            await self._health.set(name, value)

    async def stop(self, grace_s: float = STOP_GRACE_S) -> None:
        """Let running calls end for at most `grace_s`, then cut them off."""
        for server in self._servers:
            await server.stop(grace_s)


def _objects_handler(service: ObjectsService, audit: Auditor | None) -> Any:
    requests: dict[str, Any] = {
        "Get": pb.GetRequest,
        "List": pb.ListRequest,
        "Put": pb.PutRequest,
        "Patch": pb.PatchRequest,
        "Delete": pb.DeleteRequest,
        "Kinds": pb.KindsRequest,
    }
    handlers: dict[str, Any] = {
        name: grpc.unary_unary_rpc_method_handler(
            failure.unary(
                audited.unary(
                    audit, f"/{OBJECTS}/{name}", _reading(request, getattr(service, name))
                )
            ),
            response_serializer=wire.serialize,
        )
        for name, request in requests.items()
    }
    handlers["Watch"] = grpc.unary_stream_rpc_method_handler(
        failure.streaming(
            audited.streaming(audit, f"/{OBJECTS}/Watch", _reading(pb.WatchRequest, service.Watch))
        ),
        response_serializer=wire.serialize,
    )
    return grpc.method_handlers_generic_handler(OBJECTS, handlers)


def _reading(message: Any, handle: Callable[[Any, Any], T]) -> Callable[[bytes, Any], T]:
    """The handler of a request's bytes; bytes that are no message are the client's fault."""

    @functools.wraps(handle)
    def read(raw: bytes, context: Any) -> T:
        try:
            request = message.FromString(raw)
        except DecodeError as error:
            raise BadRequestError("the request is not a message of this method") from error
        return handle(request, context)

    return read


def _pods_handler(service: PodsService, audit: Auditor | None) -> Any:
    logs = grpc.unary_stream_rpc_method_handler(
        failure.streaming(
            audited.streaming(audit, f"/{PODS}/Logs", _reading(pb.LogsRequest, service.Logs))
        ),
        response_serializer=wire.serialize,
    )
    return grpc.method_handlers_generic_handler(PODS, {"Logs": logs})

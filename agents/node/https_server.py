"""Listening on the node agent's port: HTTPS, and the gRPC service of logs on the same one."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from kubraft.grpc_server.exchange import Handler
from kubraft.grpc_server.guard import Limits
from kubraft.grpc_server.server import GrpcServer
from kubraft.grpc_server.tls import serving_context


@dataclass(frozen=True, slots=True)
class Address:
    """Where to listen, and with which files, PEM."""

    host: str
    port: int
    cert_file: Path
    key_file: Path
    client_ca_file: Path


def listening(address: Address, http: Handler) -> tuple[GrpcServer, int]:
    """A server that is bound and not started, and its port.

    Client certificates are asked for; who has none is told so by the front, with a 401.

    Raises:
        OSError: a file cannot be used, or the port cannot be bound; the message is for the user.
    """
    server = GrpcServer(Limits(), http=http)
    target = f"{address.host}:{address.port}"
    try:
        context = serving_context(address.cert_file, address.key_file, address.client_ca_file)
        port = server.listen(address.host, address.port, context)
    except OSError as error:
        raise OSError(f"--port {address.port}: cannot listen on {target}: {error}") from error
    return server, port

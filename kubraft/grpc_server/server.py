"""The server: handlers by path, listening sockets, an orderly end."""

from __future__ import annotations

import asyncio
import errno
import socket
import ssl
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any

from kubraft.grpc_server.connection import Connection

_BACKLOG = 1024
_NOT_HERE = (errno.EADDRNOTAVAIL, errno.EAFNOSUPPORT)


@dataclass(frozen=True, slots=True)
class _Asked:
    method: str
    invocation_metadata: tuple[()] = ()


class GrpcServer:
    """Takes handlers as `grpc.aio.Server` does; `listen`, then `start`, at last `stop`."""

    def __init__(self, *, message_bytes_max: int) -> None:
        self._message_bytes_max = message_bytes_max
        self._generic: list[Any] = []
        self._methods: dict[str, Any] = {}
        self._listening: list[tuple[socket.socket, ssl.SSLContext | None]] = []
        self._servers: list[asyncio.Server] = []
        self._connections: set[Connection] = set()

    def add_generic_rpc_handlers(self, handlers: Iterable[Any]) -> None:
        self._generic.extend(handlers)

    def add_registered_method_handlers(self, service: str, handlers: Mapping[str, Any]) -> None:
        self._methods.update({f"/{service}/{name}": each for name, each in handlers.items()})

    def _find(self, path: str) -> Any:
        found = self._methods.get(path)
        for handler in self._generic if found is None else ():
            found = handler.service(_Asked(path))
            if found is not None:
                break
        return found

    def listen(self, host: str, port: int, tls: ssl.SSLContext | None) -> int:
        """Bind all addresses of `host`; returns the port, chosen by the system for port 0.

        Raises:
            OSError: none can be bound, or one is taken.
        """
        bound = 0
        failure: OSError | None = None
        found = socket.getaddrinfo(
            host or None, port, type=socket.SOCK_STREAM, flags=socket.AI_PASSIVE
        )
        for family, _, _, _, address in dict.fromkeys(found):
            try:
                listener = _bind(family, (address[0], port or bound, *address[2:]))
            except OSError as error:
                if error.errno not in _NOT_HERE:
                    raise
                failure = error
                continue
            bound = listener.getsockname()[1]
            self._listening.append((listener, tls))
        if not bound:
            raise failure or OSError(errno.EADDRNOTAVAIL, f"no address of {host}")
        return bound

    async def start(self) -> None:
        loop = asyncio.get_running_loop()
        for listener, tls in self._listening:
            self._servers.append(
                await loop.create_server(self._connection, sock=listener, ssl=tls, backlog=_BACKLOG)
            )

    def _connection(self) -> Connection:
        connection = Connection(
            self._find, self._message_bytes_max, on_end=self._connections.discard
        )
        self._connections.add(connection)
        return connection

    async def stop(self, grace_s: float) -> None:
        """Refuse new calls, let running ones end for `grace_s`, then cut them."""
        for server in self._servers:
            server.close()
        for listener, _ in self._listening:
            listener.close()
        connections = list(self._connections)
        for connection in connections:
            connection.leave()
        tasks = [
            call.task
            for connection in connections
            for call in connection.calls.values()
            if call.task is not None
        ]
        if tasks:
            await asyncio.wait(tasks, timeout=grace_s)
        for connection in connections:
            connection.cut()
        await asyncio.gather(*tasks, return_exceptions=True)


def _bind(family: int, address: tuple[Any, ...]) -> socket.socket:
    listener = socket.socket(family, socket.SOCK_STREAM)
    try:
        listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        if family == socket.AF_INET6:
            listener.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_V6ONLY, 1)
        listener.setblocking(False)
        listener.bind(address)
        listener.listen(_BACKLOG)
    except OSError:
        listener.close()
        raise
    return listener

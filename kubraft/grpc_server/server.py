"""The server: handlers by path, listening sockets, an orderly end."""

from __future__ import annotations

import asyncio
import contextlib
import errno
import resource
import socket
import ssl
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from itertools import islice
from pathlib import Path
from typing import Any, Protocol, TypeVar

from kubraft.grpc_server.connection import Connection
from kubraft.grpc_server.exchange import Handler
from kubraft.grpc_server.guard import Limits
from kubraft.grpc_server.http1 import IDLE_TIMEOUT_S, Http1Connection
from kubraft.grpc_server.listener import Listener
from kubraft.grpc_server.sniffer import Opening, Sniffer

_BACKLOG = 1024
# What a process needs besides its clients' connections. Source: etcd, server/embed.
_DESCRIPTORS_RESERVED = 150
_TCP_KEEPALIVE_S = 30
# A client has so long to end a connection that this side has ended.
_GOODBYE_S = 0.5
# Connections that are looked at for one that does nothing.
_LOOKED_AT = 64
_NOT_HERE = (errno.EADDRNOTAVAIL, errno.EAFNOSUPPORT)

C = TypeVar("C", bound="Served")


@dataclass(frozen=True, slots=True)
class _Asked:
    method: str
    invocation_metadata: tuple[()] = ()


class Served(Protocol):
    """A connection, as its server sees it."""

    def leave(self) -> None:
        """Take nothing new."""

    def running(self) -> list[asyncio.Task[None]]:
        """The tasks of what runs on it."""

    def cut(self) -> None:
        """End what runs on it, and itself."""

    def abort(self) -> None:
        """End it at once, without a word."""


class GrpcServer:
    """Takes handlers as `grpc.aio.Server` does; `listen`, then `start`, at last `stop`.

    Where `http` is given, requests that are not gRPC go to it, over HTTP/1.1 and HTTP/2.
    """

    def __init__(self, limits: Limits, *, http: Handler | None = None) -> None:
        self._limits = limits
        self._http = http
        self._generic: list[Any] = []
        self._methods: dict[str, Any] = {}
        self._listening: list[tuple[socket.socket, ssl.SSLContext | None]] = []
        self._paths: list[Path] = []
        self._listeners: list[Listener] = []
        # In the order in which they came.
        self._connections: dict[Served, None] = {}
        self._gone = asyncio.Event()
        descriptors, _ = resource.getrlimit(resource.RLIMIT_NOFILE)
        self._connections_max = max(descriptors - _DESCRIPTORS_RESERVED, 1)

    def add_generic_rpc_handlers(self, handlers: Iterable[Any]) -> None:
        self._generic.extend(handlers)

    def add_registered_method_handlers(self, service: str, handlers: Mapping[str, Any]) -> None:
        self._methods.update({f"/{service}/{name}": each for name, each in handlers.items()})

    def find(self, path: str) -> Any:
        """The handler of `/package.Service/Method`; None where there is none."""
        found = self._methods.get(path)
        for handler in self._generic if found is None else ():
            found = handler.service(_Asked(path))
            if found is not None:
                break
        return found

    def listen(
        self, host: str, port: int, tls: ssl.SSLContext | None, *, reuse_port: bool = False
    ) -> int:
        """Bind all addresses of `host`; returns the port, chosen by the system for port 0.

        Others that set `reuse_port` may share the port.

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
                own = (address[0], port or bound, *address[2:])
                listener = _bind(family, own, reuse_port=reuse_port)
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

    def listen_at(self, path: str, tls: ssl.SSLContext | None) -> None:
        """Bind the socket `path` of the file system, in place of one that was left there.

        Raises:
            OSError: it cannot be bound.
        """
        self._listening.append((_bind_path(path), tls))
        self._paths.append(Path(path))

    async def start(self) -> None:
        for listening, tls in self._listening:
            listener = Listener(listening, tls, self._connection, self._has_room)
            listener.start()
            self._listeners.append(listener)

    def _has_room(self, handshakes: int) -> bool:
        """Whether another connection may come; one that does nothing may have to go for it."""
        if len(self._connections) + handshakes < self._connections_max:
            return True
        if self._limits.idle_s <= 0:
            return False
        for connection in list(islice(self._connections, _LOOKED_AT)):
            if not connection.running():
                self._forget(connection)
                connection.abort()
                return True
            # Looked at again when all others were.
            self._connections[connection] = self._connections.pop(connection)
        return False

    def _connection(self) -> asyncio.Protocol:
        return Opening(self._opened)

    def _opened(self) -> asyncio.Protocol:
        if self._http is None:
            return self._http2()
        return self._known(Sniffer(self._choose, on_end=self._forget))

    def _choose(self, is_http2: bool) -> asyncio.Protocol:  # noqa: FBT001  # a callback's
        if is_http2:
            return self._http2()
        assert self._http is not None
        idle_s = self._limits.idle_s or IDLE_TIMEOUT_S
        return self._known(Http1Connection(self._http, on_end=self._forget, idle_s=idle_s))

    def _http2(self) -> Connection:
        return self._known(Connection(self.find, self._http, self._limits, on_end=self._forget))

    def _known(self, connection: C) -> C:
        self._connections[connection] = None
        return connection

    def _forget(self, connection: Served) -> None:
        self._connections.pop(connection, None)
        if not self._connections:
            self._gone.set()

    async def stop(self, grace_s: float) -> None:
        """Refuse new calls, let running ones end for `grace_s`, then cut them."""
        for listener in self._listeners:
            listener.close()
        for listening, _ in self._listening:
            listening.close()
        for path in self._paths:
            _remove(path)
        connections = list(self._connections)
        for connection in connections:
            connection.leave()
        tasks = [task for connection in connections for task in connection.running()]
        if tasks:
            await asyncio.wait(tasks, timeout=grace_s)
        for connection in connections:
            connection.cut()
        await asyncio.gather(
            *tasks, *(each.wait_closed() for each in self._listeners), return_exceptions=True
        )
        await self._wait_gone()

    async def _wait_gone(self) -> None:
        """Give clients a moment to say goodbye in TLS, then do without; leave nothing open."""
        for _ in range(2):
            if not self._connections:
                return
            self._gone.clear()
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(_GOODBYE_S):
                    await self._gone.wait()
            for connection in list(self._connections):
                connection.abort()


def _bind_path(path: str) -> socket.socket:
    listener = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
    try:
        listener.setblocking(False)
        if Path(path).is_socket():
            Path(path).unlink()
        listener.bind(path)
        listener.listen(_BACKLOG)
    except OSError:
        listener.close()
        raise
    return listener


def _remove(path: Path) -> None:
    with contextlib.suppress(OSError):
        path.unlink()


def _bind(family: int, address: tuple[Any, ...], *, reuse_port: bool) -> socket.socket:
    listener = socket.socket(family, socket.SOCK_STREAM)
    try:
        listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        if reuse_port:
            listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEPORT, 1)
        if family == socket.AF_INET6:
            listener.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_V6ONLY, 1)
        listener.setsockopt(socket.SOL_SOCKET, socket.SO_KEEPALIVE, 1)
        listener.setsockopt(socket.IPPROTO_TCP, socket.TCP_KEEPIDLE, _TCP_KEEPALIVE_S)
        listener.setsockopt(socket.IPPROTO_TCP, socket.TCP_KEEPINTVL, _TCP_KEEPALIVE_S)
        listener.setblocking(False)
        listener.bind(address)
        listener.listen(_BACKLOG)
    except OSError:
        listener.close()
        raise
    return listener

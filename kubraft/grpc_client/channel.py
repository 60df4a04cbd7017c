"""A server that can be called: connected when first needed, and again when that is lost."""

from __future__ import annotations

import asyncio
import math
import ssl
from collections.abc import Callable
from dataclasses import dataclass
from functools import lru_cache
from typing import Any

from kubraft.grpc_client import failure
from kubraft.grpc_client.alarms import Alarms
from kubraft.grpc_client.call import Answer, Call, StreamCall, UnaryCall
from kubraft.grpc_client.connection import Connection, Events
from kubraft.grpc_client.response import request_block
from kubraft.grpc_server.guard import Limits
from kubraft.grpc_server.headers import Metadata
from kubraft.grpc_server.messages import framed

# A paused server takes connections, and never says a word.
CONNECT_TIMEOUT_S = 2.0
RECONNECT_S_MIN, RECONNECT_S_MAX = 0.1, 1.0
# A call's timeout is told the server in such steps, so that its headers are often the same.
_TIMEOUT_STEP_S = 0.1

_block = lru_cache(maxsize=256)(request_block)


@dataclass(frozen=True, slots=True)
class Target:
    """Where a server is; `tls` None is plain text. `authority` is what it is called there."""

    host: str
    port: int
    authority: str
    tls: ssl.SSLContext | None = None


class Channel:
    """Takes part as a channel in the stubs of grpcio's generated code.

    A call waits for the connection that is being made; while none can be made it fails at once,
    with UNAVAILABLE and the cause (grpcio's way as well).
    """

    def __init__(self, target: Target, limits: Limits) -> None:
        self._target = target
        self._limits = limits
        self._alarms = Alarms()
        self._connection: Connection | None = None
        self._made: set[Connection] = set()
        self._connecting: asyncio.Task[None] | None = None
        self._waiting: list[Call] = []
        self._cause = ""
        self._pause_s = RECONNECT_S_MIN
        self._not_before = -math.inf
        self._closed = False

    # What stubs are made of.

    def unary_unary(
        self,
        path: str,
        request_serializer: Callable[[Any], bytes],
        response_deserializer: Callable[[bytes], Any],
        _registered_method: bool = False,  # noqa: FBT001, FBT002  # grpcio's
    ) -> Callable[..., Answer]:
        def call(request: Any, *, timeout: float | None = None, metadata: Metadata = ()) -> Answer:
            block = self._headers(path, timeout, metadata)
            data = framed(request_serializer(request))
            made = UnaryCall(self, block, data, response_deserializer, self._alarms)
            if timeout is not None:
                made.end_after(timeout)
            self._begin(made)
            return made.answer

        return call

    def unary_stream(
        self,
        path: str,
        request_serializer: Callable[[Any], bytes],
        response_deserializer: Callable[[bytes], Any],
        _registered_method: bool = False,  # noqa: FBT001, FBT002  # grpcio's
    ) -> Callable[..., StreamCall]:
        def call(request: Any, *, metadata: Metadata = ()) -> StreamCall:
            block = self._headers(path, None, metadata)
            made = StreamCall(self, block, response_deserializer, request_serializer)
            made.send(request)
            made.half_closed = True
            self._begin(made)
            return made

        return call

    def stream_stream(
        self,
        path: str,
        request_serializer: Callable[[Any], bytes],
        response_deserializer: Callable[[bytes], Any],
        _registered_method: bool = False,  # noqa: FBT001, FBT002  # grpcio's
    ) -> Callable[..., StreamCall]:
        def call(*, metadata: Metadata = ()) -> StreamCall:
            block = self._headers(path, None, metadata)
            made = StreamCall(self, block, response_deserializer, request_serializer)
            self._begin(made)
            return made

        return call

    def _headers(self, path: str, timeout_s: float | None, metadata: Metadata) -> bytes:
        timeout = ""
        if timeout_s is not None:
            timeout = f"{math.ceil(timeout_s / _TIMEOUT_STEP_S) * 100}m"
        scheme = "http" if self._target.tls is None else "https"
        return _block(scheme, self._target.authority, path, timeout, metadata)

    # As a call's line, until there is a connection.

    def send(self, call: Call, data: bytes) -> None:
        call.request += data

    def give_up(self, call: Call) -> None:
        if call in self._waiting:
            self._waiting.remove(call)

    def taken(self, call: Call) -> None:
        """Nothing to give back to yet."""

    # The connection.

    @property
    def ready(self) -> bool:
        """Whether there is a connection."""
        return self._connection is not None

    def connect(self) -> None:
        """Begin to connect, if there is no connection and it is time to try."""
        if self._connection is None and self._connecting is None and not self._refuses():
            loop = asyncio.get_running_loop()
            self._connecting = loop.create_task(self._connect(), name="grpc-connect")

    def _refuses(self) -> bool:
        return self._closed or asyncio.get_running_loop().time() < self._not_before

    def _begin(self, call: Call) -> None:
        if self._connection is not None:
            self._connection.begin(call)
            return
        self.connect()
        if self._connecting is None:
            call.end(failure.lost(self._cause, sent=False))
        else:
            self._waiting.append(call)

    async def _connect(self) -> None:
        target = self._target
        loop = asyncio.get_running_loop()
        ready: asyncio.Future[None] = loop.create_future()
        try:
            async with asyncio.timeout(CONNECT_TIMEOUT_S):
                transport, _ = await loop.create_connection(
                    lambda: self._new(ready),
                    target.host,
                    target.port,
                    ssl=target.tls,
                    server_hostname=target.host if target.tls else None,
                )
                try:
                    await ready
                except BaseException:
                    transport.abort()
                    raise
        except (OSError, ValueError) as error:  # the latter: a name that can be none
            self._failed(failure.cause_of(error, "cannot connect"))
        finally:
            self._connecting = None

    def _new(self, ready: asyncio.Future[None]) -> Connection:
        def on_ready(connection: Connection) -> None:
            if not ready.done():
                ready.set_result(None)
                self._connected(connection)

        def on_lost(connection: Connection, cause: str) -> None:
            self._made.discard(connection)
            self._left(connection)
            if not ready.done():
                ready.set_exception(ConnectionError(cause))

        return Connection(self._limits, Events(on_ready, self._left, on_lost))

    def _connected(self, connection: Connection) -> None:
        self._pause_s = RECONNECT_S_MIN
        self._made.add(connection)
        self._connection = connection
        waiting, self._waiting = self._waiting, []
        for call in waiting:
            connection.begin(call)

    def _failed(self, cause: str) -> None:
        self._cause = cause
        self._not_before = asyncio.get_running_loop().time() + self._pause_s
        self._pause_s = min(2 * self._pause_s, RECONNECT_S_MAX)
        waiting, self._waiting = self._waiting, []
        for call in waiting:
            call.end(failure.lost(cause, sent=False))

    def _left(self, connection: Connection) -> None:
        if self._connection is connection:
            self._connection = None

    async def close(self) -> None:
        """End all calls and the connection."""
        self._closed = True
        self._cause = "the client is closed"
        if self._connecting is not None:
            self._connecting.cancel()
            await asyncio.wait({self._connecting})
        self._failed(self._cause)
        for connection in list(self._made):
            connection.abort(self._cause)

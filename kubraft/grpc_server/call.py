"""One call: what its handler knows as the context, and its side of the connection."""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import AsyncIterator, Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Protocol

import grpc
import grpc.aio

from kubraft.grpc_server import compression
from kubraft.grpc_server.headers import Metadata
from kubraft.grpc_server.messages import framed
from kubraft.grpc_server.outlet import OutStream

END_OF_REQUESTS: Any = getattr(grpc.aio, "EOF")  # noqa: B009  # missing in the type stubs
# A stream's writer waits while the client has left this much of its responses unread.
_UNSENT_BYTES_MAX = 64 << 10


@dataclass(frozen=True, slots=True)
class Method:
    """What the headers of a call lead to."""

    handler: Any
    metadata: Metadata
    timeout_s: float | None
    # Whether messages may come compressed; then they go compressed too.
    gzip: bool = False


class Line(Protocol):
    """The connection, as one of its calls sees it."""

    peer_name: str

    def send_head(self, call: Call, metadata: Metadata) -> None: ...
    def send_data(self, call: Call, data: bytes) -> None: ...
    def send_reply(self, call: Call, data: bytes) -> None: ...
    def send_end(self, call: Call, code: int, message: str, metadata: Metadata) -> None: ...
    def taken(self, call: Call, size: int) -> None: ...
    def auth_context(self) -> Mapping[str, Sequence[bytes]]: ...
    async def writable(self, call: Call) -> None: ...


class Call(OutStream):
    """Satisfies what handlers use of `grpc.aio.ServicerContext`."""

    def __init__(self, line: Line, stream: int, method: Method, window: int) -> None:
        super().__init__(stream, window)
        self.method = method
        self.task: asyncio.Task[None] | None = None
        self.timer: asyncio.TimerHandle | None = None
        self.head_sent = False
        self.done_sent = False
        # The client's: bytes of a message that is not whole, whole messages, the end.
        self.partial = bytearray()
        self.half_closed = False
        self._line = line
        self._messages: deque[tuple[bytes, int]] = deque()
        self._news: asyncio.Future[None] | None = None
        self._trailing: Metadata = ()
        self._code: grpc.StatusCode | None = None
        self._details = ""
        self._callbacks: list[Callable[[Any], None]] = []

    # From the connection.

    def put(self, message: bytes, size: int) -> None:
        """A request of a stream came, in so many bytes."""
        self._messages.append((message, size))
        self._wake()

    def half_close(self) -> None:
        self.half_closed = True
        self._wake()

    def _wake(self) -> None:
        if self._news is not None and not self._news.done():
            self._news.set_result(None)

    def finished(self) -> None:
        """The call is over, one way or another."""
        if self.timer is not None:
            self.timer.cancel()
        callbacks, self._callbacks = self._callbacks, []
        for callback in callbacks:
            callback(self)

    # What a handler calls.

    async def read(self) -> Any:
        """The next request, or END_OF_REQUESTS."""
        while not self._messages:
            if self.half_closed:
                return END_OF_REQUESTS
            self._news = asyncio.get_running_loop().create_future()
            await self._news
        message, size = self._messages.popleft()
        self._line.taken(self, size)
        decode = self.method.handler.request_deserializer
        return decode(message) if decode else message

    async def requests(self) -> AsyncIterator[Any]:
        while (request := await self.read()) is not END_OF_REQUESTS:
            yield request

    async def write(self, response: Any) -> None:
        """Send one response of a stream; waits while the client does not keep up."""
        await self.send_initial_metadata(())
        encode = self.method.handler.response_serializer
        data: bytes = encode(response) if encode else response
        self._line.send_data(self, self._framed(data))
        if self.unsent_bytes > _UNSENT_BYTES_MAX:
            await self._line.writable(self)

    async def send_initial_metadata(self, metadata: Metadata) -> None:
        if not self.head_sent:
            self._line.send_head(self, metadata)

    async def abort(
        self, code: grpc.StatusCode, details: str = "", trailing_metadata: Metadata = ()
    ) -> None:
        """End the call with this status.

        Raises:
            AbortError: always, to leave the handler.
        """
        self.end(code, details, trailing_metadata)
        raise grpc.aio.AbortError

    def end(
        self,
        code: grpc.StatusCode = grpc.StatusCode.OK,
        details: str = "",
        trailing_metadata: Metadata = (),
    ) -> None:
        """Send the status, once."""
        if not self.done_sent:
            code = self._code if code is grpc.StatusCode.OK and self._code else code
            metadata = (*self._trailing, *trailing_metadata)
            self._line.send_end(self, code.value[0], details or self._details, metadata)

    def reply(self, response: Any) -> None:
        """Send the only response, and that all went well."""
        if self.done_sent:
            return
        encode = self.method.handler.response_serializer
        data: bytes = encode(response) if encode else response
        framed = self._framed(data)
        if self._trailing or self._code:
            self._line.send_head(self, ())
            self._line.send_data(self, framed)
            self.end()
        else:
            self._line.send_reply(self, framed)

    def _framed(self, data: bytes) -> bytes:
        """The message with its prefix."""
        if self.method.gzip and len(data) >= compression.WORTHWHILE_BYTES:
            data = compression.compress(data)
            return b"\1" + len(data).to_bytes(4, "big") + data
        return framed(data)

    def invocation_metadata(self) -> Metadata:
        return self.method.metadata

    def set_trailing_metadata(self, metadata: Metadata) -> None:
        self._trailing = tuple(metadata)

    def set_code(self, code: grpc.StatusCode) -> None:
        self._code = code

    def set_details(self, details: str) -> None:
        self._details = details

    def peer(self) -> str:
        return self._line.peer_name

    def auth_context(self) -> Mapping[str, Sequence[bytes]]:
        """The client's certificate, under grpcio's names."""
        return self._line.auth_context()

    def time_remaining(self) -> float | None:
        if self.timer is None:
            return None
        return max(0.0, self.timer.when() - asyncio.get_running_loop().time())

    def cancelled(self) -> bool:
        return self.task is not None and self.task.cancelling() > 0

    def done(self) -> bool:
        return self.done_sent

    def add_done_callback(self, callback: Callable[[Any], None]) -> None:
        self._callbacks.append(callback)

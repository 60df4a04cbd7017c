"""Calls, as who makes them sees them, and as the connection does."""

from __future__ import annotations

import asyncio
from abc import ABC, abstractmethod
from collections import deque
from collections.abc import Callable
from typing import Any, Protocol

import grpc
import grpc.aio

from kubraft.grpc_client.alarms import Alarms
from kubraft.grpc_client.failure import CallError
from kubraft.grpc_client.response import ResponseHead
from kubraft.grpc_server.messages import framed
from kubraft.grpc_server.outlet import OutStream

END_OF_ANSWERS: Any = getattr(grpc.aio, "EOF")  # noqa: B009  # missing in the type stubs

Decode = Callable[[bytes], Any]


class Line(Protocol):
    """The connection, or what is to make one, as a call sees it."""

    def send(self, call: Call, data: bytes) -> None:
        """Send a message that is framed."""

    def give_up(self, call: Call) -> None:
        """Nobody waits for the answer any more."""

    def taken(self, call: Call) -> None:
        """Answers were read."""


class Call(OutStream, ABC):
    """One call: what it sends first, and what became of its answer."""

    def __init__(self, line: Line, block: bytes, request: bytes, decode: Decode) -> None:
        """`request` is the framed message to begin with, if any."""
        super().__init__(0, 0)
        self.line = line
        self.block = block
        self.request = request
        self.half_closed = True
        self.over = False
        self.head: ResponseHead | None = None
        self.partial = bytearray()
        # Bytes that came and whose place in the window was not given back; messages not yet read.
        self.owed = 0
        self.unread_bytes = 0
        self._decode = decode

    @abstractmethod
    def put(self, message: bytes) -> None:
        """A whole message came."""

    @abstractmethod
    def end(self, error: CallError | None) -> None:
        """The call is over; to be called once."""

    def decoded(self, message: bytes) -> Any:
        """Raises CallError: the message is not what it should be."""
        try:
            return self._decode(message)
        except Exception as error:
            text = f"the answer cannot be read: {error}"
            raise CallError(grpc.StatusCode.INTERNAL, text) from error


class Answer(asyncio.Future[Any]):
    """The one answer to a call; to cancel it gives the call up."""

    # Set until the call is over: nothing may be left for the garbage collector to find.
    call: UnaryCall | None = None

    def cancel(self, msg: Any | None = None) -> bool:
        if not super().cancel(msg):
            return False
        if self.call is not None:
            self.call.cancelled()
        return True


class UnaryCall(Call):
    """A request and its answer, perhaps by a deadline."""

    def __init__(
        self, line: Line, block: bytes, request: bytes, decode: Decode, alarms: Alarms
    ) -> None:
        super().__init__(line, block, request, decode)
        self.answer = Answer()
        self.answer.call = self
        self._alarms = alarms
        self._message: bytes | None = None

    def put(self, message: bytes) -> None:
        self._message = message

    def end(self, error: CallError | None) -> None:
        self._close()
        if self.answer.done():
            return
        if error is None and self._message is None:
            error = CallError(grpc.StatusCode.INTERNAL, "an answer without a message")
        if error is not None:
            self.answer.set_exception(error)
            return
        try:
            self.answer.set_result(self.decoded(self._message or b""))
        except CallError as unreadable:
            self.answer.set_exception(unreadable)

    def end_after(self, timeout_s: float) -> None:
        """Set the deadline."""
        self._alarms.set(self, timeout_s, self._expire)

    def cancelled(self) -> None:
        self._close()
        self.line.give_up(self)

    def _expire(self) -> None:
        self.line.give_up(self)
        sent = self.stream > 0
        self.end(CallError(grpc.StatusCode.DEADLINE_EXCEEDED, "Deadline Exceeded", sent=sent))

    def _close(self) -> None:
        self.over = True
        self.answer.call = None
        self._alarms.drop(self)


class StreamCall(Call):
    """A call with many answers, and perhaps many requests. One task reads."""

    def __init__(
        self, line: Line, block: bytes, decode: Decode, encode: Callable[[Any], bytes]
    ) -> None:
        super().__init__(line, block, b"", decode)
        self.half_closed = False
        self._encode = encode
        self._messages: deque[bytes] = deque()
        self._news: asyncio.Future[None] | None = None
        self._error: CallError | None = None

    def send(self, request: Any) -> None:
        """Send a request; one that is too late is forgotten: the reader hears why."""
        if not self.over:
            self.line.send(self, framed(self._encode(request)))

    async def read(self) -> Any:
        """The next answer, or END_OF_ANSWERS.

        Raises:
            CallError: the call failed; what came before was read.
        """
        while not self._messages:
            if self._error is not None:
                raise self._error
            if self.over:
                return END_OF_ANSWERS
            self._news = asyncio.get_running_loop().create_future()
            await self._news
        message = self._messages.popleft()
        self.unread_bytes -= len(message)
        if not self.over:
            self.line.taken(self)
        return self.decoded(message)

    def cancel(self) -> None:
        """End the call from this side; who reads gets CANCELLED."""
        if not self.over:
            self.line.give_up(self)
            self.end(CallError(grpc.StatusCode.CANCELLED, "the call was cancelled"))

    def put(self, message: bytes) -> None:
        self._messages.append(message)
        self.unread_bytes += len(message)
        self._wake()

    def end(self, error: CallError | None) -> None:
        self.over = True
        self._error = error
        self._wake()

    def _wake(self) -> None:
        if self._news is not None and not self._news.done():
            self._news.set_result(None)

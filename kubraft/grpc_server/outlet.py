"""What goes out on a connection: frames gathered into few writes, data as the windows allow."""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import Callable, Iterable

from kubraft.grpc_server import frames as f

# A client that makes us answer and reads nothing is cut off: after so many bytes, or so many
# answers to pings and settings.
_UNREAD_BYTES_MAX = 64 << 20
_UNREAD_ANSWERS_MAX = 10_000


class OutStream:
    """What a stream has to send: what the client's window allows, what waits, what ends it."""

    def __init__(self, stream: int, window: int) -> None:
        self.stream = stream
        self.window = window
        self.unsent: deque[memoryview] = deque()
        self.unsent_bytes = 0
        self.ending: bytes | None = None
        self.room: asyncio.Future[None] | None = None


class Outlet:
    """The sending side of a connection; `on_sent` is called when a stream's end is on its way."""

    def __init__(self, transport: asyncio.Transport, on_sent: Callable[[OutStream], None]) -> None:
        self._transport = transport
        self._on_sent = on_sent
        self._loop = asyncio.get_running_loop()
        self._frames: list[bytes] = []
        self._scheduled = False
        self._paused = False
        self._closed = False
        self._unread_answers = 0
        # Whether a response went out since somebody last set this back.
        self.spoke = False
        self._window = f.WINDOW_BYTES
        self._frame_bytes = f.FRAME_BYTES
        self.stream_window = f.WINDOW_BYTES
        # Calls with data that could go if the connection's window were wider.
        self._waiting: dict[int, OutStream] = {}

    # Frames without flow control.

    def write(self, data: bytes) -> None:
        """Queue for a `flush` that the caller is about to do."""
        self._frames.append(data)
        if self._paused:
            self._unread_answers += 1
            if self._unread_answers > _UNREAD_ANSWERS_MAX:
                self._transport.abort()

    def write_soon(self, data: bytes) -> None:
        """Queue, and flush once all that is ready to run has run."""
        self._frames.append(data)
        if not self._scheduled:
            self._scheduled = True
            self._loop.call_soon(self._flush_soon)

    def _flush_soon(self) -> None:
        self._scheduled = False
        self.spoke = True
        self.flush()

    def flush(self) -> None:
        if not self._frames:
            return
        gathered, self._frames = self._frames, []
        if self._closed or self._transport.is_closing():
            return
        self._transport.write(b"".join(gathered))
        if self._transport.get_write_buffer_size() > _UNREAD_BYTES_MAX:
            self._transport.abort()

    # Data.

    def data(self, call: OutStream, data: bytes) -> None:
        size = len(data)
        if self.takes(call, size):
            self.write_soon(f.head(size, f.DATA, 0, call.stream) + data)
            return
        call.unsent.append(memoryview(data))
        call.unsent_bytes += size
        self._waiting[call.stream] = call
        self._pump_unless_paused()

    def takes(self, call: OutStream, size: int) -> bool:
        """Whether so much data can go as one frame now; if so it counts as sent."""
        if call.unsent or self._paused or size > min(call.window, self._window, self._frame_bytes):
            return False
        call.window -= size
        self._window -= size
        return True

    def end(self, call: OutStream, ending: bytes) -> None:
        """Send the last frame behind the call's data."""
        if call.unsent:
            call.ending = ending
            return
        self.write_soon(ending)
        self._on_sent(call)

    def drop(self, call: OutStream) -> None:
        """Forget the data of a call."""
        call.unsent.clear()
        call.unsent_bytes = 0
        self._waiting.pop(call.stream, None)
        self._make_room(call)

    def _pump(self) -> None:
        """Send data of the waiting calls by turns, a frame each, while there is a window."""
        while self._waiting and self._window > 0 and not self._closed and not self._paused:
            stream = next(iter(self._waiting))
            call = self._waiting.pop(stream)
            if call.window <= 0:
                continue  # until the client widens this stream
            self._send_piece(call)
            if call.unsent:
                self._waiting[stream] = call

    def _send_piece(self, call: OutStream) -> None:
        piece = call.unsent[0]
        size = min(len(piece), call.window, self._window, self._frame_bytes)
        call.window -= size
        self._window -= size
        call.unsent_bytes -= size
        self.write_soon(f.head(size, f.DATA, 0, call.stream) + bytes(piece[:size]))
        if size < len(piece):
            call.unsent[0] = piece[size:]
        else:
            call.unsent.popleft()
        if not call.unsent:
            self._make_room(call)
            if call.ending is not None:
                self.write_soon(call.ending)
                self._on_sent(call)

    async def writable(self, call: OutStream) -> None:
        """Wait until the call's data is with the transport, or will never be."""
        while call.unsent and not self._closed:
            call.room = self._loop.create_future()
            await call.room

    @staticmethod
    def _make_room(call: OutStream) -> None:
        if call.room is not None and not call.room.done():
            call.room.set_result(None)

    # What the client allows.

    def widen(self, call: OutStream | None, increment: int) -> None:
        """Raises ConnectionFaultError: a window beyond what a window can be."""
        if call is None:
            self._window += increment
        else:
            call.window += increment
            if call.unsent:
                self._waiting[call.stream] = call
        if (self._window if call is None else call.window) > f.WINDOW_BYTES_MAX:
            raise f.ConnectionFaultError(f.FLOW_CONTROL_ERROR, "window too large")
        self._pump_unless_paused()

    def set_stream_window(self, size: int, calls: Iterable[OutStream]) -> None:
        """Raises ConnectionFaultError: beyond what a window can be."""
        if size > f.WINDOW_BYTES_MAX:
            raise f.ConnectionFaultError(f.FLOW_CONTROL_ERROR, "window too large")
        for call in calls:
            call.window += size - self.stream_window
            if call.unsent:
                self._waiting[call.stream] = call
        self.stream_window = size
        self._pump_unless_paused()

    def set_frame_bytes(self, size: int) -> None:
        """Raises ConnectionFaultError: out of bounds."""
        if not f.FRAME_BYTES <= size <= f.FRAME_BYTES_LIMIT:
            raise f.ConnectionFaultError(f.PROTOCOL_ERROR, f"frames of {size} bytes")
        self._frame_bytes = size

    # What the socket allows.

    def _pump_unless_paused(self) -> None:
        if not self._paused:
            self._pump()

    def pause(self) -> None:
        self._paused = True

    def resume(self) -> None:
        self._paused = False
        self._unread_answers = 0
        self._pump()

    def close(self) -> None:
        """The connection is gone."""
        self._closed = True
        self._frames.clear()

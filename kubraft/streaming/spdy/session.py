"""The serving side of a SPDY/3.1 connection, as a state machine: bytes in, events and bytes out.

    stream:  SYN_STREAM --reply--> open --FIN from the client--> no more to read
                 |                   |  --FIN from here-------> no more to write
                 +------RST----------+--both, or RST----------> gone

There are no windows: the library that Kubernetes' clients use has none, and would wait for ever for
whoever insisted. A reader who is slow holds up the connection, as there.

Source: SPDY Protocol Draft 3.1; moby/spdystream.
"""

from __future__ import annotations

import struct
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Final

from kubraft.streaming.spdy import frames as f
from kubraft.streaming.spdy.header_block import HeaderReader, HeaderWriter

STREAMS_MAX: Final = 1000
_GOAWAY_PROTOCOL_ERROR: Final = 1
# Small enough that streams take turns on the connection.
_PART_BYTES: Final = 32 << 10


@dataclass(frozen=True, slots=True)
class Opened:
    """The client wants a stream; answer with `reply` or `reset`."""

    stream: int
    headers: Mapping[str, str]


@dataclass(frozen=True, slots=True)
class Received:
    """A part of what the client says on a stream."""

    stream: int
    data: bytes


@dataclass(frozen=True, slots=True)
class Finished:
    """The client says no more on a stream."""

    stream: int


@dataclass(frozen=True, slots=True)
class Cancelled:
    """The client has reset a stream: it is gone."""

    stream: int


@dataclass(frozen=True, slots=True)
class GoneAway:
    """The client opens no more streams."""


Event = Opened | Received | Finished | Cancelled | GoneAway


@dataclass(slots=True)
class _Stream:
    readable: bool = True
    writable: bool = True


class Session:
    """One connection. `take` what there is to send after every other call."""

    def __init__(self) -> None:
        self._reader = f.FrameReader()
        self._inflate, self._deflate = HeaderReader(), HeaderWriter()
        self._streams: dict[int, _Stream] = {}
        self._last = 0
        self._out = bytearray()

    # In

    def receive(self, data: bytes) -> Iterator[Event]:
        """What `data` says; what has not been asked for yet is not looked at.

        Raises:
            SpdyError: the client breaks the protocol. What there is to send tells it so.
        """
        self._reader.receive(data)
        try:
            while (frame := self._reader.next()) is not None:
                yield from self._data(frame) if isinstance(frame, f.Data) else self._control(frame)
        except f.SpdyError:
            self._out += f.go_away(self._last, _GOAWAY_PROTOCOL_ERROR)
            raise

    def _control(self, frame: f.Control) -> Iterator[Event]:
        match frame.kind:
            case f.Kind.SYN_STREAM:
                yield from self._syn_stream(frame)
            case f.Kind.RST_STREAM:
                (stream,) = f.numbers(frame, 1)
                if self._streams.pop(stream, None) is not None:
                    yield Cancelled(stream)
            case f.Kind.PING:
                (ping,) = f.numbers(frame, 1)
                if ping % 2:  # its own; an even one would be the answer to one of ours
                    self._out += f.control(f.Kind.PING, struct.pack(">I", ping))
            case f.Kind.GOAWAY:
                yield GoneAway()
            case f.Kind.HEADERS | f.Kind.SYN_REPLY:
                (stream,) = f.numbers(frame, 1)
                self._inflate.read(frame.payload[4:])
                if frame.fin:
                    yield from self._finish(stream)
            case _:
                pass  # SETTINGS and windows, and what a later draft may have

    def _syn_stream(self, frame: f.Control) -> Iterator[Event]:
        stream, _associated = f.numbers(frame, 2)
        # Two bytes of priority and slot; the block must be read in any case.
        headers = self._inflate.read(frame.payload[10:])
        if stream % 2 == 0 or stream <= self._last or stream >> 31:
            raise f.SpdyError(f"{stream} cannot be the number of a stream now")
        self._last = stream
        if len(self._streams) >= STREAMS_MAX:
            self._out += f.reset(stream, f.Reset.REFUSED_STREAM)
            return
        self._streams[stream] = _Stream(writable=not frame.flags & f.UNIDIRECTIONAL)
        yield Opened(stream, headers)
        if frame.fin:
            yield from self._finish(stream)

    def _data(self, frame: f.Data) -> Iterator[Event]:
        found = self._streams.get(frame.stream)
        if found is None or not found.readable:
            return  # it was reset or closed here, and the client may not have heard of it
        if frame.data:
            yield Received(frame.stream, frame.data)
        if frame.fin:
            yield from self._finish(frame.stream)

    def _finish(self, stream: int) -> Iterator[Event]:
        found = self._streams.get(stream)
        if found is not None and found.readable:
            found.readable = False
            self._drop_ended(stream)
            yield Finished(stream)

    def _drop_ended(self, stream: int) -> None:
        found = self._streams[stream]
        if not found.readable and not found.writable:
            del self._streams[stream]

    # Out

    def reply(self, stream: int) -> None:
        """Accept a stream."""
        if stream in self._streams:
            payload = struct.pack(">I", stream) + self._deflate.write({})
            self._out += f.control(f.Kind.SYN_REPLY, payload)

    def send(self, stream: int, data: bytes) -> bool:
        """Say `data`; False where the stream is gone or closed, and nothing is sent."""
        found = self._streams.get(stream)
        if found is None or not found.writable:
            return False
        for start in range(0, len(data), _PART_BYTES):
            self._out += f.data(stream, data[start : start + _PART_BYTES])
        return True

    def finish(self, stream: int) -> None:
        """Say no more on a stream."""
        found = self._streams.get(stream)
        if found is not None and found.writable:
            found.writable = False
            self._out += f.data(stream, b"", fin=True)
            self._drop_ended(stream)

    def reset(self, stream: int, status: f.Reset = f.Reset.CANCEL) -> None:
        """Refuse a stream, or give it up."""
        if self._streams.pop(stream, None) is not None:
            self._out += f.reset(stream, status)

    def go_away(self) -> None:
        """Say that this is the end."""
        self._out += f.go_away(self._last)

    def take(self) -> bytes:
        """What is to be sent now."""
        out = bytes(self._out)
        self._out.clear()
        return out

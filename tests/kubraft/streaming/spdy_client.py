"""The client's side of SPDY, of which a test writes whatever it wants."""

from __future__ import annotations

import struct
from collections.abc import Mapping

from kubraft.streaming.spdy import frames as f
from kubraft.streaming.spdy.header_block import HeaderReader, HeaderWriter


class SpdyClient:
    """Makes frames, and reads what the server says: data by stream, ends, replies, resets."""

    def __init__(self) -> None:
        self._deflate, self._inflate = HeaderWriter(), HeaderReader()
        self._reader = f.FrameReader()
        self._next = 1
        self.said: dict[int, bytes] = {}
        self.ended: set[int] = set()
        self.replied: set[int] = set()
        self.resets: dict[int, int] = {}
        self.pings: list[int] = []
        self.gone_away: int | None = None

    def open(self, headers: Mapping[str, str], *, flags: int = 0) -> tuple[int, bytes]:
        """A new stream's number, and its SYN_STREAM."""
        stream, self._next = self._next, self._next + 2
        self.said[stream] = b""
        return stream, self.syn_stream(stream, headers, flags=flags)

    def syn_stream(self, stream: int, headers: Mapping[str, str], *, flags: int = 0) -> bytes:
        payload = struct.pack(">IIH", stream, 0, 0) + self._deflate.write(headers)
        return f.control(f.Kind.SYN_STREAM, payload, flags)

    def headers(self, stream: int, headers: Mapping[str, str]) -> bytes:
        payload = struct.pack(">I", stream) + self._deflate.write(headers)
        return f.control(f.Kind.HEADERS, payload, f.FIN)

    def receive(self, data: bytes) -> None:
        self._reader.receive(data)
        while (frame := self._reader.next()) is not None:
            if isinstance(frame, f.Data):
                self.said[frame.stream] += frame.data
                if frame.fin:
                    self.ended.add(frame.stream)
                continue
            (number,) = f.numbers(frame, 1)
            if frame.kind == f.Kind.SYN_REPLY:
                self._inflate.read(frame.payload[4:])
                self.replied.add(number)
            elif frame.kind == f.Kind.RST_STREAM:
                self.resets[number] = f.numbers(frame, 2)[1]
            elif frame.kind == f.Kind.PING:
                self.pings.append(number)
            elif frame.kind == f.Kind.GOAWAY:
                self.gone_away = f.numbers(frame, 2)[1]

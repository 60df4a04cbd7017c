"""A gRPC client that does as little as it can, so that it is not what a benchmark measures.

It speaks HTTP/2 over plain text, sends requests that were encoded before and does not decode what
comes back beyond counting it: calls a second several times those of grpcio. Also what stands in for
h2load where that is missing.
"""

from __future__ import annotations

import argparse
import asyncio
import sys
import time
from collections import deque
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import cast
from urllib.parse import urlsplit

import uvloop
from hpack import Decoder

from kubraft.grpc_server import frames as f
from kubraft.grpc_server.headers import field

_WINDOW = f.WINDOW_BYTES_MAX
_RENEW_BYTES = 1 << 29
# No dynamic table, so that a block of headers always means the same; huge windows.
_SETTING_TABLE = 1
_PREFIX_BYTES = 5
# Blocks of headers that are known to mean success.
_GOOD_MAX = 1000


class CallFailedError(Exception):
    """A call ended with something else than OK."""


class Client(asyncio.Protocol):
    """One connection. `on_message(stream, payload)` gets what a stream brings, piece by piece."""

    def __init__(self, authority: str) -> None:
        self._authority = authority
        self._buffer = b""
        self._next_stream = 1
        self._received = 0
        # What the member takes now, and what waits until it takes more.
        self._window = f.WINDOW_BYTES
        self._waiting: deque[tuple[int, bytes]] = deque()
        self._decoder = Decoder()
        self._good: set[bytes] = set()
        self._ends: dict[int, Callable[[], None]] = {}
        self.on_message: Callable[[int, bytes], None] = lambda *_: None
        self.failed: asyncio.Future[None] = asyncio.get_running_loop().create_future()

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = cast("asyncio.Transport", transport)
        settings = {f.SETTING_WINDOW: _WINDOW, _SETTING_TABLE: 0}
        widen = f.window_update(0, _WINDOW - f.WINDOW_BYTES)
        self._transport.write(f.PREFACE + f.settings(settings) + widen)

    def connection_lost(self, error: Exception | None) -> None:
        self._fail(error or ConnectionResetError("the member closed the connection"))

    def close(self) -> None:
        self.failed.cancel()
        self._transport.abort()

    def head(self, method: str) -> bytes:
        """The headers of a call of `method`, for `begin`."""
        named = {
            ":method": "POST",
            ":scheme": "http",
            ":path": method,
            ":authority": self._authority,
            "content-type": "application/grpc",
            "te": "trailers",
        }
        return b"".join(field(name, value) for name, value in named.items())

    def begin(self, head: bytes, request: bytes, on_end: Callable[[], None] | None) -> int:
        """Send a request; with `on_end` it is the only one, and that is called after the answer."""
        stream, self._next_stream = self._next_stream, self._next_stream + 2
        self._ends[stream] = on_end or (lambda: None)
        body = b"\0" + len(request).to_bytes(4, "big") + request
        assert len(body) <= f.WINDOW_BYTES, "larger than the window that every stream has"
        out = [f.frame(f.HEADERS, f.END_HEADERS, stream, head)]
        for at in range(0, len(body), f.FRAME_BYTES):
            part = body[at : at + f.FRAME_BYTES]
            last = on_end is not None and at + f.FRAME_BYTES >= len(body)
            out.append(f.frame(f.DATA, f.END_STREAM if last else 0, stream, part))
        self._waiting.append((len(body), b"".join(out)))
        self._send()
        return stream

    def _send(self) -> None:
        while self._waiting and self._waiting[0][0] <= self._window:
            size, data = self._waiting.popleft()
            self._window -= size
            self._transport.write(data)

    def data_received(self, data: bytes) -> None:
        data = self._buffer + data if self._buffer else data
        at, end = 0, len(data)
        while end - at >= f.HEAD_BYTES:
            start = at + f.HEAD_BYTES
            stop = start + (data[at] << 16 | data[at + 1] << 8 | data[at + 2])
            if stop > end:
                break
            stream = int.from_bytes(data[at + 5 : start], "big")
            self._frame(data[at + 3], data[at + 4], stream, data[start:stop])
            at = stop
        self._buffer = data[at:]

    def _frame(self, kind: int, flags: int, stream: int, payload: bytes) -> None:
        if kind == f.DATA:
            self._received += len(payload)
            if self._received > _RENEW_BYTES:
                self._transport.write(f.window_update(0, self._received))
                self._received = 0
            self.on_message(stream, payload)
        elif kind == f.HEADERS:
            if payload not in self._good:
                self._check(payload)
        elif kind == f.SETTINGS and not flags & f.ACK:
            self._transport.write(f.frame(f.SETTINGS, f.ACK, 0, b""))
        elif kind == f.PING and not flags & f.ACK:
            self._transport.write(f.frame(f.PING, f.ACK, 0, payload))
        elif kind == f.WINDOW_UPDATE and not stream:
            self._window += f.u32(payload)
            self._send()
        elif kind in (f.RST_STREAM, f.GOAWAY):
            self._fail(CallFailedError(f"stream {stream} was reset"))
        if flags & f.END_STREAM and kind in (f.DATA, f.HEADERS):
            self._ends.pop(stream, lambda: None)()

    def _check(self, block: bytes) -> None:
        found = {bytes(name): bytes(value) for name, value in self._decoder.decode(block, raw=True)}
        status = found.get(b"grpc-status", b"0")
        if status != b"0":
            self._fail(CallFailedError(found.get(b"grpc-message", status).decode()))
        elif len(self._good) < _GOOD_MAX:
            self._good.add(block)

    def _fail(self, error: Exception) -> None:
        if not self.failed.done():
            self.failed.set_exception(error)


async def connect(url: str) -> Client:
    place = urlsplit(url)
    loop = asyncio.get_running_loop()
    _, client = await loop.create_connection(
        lambda: Client(place.netloc), place.hostname or "", place.port or 0
    )
    return client


async def call_all(
    clients: list[Client], method: str, requests: Iterator[bytes], *, in_flight: int
) -> list[float]:
    """Make a call for each of `requests`, so many at a time; latencies in seconds.

    Raises:
        CallFailedError, OSError: one did not succeed.
    """
    latencies: list[float] = []
    done: asyncio.Future[None] = asyncio.get_running_loop().create_future()
    heads = {client: client.head(method) for client in clients}
    running = 0

    def begin(client: Client) -> None:
        nonlocal running
        request = next(requests, None)
        if request is None:
            if not running and not done.done():
                done.set_result(None)
            return
        running += 1
        began = time.perf_counter()

        def ended() -> None:
            nonlocal running
            running -= 1
            latencies.append(time.perf_counter() - began)
            begin(client)

        client.begin(heads[client], request, ended)

    for number in range(in_flight):
        begin(clients[number % len(clients)])
    failures = [client.failed for client in clients]
    await asyncio.wait([done, *failures], return_when=asyncio.FIRST_COMPLETED)
    for failure in failures:
        if failure.done():
            failure.result()
    return latencies


class EventCounter:
    """Counts the events of one watch stream out of the pieces in which its messages come."""

    def __init__(self) -> None:
        self.events = 0
        self._buffer = b""

    def feed(self, payload: bytes) -> int:
        """How many events came with `payload`."""
        data = self._buffer + payload if self._buffer else payload
        at, before = 0, self.events
        while len(data) - at >= _PREFIX_BYTES:
            end = at + _PREFIX_BYTES + int.from_bytes(data[at + 1 : at + _PREFIX_BYTES], "big")
            if end > len(data):
                break
            self.events += _events(data, at + _PREFIX_BYTES, end)
            at = end
        self._buffer = data[at:]
        return self.events - before


def _events(data: bytes, at: int, end: int) -> int:
    """Fields number 11 of a WatchResponse, which is all that is read of it."""
    count = 0
    while at < end:
        tag = data[at]
        at += 1
        size, at = _varint(data, at)
        if tag & 7 == 2:
            at += size
            count += tag >> 3 == 11
    return count


def _varint(data: bytes, at: int) -> tuple[int, int]:
    value, shift = data[at] & 0x7F, 7
    while data[at] & 0x80:
        at += 1
        value |= (data[at] & 0x7F) << shift
        shift += 7
    return value, at + 1


async def load_for(
    url: str, method: str, request: bytes, in_flight: int, seconds: float
) -> list[float]:
    """Repeat one request for so long; the latencies of all calls, in milliseconds."""
    clients = [await connect(url) for _ in range(min(in_flight, 8))]
    end = time.perf_counter() + seconds

    def requests() -> Iterator[bytes]:
        while time.perf_counter() < end:
            yield request

    latencies = await call_all(clients, method, requests(), in_flight=in_flight)
    for client in clients:
        client.close()
    return [1000 * latency for latency in latencies]


def main() -> None:
    """In place of h2load, as a process of its own; prints a latency in milliseconds a line."""
    parser = argparse.ArgumentParser(description=__doc__)
    for name in ("url", "method", "request"):
        parser.add_argument(f"--{name}", required=True)
    parser.add_argument("--in-flight", type=int, required=True)
    parser.add_argument("--seconds", type=float, required=True)
    given = parser.parse_args()
    request = Path(given.request).read_bytes()
    found = uvloop.run(load_for(given.url, given.method, request, given.in_flight, given.seconds))
    sys.stdout.writelines(f"{latency:.4f}\n" for latency in found)


if __name__ == "__main__":
    main()

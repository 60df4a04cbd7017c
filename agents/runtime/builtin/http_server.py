"""A small HTTP/1.1 server: one thread, one poll loop, keep-alive, GET and HEAD.

What it is for: answering with a few bytes or a file, stopping without failing a request, and
starting at once. What it is not for: bodies, TLS, chunked encoding.

Source: RFC 9112.
"""

from __future__ import annotations

import contextlib
import select
import signal
import socket
import time
from collections.abc import Callable
from dataclasses import dataclass, field

_REQUEST_BYTES_MAX = 16 * 1024
_CONNECTIONS_MAX = 1024
_IDLE_S = 75.0
_REASONS = {
    200: "OK",
    400: "Bad Request",
    404: "Not Found",
    405: "Method Not Allowed",
    431: "Request Header Fields Too Large",
    503: "Service Unavailable",
}


@dataclass(frozen=True, slots=True)
class Response:
    """What to answer."""

    status: int
    body: bytes
    content_type: str = "text/plain; charset=utf-8"


Handler = Callable[[str, bool], Response]  # (path without query, stopping) -> answer


@dataclass(slots=True)
class _Connection:
    socket: socket.socket
    peer: str
    received: bytearray = field(default_factory=bytearray)
    to_send: bytearray = field(default_factory=bytearray)
    closing: bool = False
    used_at_s: float = 0.0


class HttpServer:
    """Serves `handler` on one listening socket until SIGTERM, and then a little longer."""

    def __init__(
        self, listener: socket.socket, handler: Handler, *, lame_duck_s: float, access_log: bool
    ) -> None:
        """`lame_duck_s`: how long SIGTERM leaves clients to learn that this server goes away."""
        self._listener = listener
        self._handler = handler
        self._lame_duck_s = lame_duck_s
        self._access_log = access_log
        self._connections: dict[int, _Connection] = {}
        self._poller = select.poll()
        self._stop_at_s: float | None = None

    def serve(self) -> None:
        """Serve; returns when stopped, the requests in flight answered."""
        wake_read, wake_write = socket.socketpair()
        for end in (wake_read, wake_write):
            end.setblocking(False)
        signal.set_wakeup_fd(wake_write.fileno())
        for number in (signal.SIGTERM, signal.SIGINT):
            signal.signal(number, self._stop)
            signal.pthread_sigmask(signal.SIG_UNBLOCK, (number,))
        self._listener.setblocking(False)
        self._poller.register(wake_read, select.POLLIN)
        self._poller.register(self._listener, select.POLLIN)
        while not self._finished():
            for fd, events in self._poller.poll(self._timeout_ms()):
                if fd == wake_read.fileno():
                    wake_read.recv(64)
                elif fd == self._listener.fileno():
                    self._accept()
                elif fd in self._connections:
                    self._serve_connection(self._connections[fd], events)
            self._close_idle()

    def _stop(self, _number: int, _frame: object) -> None:
        if self._stop_at_s is None:
            self._stop_at_s = time.monotonic() + self._lame_duck_s

    def _timeout_ms(self) -> int | None:
        if self._stop_at_s is not None:
            return max(0, min(100, int((self._stop_at_s - time.monotonic()) * 1000) + 1))
        return 10_000 if self._connections else None

    def _finished(self) -> bool:
        if self._stop_at_s is None or time.monotonic() < self._stop_at_s:
            return False
        if self._listener.fileno() >= 0:
            self._accept()  # whoever is in the kernel's queue was let in, so is answered
            self._poller.unregister(self._listener)
            self._listener.close()
        busy = [c for c in self._connections.values() if c.received or c.to_send]
        return not busy or time.monotonic() > self._stop_at_s + 5

    def _accept(self) -> None:
        while len(self._connections) < _CONNECTIONS_MAX:
            try:
                accepted, address = self._listener.accept()
            except OSError:
                return
            accepted.setblocking(False)
            accepted.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
            connection = _Connection(accepted, address[0], used_at_s=time.monotonic())
            self._connections[accepted.fileno()] = connection
            self._poller.register(accepted, select.POLLIN)
            self._serve_connection(connection, select.POLLIN)

    def _serve_connection(self, connection: _Connection, events: int) -> None:
        try:
            if events & (select.POLLIN | select.POLLHUP | select.POLLERR):
                self._read(connection)
            self._write(connection)
        except BlockingIOError:
            return
        except OSError:
            self._close(connection)

    def _read(self, connection: _Connection) -> None:
        try:
            data = connection.socket.recv(65536)
        except BlockingIOError:
            return
        if not data:
            raise ConnectionResetError
        connection.used_at_s = time.monotonic()
        connection.received += data
        while not connection.closing:
            head, found, rest = bytes(connection.received).partition(b"\r\n\r\n")
            if not found:
                if len(head) > _REQUEST_BYTES_MAX:
                    self._answer(connection, "GET", Response(431, b"too large\n"), close=True)
                return
            connection.received = bytearray(rest)
            self._request(connection, head.decode("latin-1"))

    def _request(self, connection: _Connection, head: str) -> None:
        line, *fields = head.split("\r\n")
        words = line.split(" ")
        if len(words) != 3 or not words[2].startswith("HTTP/1."):
            self._answer(connection, "GET", Response(400, b"bad request\n"), close=True)
            return
        method, target, version = words
        headers = {
            name.strip().lower(): value.strip()
            for name, _colon, value in (line.partition(":") for line in fields)
        }
        close = headers.get("connection", "").lower() == "close" or version == "HTTP/1.0"
        has_body = headers.get("content-length", "0") != "0" or "transfer-encoding" in headers
        if method not in {"GET", "HEAD"} or has_body:
            response, close = Response(405, b"method not allowed\n"), True
        else:
            response = self._handler(target.partition("?")[0], self._stop_at_s is not None)
        if self._access_log:
            print(connection.peer, method, target, response.status, flush=True)  # noqa: T201
        self._answer(connection, method, response, close=close or self._stop_at_s is not None)

    def _answer(
        self, connection: _Connection, method: str, response: Response, *, close: bool
    ) -> None:
        head = (
            f"HTTP/1.1 {response.status} {_REASONS[response.status]}\r\n"
            f"Content-Type: {response.content_type}\r\n"
            f"Content-Length: {len(response.body)}\r\n"
            f"Connection: {'close' if close else 'keep-alive'}\r\n\r\n"
        )
        connection.to_send += head.encode()
        if method != "HEAD":
            connection.to_send += response.body
        connection.closing = close

    def _write(self, connection: _Connection) -> None:
        if connection.to_send:
            with contextlib.suppress(BlockingIOError):
                sent = connection.socket.send(connection.to_send)
                del connection.to_send[:sent]
        if connection.to_send:
            self._poller.modify(connection.socket, select.POLLIN | select.POLLOUT)
        elif connection.closing:
            self._close(connection)
        else:
            self._poller.modify(connection.socket, select.POLLIN)

    def _close(self, connection: _Connection) -> None:
        del self._connections[connection.socket.fileno()]
        self._poller.unregister(connection.socket)
        connection.socket.close()

    def _close_idle(self) -> None:
        if not self._connections:
            return
        oldest = time.monotonic() - _IDLE_S
        for connection in [c for c in self._connections.values() if c.used_at_s < oldest]:
            self._close(connection)


def listen(address: str, port: int) -> socket.socket:
    """A listening TCP socket on `address`, which may just have been another process's."""
    listener = socket.socket(socket.AF_INET6 if ":" in address else socket.AF_INET)
    listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    listener.bind((address, port))
    listener.listen(512)
    return listener

"""What a client of HTTP/1.1 sends, as heads, parts of bodies and ends. Source: RFC 9112.

`httptools` (llhttp, strict) knows the grammar. Here is what it leaves to its user: bounds, one
request at a time, and refusing whatever somebody between us and the client could read otherwise.
"""

from __future__ import annotations

import re
from collections import deque
from enum import Enum
from typing import Final, NamedTuple

import httptools

HEAD_BYTES_MAX = 64 << 10
_END_OF_HEAD: Final = b"\r\n\r\n"
_FRAMING: Final = frozenset(("host", "content-length", "transfer-encoding", "connection", "expect"))
_LENGTH: Final = re.compile(r"[0-9]{1,18}")


class MalformedError(Exception):
    """What a client sent is no request that can be answered."""

    def __init__(self, cause: str, status: int = 400) -> None:
        super().__init__(cause)
        self.status = status


class Head(NamedTuple):
    """Names of headers are in lower case."""

    method: str
    target: str
    headers: tuple[tuple[str, str], ...]
    # Whether the response may come in chunks, and another request may follow; false for HTTP/1.0.
    persistent: bool
    # Whether the client says that no other request follows.
    closes: bool
    # Whether the client sends its body only when told to.
    expects_continue: bool


class End(Enum):
    """Of a request."""

    END = "end"


Event = Head | bytes | End


class RequestReader:
    """Bytes in, events out; after an END nothing more until `start_next`."""

    def __init__(self) -> None:
        self._held = bytearray()
        self._events: deque[Event] = deque()
        self._begin()

    def _begin(self) -> None:
        self.done = False
        self._parser = httptools.HttpRequestParser(self)
        self._target = b""
        self._headers: list[tuple[str, str]] = []
        self._in_head = True
        # What the parser has seen of the request whose bytes it reads now.
        self._saw_head = self._saw_end = False
        # Of a body: how much is still to come; None for chunks.
        self._left: int | None = 0
        # Read since there was something to show for it.
        self._spent = 0

    @property
    def waiting(self) -> int:
        """How many bytes are here and not looked at."""
        return len(self._held)

    @property
    def in_body(self) -> bool:
        """Whether a request's body is not whole yet."""
        return not (self.done or self._in_head)

    def receive(self, data: bytes) -> None:
        """Take what came."""
        self._held += data

    def next(self) -> Event | None:
        """What comes next; None until more is received, or `start_next` is called.

        Raises:
            MalformedError: nothing after this can be read.
        """
        while not self._events:
            size = 0 if self.done else self._readable()
            if not size:
                return None
            piece = bytes(self._held[:size])
            del self._held[:size]
            self._read(piece)
        return self._events.popleft()

    def take_rest(self) -> bytes:
        """What follows the request, where its connection no longer speaks HTTP."""
        assert self.done
        rest = bytes(self._held)
        self._held.clear()
        return rest

    def start_next(self) -> None:
        """Go on with the next request."""
        assert self.done
        self._begin()

    def _readable(self) -> int:
        """So many bytes certainly belong to this request; each piece ends at most one part."""
        if not self._in_head and self._left is not None:
            return min(self._left, len(self._held))
        # Heads end so, and so do bodies in chunks.
        end = self._held.find(_END_OF_HEAD)
        size = end + len(_END_OF_HEAD) if end >= 0 else len(self._held) - self._begun_end()
        if self._spent + size > HEAD_BYTES_MAX and self._in_head:
            raise MalformedError("the head is too large", 431)
        return size

    def _begun_end(self) -> int:
        """How many of the last bytes may begin what ends a head."""
        return next((n for n in (3, 2, 1) if self._held.endswith(_END_OF_HEAD[:n])), 0)

    def _read(self, piece: bytes) -> None:
        self._spent += len(piece)
        upgrades = False
        try:
            self._parser.feed_data(piece)
        except httptools.HttpParserUpgrade:
            upgrades = True
        except httptools.HttpParserError as error:
            raise MalformedError(str(error)) from error
        if self._in_head and self._saw_head:
            self._in_head, self._spent = False, 0
            self._events.append(self._head())
            if upgrades and self._left != 0:
                self._skip_upgrade()
        if self._saw_end:
            self.done = True
            self._events.append(End.END)
        elif self._left is None and self._spent > HEAD_BYTES_MAX:
            raise MalformedError("the chunks are mostly framing", 431)

    def _head(self) -> Head:
        """The head that was read; sets what is to come of a body."""
        version = self._parser.get_http_version()
        if version not in ("1.0", "1.1"):
            raise MalformedError("unknown version of HTTP", 505)
        found: dict[str, list[str]] = {}
        for name, value in self._headers:
            if name in _FRAMING:
                found.setdefault(name, []).append(value)
        persistent = version == "1.1"
        if len(found.get("host", ())) != 1 and (persistent or "host" in found):
            raise MalformedError("there must be one Host")
        self._left = _body_length(found, persistent=persistent)
        options = ",".join(found.get("connection", ())).lower().split(",")
        expects = persistent and self._left != 0 and "100-continue" in found.get("expect", ())
        method = self._parser.get_method().decode("latin-1")
        target = self._target.decode("latin-1")
        closes = "close" in map(str.strip, options)
        return Head(method, target, tuple(self._headers), persistent, closes, expects)

    def _skip_upgrade(self) -> None:
        """Go on with the body: a parser that sees an upgrade takes the request to end there."""
        self._saw_end = False
        self._parser = httptools.HttpRequestParser(self)
        chunked = "Transfer-Encoding: chunked"
        framing = chunked if self._left is None else f"Content-Length: {self._left}"
        self._parser.feed_data(f"POST / HTTP/1.1\r\n{framing}\r\n\r\n".encode())

    # What the parser calls.

    def on_url(self, part: bytes) -> None:
        self._target += part

    def on_header(self, name: bytes, value: bytes) -> None:
        if not self._saw_head:  # else it is a trailer
            text = value.decode("latin-1").strip(" \t")
            self._headers.append((name.decode("latin-1").lower(), text))

    def on_headers_complete(self) -> None:
        self._saw_head = True

    def on_body(self, data: bytes) -> None:
        self._spent = 0
        if self._left is not None:
            self._left -= len(data)
        self._events.append(data)

    def on_message_complete(self) -> None:
        self._saw_end = True


def _body_length(found: dict[str, list[str]], *, persistent: bool) -> int | None:
    """How long the body is; None for chunks.

    Raises:
        MalformedError: it could be read in more than one way.
    """
    lengths, codings = found.get("content-length", []), found.get("transfer-encoding", [])
    if lengths and codings:
        raise MalformedError("both Content-Length and Transfer-Encoding")
    if codings:
        if not persistent or [coding.lower() for coding in codings] != ["chunked"]:
            raise MalformedError("only chunked is known as Transfer-Encoding", 501)
        return None
    if len(lengths) > 1 or any(not _LENGTH.fullmatch(text) for text in lengths):
        raise MalformedError("Content-Length is not one number")
    return int(lengths[0]) if lengths else 0

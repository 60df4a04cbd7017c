"""Header blocks: out of their frames, decoded, and made.

A peer sends the same block again and again once its compression has settled, so decoded blocks
are remembered for as long as the dynamic table they were decoded with does not change.
"""

from __future__ import annotations

import base64
import binascii
import re
from collections.abc import Callable
from dataclasses import dataclass
from typing import Generic, TypeVar
from urllib.parse import quote

from hpack import Decoder
from hpack.exceptions import HPACKError, OversizedHeaderListError

from kubraft.grpc_server import frames as f
from kubraft.grpc_server.frames import ConnectionFaultError

LIST_BYTES_MAX = 64 << 10
_CONTINUATIONS_MAX = 64
_REMEMBERED_MAX = 256
_REMEMBERED_BYTES_MAX = 2048
_TIMEOUT = re.compile(r"(\d{1,8})([HMSmun])")
_SECONDS = {"H": 3600.0, "M": 60.0, "S": 1.0, "m": 1e-3, "u": 1e-6, "n": 1e-9}
_PSEUDO = (":method", ":path", ":authority", ":scheme")
_SINGLE = frozenset((*_PSEUDO, "content-type", "grpc-encoding"))
_NOT_METADATA = frozenset(("te", "content-type", "grpc-timeout", "grpc-encoding"))
# What has no place in HTTP/2. Source: RFC 9113, section 8.2.
_NAME = re.compile(rb":?[!#$%&'*+\-.^_`|~0-9a-z]+")
_VALUE = re.compile(rb"[^\x00\r\n]*")
_OF_CONNECTIONS = frozenset(
    (b"connection", b"keep-alive", b"proxy-connection", b"transfer-encoding", b"upgrade")
)

Metadata = tuple[tuple[str, str | bytes], ...]
Fields = list[tuple[bytes, bytes]]
# The flags of a block's first frame with the end that its last one had, the stream, the block.
Block = tuple[int, int, bytes]
T = TypeVar("T")


@dataclass(frozen=True, slots=True)
class RequestHead:
    """What the headers of a call say."""

    method: str
    path: str
    authority: str
    scheme: str
    content_type: str
    encoding: str
    timeout_s: float | None
    metadata: Metadata
    # Why they are not what headers of a request must be; empty if they are.
    fault: str


class HeadersTooLargeError(ConnectionFaultError):
    """A block comes to more than LIST_BYTES_MAX; the rest of it was not decoded."""

    def __init__(self, stream: int = 0) -> None:
        super().__init__(f.ENHANCE_YOUR_CALM, "headers too large")
        self.stream = stream


class HeaderReader(Generic[T]):
    """Decodes the blocks of one connection and keeps what `make` makes of them."""

    def __init__(self, make: Callable[[Fields], T]) -> None:
        self._make = make
        self._decoder = Decoder(max_header_list_size=LIST_BYTES_MAX)
        self._remembered: dict[bytes, T] = {}

    def read(self, block: bytes) -> T:
        """Raises ConnectionFaultError: the block does not decode, or comes to too much."""
        known = self._remembered.get(block)
        if known is not None:
            return known
        table = self._decoder.header_table
        before = self._table_state()
        try:
            fields = self._decoder.decode(block, raw=True)
        except OversizedHeaderListError as error:
            raise HeadersTooLargeError from error
        except HPACKError as error:
            raise ConnectionFaultError(f.COMPRESSION_ERROR, str(error)) from error
        made = self._make([(bytes(field[0]), bytes(field[1])) for field in fields])
        after = self._table_state()
        if before[0] is not after[0] or before[1:] != after[1:]:
            self._remembered.clear()
        elif len(block) <= _REMEMBERED_BYTES_MAX and len(
            table.dynamic_entries
        ) <= _REMEMBERED_MAX > len(self._remembered):
            self._remembered[block] = made
        return made

    def _table_state(self) -> tuple[object, int, int]:
        # An insertion always puts a new object first.
        table = self._decoder.header_table
        entries = table.dynamic_entries
        return entries[0] if entries else None, len(entries), table.maxsize


class BlockPieces:
    """Puts header blocks together that come in several frames."""

    def __init__(self) -> None:
        self._begun: Block | None = None
        self._continuations = 0

    def check(self, kind: int, stream: int) -> None:
        """Raises ConnectionFaultError: a block is not whole, and this frame is not its next."""
        begun = self._begun
        if begun is not None and (kind != f.CONTINUATION or stream != begun[1]):
            raise ConnectionFaultError(f.PROTOCOL_ERROR, "headers were not continued")

    def begin(self, flags: int, stream: int, block: bytes) -> Block | None:
        """A HEADERS frame; returns the block if that is all of it.

        Raises:
            ConnectionFaultError: it is too large.
        """
        if len(block) > LIST_BYTES_MAX:
            raise HeadersTooLargeError(stream)
        if not flags & f.END_HEADERS:
            self._begun = (flags, stream, block)
            return None
        self._begun = None
        self._continuations = 0
        return flags, stream, block

    def go_on(self, flags: int, payload: bytes) -> Block | None:
        """A CONTINUATION frame. Raises ConnectionFaultError: of nothing, too many, too large."""
        if self._begun is None:
            raise ConnectionFaultError(f.PROTOCOL_ERROR, "nothing to continue")
        self._continuations += 1
        if self._continuations > _CONTINUATIONS_MAX:
            raise ConnectionFaultError(f.ENHANCE_YOUR_CALM, "headers in too many pieces")
        first_flags, stream, block = self._begun
        return self.begin(first_flags | flags & f.END_HEADERS, stream, block + payload)


def request_head(fields: Fields) -> RequestHead:
    """What headers of a request say; where they break the rules, `fault` says how."""
    single: dict[str, str] = {}
    timeout_s: float | None = None
    metadata: list[tuple[str, str | bytes]] = []
    for raw_name, raw_value in fields:
        name, value = raw_name.decode("latin-1"), raw_value.decode("latin-1")
        if name in _SINGLE:
            single[name] = value
        elif name == "grpc-timeout":
            timeout_s = _timeout_s(value)
        if not name.startswith(":") and name not in _NOT_METADATA:
            metadata.append((name, decoded(name, value)))
    method, path, authority, scheme = (single.get(name, "") for name in _PSEUDO)
    return RequestHead(
        method,
        path,
        authority,
        scheme,
        single.get("content-type", ""),
        single.get("grpc-encoding", ""),
        timeout_s,
        tuple(metadata),
        _fault(fields),
    )


def _fault(fields: Fields) -> str:
    """Source: RFC 9113, sections 8.2 and 8.3."""
    seen: set[bytes] = set()
    regular = False
    for name, value in fields:
        if not _NAME.fullmatch(name) or not _VALUE.fullmatch(value):
            return "malformed header"
        if name[0] == 0x3A:
            if regular or name in seen or name.decode() not in _PSEUDO:
                return f"misplaced {name.decode()}"
            seen.add(name)
        else:
            regular = True
            if name in _OF_CONNECTIONS or (name == b"te" and value != b"trailers"):
                return f"{name.decode()} in HTTP/2"
    missing = {b":method", b":path", b":scheme"} - seen
    return f"no {min(missing).decode()}" if missing else ""


def _timeout_s(value: str) -> float | None:
    found = _TIMEOUT.fullmatch(value)
    return int(found[1]) * _SECONDS[found[2]] if found else None


def decoded(name: str, value: str) -> str | bytes:
    """The value of an entry of metadata, which is bytes where the name says so."""
    if not name.endswith("-bin"):
        return value
    try:
        return base64.b64decode(value + "=" * (-len(value) % 4))
    except (binascii.Error, ValueError):
        return b""


def _length(size: int) -> bytes:
    # A seven-bit prefix integer. Source: RFC 7541, section 5.1.
    if size < 0x7F:
        return bytes((size,))
    out, size = bytearray((0x7F,)), size - 0x7F
    while size > 0x7F:
        out.append(size & 0x7F | 0x80)
        size >>= 7
    out.append(size)
    return bytes(out)


def field(name: str, value: str | bytes) -> bytes:
    """A header as a literal that no table remembers."""
    raw_name = name.encode("latin-1")
    if isinstance(value, bytes):
        raw = base64.b64encode(value).rstrip(b"=") if name.endswith("-bin") else value
    else:
        raw = value.encode("latin-1", "replace")
    return b"\0" + _length(len(raw_name)) + raw_name + _length(len(raw)) + raw


# `:status: 200` is entry 8 of the static table.
RESPONSE = b"\x88" + field("content-type", "application/grpc")
GZIP_RESPONSE = RESPONSE + field("grpc-encoding", "gzip")
UNSUPPORTED_MEDIA = field(":status", "415")
TOO_LARGE = field(":status", "431")
OK = field("grpc-status", "0")
ACCEPTED_ENCODINGS: Metadata = (("grpc-accept-encoding", "gzip"),)


def trailers(code: int, message: str, metadata: Metadata = ()) -> bytes:
    """The end of a call: status, message, and what the handler adds."""
    block = field("grpc-status", str(code))
    if message:
        # Printable ASCII but for the percent sign stays as it is. Source: gRPC over HTTP/2.
        block += field("grpc-message", quote(message, safe=" !\"#$&'()*+,-./:;<=>?@[\\]^_`{|}~"))
    return block + b"".join(field(name, value) for name, value in metadata)

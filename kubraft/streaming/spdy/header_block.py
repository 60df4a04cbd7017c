"""Blocks of headers: pairs of names and values, compressed over the life of a connection.

Source: SPDY Protocol Draft 3, section 2.6.10.
"""

from __future__ import annotations

import struct
import zlib
from collections.abc import Mapping
from typing import Final

from kubraft.streaming.spdy.dictionary import DICTIONARY
from kubraft.streaming.spdy.frames import SpdyError

# Of a block once it is inflated.
BLOCK_BYTES_MAX: Final = 16 << 10
_PAIRS_MAX: Final = 128


class HeaderWriter:
    """Compresses one side's blocks, in the order in which they are sent."""

    def __init__(self) -> None:
        self._zlib = zlib.compressobj(zdict=DICTIONARY)

    def write(self, headers: Mapping[str, str]) -> bytes:
        """The block of `headers`."""
        parts = [struct.pack(">I", len(headers))]
        for pair in headers.items():
            for text in pair:
                raw = text.encode("latin-1")
                parts += [struct.pack(">I", len(raw)), raw]
        return self._zlib.compress(b"".join(parts)) + self._zlib.flush(zlib.Z_SYNC_FLUSH)


class HeaderReader:
    """Inflates one side's blocks, in the order in which they came."""

    def __init__(self) -> None:
        self._zlib = zlib.decompressobj(zdict=DICTIONARY)

    def read(self, block: bytes) -> dict[str, str]:
        """The headers, with names in lower case.

        Raises:
            SpdyError: the block is broken or too large; no later one can be read either.
        """
        try:
            plain = self._zlib.decompress(block, BLOCK_BYTES_MAX)
        except zlib.error as error:
            raise SpdyError(f"a block of headers cannot be inflated: {error}") from error
        if self._zlib.unconsumed_tail or self._zlib.eof or len(plain) == BLOCK_BYTES_MAX:
            raise SpdyError("a block of headers is too large, or the last")
        return _pairs(plain)


def _pairs(plain: bytes) -> dict[str, str]:
    place = 0

    def number() -> int:
        nonlocal place
        if place + 4 > len(plain):
            raise SpdyError("a block of headers ends early")
        place += 4
        return int.from_bytes(plain[place - 4 : place], "big")

    def text() -> str:
        nonlocal place
        size = number()
        if place + size > len(plain):
            raise SpdyError("a block of headers ends early")
        place += size
        return plain[place - size : place].decode("latin-1")

    count = number()
    if count > _PAIRS_MAX:
        raise SpdyError("too many headers")
    found: dict[str, str] = {}
    for _ in range(count):
        name = text().lower()
        if not name or name in found:
            raise SpdyError("a header has no name, or comes twice")
        found[name] = text()
    return found

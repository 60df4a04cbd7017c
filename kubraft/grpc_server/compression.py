"""Messages in gzip, the one compression of gRPC's that every client has. Pure."""

from __future__ import annotations

import zlib

# Less does not get smaller.
WORTHWHILE_BYTES = 512
_GZIP_WINDOW = 31
_LEVEL = 1


class NotGzipError(Exception):
    """The bytes are no gzip stream, or not a whole one."""


class TooLargeError(Exception):
    """What the bytes stand for is larger than a message may be."""


def compress(data: bytes) -> bytes:
    packer = zlib.compressobj(_LEVEL, zlib.DEFLATED, _GZIP_WINDOW)
    return packer.compress(data) + packer.flush()


def decompress(data: bytes, bytes_max: int) -> bytes:
    """Raises NotGzipError, TooLargeError; never holds more than `bytes_max` and a byte."""
    unpacker = zlib.decompressobj(_GZIP_WINDOW)
    try:
        found = unpacker.decompress(data, bytes_max + 1)
    except zlib.error as error:
        raise NotGzipError(str(error)) from error
    if len(found) > bytes_max:
        raise TooLargeError
    if not unpacker.eof:
        raise NotGzipError("unexpected EOF")
    return found

"""Messages out of a call's bytes. Source: gRPC over HTTP/2, length-prefixed messages."""

from __future__ import annotations

from collections.abc import Iterator

import grpc

from kubraft.grpc_server import compression

PREFIX_BYTES = 5


class RefusedMessageError(Exception):
    """A message ends its call with this status."""

    def __init__(self, code: grpc.StatusCode, message: str) -> None:
        super().__init__(message)
        self.code = code


def framed(message: bytes) -> bytes:
    """The message behind its prefix."""
    return b"\0" + len(message).to_bytes(4, "big") + message


def lone_message(payload: bytes, bytes_max: int) -> bytes | None:
    """The message, if these bytes are just one that is whole and plain, as nearly all are."""
    size = len(payload) - PREFIX_BYTES
    if 0 <= size <= bytes_max and int.from_bytes(payload[:PREFIX_BYTES], "big") == size:
        return payload[PREFIX_BYTES:]
    return None


def whole_messages(
    partial: bytearray, bytes_max: int, *, gzip: bool
) -> Iterator[tuple[bytes, int]]:
    """Take whole messages out of what came of a call, with the bytes each was sent in.

    The texts are grpc-go's.

    Raises:
        RefusedMessageError: one is too large, or compressed where that was not announced.
    """
    while len(partial) >= PREFIX_BYTES:
        size = int.from_bytes(partial[1:PREFIX_BYTES], "big")
        if size > bytes_max:
            message = f"grpc: received message larger than max ({size} vs. {bytes_max})"
            raise RefusedMessageError(grpc.StatusCode.RESOURCE_EXHAUSTED, message)
        if partial[0] and not (gzip and partial[0] == 1):
            message = "grpc: compressed flag set with identity or empty encoding"
            raise RefusedMessageError(grpc.StatusCode.INTERNAL, message)
        end = PREFIX_BYTES + size
        if len(partial) < end:
            return
        message_bytes = bytes(partial[PREFIX_BYTES:end])
        compressed = partial[0]
        del partial[:end]
        if compressed:
            message_bytes = _unpacked(message_bytes, bytes_max)
        yield message_bytes, end


def _unpacked(data: bytes, bytes_max: int) -> bytes:
    try:
        return compression.decompress(data, bytes_max)
    except compression.NotGzipError as error:
        message = f"grpc: failed to decompress the received message: {error}"
        raise RefusedMessageError(grpc.StatusCode.INTERNAL, message) from error
    except compression.TooLargeError as error:
        message = f"grpc: received message after decompression larger than max {bytes_max}"
        raise RefusedMessageError(grpc.StatusCode.RESOURCE_EXHAUSTED, message) from error

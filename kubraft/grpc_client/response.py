"""What the header blocks of an answer say. Pure."""

from __future__ import annotations

from dataclasses import dataclass
from urllib.parse import unquote

import grpc

from kubraft.grpc_client import failure
from kubraft.grpc_client.failure import CallError
from kubraft.grpc_server.headers import Fields, Metadata, decoded, field

_HTTP_OK = 200
_KNOWN = frozenset(("content-type", "grpc-encoding", "grpc-status", "grpc-message"))


@dataclass(frozen=True, slots=True)
class ResponseHead:
    """A block at an answer's beginning or end. None: it does not say; 0 is OK."""

    http_status: int | None
    status: int | None
    message: str
    metadata: Metadata

    def refusal(self) -> CallError | None:
        """Why no answer follows this, at its beginning; None if one does."""
        if self.http_status == _HTTP_OK:
            return None
        return failure.of_http_status(self.http_status or 0)

    def failure(self) -> CallError | None:
        """How the call failed, at its end; None if it did not."""
        if self.status == 0:
            return None
        if self.status is None and self.http_status is not None:
            return self.refusal() or _no_status()
        if self.status is None:
            return _no_status()
        return failure.of_status(self.status, self.message, self.metadata)


def _no_status() -> CallError:
    return CallError(grpc.StatusCode.UNKNOWN, "the server sent no status")


def response_head(fields: Fields) -> ResponseHead:
    http_status: int | None = None
    status: int | None = None
    message = ""
    metadata: list[tuple[str, str | bytes]] = []
    for raw_name, raw_value in fields:
        name, value = raw_name.decode("latin-1"), raw_value.decode("latin-1")
        if name == ":status":
            http_status = _number(value)
        elif name == "grpc-status":
            status = _number(value)
        elif name == "grpc-message":
            message = unquote(value, errors="replace")
        elif name not in _KNOWN and not name.startswith(":"):
            metadata.append((name, decoded(name, value)))
    return ResponseHead(http_status, status, message, tuple(metadata))


def _number(value: str) -> int | None:
    return int(value) if value.isdecimal() else None


def request_block(scheme: str, authority: str, path: str, timeout: str, more: Metadata) -> bytes:
    """The headers of a call.

    They are put so that no table remembers them: the same call always has the same bytes, which
    our server knows again.
    """
    block = (
        field(":method", "POST")
        + field(":scheme", scheme)
        + field(":path", path)
        + field(":authority", authority)
        + field("te", "trailers")
        + field("content-type", "application/grpc")
        + field("user-agent", "kubraft")
    )
    if timeout:
        block += field("grpc-timeout", timeout)
    return block + b"".join(field(name, value) for name, value in more)

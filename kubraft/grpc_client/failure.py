"""How calls fail: statuses out of HTTP/2's and HTTP's errors, and why there is no connection."""

from __future__ import annotations

import ssl

import grpc
import grpc.aio

from kubraft.grpc_server import frames as f
from kubraft.grpc_server.headers import Metadata

NO_ANSWER = "no answer in time"

_BY_NUMBER = {code.value[0]: code for code in grpc.StatusCode}
# Source: gRPC over HTTP/2, mapping of errors; http-grpc-status-mapping.
_BY_RESET = {
    f.REFUSED_STREAM: grpc.StatusCode.UNAVAILABLE,
    f.CANCEL: grpc.StatusCode.CANCELLED,
    f.ENHANCE_YOUR_CALM: grpc.StatusCode.RESOURCE_EXHAUSTED,
}
_BY_HTTP_STATUS = {
    400: grpc.StatusCode.INTERNAL,
    401: grpc.StatusCode.UNAUTHENTICATED,
    403: grpc.StatusCode.PERMISSION_DENIED,
    404: grpc.StatusCode.UNIMPLEMENTED,
    429: grpc.StatusCode.UNAVAILABLE,
    502: grpc.StatusCode.UNAVAILABLE,
    503: grpc.StatusCode.UNAVAILABLE,
    504: grpc.StatusCode.UNAVAILABLE,
}


class CallError(grpc.aio.AioRpcError):
    """A call ended with another status than OK; `sent`: it may have been carried out."""

    def __init__(
        self, code: grpc.StatusCode, details: str, metadata: Metadata = (), *, sent: bool = True
    ) -> None:
        trailing = grpc.aio.Metadata(*metadata)
        super().__init__(code, grpc.aio.Metadata(), trailing, details, None)
        self.sent = sent


def lost(cause: str, *, sent: bool) -> CallError:
    """There is no connection, or no longer."""
    return CallError(grpc.StatusCode.UNAVAILABLE, cause, sent=sent)


def of_status(number: int, message: str, metadata: Metadata) -> CallError:
    code = _BY_NUMBER.get(number, grpc.StatusCode.UNKNOWN)
    return CallError(code, message, metadata)


def of_http_status(status: int) -> CallError:
    code = _BY_HTTP_STATUS.get(status, grpc.StatusCode.UNKNOWN)
    return CallError(code, f"unexpected HTTP status code received from server: {status}")


def of_reset(error: int) -> CallError:
    """The server ended the stream; what it refused it has not looked at."""
    code = _BY_RESET.get(error, grpc.StatusCode.INTERNAL)
    text = f"stream terminated by RST_STREAM with error code {error}"
    return CallError(code, text, sent=error != f.REFUSED_STREAM)


def cause_of(error: BaseException | None, what: str) -> str:
    """Why `what` happened to a connection, in a few words."""
    text = str(error) if error is not None else ""
    if isinstance(error, TimeoutError):
        return NO_ANSWER
    if isinstance(error, ConnectionRefusedError) or "refused" in text:
        return "connection refused"
    if isinstance(error, ssl.SSLError):  # "[SSL: NAME] words (_ssl.c:1006)"
        text = text.partition("] ")[2].rpartition(" (")[0] or text
    elif isinstance(error, OSError):
        text = error.strerror or text
    return f"{what}: {text}" if text else what

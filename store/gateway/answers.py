"""What the gateway answers besides messages: errors, in the forms of grpc-gateway. Pure.

Source: grpc-gateway 1.16, runtime (errors.go, handler.go).
"""

from __future__ import annotations

from http import HTTPStatus

from grpc import StatusCode

from kubraft.grpc_server.exchange import HttpResponse
from store.gateway.json_codec import quoted

JSON = ("content-type", "application/json")
# Of a response that came from a method.
FROM_GRPC = ("grpc-metadata-content-type", "application/grpc")
PLAIN = (("content-type", "text/plain; charset=utf-8"), ("x-content-type-options", "nosniff"))

_HTTP = {
    StatusCode.CANCELLED: 408,
    StatusCode.INVALID_ARGUMENT: 400,
    StatusCode.DEADLINE_EXCEEDED: 504,
    StatusCode.NOT_FOUND: 404,
    StatusCode.ALREADY_EXISTS: 409,
    StatusCode.PERMISSION_DENIED: 403,
    StatusCode.UNAUTHENTICATED: 401,
    StatusCode.RESOURCE_EXHAUSTED: 429,
    StatusCode.FAILED_PRECONDITION: 400,
    StatusCode.ABORTED: 409,
    StatusCode.OUT_OF_RANGE: 400,
    StatusCode.UNIMPLEMENTED: 501,
    StatusCode.UNAVAILABLE: 503,
}


def http_status(code: StatusCode) -> int:
    return _HTTP.get(code, 500)


def error(code: StatusCode, message: str) -> HttpResponse:
    """A call that failed."""
    text = quoted(message)
    body = b'{"error":%b,"code":%d,"message":%b}' % (text, code.value[0], text)
    return HttpResponse(http_status(code), body, (JSON,))


def error_chunk(code: StatusCode, message: str) -> bytes:
    """A stream that failed, as its last line."""
    status = http_status(code)
    phrase = quoted(HTTPStatus(status).phrase)
    parts = (code.value[0], status, quoted(message), phrase)
    return b'{"error":{"grpc_code":%d,"http_code":%d,"message":%b,"http_status":%b}}' % parts


def plain(status: int, text: str, *more: tuple[str, str]) -> HttpResponse:
    """What Go's http.Error answers."""
    return HttpResponse(status, f"{text}\n".encode(), (*PLAIN, *more))

"""What the headers of a stream ask for: a method to run, an HTTP request, or a refusal."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import grpc

from kubraft.grpc_server import frames as f
from kubraft.grpc_server import headers as h
from kubraft.grpc_server.call import Method
from kubraft.grpc_server.exchange import HttpRequest, target

Find = Callable[[str], Any]
_UNIMPLEMENTED = int(grpc.StatusCode.UNIMPLEMENTED.value[0])


@dataclass(frozen=True, slots=True)
class Refused:
    """Headers that lead to no handler: a block that answers, or the code of a reset."""

    block: bytes = b""
    code: int = f.PROTOCOL_ERROR

    def frame(self, stream: int) -> bytes:
        if not self.block:
            return f.reset(stream, self.code)
        return f.frame(f.HEADERS, f.END_HEADERS | f.END_STREAM, stream, self.block)


def asked(head: h.RequestHead, find: Find, *, has_http: bool) -> Method | HttpRequest | Refused:
    if head.fault:
        return Refused()
    if not head.content_type.startswith("application/grpc"):
        return _request(head) if has_http else Refused(h.UNSUPPORTED_MEDIA)
    if head.method != "POST":
        return Refused(h.UNSUPPORTED_MEDIA)
    if head.encoding not in ("", "identity", "gzip"):
        # Source: grpc-go, the text that a client of etcd sees.
        message = f'grpc: Decompressor is not installed for grpc-encoding "{head.encoding}"'
        return Refused(h.RESPONSE + h.trailers(_UNIMPLEMENTED, message, h.ACCEPTED_ENCODINGS))
    handler = find(head.path)
    if handler is None:
        _, _, name = head.path.rpartition("/")
        service = head.path.removesuffix(f"/{name}").lstrip("/")
        message = f"unknown method {name} for service {service}"
        return Refused(h.RESPONSE + h.trailers(_UNIMPLEMENTED, message))
    return Method(handler, head.metadata, head.timeout_s, gzip=head.encoding == "gzip")


def _request(head: h.RequestHead) -> HttpRequest | Refused:
    try:
        path, query = target(head.path)
    except ValueError:
        return Refused()
    headers = [(name, value) for name, value in head.metadata if isinstance(value, str)]
    if head.content_type:
        headers.append(("content-type", head.content_type))
    host = head.authority or next((value for name, value in headers if name == "host"), "")
    secure = head.scheme == "https"
    return HttpRequest(head.method, path, query, host, tuple(headers), secure=secure)

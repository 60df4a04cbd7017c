"""The JSON gateway: POST with JSON on a path, a gRPC method's answer as JSON.

Requests go to the handlers that serve gRPC, in this process, with what a client's headers say as
metadata. Streams are lines of JSON. Source: etcd 3.5, grpc-gateway 1.16 (runtime).
"""

from __future__ import annotations

import asyncio
import re
from collections.abc import Callable
from typing import Any

import grpc
import grpc.aio
from google.protobuf.message import Message

from kubraft.grpc_server.exchange import (
    BodyTooLargeError,
    BodyTooSlowError,
    Exchange,
    HttpRequest,
    HttpResponse,
)
from store.gateway import answers, json_codec
from store.gateway.call import END_OF_REQUESTS, GatewayCall, Metadata
from store.gateway.json_stream import ValueSplitter
from store.gateway.json_syntax import JsonError
from store.gateway.routes import Route, routes

# Finds the gRPC handler of a path such as /etcdserverpb.KV/Put; None where there is none.
Find = Callable[[str], Any]

_TIMEOUT = re.compile(r"(\d{1,8})([HMSmun])")
_SECONDS = {"H": 3600.0, "M": 60.0, "S": 1.0, "m": 1e-3, "u": 1e-6, "n": 1e-9}
_METADATA_PREFIX = "grpc-metadata-"
_BLANK = " \t\r\n"


class Gateway:
    """Answers requests whose path stands below `routes.PREFIX`."""

    def __init__(self, find: Find, *, message_bytes_max: int) -> None:
        """`message_bytes_max` is of a request's message; as JSON it may be twice as long."""
        self._find = find
        self._message_bytes_max = message_bytes_max
        self._body_bytes_max = 2 * message_bytes_max

    async def handle(self, exchange: Exchange, path: str) -> None:
        """`path` is the request's, without the prefix."""
        route = routes().get(path)
        if route is None:
            return await exchange.respond(answers.plain(404, "Not Found"))
        if exchange.request.method != "POST":
            return await exchange.respond(answers.plain(405, "Method Not Allowed"))
        timeout_s: float | None = None
        text = exchange.request.header("grpc-timeout")
        if text:
            timeout_s = _timeout_s(text)
            if timeout_s is None:
                refusal = answers.error(
                    grpc.StatusCode.INVALID_ARGUMENT, f"invalid grpc-timeout: {text}"
                )
                return await exchange.respond(refusal)
        run = _Run(exchange, route, self)
        try:
            async with asyncio.timeout(timeout_s):
                await run.start(self._find(route.path))
        except TimeoutError:
            await run.fail(grpc.StatusCode.DEADLINE_EXCEEDED, "context deadline exceeded")
        return None

    async def body(self, exchange: Exchange) -> str:
        """Raises BodyTooLargeError, BodyTooSlowError."""
        return (await exchange.body(self._body_bytes_max)).decode(errors="replace")

    def check_waiting(self, size: int) -> None:
        """Raises BodyTooLargeError: a value of a stream is too large before it is whole."""
        if size > self._body_bytes_max:
            raise BodyTooLargeError

    def encoded(self, message: Message) -> bytes:
        """Raises BodyTooLargeError."""
        data = message.SerializeToString()
        if len(data) > self._message_bytes_max:
            raise BodyTooLargeError
        return data

    def too_large(self) -> str:
        return f"grpc: received message larger than max ({self._message_bytes_max})"


class _Run:
    """One request on its way through a method."""

    def __init__(self, exchange: Exchange, route: Route, gateway: Gateway) -> None:
        self._exchange = exchange
        self._route = route
        self._gateway = gateway
        self._values = ValueSplitter()
        self._first: bytes | None = None
        self._at_end = False
        self._call = GatewayCall(
            exchange.request.host,
            _metadata(exchange.request),
            next_request=self._next_request,
            send=self._send,
        )

    async def start(self, handler: Any) -> None:
        if handler is None:
            service, name = self._route.service, self._route.name
            message = f"unknown method {name} for service {service}"
            return await self.fail(grpc.StatusCode.UNIMPLEMENTED, message)
        streams = handler.request_streaming
        try:
            request = await (self._first_of_stream() if streams else self._only())
        except JsonError as error:
            code = grpc.StatusCode.UNKNOWN if streams else grpc.StatusCode.INVALID_ARGUMENT
            return await self.fail(code, str(error))
        except BodyTooLargeError:
            return await self.fail(grpc.StatusCode.RESOURCE_EXHAUSTED, self._gateway.too_large())
        except BodyTooSlowError:
            return await self._exchange.respond(answers.plain(408, "Request Timeout"))
        try:
            await self._run(handler, request)
        except grpc.aio.AbortError:
            await self.fail(
                self._call.code, self._call.details, streaming=handler.response_streaming
            )
        return None

    async def _run(self, handler: Any, request: bytes) -> None:
        if handler.request_streaming:
            self._first = request
            await handler.stream_stream(None, self._call)
        elif handler.response_streaming:
            await handler.unary_stream(request, self._call)
        else:
            data = await handler.unary_unary(request, self._call)
            body = json_codec.encode(self._route.response.FromString(data))
            headers = (answers.JSON, answers.FROM_GRPC)
            return await self._exchange.respond(HttpResponse(200, body, headers))
        if not self._exchange.head_sent:
            self._exchange.start(200, (answers.JSON,))
        self._exchange.finish()
        return None

    async def fail(self, code: grpc.StatusCode, message: str, *, streaming: bool = False) -> None:
        """Say how it ended, in the way that is still open."""
        exchange = self._exchange
        if not streaming and not exchange.head_sent:
            return await exchange.respond(answers.error(code, message))
        if not exchange.head_sent:
            exchange.start(answers.http_status(code), (answers.JSON,))
        await exchange.write(answers.error_chunk(code, message))
        exchange.finish()
        return None

    # Requests.

    async def _only(self) -> bytes:
        """The request of a method that takes one; a body without any is an empty message."""
        text = await self._gateway.body(self._exchange)
        return self._message(json_codec.parse(text) if text.strip(_BLANK) else None)

    def _message(self, value: Any) -> bytes:
        message = self._route.request()
        json_codec.decode(value, message)
        return self._gateway.encoded(message)

    async def _first_of_stream(self) -> bytes | Any:
        found = await self._next_value()
        return END_OF_REQUESTS if found is None else self._message(found[0])

    async def _next_request(self) -> Any:
        """The next of a stream; what is no request ends it silently, as in etcd."""
        if self._first is not None:
            first, self._first = self._first, None
            return first
        try:
            found = await self._next_value()
            if found is not None:
                return self._message(found[0])
        except (JsonError, BodyTooLargeError):
            self._at_end = True
        return END_OF_REQUESTS

    async def _next_value(self) -> tuple[Any] | None:
        """The next JSON value; None at the end of the body.

        Raises:
            JsonError, BodyTooLargeError: there is something else.
        """
        values = self._values
        while not self._at_end:
            text = values.next_value()
            if text is not None:
                return (json_codec.parse(text),)
            self._gateway.check_waiting(values.waiting)
            part = await self._exchange.read()
            values.feed(part, last=not part)
            self._at_end = not part
        text = values.next_value()
        if text is None:
            text = values.rest()
            values.clear()
        return (json_codec.parse(text),) if text.strip(_BLANK) else None

    # Responses.

    async def _send(self, response: bytes) -> None:
        line = b'{"result":%b}\n' % json_codec.encode(self._route.response.FromString(response))
        if not self._exchange.head_sent:
            self._exchange.start(200, (answers.JSON, answers.FROM_GRPC))
        await self._exchange.write(line)


def _metadata(request: HttpRequest) -> Metadata:
    """What the headers tell the method. Source: grpc-gateway, runtime (context.go)."""
    found = [("grpcgateway-accept", request.header("accept") or "*/*")]
    for name, value in request.headers:
        if name == "authorization":
            found.append((name, value))
        elif name.startswith(_METADATA_PREFIX):
            found.append((name.removeprefix(_METADATA_PREFIX), value))
    return tuple(found)


def _timeout_s(text: str) -> float | None:
    found = _TIMEOUT.fullmatch(text)
    return int(found[1]) * _SECONDS[found[2]] if found else None

"""Clients of the server that write whatever a test wants."""

from __future__ import annotations

import asyncio
from typing import Any

import grpc
from hpack import Decoder, Encoder

from kubraft.grpc_server import frames as f
from kubraft.grpc_server.exchange import Exchange, Handler, HttpResponse
from kubraft.grpc_server.guard import Limits
from kubraft.grpc_server.server import GrpcServer

CALL = (
    (":method", "POST"),
    (":scheme", "http"),
    (":path", "/t.T/echo"),
    (":authority", "x"),
    ("content-type", "application/grpc"),
    ("te", "trailers"),
)
WAIT_S = 30


def message(data: bytes, *, compressed: bool = False) -> bytes:
    return bytes((compressed,)) + len(data).to_bytes(4, "big") + data


async def echo(request: bytes, context: Any) -> bytes:
    return request


async def hang(request: bytes, context: Any) -> bytes:
    await asyncio.Event().wait()
    return request


class Client:
    """A raw client: what it writes is up to the test."""

    def __init__(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.reader, self.writer = reader, writer
        self.encoder, self.decoder = Encoder(), Decoder()

    def send(self, *parts: bytes) -> None:
        self.writer.write(b"".join(parts))

    # HTTP/2

    def headers(self, stream: int, *more: tuple[str, str]) -> bytes:
        return self.block(stream, [*CALL, *more])

    def block(
        self, stream: int, fields: list[tuple[str, str]], flags: int = f.END_HEADERS
    ) -> bytes:
        return f.frame(f.HEADERS, flags, stream, self.encoder.encode(fields))

    async def frame(self) -> tuple[int, int, int, bytes]:
        head = await asyncio.wait_for(self.reader.readexactly(f.HEAD_BYTES), WAIT_S)
        payload = await asyncio.wait_for(
            self.reader.readexactly(int.from_bytes(head[:3], "big")), WAIT_S
        )
        return head[3], head[4], int.from_bytes(head[5:], "big"), payload

    async def until(self, kind: int) -> tuple[int, int, int, bytes]:
        while (found := await self.frame())[0] != kind:
            pass
        return found

    def decoded(self, block: bytes) -> dict[str, str]:
        return {str(name): str(value) for name, value in self.decoder.decode(block)}

    # HTTP/1.1

    async def response(self) -> tuple[int, dict[str, str], bytes]:
        """One whole response."""
        head = await asyncio.wait_for(self.reader.readuntil(b"\r\n\r\n"), WAIT_S)
        first, *lines = head.decode("latin-1").split("\r\n")[:-2]
        pairs = (line.partition(": ") for line in lines)
        headers = {name.lower(): value for name, _, value in pairs}
        if headers.get("transfer-encoding") == "chunked":
            body = b""
            while chunk := await self.chunk():
                body += chunk
        else:
            length = int(headers.get("content-length", "0"))
            body = await asyncio.wait_for(self.reader.readexactly(length), WAIT_S)
        return int(first.split(" ")[1]), headers, body

    async def chunk(self) -> bytes:
        size = int(await asyncio.wait_for(self.reader.readline(), WAIT_S), 16)
        data = await asyncio.wait_for(self.reader.readexactly(size + 2), WAIT_S)
        return data[:-2]

    async def ended(self) -> bool:
        """Whether the server closes the connection."""
        try:
            while await asyncio.wait_for(self.reader.read(65_536), WAIT_S):
                pass
        except ConnectionError:
            pass
        return True


class Served:
    """A server, and clients of it."""

    def __init__(self, *, http: Handler | None = None, limits: Limits | None = None) -> None:
        self.server = GrpcServer(limits or Limits(message_bytes_max=1 << 20), http=http)
        handlers = {
            "echo": grpc.unary_unary_rpc_method_handler(echo),
            "hang": grpc.unary_unary_rpc_method_handler(hang),
        }
        generic = grpc.method_handlers_generic_handler("t.T", handlers)
        self.server.add_generic_rpc_handlers((generic,))
        self.port = self.server.listen("127.0.0.1", 0, None)
        self.writers: list[asyncio.StreamWriter] = []

    async def client(self, *, preface: bytes = f.PREFACE + f.settings({})) -> Client:
        reader, writer = await asyncio.open_connection("127.0.0.1", self.port)
        self.writers.append(writer)
        writer.write(preface)
        return Client(reader, writer)

    async def stop(self) -> None:
        for writer in self.writers:
            writer.transport.abort()
        await self.server.stop(0.1)


class Site:
    """An HTTP handler that shows what it was asked, by path."""

    def __init__(self) -> None:
        self.cancelled = asyncio.Event()

    async def handle(self, exchange: Exchange) -> None:
        request = exchange.request
        if request.path == "/echo":
            body = await exchange.body(1 << 20)
            exchange.start(200, (("content-length", str(len(body))),))
            await exchange.write(body)
            exchange.finish()
        elif request.path == "/lines":
            exchange.start(200, (("content-type", "text/plain"),))
            while part := await exchange.read():
                await exchange.write(part.upper())
            exchange.finish()
        elif request.path == "/hang":
            try:
                exchange.start(200, ())
                await exchange.write(b"begun")
                await asyncio.Event().wait()
            except asyncio.CancelledError:
                self.cancelled.set()
                raise
        elif request.path == "/flood":
            exchange.start(200, ())
            while True:
                await exchange.write(bytes(65_536))
        elif request.path == "/whole":
            await exchange.respond(HttpResponse(200, b"all of it"))
        elif request.path == "/split":
            await exchange.respond(HttpResponse(200, b"", (("x", "a\r\nEvil: b"),)))
        elif request.path == "/fail":
            raise RuntimeError("secret")
        else:
            shown = f"{request.method} {request.path} {request.query} {request.host}".encode()
            exchange.start(200, (("content-length", str(len(shown))),))
            await exchange.write(shown)
            exchange.finish()

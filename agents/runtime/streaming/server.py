"""The HTTP server behind the URLs that Exec, Attach and PortForward answer with.

It listens on loopback. Whoever comes must name a token that only the asker of the URL was given.

Source: CRI v1, ExecResponse.url.
"""

from __future__ import annotations

import asyncio
import contextlib
from typing import Final

from agents.runtime.errors import ExhaustedFailure, InvalidFailure, RuntimeFailure
from agents.runtime.runtime import ProcessRuntime
from agents.runtime.streaming.attachment import attach
from agents.runtime.streaming.command import run_command
from agents.runtime.streaming.command_streams import Wanted, open_streams
from agents.runtime.streaming.forwarding import serve_forward
from agents.runtime.streaming.handshake import Refusal
from agents.runtime.streaming.tokens import Tokens, TokensExhaustedError
from kubraft.grpc_server.exchange import Exchange, HttpResponse
from kubraft.grpc_server.guard import Limits
from kubraft.grpc_server.server import GrpcServer
from kubraft.grpc_server.tunnel import UpgradeError
from kubraft.pb.criv1 import api_pb2 as cri

Request = cri.ExecRequest | cri.AttachRequest | cri.PortForwardRequest
_HOST: Final = "127.0.0.1"
_LOCAL: Final = "127.0.0.1"  # where a Pod on the host's network listens
# A client has so long to take the last of what it is told.
_FINISH_TIMEOUT_S: Final = 600.0


class StreamingServer:
    """Gives out URLs, and serves them."""

    def __init__(self, runtime: ProcessRuntime, tokens: Tokens[Request]) -> None:
        self._runtime = runtime
        self._tokens = tokens
        self._server = GrpcServer(Limits(), http=self.handle)
        self._port = 0

    async def start(self) -> None:
        """Listen on a free port of loopback. Raises OSError."""
        self._port = self._server.listen(_HOST, 0, None)
        await self._server.start()

    async def stop(self) -> None:
        """End all that is served."""
        await self._server.stop(0)

    # URLs

    def exec_url(self, request: cri.ExecRequest) -> str:
        """Where a command's streams will be served.

        Raises:
            RuntimeFailure: the container does not run, or the request contradicts itself.
        """
        self._check(request)
        if not request.cmd:
            raise InvalidFailure("command is required")
        return self._url("exec", request)

    def attach_url(self, request: cri.AttachRequest) -> str:
        """Where a container's own streams will be served; raises as `exec_url`."""
        self._check(request)
        return self._url("attach", request)

    def port_forward_url(self, request: cri.PortForwardRequest) -> str:
        """Where a sandbox's ports will be served; raises as `exec_url`."""
        sandbox = self._runtime.get_sandbox(request.pod_sandbox_id)
        if not sandbox.ready:
            raise RuntimeFailure(f'sandbox container "{sandbox.id}" is not running')
        return self._url("portforward", request)

    def _check(self, request: cri.ExecRequest | cri.AttachRequest) -> None:
        if not request.container_id:
            raise InvalidFailure("missing required container_id")
        if request.tty and request.stderr:
            raise InvalidFailure("tty and stderr cannot both be true")
        if not (request.stdin or request.stdout or request.stderr):
            raise InvalidFailure("one of stdin, stdout, or stderr must be set")
        self._runtime.get_running(request.container_id)

    def _url(self, kind: str, request: Request) -> str:
        try:
            token = self._tokens.put(request)
        except TokensExhaustedError as error:
            raise ExhaustedFailure(str(error)) from error
        return f"http://{_HOST}:{self._port}/{kind}/{token}"

    # Serving

    async def handle(self, exchange: Exchange) -> None:
        """Serve one URL."""
        try:
            await self._serve(exchange)
        except Refusal as refusal:
            await _refuse(exchange, refusal)
        except UpgradeError as error:
            await _refuse(exchange, Refusal(400, str(error)))
        except RuntimeFailure as failure:
            await _refuse(exchange, Refusal(500, str(failure)))

    async def _serve(self, exchange: Exchange) -> None:
        kind, _, token = exchange.request.path.strip("/").partition("/")
        request = self._tokens.take(token)
        match kind, request:
            case "exec", cri.ExecRequest():
                await self._exec(exchange, request)
            case "attach", cri.AttachRequest():
                await self._attach(exchange, request)
            case "portforward", cri.PortForwardRequest():
                await self._port_forward(exchange, request)
            case _:
                raise Refusal(404, "404 page not found")

    async def _exec(self, exchange: Exchange, request: cri.ExecRequest) -> None:
        container = self._runtime.get_running(request.container_id)
        wanted = _wanted(request)
        async with await open_streams(exchange, wanted) as streams:
            outcome = await run_command(container, tuple(request.cmd), wanted, streams)
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(_FINISH_TIMEOUT_S):
                    await streams.finish(outcome)

    async def _attach(self, exchange: Exchange, request: cri.AttachRequest) -> None:
        container = self._runtime.get_running(request.container_id)
        wanted = _wanted(request)
        async with await open_streams(exchange, wanted) as streams:
            outcome = await attach(container, wanted, streams)
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(_FINISH_TIMEOUT_S):
                    await streams.finish(outcome)

    async def _port_forward(self, exchange: Exchange, request: cri.PortForwardRequest) -> None:
        sandbox = self._runtime.get_sandbox(request.pod_sandbox_id)
        address = sandbox.status.network.ip or _LOCAL
        await serve_forward(exchange, sandbox.id, address, list(request.port))


def _wanted(request: cri.ExecRequest | cri.AttachRequest) -> Wanted:
    return Wanted(request.stdin, request.stdout, request.stderr, request.tty)


async def _refuse(exchange: Exchange, refusal: Refusal) -> None:
    if exchange.head_sent:
        return
    kind = ("content-type", "text/plain; charset=utf-8")
    body = f"{refusal}\n".encode()
    await exchange.respond(HttpResponse(refusal.status, body, (kind, *refusal.headers)))

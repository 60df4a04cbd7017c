"""port-forward: connections to a Pod's ports, each on two streams of a client's link."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import Mapping
from typing import Final

from agents.runtime.streaming.handshake import (
    Refusal,
    choose_spdy_protocol,
    is_websocket,
    upgrade_spdy,
    upgrade_websocket,
)
from agents.runtime.streaming.inbox import Inbox
from agents.runtime.streaming.link import Link, Pipe, SpdyLink, WebSocketLink, WebSocketPipe
from kubraft.grpc_server.exchange import Exchange
from kubraft.streaming import channels
from kubraft.streaming.forward_pairs import ForwardPairs, Pair, PairError
from kubraft.streaming.websocket import offered_protocols

TUNNEL: Final = "SPDY/3.1+portforward.k8s.io"
_SPDY_PROTOCOLS: Final = ("portforward.k8s.io",)
_CHANNEL_PROTOCOLS: Final = (channels.V4, channels.V4_BASE64)
_CONNECT_TIMEOUT_S: Final = 10.0
# As the kubelet: a message of it fits into the 64 KiB that some clients take at most.
_READ_BYTES: Final = 32 << 10


class ForwardError(Exception):
    """A port cannot be reached; the message is for the user."""


async def serve_forward(exchange: Exchange, pod: str, address: str, ports: list[int]) -> None:
    """Upgrade the client's connection, and forward to `address` until it goes.

    Args:
        exchange: the client's request.
        pod: the sandbox's id, for messages.
        address: where the Pod's programs listen.
        ports: those of a client that names them beforehand; others name theirs as they go.

    Raises:
        Refusal: it asks for nothing that is spoken here; nothing is answered yet.
    """
    if not is_websocket(exchange):
        protocol = choose_spdy_protocol(exchange, _SPDY_PROTOCOLS)
        await _over_spdy(upgrade_spdy(exchange, protocol), pod, address)
        return
    offered = offered_protocols(exchange.request.header("sec-websocket-protocol"))
    if TUNNEL in offered:
        _, tunnel = upgrade_websocket(exchange, (TUNNEL,))
        await _over_spdy(WebSocketPipe(tunnel), pod, address)
        return
    if not ports:
        raise Refusal(400, 'query parameter "port" is required')
    protocol, tunnel = upgrade_websocket(exchange, _CHANNEL_PROTOCOLS)
    link = WebSocketLink(tunnel, protocol, [2 * index for index in range(len(ports))])
    await _over_channels(link, pod, address, ports)


async def _over_channels(link: WebSocketLink, pod: str, address: str, ports: list[int]) -> None:
    """Two channels a port, each led by the port's number; it ends with the last connection."""
    running = asyncio.create_task(link.run())
    tasks: list[asyncio.Task[None]] = []
    try:
        for index, port in enumerate(ports):
            pair = Pair(str(index), port, 2 * index, 2 * index + 1)
            for channel in (pair.data, pair.error):
                await link.send(channel, port.to_bytes(2, "little"))
            tasks.append(asyncio.create_task(_forward(link, pair, pod, address)))
        await link.over(*tasks)
    except ConnectionError:
        pass
    finally:
        await _end(link, [*tasks, running])


async def _over_spdy(pipe: Pipe, pod: str, address: str) -> None:
    pairs = ForwardPairs()
    # By the numbers of their data streams: what carries them, and their error streams.
    carried: dict[int, tuple[asyncio.Task[None], int]] = {}

    def opened(stream: int, headers: Mapping[str, str]) -> bool:
        try:
            pair = pairs.add(stream, headers)
        except PairError:
            return False
        if pair is not None:
            task = asyncio.create_task(_forward(link, pair, pod, address))
            carried[pair.data] = (task, pair.error)
            task.add_done_callback(lambda _task: ended(pair))
        return True

    def ended(pair: Pair) -> None:
        del carried[pair.data]
        for stream in (pair.data, pair.error):
            link.forget(stream)

    def cancelled(stream: int) -> None:
        pairs.drop(stream)
        link.forget(stream)
        if stream in carried:
            task, error = carried[stream]
            task.cancel()
            link.finish_soon(error)  # which the client waits for

    link = SpdyLink(pipe, opened, has_status=False, cancelled=cancelled)
    try:
        await link.run()
    finally:
        await _end(link, [task for task, _error in carried.values()])


async def _end(link: Link, tasks: list[asyncio.Task[None]]) -> None:
    for task in tasks:
        task.cancel()
    await asyncio.gather(*tasks, return_exceptions=True)
    link.close()


async def _forward(link: Link, pair: Pair, pod: str, address: str) -> None:
    """One connection, to its end; what goes wrong is said on its error stream."""
    try:
        with contextlib.suppress(ConnectionError):  # either side has cut it off: no fault of ours
            await _carry(link, pair, address)
    except ForwardError as error:
        text = f"error forwarding port {pair.port} to pod {pod}, uid : {error}"
        with contextlib.suppress(ConnectionError):
            await link.send(pair.error, text.encode())
    with contextlib.suppress(ConnectionError):
        for stream in (pair.error, pair.data):
            await link.finish(stream)


async def _carry(link: Link, pair: Pair, address: str) -> None:
    inbox = link.inboxes.get(pair.data)
    if inbox is None:
        return
    reader, writer = await _connect(address, pair.port)
    up = asyncio.create_task(_up(inbox, writer))
    try:
        while data := await reader.read(_READ_BYTES):
            await link.send(pair.data, data)
    finally:
        inbox.close()
        up.cancel()
        await asyncio.gather(up, return_exceptions=True)
        writer.close()


async def _up(inbox: Inbox, writer: asyncio.StreamWriter) -> None:
    with contextlib.suppress(ConnectionError):
        while data := await inbox.read():
            writer.write(data)
            await writer.drain()
        writer.write_eof()


async def _connect(address: str, port: int) -> tuple[asyncio.StreamReader, asyncio.StreamWriter]:
    try:
        async with asyncio.timeout(_CONNECT_TIMEOUT_S):
            return await asyncio.open_connection(address, port)
    except TimeoutError as error:
        raise ForwardError(f"dial tcp4 {address}:{port}: i/o timeout") from error
    except OSError as error:
        cause = "connection refused" if isinstance(error, ConnectionRefusedError) else str(error)
        raise ForwardError(
            f"failed to connect to localhost:{port} inside namespace: "
            f"dial tcp4 {address}:{port}: connect: {cause}"
        ) from error

"""The streams of exec and attach, however the client speaks: input, outputs, sizes, and the end."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import Mapping
from dataclasses import dataclass
from types import TracebackType
from typing import Final, Self

from agents.runtime.streaming.handshake import (
    choose_spdy_protocol,
    is_websocket,
    upgrade_spdy,
    upgrade_websocket,
)
from agents.runtime.streaming.inbox import Inbox
from agents.runtime.streaming.link import Link, Pipe, SpdyLink, WebSocketLink
from kubraft.grpc_server.exchange import Exchange
from kubraft.streaming import channels
from kubraft.streaming.outcome import Outcome

# A client of SPDY opens its streams one after the other, and has so long for all of them.
STREAMS_TIMEOUT_S: Final = 30.0
_SPDY_PROTOCOLS: Final = (
    channels.V5,
    channels.V4,
    "v3.channel.k8s.io",
    "v2.channel.k8s.io",
    channels.V1,
)
_WITH_STATUS: Final = (channels.V5, channels.V4)
_WITHOUT_RESIZE: Final = ("v2.channel.k8s.io", channels.V1, "")
_TYPES: Final = ("stdin", "stdout", "stderr", "error", "resize")


@dataclass(frozen=True, slots=True)
class Wanted:
    """Which streams there are; with a terminal `stderr` is none of them."""

    stdin: bool = False
    stdout: bool = False
    stderr: bool = False
    tty: bool = False


class CommandStreams:
    """A context: inside of it the link runs; it ends with `finish`, or without a word."""

    def __init__(self, link: Link, numbers: Mapping[str, int]) -> None:
        """`numbers`: of the link's streams, by their types."""
        self._link = link
        self._numbers = numbers
        self._running: asyncio.Task[None] | None = None

    async def __aenter__(self) -> Self:
        if self._running is None:
            self._running = asyncio.create_task(self._link.run())
        return self

    async def __aexit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self._link.close()
        if self._running is not None:
            self._running.cancel()
            await asyncio.gather(self._running, return_exceptions=True)

    @property
    def gone(self) -> asyncio.Event:
        """Set once the client is gone."""
        return self._link.gone

    def inbox(self, kind: str) -> Inbox | None:
        """What comes on "stdin" or "resize"; None where there is no such stream."""
        number = self._numbers.get(kind)
        return None if number is None else self._link.inboxes.get(number)

    async def send(self, kind: str, data: bytes) -> None:
        """Say `data` on "stdout" or "stderr"; dropped where there is no such stream.

        Raises:
            ConnectionError: the client is gone.
        """
        number = self._numbers.get(kind)
        if number is not None:
            await self._link.send(number, data)

    async def finish(self, outcome: Outcome) -> None:
        """Say how it ended, once all output is said; a client that is gone is not told."""
        with contextlib.suppress(ConnectionError):
            said = outcome.said(has_status=self._link.has_status)
            if said:
                await self._link.send(self._numbers["error"], said)
            for kind in ("stdout", "stderr", "error"):
                if kind in self._numbers:
                    await self._link.finish(self._numbers[kind])


async def open_streams(exchange: Exchange, wanted: Wanted) -> CommandStreams:
    """Upgrade the client's connection, and have its streams.

    Raises:
        Refusal: it asks for nothing that is spoken here; nothing is answered yet.
        ConnectionError: it went, or did not open its streams in time.
    """
    if is_websocket(exchange):
        return await _over_websocket(exchange, wanted)
    return await _over_spdy(exchange, wanted)


async def _over_websocket(exchange: Exchange, wanted: Wanted) -> CommandStreams:
    protocol, tunnel = upgrade_websocket(exchange, channels.PROTOCOLS)
    numbers = {"error": channels.ERROR, "resize": channels.RESIZE}
    for kind, is_wanted in zip(_TYPES, (wanted.stdin, wanted.stdout, wanted.stderr), strict=False):
        if is_wanted:
            numbers[kind] = _TYPES.index(kind)
    read = [numbers[kind] for kind in ("stdin", "resize") if kind in numbers]
    link = WebSocketLink(tunnel, protocol, read)
    # Tells the client that it is connected, as upstream's server does.
    first = next((kind for kind in ("stdout", "stderr") if kind in numbers), "error")
    await link.send(numbers[first], b"")
    return CommandStreams(link, numbers)


async def _over_spdy(exchange: Exchange, wanted: Wanted) -> CommandStreams:
    protocol = choose_spdy_protocol(exchange, _SPDY_PROTOCOLS)
    expected = {"error"}
    expected |= {k for k in ("stdin", "stdout", "stderr") if getattr(wanted, k)}
    if wanted.tty and protocol not in _WITHOUT_RESIZE:
        expected.add("resize")
    numbers: dict[str, int] = {}
    complete = asyncio.Event()

    def opened(stream: int, headers: Mapping[str, str]) -> bool:
        kind = headers.get("streamtype", "")
        if kind not in _TYPES or kind in numbers:
            return False
        numbers[kind] = stream
        if expected <= numbers.keys():
            complete.set()
        return True

    pipe: Pipe = upgrade_spdy(exchange, protocol)
    link = SpdyLink(pipe, opened, has_status=protocol in _WITH_STATUS)
    streams = CommandStreams(link, numbers)
    await streams.__aenter__()
    try:
        async with asyncio.timeout(STREAMS_TIMEOUT_S):
            await _either(complete, link.gone)
    except TimeoutError:
        pass
    except BaseException:
        await streams.__aexit__(None, None, None)
        raise
    if not complete.is_set():
        await streams.__aexit__(None, None, None)
        raise ConnectionAbortedError("timed out waiting for client to create streams")
    return streams


async def _either(*events: asyncio.Event) -> None:
    tasks = [asyncio.create_task(event.wait()) for event in events]
    try:
        await asyncio.wait(tasks, return_when=asyncio.FIRST_COMPLETED)
    finally:
        for task in tasks:
            task.cancel()

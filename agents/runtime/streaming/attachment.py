"""A client at a container's own streams: what its program writes from now on, and its input."""

from __future__ import annotations

import asyncio
import os
from collections.abc import Callable
from typing import Final

from agents.runtime.output import Audience
from agents.runtime.records import Container
from agents.runtime.streaming.command import feed, follow_size
from agents.runtime.streaming.command_streams import CommandStreams, Wanted
from agents.runtime.streaming.descriptors import InputWriter
from agents.runtime.streaming.inbox import Inbox
from kubraft.streaming.outcome import Outcome

# A client that takes nothing for so long is cut off: the container waits for it meanwhile.
STALL_TIMEOUT_S: Final = 120.0


class _Listener(Audience):
    """One client; the container is held up while its inboxes are full."""

    def __init__(self, kinds: tuple[str, ...]) -> None:
        self.inboxes = {kind: Inbox() for kind in kinds}

    def hear(self, stream: bytes, data: bytes) -> None:
        inbox = self.inboxes.get(stream.decode())
        if inbox is not None:
            inbox.feed(data)

    @property
    def full(self) -> bool:
        return any(inbox.full for inbox in self.inboxes.values())

    def end(self) -> None:
        for inbox in self.inboxes.values():
            inbox.end()


async def attach(container: Container, wanted: Wanted, streams: CommandStreams) -> Outcome:
    """Carry the streams until the container's program ends, or the client goes."""
    pump = container.pump
    if pump is None:
        cause = f"container {container.id} is not running"
        return Outcome(failure=f"error attaching to container: {cause}")
    kinds = tuple(kind for kind in ("stdout", "stderr") if getattr(wanted, kind))
    listener = _Listener(kinds)
    pump.join(listener)
    writer = _terminal_or_input(container)
    typing = [asyncio.create_task(follow_size(streams.inbox("resize"), writer))]
    if wanted.stdin:
        typing.append(asyncio.create_task(_type(container, streams, writer)))
    saying = [asyncio.create_task(_say(kind, listener, streams, pump.resume)) for kind in kinds]
    ends = [asyncio.create_task(container.ended.wait()), asyncio.create_task(streams.gone.wait())]
    tasks = [*typing, *saying, *ends]
    try:
        await asyncio.wait({*ends, *saying}, return_when=asyncio.FIRST_COMPLETED)
        if container.ended.is_set() and not streams.gone.is_set():
            await asyncio.gather(*saying, return_exceptions=True)
    finally:
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
        pump.leave(listener)
        if writer is not None:
            writer.close()
    return Outcome()


async def _say(
    kind: str, listener: _Listener, streams: CommandStreams, resume: Callable[[], None]
) -> None:
    """Say what the program writes, to its end."""
    inbox = listener.inboxes[kind]
    while data := await inbox.read():
        resume()
        try:
            async with asyncio.timeout(STALL_TIMEOUT_S):
                await streams.send(kind, data)
        except (TimeoutError, ConnectionError):
            return


def _terminal_or_input(container: Container) -> InputWriter | None:
    """A writer of its own to the container's input or terminal, while that is open."""
    if container.stdin_write < 0 or container.launch is None:
        return None
    return InputWriter(os.dup(container.stdin_write), is_terminal=container.launch.tty)


async def _type(container: Container, streams: CommandStreams, writer: InputWriter | None) -> None:
    """Hand on the client's input; its end, or its client's, is the program's where it says so."""
    launch = container.launch
    if launch is None or not launch.stdin:
        return
    try:
        await feed(streams.inbox("stdin"), writer)
    finally:
        if launch.stdin_once and not launch.tty:
            if writer is not None:
                writer.close()
            container.close_input()

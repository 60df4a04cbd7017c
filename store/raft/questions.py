"""A question from one member to another, besides the log: one frame there, one frame back.

What is asked and answered is the store's own business. It goes over the peer port, on a connection
of its own, with the same handshake as all that members say to each other.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Sequence

from store.raft.framing import PURPOSE_QUESTION, FrameReader, frame
from store.raft.link import Caller, Streams, dial

Answer = Callable[[bytes], Awaitable[bytes]]

# An answer may take a walk through the whole history.
_ANSWER_S_MAX = 30.0
_FRAME_BYTES_MAX = 64 << 10


async def ask(caller: Caller, peer: int, urls: Sequence[str], question: bytes) -> bytes:
    """The answer of the first of a peer's addresses that gives one.

    Raises:
        OSError, TimeoutError, FrameError: why the last one did not.
    """
    failure: Exception = ConnectionError("no address")
    for url in urls:
        try:
            streams = await dial(caller, peer, url, PURPOSE_QUESTION)
            try:
                return await _put(question, streams)
            finally:
                streams[1].transport.abort()
        except (OSError, ValueError) as error:  # a TimeoutError is the one, a FrameError the other
            failure = error
    raise failure


async def _put(question: bytes, streams: Streams) -> bytes:
    reader, writer = streams
    async with asyncio.timeout(_ANSWER_S_MAX):
        writer.write(frame(question))
        return await _frame(reader)


async def respond_to(
    reader: asyncio.StreamReader, writer: asyncio.StreamWriter, respond: Answer
) -> None:
    """Answer one question of a peer that has shaken hands.

    Raises:
        OSError, TimeoutError, FrameError: the peer asks nothing, or is gone.
    """
    async with asyncio.timeout(_ANSWER_S_MAX):
        question = await _frame(reader)
        writer.write(frame(await respond(question)))
        await writer.drain()
    writer.close()


async def _frame(reader: asyncio.StreamReader) -> bytes:
    frames = FrameReader(_FRAME_BYTES_MAX)
    while data := await reader.read(_FRAME_BYTES_MAX):
        payloads = frames.feed(data)
        if payloads:
            return payloads[0]
    raise ConnectionResetError("closed before all was said")

"""Bodies of answers over HTTPS, of servers that nobody vouches for: in parts, up to a bound."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import aiohttp

PART_BYTES = 1 << 16


class AnswerTooLargeError(ValueError):
    """There is more than the reader takes; the rest was not read."""


async def read_bounded(content: aiohttp.StreamReader, bytes_max: int) -> bytes:
    """The whole body.

    Raises:
        AnswerTooLargeError: it has more than `bytes_max`.
    """
    found = bytearray()
    async for part in content.iter_chunked(PART_BYTES):
        found += part
        if len(found) > bytes_max:
            raise AnswerTooLargeError(f"the answer is over {bytes_max} bytes")
        await asyncio.sleep(0)  # a peer that is always ready must not keep others waiting
    return bytes(found)

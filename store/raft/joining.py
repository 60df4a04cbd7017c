"""What a member that starts with an empty disk asks the peer ports of those it is told of.

Which cluster it joins; or, where it is to begin a new one, whether it took part in it before.
"""

from __future__ import annotations

import asyncio
import ssl
from collections.abc import Sequence
from dataclasses import dataclass

from store.raft.codec import decode_voters
from store.raft.framing import (
    BOOTSTRAPPED,
    PURPOSE_FIRST_START,
    PURPOSE_MEMBERS,
    REMOVED,
    FrameError,
    FrameReader,
    Hello,
    frame,
)
from store.raft.link import host_and_port
from store.raft.membership import Members

_ANSWER_S_MAX = 2.0
_ANSWER_BYTES_MAX = 1 << 20
_CLUSTER_ID_BYTES = 8


@dataclass(frozen=True, slots=True)
class Cluster:
    """What a member says of its cluster."""

    cluster_id: int
    members: Members


async def ask(url: str, tls: ssl.SSLContext | None) -> Cluster:
    """Ask the member at a peer URL.

    Raises:
        OSError, TimeoutError: no answer. ValueError: not an answer of a member.
    """
    answer = await _answer(url, tls, Hello(0, 0, 0, PURPOSE_MEMBERS))
    if answer[:1] != b"\0" or len(answer) < 1 + _CLUSTER_ID_BYTES:
        raise FrameError(answer.decode(errors="replace"))
    cluster_id = int.from_bytes(answer[1 : 1 + _CLUSTER_ID_BYTES], "little")
    return Cluster(cluster_id, decode_voters(answer[1 + _CLUSTER_ID_BYTES :]))


async def has_taken_part(
    urls: Sequence[str], tls: ssl.SSLContext | None, *, cluster_id: int, member_id: int
) -> str:
    """How a peer says that this member took part in the cluster before; empty if none says so.

    All are asked at once, and one that does not answer in time does not count: at the first start
    of a cluster nobody does.
    """
    hello = Hello(cluster_id, member_id, 0, PURPOSE_FIRST_START)
    answers = await asyncio.gather(
        *(_answer(url, tls, hello) for url in urls), return_exceptions=True
    )
    said = [answer.decode(errors="replace") for answer in answers if isinstance(answer, bytes)]
    return next((cause for cause in said if cause in (BOOTSTRAPPED, REMOVED)), "")


async def _answer(url: str, tls: ssl.SSLContext | None, hello: Hello) -> bytes:
    host, port = host_and_port(url)
    async with asyncio.timeout(_ANSWER_S_MAX):
        reader, writer = await asyncio.open_connection(
            host, port, ssl=tls if url.startswith("https:") else None
        )
        try:
            writer.write(frame(hello.encode()))
            answers = FrameReader(_ANSWER_BYTES_MAX)
            payloads: list[bytes] = []
            while not payloads:
                data = await reader.read(_ANSWER_BYTES_MAX)
                if not data:
                    raise ConnectionResetError("closed during the handshake")
                payloads = answers.feed(data)
        finally:
            writer.transport.abort()
    return payloads[0]


async def ask_any(urls: Sequence[str], tls: ssl.SSLContext | None) -> Cluster | None:
    """The first answer; None where nobody gives one."""
    for url in urls:
        try:
            return await ask(url, tls)
        except (OSError, ValueError):
            continue
    return None

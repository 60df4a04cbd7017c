from __future__ import annotations

import asyncio
import random
from collections.abc import Callable

import pytest
import uvloop
from structlog.testing import capture_logs

from store.raft import link as module
from store.raft.framing import PONG, frame
from store.raft.link import UNANSWERED_MAX, Caller, Link
from tests.store.raft.cluster import eventually


def ignore(_peer: int) -> None:
    pass


def link_to(url: str, on_up: Callable[[int], None] = ignore) -> Link:
    return Link(
        Caller(cluster_id=1, member_id=1, tls=None),
        2,
        [url],
        rng=random.Random(1),
        on_up=on_up,
        on_down=ignore,
        on_heard=ignore,
        on_removed=lambda: None,
    )


async def test_a_wrong_url_is_no_reason_to_give_up() -> None:
    link = link_to("http://127.0.0.1:port")
    ended, _ = await asyncio.wait({link._task}, timeout=0.2)
    assert not ended
    await link.close()


async def test_a_peer_too_busy_to_shake_hands_in_time_is_given_more(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(module, "_CONNECT_S", 0.05)
    writers: list[asyncio.StreamWriter] = []

    async def answer_late(_: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        writers.append(writer)
        await asyncio.sleep(0.4)
        writer.write(frame(b"\0"))

    server = await asyncio.start_server(answer_late, "127.0.0.1", 0)
    port = server.sockets[0].getsockname()[1]
    up: list[int] = []
    link = link_to(f"http://127.0.0.1:{port}", up.append)
    await eventually(lambda: up == [2])
    await link.close()
    for writer in writers:
        writer.transport.abort()
    server.close()
    await asyncio.sleep(0)


async def test_a_peer_that_is_there_and_silent_is_told_of_once() -> None:
    writers: list[asyncio.StreamWriter] = []

    async def be_silent(_: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        writers.append(writer)
        writer.write(frame(b"\0"))

    server = await asyncio.start_server(be_silent, "127.0.0.1", 0)
    link = link_to(f"http://127.0.0.1:{server.sockets[0].getsockname()[1]}")
    with capture_logs() as lines:
        await eventually(lambda: link.up)
        for _ in range(2 * UNANSWERED_MAX):
            link.ping()
        writers[0].write(frame(PONG))
        await eventually(lambda: lines[-1]["event"] == "peer answers again")
    told = ["peer connected", "peer does not answer", "peer answers again"]
    assert [line["event"] for line in lines] == told
    await link.close()
    writers[0].transport.abort()
    server.close()
    await asyncio.sleep(0)


def test_a_connection_that_has_just_gone_takes_nothing_and_breaks_nothing() -> None:
    """uvloop's closed transports raise; one that went must not keep others from their frames."""

    async def lose_a_connection() -> None:
        async def answer(_: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
            writers.append(writer)
            writer.write(frame(b"\0"))

        writers: list[asyncio.StreamWriter] = []
        server = await asyncio.start_server(answer, "127.0.0.1", 0)
        link = link_to(f"http://127.0.0.1:{server.sockets[0].getsockname()[1]}")
        await eventually(lambda: link.up)
        gone = link._writer
        assert gone is not None
        link.reset()
        await eventually(lambda: not link.up)
        # It is told in a turn of the loop, and may be asked to write in the one before.
        link._writer = gone
        link.ping()
        assert not link.congested()
        link._writer = None
        await link.close()
        server.close()
        for writer in writers:
            writer.transport.abort()
        await asyncio.sleep(0.05)

    uvloop.run(lose_a_connection())

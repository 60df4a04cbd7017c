"""SPDY/3.1 from bytes to events: what clients say, what they are told, and what breaks it."""

from __future__ import annotations

import struct
import zlib

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from kubraft.streaming.spdy import frames as f
from kubraft.streaming.spdy import session as s
from kubraft.streaming.spdy.dictionary import DICTIONARY
from kubraft.streaming.spdy.header_block import BLOCK_BYTES_MAX, HeaderReader, HeaderWriter
from tests.kubraft.streaming.spdy_client import SpdyClient

WORDS = {"streamType": "stdin", "port": "80"}
LOWER = {"streamtype": "stdin", "port": "80"}


def test_the_dictionary_is_the_drafts() -> None:
    # As SPDY's implementations know it: its length, and its Adler-32, which zlib puts into a block.
    assert (len(DICTIONARY), zlib.adler32(DICTIONARY)) == (1423, 0xE3C6A7C2)


@given(
    st.lists(
        st.dictionaries(
            st.text("abcdefghij-", min_size=1, max_size=20),
            st.text(st.characters(max_codepoint=255), max_size=40),
            max_size=8,
        ),
        max_size=5,
    )
)
@settings(max_examples=60)
def test_blocks_of_headers_come_back_as_they_were(blocks: list[dict[str, str]]) -> None:
    writer, reader = HeaderWriter(), HeaderReader()
    assert [reader.read(writer.write(block)) for block in blocks] == blocks


def test_a_stream_from_its_beginning_to_its_end() -> None:
    client, session = SpdyClient(), s.Session()
    stream, opening = client.open(WORDS)
    assert list(session.receive(opening)) == [s.Opened(1, LOWER)]
    session.reply(stream)
    said = list(session.receive(f.data(stream, b"in") + f.data(stream, b"", fin=True)))
    assert said == [s.Received(1, b"in"), s.Finished(1)]
    assert session.send(stream, b"out" * 20_000)
    session.finish(stream)
    assert not session.send(stream, b"more")
    session.go_away()
    client.receive(session.take())
    assert (client.replied, client.said, client.ended) == ({1}, {1: b"out" * 20_000}, {1})
    assert client.gone_away == 0
    assert session.take() == b""


@pytest.mark.parametrize("cut", [1, 2, 7, 13, 1000])
def test_frames_may_be_cut_anywhere(cut: int) -> None:
    client, session = SpdyClient(), s.Session()
    _, opening = client.open(WORDS)
    whole = opening + f.data(1, b"abcdefgh") + f.control(f.Kind.PING, struct.pack(">I", 5))
    whole += f.data(1, b"ij", fin=True)
    events = []
    for start in range(0, len(whole), cut):
        events += list(session.receive(whole[start : start + cut]))
    assert events[0] == s.Opened(1, LOWER)
    assert b"".join(e.data for e in events if isinstance(e, s.Received)) == b"abcdefghij"
    assert events[-1] == s.Finished(1)
    client.receive(session.take())
    assert client.pings == [5]


@pytest.mark.parametrize(
    ("frames", "expected"),
    [
        pytest.param(f.reset(1, f.Reset.CANCEL), [s.Cancelled(1)], id="reset"),
        pytest.param(f.reset(9, f.Reset.CANCEL), [], id="reset of nothing"),
        pytest.param(f.go_away(0), [s.GoneAway()], id="go away"),
        pytest.param(f.data(9, b"x"), [], id="data of nothing"),
        pytest.param(f.control(f.Kind.PING, b"\0\0\0\2"), [], id="answer to no ping of ours"),
        pytest.param(f.control(f.Kind.SETTINGS, b"\0\0\0\0"), [], id="settings"),
        pytest.param(f.control(f.Kind.WINDOW_UPDATE, bytes(8)), [], id="a window"),
        pytest.param(f.data(1, b"", fin=True) + f.data(1, b"x"), [s.Finished(1)], id="after end"),
    ],
)
def test_what_else_may_come(frames: bytes, expected: list[s.Event]) -> None:
    client, session = SpdyClient(), s.Session()
    list(session.receive(client.open(WORDS)[1]))
    assert list(session.receive(frames)) == expected


def test_an_end_may_come_with_headers() -> None:
    client, session = SpdyClient(), s.Session()
    assert list(session.receive(client.open(WORDS, flags=f.FIN)[1])) == [
        s.Opened(1, LOWER),
        s.Finished(1),
    ]
    list(session.receive(client.open(WORDS)[1]))
    assert list(session.receive(client.headers(3, {"a": "b"}))) == [s.Finished(3)]


@pytest.mark.parametrize(
    "frames",
    [
        pytest.param(struct.pack(">II", 0x8002 << 16 | 1, 10) + bytes(10), id="version"),
        pytest.param(struct.pack(">II", 0x8003 << 16 | 1, 1 << 20), id="a control frame too large"),
        pytest.param(f.control(f.Kind.SYN_STREAM, b"\0\0"), id="a frame too short"),
        pytest.param(f.control(f.Kind.SYN_STREAM, bytes(10) + b"junk"), id="no block"),
        pytest.param(f.control(f.Kind.RST_STREAM, b""), id="an empty reset"),
        pytest.param(SpdyClient().syn_stream(2, WORDS), id="an even number"),
        pytest.param(SpdyClient().syn_stream(0, WORDS), id="no number"),
        pytest.param(SpdyClient().syn_stream(1, {"a": "b" * 50_000}), id="an inflated block"),
        pytest.param(SpdyClient().syn_stream(1, {str(n): "" for n in range(200)}), id="headers"),
        pytest.param(SpdyClient().syn_stream(1, {"": "b"}), id="a header without a name"),
        pytest.param(SpdyClient().syn_stream(1, {"a": "b", "A": "c"}), id="a header twice"),
    ],
)
def test_what_breaks_a_connection(frames: bytes) -> None:
    session = s.Session()
    with pytest.raises(f.SpdyError):
        list(session.receive(frames))
    client = SpdyClient()
    client.receive(session.take())
    assert client.gone_away == 1


def test_a_number_comes_once() -> None:
    client, session = SpdyClient(), s.Session()
    list(session.receive(client.syn_stream(3, WORDS)))
    with pytest.raises(f.SpdyError):
        list(session.receive(client.syn_stream(3, WORDS)))


def test_streams_are_bounded() -> None:
    client, session = SpdyClient(), s.Session()
    for _ in range(s.STREAMS_MAX):
        list(session.receive(client.open({})[1]))
    stream, opening = client.open({})
    assert list(session.receive(opening)) == []
    client.receive(session.take())
    assert client.resets == {stream: f.Reset.REFUSED_STREAM}
    session.reset(1)
    assert len(list(session.receive(client.open({})[1]))) == 1


def test_a_bomb_of_a_block_costs_no_more_than_its_bound() -> None:
    packer = zlib.compressobj(zdict=DICTIONARY)
    block = packer.compress(bytes(8 << 20)) + packer.flush(zlib.Z_SYNC_FLUSH)
    assert len(block) < BLOCK_BYTES_MAX
    with pytest.raises(f.SpdyError):
        HeaderReader().read(block)


@given(parts=st.lists(st.binary(max_size=60), max_size=12), begun=st.booleans())
@settings(max_examples=200)
def test_whatever_comes_ends_in_events_or_an_error(parts: list[bytes], *, begun: bool) -> None:
    session, client = s.Session(), SpdyClient()
    if begun:
        list(session.receive(client.open(WORDS)[1]))
    try:
        for part in parts:
            for event in session.receive(part):
                if isinstance(event, s.Opened):
                    session.reply(event.stream)
    except f.SpdyError:
        pass
    client.receive(session.take())  # is well-formed in any case


@given(
    st.lists(
        st.tuples(
            st.integers(0, 12), st.integers(0, 255), st.binary(max_size=30), st.integers(0, 9)
        ),
        max_size=10,
    )
)
@settings(max_examples=200)
def test_frames_of_any_kind_do_no_harm(frames: list[tuple[int, int, bytes, int]]) -> None:
    session, client = s.Session(), SpdyClient()
    try:
        for kind, flags, payload, stream in frames:
            list(session.receive(client.open(WORDS)[1]))
            list(session.receive(f.data(stream, payload, fin=bool(flags % 2))))
            word = struct.pack(">I", stream)
            head = struct.pack(">II", 0x8003 << 16 | kind, flags << 24 | len(payload) + 4)
            list(session.receive(head + word + payload))
    except f.SpdyError:
        pass
    client.receive(session.take())

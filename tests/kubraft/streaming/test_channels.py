"""WebSocket and the channels in it: handshakes, messages by protocol, and what breaks them."""

from __future__ import annotations

import base64
import json

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from wsproto.connection import Connection, ConnectionType
from wsproto.events import BytesMessage, CloseConnection, Event, Ping, Pong, TextMessage

from kubraft.streaming import channels as ch
from kubraft.streaming.channels import ChannelError, Channels, Ended, Said
from kubraft.streaming.outcome import Outcome
from kubraft.streaming.terminal_size import SizeReader, TerminalSize
from kubraft.streaming.websocket import (
    HandshakeError,
    Part,
    WebSocket,
    WebSocketError,
    accept,
    offered_protocols,
)

EXIT_3 = (
    "command terminated with non-zero exit code: "
    "error executing command [sh -c exit 3], exit code 3"
)
KEY = "dGhlIHNhbXBsZSBub25jZQ=="


class Client:
    """The other end, by the library itself."""

    def __init__(self) -> None:
        self._frames = Connection(ConnectionType.CLIENT)

    def say(self, event: Event) -> bytes:
        return self._frames.send(event)

    def hear(self, data: bytes) -> list[Event]:
        self._frames.receive_data(data)
        return list(self._frames.events())


def test_the_handshake_is_the_one_of_the_rfc() -> None:
    protocol, headers = accept(
        key=KEY, version="13", offered=["v9", ch.V4, ch.V5], spoken=ch.PROTOCOLS
    )
    assert protocol == ch.V4
    assert dict(headers) == {
        "upgrade": "websocket",
        "connection": "Upgrade",
        "sec-websocket-accept": "s3pPLMBiTxaQ9kYGzzhZRbK+xOo=",
        "sec-websocket-protocol": ch.V4,
    }


@pytest.mark.parametrize(
    ("key", "version", "offered", "status"),
    [
        pytest.param(KEY, "8", [], 400, id="version"),
        pytest.param("", "13", [], 400, id="no key"),
        pytest.param("c2hvcnQ=", "13", [], 400, id="a short key"),
        pytest.param("\xff" * 24, "13", [], 400, id="a key that is none"),
        pytest.param(KEY, "13", ["v9.channel.k8s.io"], 403, id="no protocol in common"),
    ],
)
def test_handshakes_that_are_refused(
    key: str, version: str, offered: list[str], status: int
) -> None:
    with pytest.raises(HandshakeError) as caught:
        accept(key=key, version=version, offered=offered, spoken=ch.PROTOCOLS)
    assert caught.value.status == status


def test_none_offered_is_none_chosen() -> None:
    protocol, headers = accept(key=KEY, version="13", offered=[], spoken=ch.PROTOCOLS)
    assert (protocol, len(headers)) == ("", 3)
    assert offered_protocols(" a, b ,,c") == ["a", "b", "c"]


def test_pings_and_closes_are_answered() -> None:
    client, server = Client(), WebSocket()
    assert list(server.receive(client.say(Ping(payload=b"x")))) == []
    assert client.hear(server.take()) == [Pong(payload=b"x")]
    assert list(server.receive(client.say(CloseConnection(1000)))) == []
    assert server.closed
    (closed,) = client.hear(server.take())
    assert isinstance(closed, CloseConnection)
    assert closed.code == 1000
    assert not server.send(b"late")
    assert list(server.receive(b"whatever")) == []


def test_messages_in_frames_and_parts() -> None:
    client, server = Client(), WebSocket()
    data = client.say(BytesMessage(b"\0one", message_finished=False))
    data += client.say(BytesMessage(b"two", message_finished=True))
    parts = [part for byte in data for part in server.receive(bytes((byte,)))]
    assert b"".join(part.data for part in parts) == b"\0onetwo"
    assert [part.last for part in parts] == [False] * (len(parts) - 1) + [True]


@pytest.mark.parametrize(
    "data",
    [
        pytest.param(b"\x82\x01a", id="no mask"),
        pytest.param(b"\x83\x80\0\0\0\0", id="an unknown kind"),
        pytest.param(b"\x89\xfe\x10\x00\0\0\0\0", id="a long ping"),
        pytest.param(b"\x80\x80\0\0\0\0", id="a part of nothing"),
        pytest.param(b"\x81\x81\0\0\0\0\xff", id="text that is no UTF-8"),
        pytest.param(b"\xf2\x80\0\0\0\0", id="an extension"),
    ],
)
def test_broken_frames_end_the_connection(data: bytes) -> None:
    server = WebSocket()
    with pytest.raises(WebSocketError):
        list(server.receive(data))
    (event,) = Client().hear(server.take())
    assert isinstance(event, CloseConnection)
    assert event.code in (1002, 1007)


@given(st.lists(st.binary(max_size=80), max_size=10))
@settings(max_examples=200)
def test_whatever_comes_ends_in_parts_or_an_error(pieces: list[bytes]) -> None:
    server, channels = WebSocket(), Channels(ch.V5)
    try:
        for piece in pieces:
            for part in server.receive(piece):
                list(channels.receive(part))
    except (WebSocketError, ChannelError):
        pass
    Client().hear(server.take())


@pytest.mark.parametrize("protocol", ch.PROTOCOLS)
@given(messages=st.lists(st.tuples(st.integers(0, 9), st.binary(min_size=1, max_size=50))))
@settings(max_examples=30)
def test_what_is_said_is_heard(protocol: str, messages: list[tuple[int, bytes]]) -> None:
    said, heard = Channels(protocol), Channels(protocol)
    found = [
        event
        for channel, data in messages
        for event in heard.receive(Part(said.message(channel, data), last=True))
    ]
    assert found == [Said(channel, data) for channel, data in messages]


def test_parts_of_a_message_are_of_one_channel() -> None:
    channels = Channels(ch.V4)
    parts = [Part(b"", False), Part(b"\1a", False), Part(b"\2b", False), Part(b"", True)]
    found = [event for part in parts for event in channels.receive(part)]
    assert found == [Said(1, b"a"), Said(1, b"\2b")]
    assert list(channels.receive(Part(b"\3c", True))) == [Said(3, b"c")]


def test_only_v5_knows_the_end_of_a_channel() -> None:
    assert list(Channels(ch.V5).receive(Part(b"\xff\0", True))) == [Ended(0)]
    split = Channels(ch.V5)
    assert list(split.receive(Part(b"\xff", False))) == []
    assert list(split.receive(Part(b"\0", True))) == [Ended(0)]
    assert list(Channels(ch.V4).receive(Part(b"\xff\0", True))) == [Said(255, b"\0")]


@pytest.mark.parametrize(
    ("protocol", "message"),
    [
        pytest.param(ch.V5, b"\xff", id="the end of nothing"),
        pytest.param(ch.V5, b"\xff\0\1", id="the end of two"),
        pytest.param(ch.V4_BASE64, b"x" + base64.b64encode(b"a"), id="no digit"),
        pytest.param(ch.V4_BASE64, b"0a", id="no base64"),
        pytest.param(ch.V4_BASE64, b"0" + b"A" * (1 << 21), id="too large"),
    ],
)
def test_messages_that_are_none(protocol: str, message: bytes) -> None:
    with pytest.raises(ChannelError):
        list(Channels(protocol).receive(Part(message, True)))


def test_text_frames_carry_base64() -> None:
    client, server, channels = Client(), WebSocket(), Channels(ch.V1_BASE64)
    (part,) = server.receive(client.say(TextMessage("0aGk=")))
    assert list(channels.receive(part)) == [Said(0, b"hi")]
    assert server.send(channels.message(1, b"ho"), text=True)
    assert client.hear(server.take()) == [TextMessage(data="1aG8=")]


@pytest.mark.parametrize(
    ("data", "sizes"),
    [
        (b'{"Width":80,"Height":24}\n', [(80, 24)]),
        (b'{"Width":1,"Height":2}{"Height":4,"Width":3}', [(1, 2), (3, 4)]),
        (b'{"Width":0,"Height":2}{"Width":70000,"Height":2}{"Width":-1,"Height":2}', []),
        (b'junk}{"Width":5,"Height":6}', [(5, 6)]),
        (b'{"Width":"a","Height":2}{}[}{"Width":1e999,"Height":1}', []),
        (b"[" * 100_000 + b"}", []),
    ],
)
@pytest.mark.parametrize("cut", [1, 5, 1 << 20])
def test_sizes_of_a_terminal(data: bytes, sizes: list[tuple[int, int]], cut: int) -> None:
    reader = SizeReader()
    if len(data) > 1000:
        cut = max(cut, 10_000)
    pieces = [data[start : start + cut] for start in range(0, len(data), cut)]
    assert [size for piece in pieces for size in reader.receive(piece)] == [
        TerminalSize(*size) for size in sizes
    ]


@pytest.mark.parametrize(
    ("outcome", "status", "text"),
    [
        (Outcome(), {"metadata": {}, "status": "Success"}, ""),
        (
            Outcome(3, command=("sh", "-c", "exit 3")),
            {
                "metadata": {},
                "status": "Failure",
                "message": EXIT_3,
                "reason": "NonZeroExitCode",
                "details": {"causes": [{"reason": "ExitCode", "message": "3"}]},
            },
            EXIT_3,
        ),
        (
            Outcome(failure="no such thing"),
            {
                "metadata": {},
                "status": "Failure",
                "message": "Internal error occurred: no such thing",
                "reason": "InternalError",
                "details": {"causes": [{"message": "no such thing"}]},
                "code": 500,
            },
            "Internal error occurred: no such thing",
        ),
    ],
)
def test_how_it_ended(outcome: Outcome, status: dict[str, object], text: str) -> None:
    assert json.loads(outcome.said(has_status=True)) == status
    assert outcome.said(has_status=False) == text.encode()

"""The reader of HTTP/1.1: the same however its bytes are cut, and never more than `h11` takes."""

from __future__ import annotations

import h11
from hypothesis import example, given
from hypothesis import strategies as st

from kubraft.grpc_server.http1_reader import End, Head, MalformedError, RequestReader

PIECES = (
    b"GET /x HTTP/1.1\r\nHost: a\r\n\r\n",
    b"POST /y?z HTTP/1.1\r\nHost: a\r\nContent-Length: 3\r\n\r\nabc",
    b"POST /c HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n",
    b"3;x=y\r\na\r\n\r\n",
    b"0\r\n\r\n",
    b"0\r\nT: v\r\n\r\n",
    b"PUT /u HTTP/1.1\r\nHost: a\r\nConnection: upgrade\r\nUpgrade: x\r\n",
    b"Content-Length: 5\r\n\r\n\r\n\r\n!",
    b"Content-Length: 3\r\n",
    b"Transfer-Encoding: chunked\r\n",
    b"Host: a\r\n",
    b"GET /o HTTP/1.0\r\n",
    b"Connection: close\r\n",
    b"X : y\r\n",
    b" folded\r\n",
    b"\r\n",
    b"\n",
    b"\r",
    b"\x00",
    b"abc",
)
sent = st.lists(st.sampled_from(PIECES), max_size=8).map(b"".join) | st.binary(max_size=64)

# What was seen of each request: method, target, body, whether it was whole.
Seen = list[tuple[str, str, bytes, bool]]


def read(data: bytes, cuts: list[int]) -> tuple[Seen, bool]:
    """The requests in `data`, fed in parts of these sizes; and whether it was refused."""
    reader, seen = RequestReader(), Seen()
    sizes = [*cuts, len(data)]
    for size in sizes:
        reader.receive(data[:size])
        data = data[size:]
        try:
            while (event := reader.next()) is not None:
                if isinstance(event, Head):
                    seen.append((event.method, event.target, b"", False))
                elif isinstance(event, bytes):
                    method, target, body, _ = seen[-1]
                    seen[-1] = (method, target, body + event, False)
                else:
                    assert event is End.END
                    seen[-1] = (*seen[-1][:3], True)
                    reader.start_next()
        except MalformedError:
            return seen, True
    return seen, False


def by_h11(data: bytes) -> Seen:
    """The same by the library."""
    seen = Seen()
    line = h11.Connection(h11.SERVER)
    line.receive_data(data.lstrip(b"\r\n"))  # empty lines before a request mean nothing
    try:
        while (event := line.next_event()) not in (h11.NEED_DATA, h11.PAUSED):
            if isinstance(event, h11.Request):
                seen.append((event.method.decode(), event.target.decode("latin-1"), b"", False))
            elif isinstance(event, h11.Data):
                seen[-1] = (*seen[-1][:2], seen[-1][2] + bytes(event.data), False)
            elif isinstance(event, h11.EndOfMessage):
                seen[-1] = (*seen[-1][:3], True)
                rest = line.trailing_data[0]
                line = h11.Connection(h11.SERVER)
                line.receive_data(rest.lstrip(b"\r\n"))
            else:
                break
    except h11.RemoteProtocolError:
        pass
    return seen


@given(sent, st.lists(st.integers(1, 9), max_size=60))
@example(PIECES[0] * 2 + PIECES[1], [1] * 60)
@example(PIECES[6] + PIECES[7] + PIECES[0], [1] * 99)
def test_cuts_change_nothing(data: bytes, cuts: list[int]) -> None:
    whole, refused = read(data, [])
    found, refused_too = read(data, cuts)
    if refused or refused_too:  # how much was told before the fault may differ, but not what
        whole, found = ([each for each in seen if each[3]] for seen in (whole, found))
    assert found == whole
    assert refused == refused_too


@given(sent)
@example(PIECES[6] + PIECES[7] + PIECES[0])
@example(PIECES[2] + PIECES[3] + PIECES[5] + PIECES[0])
def test_what_is_read_is_what_others_read(data: bytes) -> None:
    """Nobody between us and the client sees other requests than we do."""
    found = [each for each in read(data, [])[0] if each[3]]
    assert found == by_h11(data)[: len(found)]

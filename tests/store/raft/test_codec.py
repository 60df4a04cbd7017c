"""What goes over the wire comes back the same, and nothing else is taken."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from store.raft import messages as m
from store.raft.codec import decode, decode_voters, encode, encode_voters
from store.raft.framing import FrameError, FrameReader, Hello, decode_hello, frame, refusal
from store.raft.packing import MEMBERSHIP, NO_OP, PROPOSALS, check, pack, unpack

numbers = st.integers(0, 2**63 - 1)
proposals = st.lists(st.builds(m.Proposal, numbers, numbers, st.binary(max_size=50)))
voters = st.dictionaries(numbers, st.text(max_size=30), max_size=5)
payloads = st.one_of(
    proposals.map(lambda packed: PROPOSALS + pack(packed)),
    voters.map(lambda members: MEMBERSHIP + encode_voters(members)),
    st.just(NO_OP),
)
entries = st.builds(
    lambda first, found: [m.Entry(data, first + at, term) for at, (data, term) in enumerate(found)],
    st.integers(1, 2**62),
    st.lists(st.tuples(payloads, numbers)),
)
messages = st.one_of(
    st.builds(m.Append, numbers, numbers, numbers, numbers, numbers, entries.map(tuple)),
    st.builds(m.Heartbeat, numbers, numbers),
    st.builds(m.InstallSnapshot, numbers, numbers, numbers, numbers, voters),
    st.builds(m.Ack, numbers, numbers, numbers, numbers, st.booleans(), st.booleans()),
    st.builds(m.VoteRequest, numbers, numbers, numbers, st.booleans()),
    st.builds(m.Vote, numbers),
    st.builds(m.PreVoteRequest, numbers, numbers, numbers, numbers),
    st.builds(m.PreVote, numbers, numbers, st.booleans()),
    st.builds(m.TimeoutNow, numbers),
    st.builds(m.Forward, numbers, proposals.map(tuple)),
    st.builds(m.ForwardRefusal, numbers, st.lists(numbers).map(tuple)),
    st.builds(m.Fence, numbers, numbers),
    st.builds(m.FenceReply, numbers, numbers, numbers),
    st.builds(m.ReadRequest, numbers, numbers),
    st.builds(m.ReadReply, numbers, numbers, numbers),
    st.builds(m.ChangeRequest, numbers, numbers, numbers, voters),
    st.builds(m.ChangeReply, numbers, numbers, numbers, numbers),
)


@given(messages)
def test_messages_round_trip(message: m.Message) -> None:
    assert decode(encode(message)) == message


@given(st.binary(max_size=200))
def test_noise_is_a_value_error_or_a_message(noise: bytes) -> None:
    try:
        message = decode(noise)
    except ValueError:
        return
    # What decodes at all, encodes again; a boolean's byte may differ.
    assert decode(encode(message)) == message


@given(messages, st.data())
def test_cut_or_changed_messages_never_raise_anything_else(
    message: m.Message, data: st.DataObject
) -> None:
    raw = bytearray(encode(message))
    at = data.draw(st.integers(0, len(raw) - 1))
    raw[at] ^= data.draw(st.integers(1, 255))
    for broken in (bytes(raw), bytes(raw[:at])):
        try:
            decode(broken)
        except ValueError:
            continue


@given(st.lists(st.binary(min_size=1, max_size=60), max_size=10), st.integers(1, 25))
def test_frames_survive_any_cutting_of_the_stream(payloads: list[bytes], step: int) -> None:
    stream = b"".join(map(frame, payloads))
    reader = FrameReader(60)
    found: list[bytes] = []
    for at in range(0, len(stream), step):
        found += reader.feed(stream[at : at + step])
    assert found == payloads


@pytest.mark.parametrize("length", [0, 61, 2**32 - 1])
def test_frame_of_a_wrong_length_is_refused_before_it_arrives(length: int) -> None:
    with pytest.raises(FrameError, match=f"frame of {length} bytes"):
        FrameReader(60).feed(length.to_bytes(4, "little"))


@given(proposals)
def test_proposals_round_trip(packed: list[m.Proposal]) -> None:
    assert unpack(pack(packed)) == packed


@given(st.binary(max_size=80))
def test_noise_in_place_of_proposals_or_voters_is_a_value_error(noise: bytes) -> None:
    for reader in (unpack, decode_voters):
        try:
            reader(noise)
        except ValueError:
            continue


@given(st.binary(max_size=80), st.integers(0, 3))
def test_check_takes_what_unpack_can_read(noise: bytes, start: int) -> None:
    packed = noise if len(noise) >= start else bytes(start)
    try:
        unpack(packed, start)
    except ValueError:
        with pytest.raises(ValueError, match="cut short"):
            check(packed, start)
    else:
        check(packed, start)


GOOD = m.Entry(NO_OP, 8, 2)


@pytest.mark.parametrize(
    ("message", "cause"),
    [
        pytest.param(
            m.Append(2, 1, 0, 7, 2, (GOOD, m.Entry(NO_OP, 10, 2))),
            "entry 10 of term 2 behind entry 8",
            id="gap",
        ),
        pytest.param(
            m.Append(2, 1, 0, 7, 2, (GOOD, GOOD)), "entry 8 of term 2 behind entry 8", id="twice"
        ),
        pytest.param(
            m.Append(2, 1, 0, 7, 2, (m.Entry(b"\x09?", 8, 2),)), "unknown kind 9", id="kind"
        ),
        pytest.param(
            m.Append(2, 1, 0, 7, 2, (m.Entry(PROPOSALS + b"?" * 30, 8, 2),)),
            "proposal cut short",
            id="proposals",
        ),
        pytest.param(
            m.Append(2, 1, 0, 7, 2, (m.Entry(MEMBERSHIP + b"?" * 9, 8, 2),)),
            "voter cut short",
            id="members",
        ),
        pytest.param(m.Heartbeat(2**64 - 1, 0), "no term, index or number", id="term"),
        pytest.param(
            m.Append(2, 1, 0, 7, 2, (m.Entry(NO_OP, 8, 2**64 - 1),)), "of term", id="entry's term"
        ),
    ],
)
def test_message_that_no_member_says_is_refused(message: m.Message, cause: str) -> None:
    with pytest.raises(ValueError, match=cause):
        decode(encode(message))


HELLO = Hello(cluster_id=7, sender=2, receiver=1, purpose=1)


def test_hello_round_trips() -> None:
    assert decode_hello(HELLO.encode()) == HELLO
    assert refusal(HELLO, cluster_id=7, member_id=1) == ""


@pytest.mark.parametrize(
    ("hello", "cause"),
    [
        pytest.param(Hello(8, 2, 1, 1), "another cluster", id="another cluster"),
        pytest.param(Hello(7, 2, 3, 1), "this is member 1, not 3", id="another member"),
        pytest.param(Hello(7, 1, 1, 1), "another member with id 1", id="same id"),
        pytest.param(Hello(7, 2, 1, 9), "unknown purpose", id="unknown purpose"),
    ],
)
def test_stranger_is_refused(hello: Hello, cause: str) -> None:
    assert cause in refusal(decode_hello(hello.encode()), cluster_id=7, member_id=1)


@pytest.mark.parametrize(
    ("raw", "cause"),
    [
        pytest.param(b"GET / HTTP/1.1\r\n\r\n", "not a member", id="something else"),
        pytest.param(b"", "not a member", id="empty"),
        pytest.param(
            HELLO.encode()[:4] + b"\x09\x00" + HELLO.encode()[6:], "version 9", id="version"
        ),
    ],
)
def test_first_frame_of_a_stranger_is_an_error(raw: bytes, cause: str) -> None:
    with pytest.raises(FrameError, match=cause):
        decode_hello(raw)

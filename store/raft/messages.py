"""What members say to each other: frozen values, no encoding, no I/O.

`Entry` has the field order of the library's log tuples. `round` is the number of the leader's
newest ReadIndex round: an `Ack` that carries it back proves leadership after the round began.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import NamedTuple

# First byte of an entry's data; the numbers are the library's `_COMMAND_TYPE`.
KIND_PROPOSALS = 0
KIND_NO_OP = 1
KIND_MEMBERSHIP = 2


class Entry(NamedTuple):
    """One place of the log: kind byte and payload, index, term."""

    data: bytes
    index: int  # type: ignore[assignment]  # not tuple.index
    term: int


class Proposal(NamedTuple):
    """One client's command inside an entry.

    `session` is drawn afresh at each start of a member and `sequence` counts within it, so the two
    name one attempt to propose for all time.
    """

    session: int
    sequence: int
    data: bytes


@dataclass(frozen=True, slots=True)
class Append:
    """Entries behind `prev_index` (0: the leader does not know), or none as a heartbeat."""

    term: int
    commit: int
    round: int
    prev_index: int
    prev_term: int
    entries: tuple[Entry, ...]


@dataclass(frozen=True, slots=True)
class Heartbeat:
    """A leader's sign of life to a peer that cannot take entries now."""

    term: int
    round: int


@dataclass(frozen=True, slots=True)
class InstallSnapshot:
    """The snapshot file that the leader of `term` streamed here is complete and durable."""

    term: int
    round: int
    index: int
    snapshot_term: int
    voters: Mapping[int, str]


@dataclass(frozen=True, slots=True)
class Ack:
    """Answer to `Append`, `Heartbeat` and `InstallSnapshot`.

    `success`: all below `next_index` matches the leader. `reset`: `prev` did not match, go on from
    `next_index`. Neither: only a sign of life, or a higher term.
    """

    term: int
    next_index: int
    prev: int
    round: int
    reset: bool
    success: bool


@dataclass(frozen=True, slots=True)
class VoteRequest:
    """A candidate's request; `transfer` where the leader itself asked for the election."""

    term: int
    last_index: int
    last_term: int
    transfer: bool


@dataclass(frozen=True, slots=True)
class Vote:
    """A granted vote; there is no message for a refusal."""

    term: int


@dataclass(frozen=True, slots=True)
class PreVoteRequest:
    """Would you vote for me in `term`? Changes nothing at the receiver."""

    term: int
    nonce: int
    last_index: int
    last_term: int


@dataclass(frozen=True, slots=True)
class PreVote:
    """Answer to the PreVoteRequest with the same `nonce`."""

    term: int
    nonce: int
    granted: bool


@dataclass(frozen=True, slots=True)
class TimeoutNow:
    """Leadership transfer: the leader asks the receiver to campaign at once."""

    term: int


@dataclass(frozen=True, slots=True)
class Forward:
    """Proposals for the leader of `term`, and for no other term."""

    term: int
    proposals: tuple[Proposal, ...]


@dataclass(frozen=True, slots=True)
class ForwardRefusal:
    """These proposals of a `Forward` were not appended and never will be."""

    term: int
    sequences: tuple[int, ...]


@dataclass(frozen=True, slots=True)
class Fence:
    """Asks the leader of `term`: what came of the proposals that were forwarded before this?"""

    term: int
    number: int


@dataclass(frozen=True, slots=True)
class FenceReply:
    """What was forwarded before Fence `number` is at `index` or below, or in no log for ever."""

    term: int
    number: int
    index: int


@dataclass(frozen=True, slots=True)
class ReadRequest:
    """A follower asks the leader for a ReadIndex."""

    term: int
    number: int


@dataclass(frozen=True, slots=True)
class ReadReply:
    """The ReadIndex for ReadRequest `number`; index 0 where leadership was not confirmed."""

    term: int
    number: int
    index: int


@dataclass(frozen=True, slots=True)
class ChangeRequest:
    """Asks the leader to replace the configuration with fingerprint `before` by `members`."""

    term: int
    number: int
    before: int
    members: Mapping[int, str]


@dataclass(frozen=True, slots=True)
class ChangeReply:
    """Where ChangeRequest `number` is in the log of the leader of `term`; index 0: refused."""

    term: int
    number: int
    index: int
    cause: int


RaftMessage = (
    Append
    | Heartbeat
    | InstallSnapshot
    | Ack
    | VoteRequest
    | Vote
    | PreVoteRequest
    | PreVote
    | TimeoutNow
)
# These must arrive in order and once, and nothing of an old connection behind a newer one's.
ForwardMessage = Forward | ForwardRefusal | Fence | FenceReply
Message = RaftMessage | ForwardMessage | ReadRequest | ReadReply | ChangeRequest | ChangeReply

"""What the store asks of a consensus engine, and what an engine asks of the state machine.

The narrow waist of a member: `store.rpc` calls an `Engine`, an engine calls a `StateMachine`, and
neither knows what stands behind. All calls are made from the member's one event-loop thread unless
a docstring says otherwise.
"""

from __future__ import annotations

import enum
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import NewType, Protocol

MemberID = NewType("MemberID", int)
Term = NewType("Term", int)
LogIndex = NewType("LogIndex", int)


class Role(enum.Enum):
    """Raft roles of a member; the values are what `status` prints."""

    FOLLOWER = "follower"
    CANDIDATE = "candidate"
    LEADER = "leader"
    LEARNER = "learner"


@dataclass(frozen=True, slots=True)
class Command:
    """One committed command: position in the log, and the bytes that were proposed.

    A Raft entry may carry the proposals of many clients; each is a command of its own with the
    same `index` and ascending `position`.
    """

    index: LogIndex
    term: Term
    position: int
    data: bytes


@dataclass(frozen=True, slots=True)
class EngineStatus:
    """One member's view of consensus at one moment."""

    member_id: MemberID
    role: Role
    term: Term
    leader: MemberID | None
    commit_index: LogIndex
    applied_index: LogIndex
    last_index: LogIndex
    voters: tuple[MemberID, ...]
    # Peers that this member has heard nothing from for an election timeout.
    silent_peers: tuple[MemberID, ...]


class EngineError(Exception):
    """The engine could not do what was asked."""


class NoLeaderError(EngineError):
    """No leader is known; nothing was appended. `missing` names the peers that do not answer."""

    def __init__(self, missing: Sequence[MemberID] = ()) -> None:
        super().__init__("no leader")
        self.missing = tuple(missing)


class ProposalDroppedError(EngineError):
    """The proposal was not appended (leader changing, transfer under way, queue full)."""


class UnknownOutcomeError(EngineError):
    """The proposal may or may not be committed: leadership was lost or time ran out."""

    def __init__(self, missing: Sequence[MemberID] = ()) -> None:
        super().__init__("outcome unknown")
        self.missing = tuple(missing)


class StaleChangeError(EngineError):
    """A change of membership was not appended: another came first, or the leader must change."""

    def __init__(self) -> None:
        super().__init__("another change of membership is under way")


class LearnerNotReadyError(EngineError):
    """A learner that is to be a voter lags, or does not answer; nothing was appended."""

    def __init__(self) -> None:
        super().__init__("the learner is not in sync with the leader")


class StateMachine(Protocol):
    """The replicated state: the same commands give the same bytes on every member."""

    def durable_index(self) -> tuple[LogIndex, Term]:
        """The newest entry whose effect survives a power loss; replay starts behind it."""

    def apply(self, commands: Sequence[Command]) -> list[object]:
        """Apply whole entries in log order, exactly once each.

        Returns:
            One result a command, for the waiter on this member; an expected failure is returned
            as an exception instance, never raised.
        """

    def persist(self) -> tuple[LogIndex, Term]:
        """Make all that was applied durable (fsync) and return the new `durable_index`; blocks."""

    def persist_soon(self) -> None:
        """Begin to make durable what was applied; `durable_index` shows it when it is done."""

    def save_snapshot(self, path: Path) -> tuple[LogIndex, Term]:
        """Write a consistent copy of the durable state to `path`; called from a worker thread."""

    def read_snapshot(self, path: Path) -> object:
        """Check and read the snapshot file at `path`, which stays as it is; in a worker thread.

        Nothing is applied until `install_snapshot`; the old state may be read meanwhile.

        Raises:
            ValueError: the file is damaged.
        """

    def install_snapshot(self, path: Path, read: object) -> tuple[LogIndex, Term] | None:
        """Replace the whole state by the snapshot file at `path`, which it may move away.

        Quick, whatever the size. A crash leaves the old state with the file, or the new state.

        Args:
            path: the file.
            read: what `read_snapshot` returned for it.

        Returns:
            Where in the log the state now is; None where the disk is busy with the old state, so
            that it has to be asked again.
        """


class Engine(Protocol):
    """A member's consensus. Every method works on every member, the leader or not."""

    async def propose(self, data: bytes) -> object:
        """Replicate `data` and return what `StateMachine.apply` made of it on this member.

        Raises:
            NoLeaderError, ProposalDroppedError: nothing was appended, safe to repeat.
            UnknownOutcomeError: it may yet be applied.
        """

    async def read_index(self) -> LogIndex:
        """An index such that a read after it is applied here is linearizable.

        Returns once this member has applied it. Rounds are shared by concurrent callers.

        Raises:
            NoLeaderError, UnknownOutcomeError: no quorum confirmed a leader in time.
        """

    def status(self) -> EngineStatus:
        """This member's view; does no I/O."""

    async def transfer_leadership(self, to: MemberID) -> None:
        """Hand leadership to voter `to`.

        Raises:
            EngineError: this member is not the leader, or `to` did not take over in time.
        """

    def members(self) -> Mapping[int, str]:
        """The configuration as of the last entry applied here; see `store.raft.membership`."""

    async def change_members(self, before: Mapping[int, str], after: Mapping[int, str]) -> None:
        """Replace configuration `before` by `after`, which differs by one voter at most.

        Returns once it is committed and applied here.

        Raises:
            StaleChangeError: the configuration is not `before` any more, or a change is under
                way, or the leader hands over first; look again and repeat.
            LearnerNotReadyError: a learner that `after` makes a voter is not in sync.
            NoLeaderError, UnknownOutcomeError: as for `propose`.
        """

    async def start(self) -> None:
        """Recover from disk, connect to the peers and begin."""

    async def stop(self) -> None:
        """Stop and make everything durable; waiters get UnknownOutcomeError."""

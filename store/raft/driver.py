"""One member's consensus without I/O: inputs step the core, outputs wait for the disk.

The order is step > persist > send: what promises something is held until all that the log noted
up to then is durable; while one batch is on its way to the disk, later steps gather behind it
(group commit), and so do proposals, which then share one entry. What promises nothing leaves at
once: so the leader's disk and those of its followers write an entry at the same time, and the
leader counts itself for it only when its own has (`Core` sees to that). The shell calls one input
at a time, then `advance`; everything here takes the time of one clock in seconds.

Source: Ongaro, "Consensus: Bridging Theory and Practice", section 10.2.1 (writing in parallel).
"""

from __future__ import annotations

import random
from collections import deque
from collections.abc import Hashable, Sequence
from dataclasses import dataclass
from typing import Protocol

from store.raft import changes, membership
from store.raft import messages as m
from store.raft.codec import decode_voters
from store.raft.effects import Timing
from store.raft.engine import (
    Command,
    EngineError,
    EngineStatus,
    LogIndex,
    MemberID,
    Role,
    StateMachine,
    Term,
)
from store.raft.hardened import CANDIDATE, LEADER, Core
from store.raft.log import Base, Batch, Log
from store.raft.packing import OVERHEAD_BYTES, PROPOSALS, pack, unpack
from store.raft.proposals import PACKED_BYTES, Done, Proposals
from store.raft.reads import Reads
from store.raft.replay import replay_start
from store.raft.settled import settled

# Proposals of followers that wait at the leader; more are refused and come again.
FORWARDED_MAX = 4_096
# Entries behind the commit index; beyond it proposals wait.
UNCOMMITTED_MAX = 4_096
# Log kept in memory behind a log compaction, whatever the number of entries.
RETAINED_BYTES_MAX = 64 << 20
# What says nothing of the sender's disk but its term, which makes sure that no other leader ever
# uses the same index and term.
_PROMISES_NOTHING = (m.Append, m.Heartbeat, m.Forward, m.ReadRequest, m.ReadReply)
# A wakeup is never planned closer than this.
_WAKEUP_S_MIN = 0.005
_NEVER = float("inf")


class Shell(Protocol):
    """What the driver asks of the world; none of these may call back at once."""

    def persist(self, batch: Batch) -> None:
        """Make `batch` durable, then call `Driver.persisted`."""

    def send(self, peer: int, message: m.Message) -> None:
        """Send; it may be lost, but what arrives on one connection arrives in order."""

    def congested(self, peer: int) -> bool: ...

    def stream_snapshot(self, peer: int, term: int) -> None:
        """Stream a snapshot to `peer`, unless one is on its way, or was just now in vain."""

    def streaming(self) -> bool:
        """Whether a snapshot is being made or streamed, so that the log must stay."""

    def install(self, base: Base) -> None:
        """Let the state machine take over the received snapshot of `base`, then say so.

        Until `Driver.snapshot_installed` nothing is applied; all else goes on.
        """

    def discard_snapshot(self, index: int, term: int) -> None:
        """The received snapshot is not needed."""

    def silent_peers(self) -> tuple[int, ...]: ...


@dataclass(frozen=True, slots=True)
class Options:
    """Of one member; times in seconds."""

    timing: Timing
    proposal_s: float
    compact_entries: int
    retained_entries: int


class Driver:
    """See the module docstring."""

    def __init__(
        self,
        member_id: int,
        log: Log,
        state_machine: StateMachine,
        shell: Shell,
        options: Options,
        *,
        rng: random.Random,
        now: float,
    ) -> None:
        self._member_id = member_id
        self._log = log
        self._state_machine = state_machine
        self._shell = shell
        self._options = options
        self._now = now
        # By the state machine: a snapshot in the log may not be installed yet.
        self._applied = replay_start(log, state_machine)
        self._connected: set[int] = set()
        self._outbox: list[tuple[int, m.Message]] = []
        self._held: list[tuple[int, m.Message]] = []
        self._persisting = False
        # A snapshot that the log already starts at but that is not installed yet, and whether
        # the log's start is still on its way to the disk.
        self._installing: Base | None = None
        self._reset_is_new = False
        self._install_next = False
        self._proposals = Proposals(rng.getrandbits(63))
        self._forwarded: deque[tuple[int, m.Proposal]] = deque()
        self._forwarded_term = 0
        self._forward_after = 0.0
        # Asked of this leader, to be answered once what was forwarded before is in the log.
        self._fences: dict[int, m.Fence] = {}
        self._fence_due = _NEVER
        self._reads = Reads(first=rng.getrandbits(62), retry_s=options.timing.heartbeat_s / 2)
        self._changes = changes.Changes(rng.getrandbits(62))
        self._applied_term = 0
        self._transfer_to: int | None = None
        self._transfer_asked = False
        self._transfer_ends = 0.0
        self.core = Core(member_id, log, self, options.timing, rng, applied=self._applied, now=now)
        # The configuration as of the last applied entry; another object after every change.
        self.members = self.core.members_at(self._applied)
        self._settle()

    # ---- inputs

    def receive(self, now: float, peer: int, message: m.Message) -> None:
        """A message from `peer`."""
        self._now = now
        match message:
            case m.Forward():
                self._take_forward(peer, message)
            case m.ForwardRefusal(term, sequences):
                self._forward_after = now + self._options.timing.heartbeat_s / 2
                self._proposals.refused(sequences, term)
            case m.Fence():
                if self.core.role() == LEADER and message.term == self.core.term():
                    self._fences[peer] = message
            case m.FenceReply(_, number, index):
                self._proposals.fence_answered(number, index)
                self._proposals.reached(self._applied)
            case m.ReadRequest(_, number):
                if not self.core.read_index(now, (peer, number)):
                    self.send(peer, m.ReadReply(self.core.term(), number, 0))
            case m.ReadReply(_, number, index):
                self._reads.confirmed(now, number, index, self._applied)
            case m.InstallSnapshot():
                self._receive_snapshot(peer, message)
            case m.ChangeRequest(_, number, before, members):
                index, cause = self._append_change(before, members)
                self.send(peer, m.ChangeReply(self.core.term(), number, index, cause))
            case m.ChangeReply():
                self._take_change_reply(message)
            case _:
                self.core.receive(now, peer, message)

    def connected(self, now: float, peer: int) -> None:
        self._now = now
        self._connected.add(peer)
        self.core.connected(now, peer)
        if peer == self.core.leader():  # the connection before may have swallowed something
            self._send_fence(peer, anew=True)

    def disconnected(self, now: float, peer: int) -> None:
        self._now = now
        self._connected.discard(peer)
        self.core.disconnected(now, peer)

    def propose(self, now: float, data: bytes, done: Done) -> int:
        """Replicate `data`; `done` gets the result of its apply here, or an EngineError.

        Raises:
            ProposalDroppedError: too many wait already.
        """
        return self._proposals.add(data, now + self._options.proposal_s, done)

    def abandon(self, sequence: int) -> None:
        self._proposals.abandon(sequence)

    def read_index(self, now: float, done: Done) -> None:
        """`done` gets a LogIndex applied here that makes a read linearizable, or an EngineError.

        Raises:
            ProposalDroppedError: too many wait already.
        """
        self._reads.add(now + self._options.proposal_s, done)

    def transfer(self, now: float, to: int) -> None:
        """Hand leadership to `to` within an election timeout; proposals wait meanwhile.

        Raises:
            EngineError: this member is not the leader, or `to` is not another voter.
        """
        if self.core.role() != LEADER:
            raise EngineError("not the leader")
        if to == self._member_id or to not in self.core.voters():
            raise EngineError(f"{to:x} is not another voter")
        self._transfer_to, self._transfer_asked = to, False
        self._transfer_ends = now + self._options.timing.election_s

    def change_members(
        self, now: float, before: membership.Members, after: membership.Members, done: Done
    ) -> None:
        """See `Engine.change_members`; `done` gets None, or an EngineError.

        Raises:
            ProposalDroppedError: too many wait already.
        """
        self._now = now
        number = self._changes.add(now + self._options.proposal_s, done)
        request = m.ChangeRequest(
            self.core.term(), number, membership.fingerprint(before), dict(after)
        )
        leader = self._reachable_leader()
        if self.core.role() == LEADER:
            index, cause = self._append_change(request.before, after)
            self._take_change_reply(m.ChangeReply(self.core.term(), number, index, cause))
        elif leader is not None:
            self.send(leader, request)
        else:
            self._changes.unreachable(number, self._shell.silent_peers())

    def persisted(self, now: float) -> None:
        """The batch given to `Shell.persist` is durable."""
        self._now = now
        assert self._persisting
        self._persisting = False
        self._log.taken_is_durable()
        self._settle()
        if self._install_next:
            assert self._installing is not None
            self._install_next = False
            self._shell.install(self._installing)
        held, self._held = self._held, []
        for peer, message in held:
            self._shell.send(peer, message)

    def snapshot_installed(self, now: float) -> None:
        """The state machine has taken over the snapshot given to `Shell.install`."""
        self._now = now
        base, self._installing = self._installing, None
        assert base is not None
        self._log.installed()
        self._applied = base.index
        self._applied_term = max(self._applied_term, base.term)
        self.members = base.voters
        self._proposals.jumped()
        self._changes.jumped()
        self._reads.applied(base.index)

    def fail_waiters(self) -> None:
        """This member stops: whoever waits learns that the outcome is unknown."""
        self._proposals.fail_all(self._shell.silent_peers())
        self._reads.expire(float("inf"), self._shell.silent_peers())
        self._changes.expire(float("inf"), self._shell.silent_peers())

    def advance(self, now: float) -> None:
        """Do all that the inputs so far allow."""
        self._now = now
        self._transfer_if_due()
        self._append_proposals()
        if self._fences:
            self._answer_fences()
        if self._fence_due <= now:
            self._fence_if_late()
        self._begin_reads()
        self.core.tick(now)
        if self._proposals.queued:  # what the tick applied or who it follows may set them free
            self._append_proposals()
        if self._proposals.next_deadline() <= now:
            self._proposals.expire(now, self._shell.silent_peers())
        if self._reads.next_wakeup() <= now:
            self._reads.expire(now, self._shell.silent_peers())
        self._changes.expire(now, ())
        self._flush()
        self._compact_if_due()

    # ---- what the shell may ask

    @property
    def log_start(self) -> int:
        """The last index that the log does not hold any more."""
        return self._log.base.index

    def wakeup(self) -> float:
        """When to call `advance` although no input came."""
        times = [self.core.wakeup(), self._proposals.next_deadline(), self._reads.next_wakeup()]
        times += [self._changes.next_deadline(), self._fence_due]
        if self._proposals.queued:
            times.append(max(self._forward_after, self._now + self._options.timing.heartbeat_s))
        return max(min(times), self._now + _WAKEUP_S_MIN)

    def status(self) -> EngineStatus:
        roles = {LEADER: Role.LEADER, CANDIDATE: Role.CANDIDATE}
        role = roles.get(self.core.role(), Role.FOLLOWER)
        if self._member_id not in self.core.voters():
            role = Role.LEARNER
        leader = self.core.leader()
        return EngineStatus(
            member_id=MemberID(self._member_id),
            role=role,
            term=Term(self.core.term()),
            leader=None if leader is None else MemberID(leader),
            commit_index=LogIndex(self.core.commit_index()),
            applied_index=LogIndex(self._applied),
            last_index=LogIndex(self._log.last_index),
            voters=tuple(MemberID(voter) for voter in sorted(self.core.voters())),
            silent_peers=tuple(MemberID(peer) for peer in self._shell.silent_peers()),
        )

    # ---- effects of the core

    def send(self, peer: int, message: m.Message) -> None:
        self._outbox.append((peer, message))

    def congested(self, peer: int) -> bool:
        return self._shell.congested(peer)

    def snapshot_wanted(self, peer: int) -> None:
        if self._installing is None:
            self._shell.stream_snapshot(peer, self.core.term())

    def committed(self, entries: list[m.Entry]) -> None:
        assert self._installing is None
        proposals: list[m.Proposal] = []
        commands: list[Command] = []
        for entry in entries:
            if entry.data[0] == m.KIND_MEMBERSHIP:
                self.members = decode_voters(entry.data[1:])
            if entry.data[0] != m.KIND_PROPOSALS:
                continue
            for position, proposal in enumerate(unpack(entry.data, 1)):
                proposals.append(proposal)
                commands.append(
                    Command(LogIndex(entry.index), Term(entry.term), position, proposal.data)
                )
        results: Sequence[object] = self._state_machine.apply(commands) if commands else ()
        assert len(results) == len(commands)
        for proposal, result in zip(proposals, results, strict=True):
            self._proposals.applied(proposal, result)
        self._applied = entries[-1].index
        self._proposals.reached(self._applied)
        if entries[-1].term > self._applied_term:
            self._applied_term = entries[-1].term
            self._proposals.term_applied(self._applied_term)
        self._reads.applied(entries[-1].index)
        for entry in entries if self._changes else ():
            self._changes.applied(entry.index, entry.term)

    def installed(self, base: Base) -> None:
        self._installing = base
        self._reset_is_new = True

    def read_confirmed(self, token: Hashable, index: int) -> None:
        assert isinstance(token, tuple)
        peer, number = token
        if peer == self._member_id:
            self._reads.confirmed(self._now, number, index, self._applied)
        else:
            self.send(peer, m.ReadReply(self.core.term(), number, index))

    # ---- parts of a step

    def _flush(self) -> None:
        """Hand what must be durable to the disk and hold what depends on it; send the rest."""
        batch = None if self._persisting else self._log.take()
        if self._outbox and (self._persisting or batch is not None):
            self._send_ahead()
        if self._persisting:
            return
        outbox, self._outbox = self._outbox, []
        if batch is not None:
            self._persisting = True
            self._install_next, self._reset_is_new = self._reset_is_new, False
            self._held = outbox
            self._shell.persist(batch)
            return
        for peer, message in outbox:
            self._shell.send(peer, message)

    def _send_ahead(self) -> None:
        """Send what need not wait for the disk."""
        term = self._log.durable_term
        outbox, self._outbox = self._outbox, []
        for peer, message in outbox:
            if isinstance(message, _PROMISES_NOTHING) and message.term <= term:
                self._shell.send(peer, message)
            else:
                self._outbox.append((peer, message))

    def _append_proposals(self) -> None:
        if self.core.role() != LEADER:
            self._refuse_forwarded()
            self._forward_proposals()
            return
        term = self.core.term()
        if self._forwarded_term != term:
            self._refuse_forwarded()
        if self._persisting or self._transfer_to is not None:
            return
        while self._proposals.queued or self._forwarded:
            if self._log.last_index - self.core.commit_index() >= UNCOMMITTED_MAX:
                return
            proposals = self._proposals.send(term)
            size = sum(len(proposal.data) + OVERHEAD_BYTES for proposal in proposals)
            while self._forwarded and (not proposals or size < PACKED_BYTES):
                _, proposal = self._forwarded.popleft()
                proposals.append(proposal)
                size += len(proposal.data) + OVERHEAD_BYTES
            if proposals:
                appended = self.core.append(self._now, PROPOSALS + pack(proposals))
                assert appended

    def _forward_proposals(self) -> None:
        leader = self._reachable_leader()
        if leader is None or self._now < self._forward_after:
            return
        term = self.core.term()
        while self._proposals.queued:
            proposals = self._proposals.send(term)
            if proposals:
                self.send(leader, m.Forward(term, tuple(proposals)))
        if self._fence_due == _NEVER:
            self._fence_due = self._now + self._late_s

    @property
    def _late_s(self) -> float:
        """A proposal that is not applied after this time may have been lost on its way."""
        return self._options.timing.election_s / 2

    def _fence_if_late(self) -> None:
        """Ask the leader about proposals that should have been applied long ago."""
        oldest = self._proposals.oldest_sent(self.core.term())
        self._fence_due = self._now + self._late_s if oldest < _NEVER else _NEVER
        leader = self._reachable_leader()
        if leader is not None and oldest - self._options.proposal_s <= self._now - self._late_s:
            self._send_fence(leader, anew=False)

    def _send_fence(self, leader: int, *, anew: bool) -> None:
        term = self.core.term()
        if leader != self._member_id and self._proposals.oldest_sent(term) < _NEVER:
            self.send(leader, m.Fence(term, self._proposals.fence(term, anew=anew)))

    def _answer_fences(self) -> None:
        """As the leader, once no forwarded proposal waits here to be appended."""
        fences, term = self._fences, self.core.term()
        if self.core.role() == LEADER and self._forwarded:
            return
        self._fences = {}
        for peer, fence in fences.items():
            if self.core.role() == LEADER and fence.term == term:
                self.send(peer, m.FenceReply(term, fence.number, self._log.last_index))

    def _reachable_leader(self) -> int | None:
        """The leader, once there is a connection: what is sent before that is lost."""
        leader = self.core.leader()
        return leader if leader in self._connected else None

    def _take_forward(self, peer: int, message: m.Forward) -> None:
        accept = (
            self.core.role() == LEADER
            and message.term == self.core.term()
            and len(self._forwarded) < FORWARDED_MAX
        )
        if not accept:
            sequences = tuple(proposal.sequence for proposal in message.proposals)
            self.send(peer, m.ForwardRefusal(message.term, sequences))
            return
        if self._forwarded_term != message.term:
            self._refuse_forwarded()
            self._forwarded_term = message.term
        self._forwarded.extend((peer, proposal) for proposal in message.proposals)

    def _refuse_forwarded(self) -> None:
        while self._forwarded:
            peer, proposal = self._forwarded.popleft()
            self.send(peer, m.ForwardRefusal(self._forwarded_term, (proposal.sequence,)))

    def _begin_reads(self) -> None:
        number = self._reads.begin(self._now, self.core.term())
        if not number:
            return
        leader = self._reachable_leader()
        if self.core.role() == LEADER:
            if not self.core.read_index(self._now, (self._member_id, number)):
                self._reads.refused(self._now, number)
        elif leader is not None:
            self.send(leader, m.ReadRequest(self.core.term(), number))
        else:
            self._reads.refused(self._now, number)

    def _append_change(self, before: int, members: membership.Members) -> tuple[int, int]:
        """As the leader, append a configuration: its index, or 0 and why not."""
        core = self.core
        leads = core.role() == LEADER and self._transfer_to is None
        if not leads or membership.fingerprint(core.members()) != before:
            return 0, changes.STALE
        voters = membership.voters(members)
        if self._member_id not in voters:  # another leader has to do that
            successor = core.successor()
            if successor is not None:
                self.transfer(self._now, successor)
            return 0, changes.STALE
        promoted = membership.learners(core.members()) & voters.keys()
        if not all(core.is_in_sync(self._now, peer) for peer in promoted):
            return 0, changes.NOT_READY
        if not core.change_members(self._now, members):
            return 0, changes.STALE
        return self._log.last_index, 0

    def _settle(self) -> None:
        found = settled(self._log, self.members, self._member_id, self._applied)
        for change, self.members in found:
            self._changes.applied(change.index, change.term)

    def _take_change_reply(self, reply: m.ChangeReply) -> None:
        if not reply.index:
            self._changes.refused(reply.number, reply.cause)
            return
        found = 0
        if reply.index <= self._applied:
            entry = self._log.find(reply.index)
            found = -1 if entry is None or entry.index == self._log.base.index else entry.term
        self._changes.appended(reply.number, reply.index, reply.term, found)

    def _transfer_if_due(self) -> None:
        if self._transfer_to is None:
            return
        if self.core.role() != LEADER or self._now >= self._transfer_ends:
            self._transfer_to = None
        elif not self._transfer_asked:
            # False until the target has the whole log; proposals wait, so it soon will.
            self._transfer_asked = self.core.transfer(self._now, self._transfer_to)

    def _receive_snapshot(self, peer: int, message: m.InstallSnapshot) -> None:
        if self._installing is None:
            self.core.receive(self._now, peer, message)
        base = self._installing
        if base is None or base.index != message.index:
            self._shell.discard_snapshot(message.index, message.snapshot_term)

    def _compact_if_due(self) -> None:
        """Drop the front of the log once its effect is durable in the state machine."""
        options, log = self._options, self._log
        retained = options.retained_entries
        if log.bytes > 2 * RETAINED_BYTES_MAX:
            retained = 0
        elif self._applied - log.base.index < options.compact_entries + retained:
            return
        if self._installing is not None or self._shell.streaming():
            return
        durable = int(self._state_machine.durable_index()[0])
        if self._applied - durable >= options.compact_entries or not retained:
            self._state_machine.persist_soon()
            durable = int(self._state_machine.durable_index()[0])
        index = min(durable, self._applied) - retained
        if index > log.base.index:
            self.core.compact(index)
            self._flush()

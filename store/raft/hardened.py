"""PySyncObj 0.3.17 made safe: the one module that imports it, and knows its private names.

`Core` keeps of the library what is sound (elections, replication, commit rule, apply loop,
transfer, membership mechanics) and overrides what is not; docs/adr/0001-pysyncobj-engine.md lists
the defects. No body of the library is copied: messages are rewritten before its handlers see
them, so that what they then do is right. The library's file and network I/O, clock, chance,
threads and pickle are all cut off: time is an argument, `Log` stands in for its journal, `Effects`
for its transport. tests/store/raft/test_contract.py fails when the library is not the one this was
written against.

The library's words: its "node" is our peer, its "journal" our log, its "serialized" our snapshot.
"""

from __future__ import annotations

import _socket
import random
import socket
import sys
from collections.abc import Hashable, Mapping
from typing import Any

import pysyncobj.syncobj as library
from pysyncobj.journal import Journal
from pysyncobj.node import Node
from pysyncobj.transport import Transport

from store.raft import membership
from store.raft import messages as m
from store.raft.codec import decode_voters, encode_voters
from store.raft.effects import Effects, Timing
from store.raft.log import Base, Log
from store.raft.packing import MEMBERSHIP

# Importing the library puts its stand-in for Windows into the socket module of every platform.
socket.inet_ntop = _socket.inet_ntop

FOLLOWER, CANDIDATE, LEADER = range(3)  # the library's _RAFT_STATE

_FROM_LEADER = (m.Append, m.Heartbeat, m.InstallSnapshot)
_FROM_STRANGERS = (*_FROM_LEADER, m.VoteRequest, m.PreVoteRequest)
_NEVER = float("inf")
_LONG_AGO = float("-inf")
# Elections a non-voter must not start, in seconds; recognised by being beyond any real timeout.
_FAR_AHEAD_S = 1e6
_NOTHING_TOLD = (None, 0, 0, 0, _LONG_AGO)


class _Peer(int, Node):
    """A member's id as the library's node: hashed and compared by the interpreter itself."""


class _Clock:
    """The library reads a module-wide clock; it stands still while a Core's method runs."""

    def __init__(self) -> None:
        self.now = 0.0

    def __call__(self) -> float:
        return self.now


class _NoPickle:
    """In place of the library's pickle: nothing may ever come near it."""

    def __getattr__(self, name: str) -> Any:
        raise AssertionError(f"pickle.{name} reached from the Raft library")


class _NoPoller:
    def poll(self, timeout: float) -> None:
        pass


_clock = _Clock()
library.monotonicTime = _clock
library.pickle = _NoPickle()
library.createPoller = lambda _: _NoPoller()
# On import the library puts a function for Windows in place of this one, on every system.
socket.inet_ntop = _socket.inet_ntop


class _LogJournal(Journal):
    """The library's view of our log. It never asks it to clear or to drop from the front."""

    def __init__(self, log: Log) -> None:
        self._log = log
        self._entries = log.entries

    def __len__(self) -> int:
        return len(self._entries)

    def __getitem__(self, position: int | slice) -> m.Entry | list[m.Entry]:
        return self._entries[position]

    def add(self, command: bytes, idx: int, term: int) -> None:
        self._log.append(m.Entry(command, idx, term))

    def deleteEntriesFrom(self, entryFrom: int) -> None:
        self._log.truncate(self._entries[entryFrom].index)

    def setRaftCommitIndex(self, raftCommitIndex: int) -> None:
        self._log.set_commit(raftCommitIndex)

    def setCurrentTerm(self, term: int, votedForNodeId: int | None) -> None:
        self._log.set_vote(term, votedForNodeId or 0)


class _StreamedSnapshots:
    """In place of the library's serializer: snapshots travel and land outside of it."""

    offer: m.InstallSnapshot

    def checkSerializing(self) -> tuple[int, None]:
        return library.SERIALIZER_STATE.NOT_SERIALIZING, None

    def setTransmissionData(self, data: m.InstallSnapshot) -> bool:
        self.offer = data
        return True

    def cancelTransmisstion(self, node: Node) -> None:
        pass


class _CoreTransport(Transport):
    def __init__(self, core: Core) -> None:
        super().__init__(None, None, None)
        self._core = core

    def send(self, node: Node, message: dict[str, Any]) -> bool:
        self._core._send(node, message)
        return True


class Core(library.SyncObj):
    """One member's consensus; no I/O. See the module docstring.

    Every method takes the time in seconds of one clock that never goes back.
    """

    # The private state of the library that is read or set here.
    _SyncObj__selfNode: Node  # this member
    _SyncObj__otherNodes: set[Node]  # the other voters
    _SyncObj__readonlyNodes: set[Node]  # the learners: sent to as voters are, counted nowhere
    _SyncObj__connectedNodes: set[Node]  # those it sends appends to
    _SyncObj__raftState: int  # role
    _SyncObj__raftCurrentTerm: int  # term, vote and log: mirrored to `Log` as they change
    _SyncObj__votedForNodeId: int | None
    _SyncObj__raftLog: _LogJournal
    _SyncObj__raftLeader: Node | None
    _SyncObj__raftCommitIndex: int
    _SyncObj__raftLastApplied: int
    _SyncObj__raftElectionDeadline: float  # when a follower campaigns; 0: it has won PreVote
    _SyncObj__transferInProgress: bool  # a TimeoutNow came in
    _SyncObj__raftNextIndex: dict[Node, int]  # a leader's progress of each peer
    _SyncObj__raftMatchIndex: dict[Node, int]
    _SyncObj__lastResponseTime: dict[Node, float]
    _SyncObj__newAppendEntriesTime: float  # when a leader sends next; 0: in the next tick
    _SyncObj__noopIDx: int  # a leader's first entry of its term
    _SyncObj__changeClusterIDx: int | None  # a change of membership under way
    _SyncObj__serializer: _StreamedSnapshots
    _SyncObj__needLoadDumpFile: bool  # the library would look for a snapshot file of its own

    def __init__(
        self,
        member_id: int,
        log: Log,
        effects: Effects,
        timing: Timing,
        rng: random.Random,
        *,
        applied: int,
        now: float,
    ) -> None:
        _clock.now = now
        self._log, self._effects, self._timing, self._rng = log, effects, timing, rng
        # The configuration and the voters in it, as of the last entry, committed or not.
        self._members: membership.Members = log.base.voters
        self._voters = membership.voters(self._members)
        self._members_stale = False
        # The message that is being received: what of it is verified, its prev, its read round.
        self._receiving: tuple[int | None, int, int] = (None, 0, 0)
        self._receiving_entries = False
        # The last success that was told: to whom, in which term, up to where, which round, when.
        self._told: tuple[Node | None, int, int, int, float] = _NOTHING_TOLD
        self._contact = _LONG_AGO
        self._votes: set[Node] = set()
        self._pre_votes: set[Node] = set()
        self._pre_vote_nonce = 0
        self._pre_vote_won = False
        self._transfer_election = False
        self._round = 0
        self._round_acks: dict[Node, int] = {}
        self._reads: list[tuple[int, int, Hashable]] = []  # round, commit index, token
        self._commit_seen = 0
        self._commit_before = 0  # as of the beginning of this tick
        self._applied_now: list[m.Entry] = []
        conf = library.SyncObjConf(
            autoTick=False,
            dynamicMembershipChange=True,
            appendEntriesUseBatch=True,
            appendEntriesPeriod=timing.heartbeat_s,
            appendEntriesBatchSizeBytes=timing.append_bytes_max,
            raftMinTimeout=timing.election_s,
            raftMaxTimeout=timing.election_s_max,
            connectionTimeout=timing.election_s_max,
            leaderFallbackTimeout=timing.quorum_s,
            commandsWaitLeader=False,
            logCompactionMinEntries=sys.maxsize,
            logCompactionMinTime=sys.maxsize,
        )
        others = [_Peer(peer) for peer in self._voters if peer != member_id]
        super().__init__(_Peer(member_id), others, conf, transport=_CoreTransport(self))
        self._SyncObj__raftLog = _LogJournal(log)
        self._SyncObj__serializer = _StreamedSnapshots()
        self._SyncObj__needLoadDumpFile = False
        self._SyncObj__raftCurrentTerm = max(log.hard_state.term, log.entries[-1].term)
        same_term = log.hard_state.term == self._SyncObj__raftCurrentTerm
        self._SyncObj__votedForNodeId = (log.hard_state.vote or None) if same_term else None
        self._SyncObj__raftLastApplied = applied
        self._SyncObj__raftCommitIndex = max(applied, min(log.hard_state.commit, log.last_index))
        self._adopt(self.members_at(log.last_index))
        self._campaign_within(0.2, 0.6)

    # ---- what the driver asks

    def tick(self, now: float) -> None:
        """Campaign, commit, apply and send what is due."""
        _clock.now = now
        self.doTick(0.0)

    def receive(self, now: float, peer: int, message: m.RaftMessage) -> None:
        _clock.now = now
        self._SyncObj__onMessageReceived(_Peer(peer), message)

    def connected(self, now: float, peer: int) -> None:
        _clock.now = now
        self._SyncObj__onNodeConnected(_Peer(peer))
        if self._SyncObj__raftLeader is None:
            self._campaign_within(0.05, 0.3)

    def disconnected(self, now: float, peer: int) -> None:
        _clock.now = now
        self._SyncObj__onNodeDisconnected(_Peer(peer))

    def append(self, now: float, data: bytes) -> bool:
        """Append an entry as the leader; False where this member is not the leader."""
        _clock.now = now
        if self._SyncObj__raftState != LEADER:
            return False
        self._applyCommand(data, None)
        self._checkCommandsToApply()
        self._send_soon()
        return True

    def change_members(self, now: float, members: membership.Members) -> bool:
        """Append a new configuration, which may differ by one voter, and not by this member.

        Returns:
            False where nothing was appended: not the leader, the previous change or the leader's
            first entry is not committed yet, or the change is none or too large.
        """
        last = self._log.last_index
        self.append(now, MEMBERSHIP + encode_voters(members))
        return self._log.last_index > last

    def is_in_sync(self, now: float, peer: int) -> bool:
        """Whether `peer` answers this leader and has nine tenths of the log at least.

        Source: etcd, server/etcdserver (readyPercentThreshold).
        """
        node = _Peer(peer)
        match = self._SyncObj__raftMatchIndex.get(node, 0)
        heard = self._SyncObj__lastResponseTime.get(node, _LONG_AGO)
        reached = match >= self._log.base.index and 10 * match >= 9 * self._log.last_index
        return reached and heard > now - self._timing.quorum_s

    def successor(self) -> int | None:
        """The other voter that has most of this leader's log."""
        match = self._SyncObj__raftMatchIndex
        others = sorted(self._SyncObj__otherNodes, key=lambda node: (match.get(node, 0), node.id))
        return int(others[-1].id) if others else None

    def transfer(self, now: float, peer: int) -> bool:
        """Ask `peer` to campaign; False where it cannot win for now."""
        _clock.now = now
        done: list[int] = []
        self.transferLeadership(_Peer(peer), lambda _, reason: done.append(reason))
        return done == [library.FAIL_REASON.SUCCESS]

    def read_index(self, now: float, token: Hashable) -> bool:
        """Begin a ReadIndex round that answers by `Effects.read_confirmed`; False: cannot now."""
        _clock.now = now
        commit = self._SyncObj__raftCommitIndex
        # Before its first own entry is committed, a leader does not know the commit index.
        if self._SyncObj__raftState != LEADER or commit < self._SyncObj__noopIDx:
            return False
        self._round += 1
        self._reads.append((self._round, commit, token))
        self._send_soon()
        return True

    def compact(self, index: int) -> None:
        """Let the log start at `index`, which is applied and whose effect is durable."""
        assert index <= self._SyncObj__raftLastApplied
        self._log.compact(Base(index, self._log.get(index).term, self.members_at(index)))

    def members_at(self, index: int) -> membership.Members:
        """The configuration as of `index`, at least the log's base."""
        for entry in reversed(self._log.between(self._log.base.index, index)):
            members = self._SyncObj__parseChangeClusterRequest(entry.data)
            if members is not None:
                return members
        return self._log.base.voters

    def wakeup(self) -> float:
        """When `tick` has something to do, unless something else happens first."""
        if self._SyncObj__raftState == LEADER:
            return float(self._SyncObj__newAppendEntriesTime)
        return float(self._SyncObj__raftElectionDeadline)

    def role(self) -> int:
        return int(self._SyncObj__raftState)

    def term(self) -> int:
        return int(self._SyncObj__raftCurrentTerm)

    def leader(self) -> int | None:
        leader = self._SyncObj__raftLeader
        return None if leader is None else int(leader.id)

    def commit_index(self) -> int:
        return int(self._SyncObj__raftCommitIndex)

    def applied_index(self) -> int:
        return int(self._SyncObj__raftLastApplied)

    def voters(self) -> Mapping[int, str]:
        return self._voters

    def members(self) -> membership.Members:
        """The newest configuration, committed or not; another object after every change."""
        return self._members

    # ---- small parts

    def _send_soon(self) -> None:
        """Let the next tick send to all peers; else every step would wait for a heartbeat."""
        self._SyncObj__newAppendEntriesTime = 0

    def _last(self) -> tuple[int, int]:
        """Term and index of the last entry, in the order in which logs are compared."""
        last = self._log.entries[-1]
        return last.term, last.index

    def _is_quorum(self, members: int) -> bool:
        return members > (len(self._SyncObj__otherNodes) + 1) / 2

    def _follow(self, term: int) -> None:
        self._SyncObj__setCurrentTerm(term, None)
        self._SyncObj__setState(FOLLOWER)
        self._SyncObj__raftLeader = None

    def _has_lease(self) -> bool:
        """A leader lives as far as this member knows: candidates must not disturb it."""
        if self._SyncObj__raftState == LEADER:
            return True
        silent_s = _clock.now - self._contact
        return self._SyncObj__raftLeader is not None and silent_s < self._timing.election_s

    def _SyncObj__generateRaftTimeout(self) -> float:
        # Stock draws from the module's `random`.
        return self._rng.uniform(self._timing.election_s, self._timing.election_s_max)

    def _SyncObj__setCurrentTerm(self, term: int, voted_for: int | None) -> None:
        # Votes, pre-votes and read rounds belong to one term.
        if term != self._SyncObj__raftCurrentTerm:
            self._votes = set()
            self._pre_vote_won = False
            self._pre_vote_nonce += 1
            self._round_acks = {}
            self._fail_reads()
        super()._SyncObj__setCurrentTerm(term, voted_for)

    def _SyncObj__setState(self, state: int) -> None:
        if state != LEADER:
            self._fail_reads()
        super()._SyncObj__setState(state)

    def _SyncObj__onBecomeLeader(self) -> None:
        self._round_acks = {}
        self._SyncObj__changeClusterIDx = None
        super()._SyncObj__onBecomeLeader()

    def _SyncObj__onNodeDisconnected(self, node: Node) -> None:
        # A killed leader's connection closes at once: ask around soon instead of waiting for a
        # whole election timeout. PreVote keeps the peace where only this connection broke.
        super()._SyncObj__onNodeDisconnected(node)
        self._told = _NOTHING_TOLD
        if node == self._SyncObj__raftLeader and self._SyncObj__raftState != LEADER:
            self._contact = _LONG_AGO
            self._campaign_within(0.1, 0.3)

    # ---- membership: one change at a time, each entry the whole configuration, without pickle

    def _SyncObj__parseChangeClusterRequest(self, command: bytes) -> membership.Members | None:
        # Stock unpickles.
        return decode_voters(command[1:]) if command[0] == m.KIND_MEMBERSHIP else None

    def _SyncObj__changeCluster(self, request: membership.Members) -> bool:
        # Stock never sets changeClusterIDx, so that its own guard is dead code.
        changed = membership.voters(request).keys() ^ self._voters.keys()
        own = self._SyncObj__selfNode.id in changed
        if request == self._members or len(changed) > 1 or own:
            return False
        if not super()._SyncObj__changeCluster(request):
            return False
        self._SyncObj__changeClusterIDx = self._log.last_index + 1
        return True

    def _SyncObj__doChangeCluster(self, request: membership.Members, reverse: bool = False) -> bool:
        # On a rollback stock guesses the inverse; the log knows what the members are.
        if reverse:
            self._members_stale = True
        else:
            self._adopt(request)
        return True

    def _adopt(self, members: membership.Members) -> None:
        """Bring the library's peers in line; what it knows of those that are gone is forgotten."""
        self._members, self._voters = dict(members), membership.voters(members)
        self._members_stale = False
        own = self._SyncObj__selfNode.id
        self._SyncObj__updateClusterConfiguration([_Peer(p) for p in self._voters if p != own])
        learners = {_Peer(peer) for peer in membership.learners(members) if peer != own}
        self._SyncObj__readonlyNodes = learners
        peers = self._SyncObj__otherNodes | learners
        last, progress = self._log.last_index, self._SyncObj__raftNextIndex
        for node in progress.keys() - peers:
            for known in (progress, self._SyncObj__raftMatchIndex, self._SyncObj__lastResponseTime):
                known.pop(node, None)
        for node in peers:
            progress.setdefault(node, last + 1)
            self._SyncObj__raftMatchIndex.setdefault(node, 0)
            self._SyncObj__lastResponseTime.setdefault(node, _clock.now)

    # ---- to the peers

    def _send(self, node: Node, message: dict[str, Any]) -> None:
        """Our message for the library's, with what it lacks: term, read round, transfer."""
        term = self._SyncObj__raftCurrentTerm
        kind = message["type"]
        ours: m.RaftMessage
        if kind == "append_entries":
            ours = m.Append(
                term,
                message["commit_index"],
                self._round,
                message["prevLogIdx"] or 0,
                message["prevLogTerm"] or 0,
                tuple(message["entries"]),
            )
        elif kind == "request_vote":
            last_term, last_index = self._last()
            ours = m.VoteRequest(term, last_index, last_term, self._transfer_election)
        elif kind == "response_vote":
            ours = m.Vote(message["term"])
        else:
            assert kind == "timeout_now", kind
            ours = m.TimeoutNow(term)
        self._effects.send(node.id, ours)

    def _SyncObj__sendAppendEntries(self) -> None:
        # Stock would spin, or send a snapshot inside of appends. Peers that cannot take entries
        # are hidden from it for the moment and get a sign of life.
        first = self._log.base.index
        held = []
        peers = self._SyncObj__otherNodes | self._SyncObj__readonlyNodes
        for node in peers & self._SyncObj__connectedNodes:
            lags = self._SyncObj__raftNextIndex[node] <= first
            if lags or self._effects.congested(node.id):
                held.append((node, lags))
        self._SyncObj__connectedNodes.difference_update(node for node, _ in held)
        try:
            super()._SyncObj__sendAppendEntries()
        finally:
            self._SyncObj__connectedNodes.update(node for node, _ in held)
        for node, lags in held:
            heartbeat = m.Heartbeat(self._SyncObj__raftCurrentTerm, self._round)
            self._effects.send(node.id, heartbeat)
            if lags:
                self._effects.snapshot_wanted(node.id)

    def _SyncObj__sendNextNodeIdx(
        self,
        node: Node,
        reset: bool = False,
        nextNodeIdx: int | None = None,
        success: bool = False,
    ) -> None:
        # Stock's acks carry no term and claim more than the append showed.
        verified, prev, round_ = self._receiving
        next_index = 0
        if success:
            assert verified is not None
            if self._was_told(node, verified, round_):
                return
            next_index = verified + 1
        elif reset:
            next_index = self._retry_index(prev)
        term = self._SyncObj__raftCurrentTerm
        self._effects.send(node.id, m.Ack(term, next_index, prev, round_, reset, success))

    def _was_told(self, node: Node, verified: int, round_: int) -> bool:
        """Whether this append needs no answer: it has no entries, and its leader knows the rest.

        There is one such append for every batch of entries, to tell of the new commit index.
        """
        told, term, upto, last_round, at = self._told
        same = told is not None and (told, term) == (node, self._SyncObj__raftCurrentTerm)
        new = self._receiving_entries or verified > upto or round_ > last_round
        if same and not new and _clock.now < at + self._timing.heartbeat_s / 2:
            return True
        self._told = (node, self._SyncObj__raftCurrentTerm, verified, round_, _clock.now)
        return False

    def _retry_index(self, prev: int) -> int:
        """Where the leader should try next: over a whole conflicting term, not below commit."""
        entry = self._log.find(prev)
        if entry is None:
            return self._log.last_index + 1
        lowest = self._SyncObj__raftCommitIndex + 1
        while prev > lowest:
            before = self._log.find(prev - 1)
            if before is None or before.term != entry.term:
                break
            prev -= 1
        return max(prev, lowest)

    # ---- from the peers

    def _SyncObj__onMessageReceived(self, node: Node, message: m.RaftMessage) -> None:
        # Stock checks neither the sender nor, for most messages, the term.
        known = node in self._SyncObj__otherNodes or isinstance(message, _FROM_STRANGERS)
        if not known and not (isinstance(message, m.Ack) and node in self._SyncObj__readonlyNodes):
            return
        if isinstance(message, m.PreVoteRequest):
            self._answer_pre_vote(node, message)
            return
        term = self._SyncObj__raftCurrentTerm
        if message.term > term:
            if isinstance(message, m.VoteRequest) and not message.transfer and self._has_lease():
                return
            if not isinstance(message, (*_FROM_LEADER, m.VoteRequest)):
                self._follow(message.term)
        elif message.term < term:
            if isinstance(message, _FROM_LEADER):  # tell the stale leader
                self._effects.send(node.id, m.Ack(term, 0, 0, 0, reset=False, success=False))
            return
        self._receive_current(node, message)

    def _receive_current(self, node: Node, message: m.RaftMessage) -> None:
        stock = super()._SyncObj__onMessageReceived
        match message:
            case m.Append():
                self._contact = _clock.now
                self._receiving_entries = bool(message.entries)
                stock(node, self._rewritten(message))
                if self._members_stale:
                    self._adopt(self.members_at(self._log.last_index))
            case m.Heartbeat() | m.InstallSnapshot():
                self._contact = _clock.now
                self._receive_bodyless(node, message)
            case m.Ack():
                if self._SyncObj__raftState == LEADER:
                    self._take_ack(node, message)
            case m.PreVote():
                self._take_pre_vote(node, message)
            case m.VoteRequest(term, last_index, last_term):
                fields = {"last_log_index": last_index, "last_log_term": last_term}
                stock(node, {"type": "request_vote", "term": term, **fields})
            case m.Vote(term):
                if node not in self._votes:  # stock counts answers, not voters
                    self._votes.add(node)
                    stock(node, {"type": "response_vote", "term": term})
            case m.TimeoutNow(term):
                stock(node, {"type": "timeout_now", "term": term})

    def _receive_bodyless(self, node: Node, message: m.Heartbeat | m.InstallSnapshot) -> None:
        """An append without entries: commits nothing, for it verifies nothing."""
        install = False
        self._receiving_entries = True  # not an append to be left unanswered
        self._receiving = (None, 0, message.round)
        if isinstance(message, m.InstallSnapshot):
            self._receiving = (message.index, 0, message.round)
            entry = self._log.find(message.index)
            have = entry is not None and entry.term == message.snapshot_term
            install = not have and message.index > self._SyncObj__raftCommitIndex
        serialized = message if install else None
        super()._SyncObj__onMessageReceived(
            node,
            {
                "type": "append_entries",
                "term": message.term,
                "commit_index": 0,
                "serialized": serialized,
            },
        )
        if not install:  # stock answers only what it installs
            self._SyncObj__sendNextNodeIdx(node, success=isinstance(message, m.InstallSnapshot))

    def _rewritten(self, message: m.Append) -> dict[str, Any]:
        """An append that makes the library truncate on a conflict only, and never below commit.

        Stock truncates all behind `prev` and commits up to its own end; so what it sees begins at
        the first entry that is new here, and its commit index is capped at what is verified.
        """
        prev, prev_term, entries = message.prev_index, message.prev_term, list(message.entries)
        commit, leader_commit = self._SyncObj__raftCommitIndex, message.commit
        verified = prev + len(entries)
        self._receiving = (None, prev, message.round)
        if 0 < prev < commit:  # what is committed matches every later leader's log
            entries = entries[commit - prev :]
            prev, prev_term = commit, self._log.get(commit).term
            verified = max(verified, commit)
        entry = self._log.find(prev)
        if prev and entry is not None and entry.term == prev_term:
            known = self._known(entries)
            if known:
                prev, prev_term = entries[known - 1].index, entries[known - 1].term
                entries = entries[known:]
            if not entries:  # nothing new: keep our longer tail
                prev_term, prev = self._last()
            self._receiving = (verified, message.prev_index, message.round)
            leader_commit = min(leader_commit, verified)
        return {
            "type": "append_entries",
            "term": message.term,
            "commit_index": leader_commit,
            "prevLogIdx": prev or None,
            "prevLogTerm": prev_term,
            "entries": entries,
        }

    def _known(self, entries: list[m.Entry]) -> int:
        """How many of `entries`, from the first on, are in the log already."""
        for position, entry in enumerate(entries):
            ours = self._log.find(entry.index)
            if ours is None or ours.term != entry.term:
                return position
        return len(entries)

    def _take_ack(self, node: Node, ack: m.Ack) -> None:
        # Stock lets any ack move nextIndex back, and believes acks of earlier terms, which were
        # dropped before this point.
        next_index, match = self._SyncObj__raftNextIndex, self._SyncObj__raftMatchIndex
        reset, retry, before = ack.reset, ack.next_index, next_index[node]
        if reset and ack.prev and ack.prev <= match[node]:
            reset = False  # a stale rejection
        elif reset:
            retry = min(max(retry, match[node] + 1), self._log.last_index + 1)
            self._send_soon()
        super()._SyncObj__onMessageReceived(
            node,
            {
                "type": "next_node_idx",
                "next_node_idx": retry,
                "reset": reset,
                "success": ack.success,
            },
        )
        if not reset:
            next_index[node] = max(before, next_index[node])
        if self._round_acks.get(node, 0) < ack.round:
            self._round_acks[node] = ack.round
            self._confirm_reads()

    # ---- elections

    def _answer_pre_vote(self, node: Node, request: m.PreVoteRequest) -> None:
        term = self._SyncObj__raftCurrentTerm
        up_to_date = (request.last_term, request.last_index) >= self._last()
        granted = request.term > term and not self._has_lease() and up_to_date
        if granted:
            term = max(term, request.term - 1)
        self._effects.send(node.id, m.PreVote(term, request.nonce, granted))

    def _take_pre_vote(self, node: Node, answer: m.PreVote) -> None:
        if not answer.granted or answer.nonce != self._pre_vote_nonce:
            return
        self._pre_votes.add(node)
        if self._SyncObj__raftState != LEADER and self._is_quorum(len(self._pre_votes) + 1):
            self._pre_vote_won = True

    def _onTick(self, timeToWait: float = 0.0) -> None:
        if self._SyncObj__raftState != LEADER:
            self._campaign_if_due()
        # Stock campaigns without PreVote, so that it must see no deadline but 0, an election won.
        deadline = self._SyncObj__raftElectionDeadline
        if deadline > 0:
            self._SyncObj__raftElectionDeadline = _NEVER
        self._commit_before = self._SyncObj__raftCommitIndex
        super()._onTick(timeToWait)
        if self._SyncObj__raftElectionDeadline == _NEVER:
            self._SyncObj__raftElectionDeadline = deadline
        self._transfer_election = False
        self._confirm_reads()

    def _campaign_if_due(self) -> None:
        now = _clock.now
        if self._SyncObj__selfNode.id not in self._voters:
            self._SyncObj__raftElectionDeadline = now + _FAR_AHEAD_S
            return
        if self._SyncObj__raftElectionDeadline > now + _FAR_AHEAD_S / 2:  # made a voter
            self._SyncObj__raftElectionDeadline = now + self._SyncObj__generateRaftTimeout()
        due = self._SyncObj__raftElectionDeadline <= now
        if due and self._SyncObj__transferInProgress:
            self._transfer_election = True
            self._SyncObj__raftElectionDeadline = 0
        elif self._pre_vote_won:
            self._pre_vote_won = False
            self._SyncObj__raftElectionDeadline = 0
        elif due:
            self._ask_pre_votes()

    def _campaign_within(self, least: float, most: float) -> None:
        """Campaign earlier than planned: after a share of the election timeout between these."""
        soon = _clock.now + self._timing.election_s * self._rng.uniform(least, most)
        if soon < self._SyncObj__raftElectionDeadline < _clock.now + _FAR_AHEAD_S / 2:
            self._SyncObj__raftElectionDeadline = soon

    def _ask_pre_votes(self) -> None:
        self._SyncObj__raftElectionDeadline = _clock.now + self._SyncObj__generateRaftTimeout()
        self._SyncObj__raftLeader = None
        self._pre_vote_nonce += 1
        self._pre_votes = set()
        last_term, last_index = self._last()
        request = m.PreVoteRequest(
            self._SyncObj__raftCurrentTerm + 1, self._pre_vote_nonce, last_index, last_term
        )
        for node in sorted(self._SyncObj__otherNodes, key=lambda node: node.id):
            self._effects.send(node.id, request)
        if self._is_quorum(1):
            self._SyncObj__raftElectionDeadline = 0

    # ---- ReadIndex

    def _confirm_reads(self) -> None:
        while self._reads:
            round_, index, token = self._reads[0]
            acks = sum(self._round_acks.get(n, 0) >= round_ for n in self._SyncObj__otherNodes)
            if not self._is_quorum(1 + acks):
                break
            del self._reads[0]
            self._effects.read_confirmed(token, index)

    def _fail_reads(self) -> None:
        reads, self._reads = self._reads, []
        for _, _, token in reads:
            self._effects.read_confirmed(token, 0)

    # ---- apply and snapshots

    def _SyncObj__applyLogEntries(self) -> bool:
        # Stock applies what is committed; we hold back what is not durable here yet, tell the
        # peers about a new commit index at once, and apply all entries of a step in one call.
        # A leader sends entries before its own disk has them, so that stock, which counts the
        # leader for every entry, has just committed too much.
        stable = self._log.stable_index
        commit = max(self._commit_before, min(self._SyncObj__raftCommitIndex, stable))
        if commit != self._SyncObj__raftCommitIndex:
            self._SyncObj__raftLog.setRaftCommitIndex(commit)
        if commit != self._commit_seen:
            self._commit_seen = commit
            self._send_soon()
        applied = self._SyncObj__raftLastApplied
        self._SyncObj__raftCommitIndex = max(applied, min(commit, self._log.appliable_index))
        try:
            super()._SyncObj__applyLogEntries()
        finally:
            self._SyncObj__raftCommitIndex = commit
        entries, self._applied_now = self._applied_now, []
        if entries:
            self._effects.committed(entries)
        return False

    def _SyncObj__doApplyCommand(self, command: bytes) -> None:
        # Stock unpickles and calls. The entry itself is wanted, with its place.
        entry = self._log.get(self._SyncObj__raftLastApplied + 1)
        assert entry.data is command
        self._applied_now.append(entry)

    def _SyncObj__loadDumpFile(self, clearJournal: bool) -> None:
        # Stock clears a log that may be longer than the snapshot; `_receive_bodyless` comes here
        # only with a snapshot that is ahead of all that is committed and verified here.
        offer = self._SyncObj__serializer.offer
        base = Base(offer.index, offer.snapshot_term, dict(offer.voters))
        self._log.reset(base)
        self._SyncObj__raftLastApplied = base.index
        self._SyncObj__raftCommitIndex = base.index
        self._SyncObj__raftLog.setRaftCommitIndex(base.index)
        self._adopt(base.voters)
        self._effects.installed(base)

"""Deliberately broken engines: each must be caught, or the tests have no teeth."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import replace
from functools import partial
from typing import Any

import pytest

from store.mvcc import lease
from store.mvcc.lease_expiry import LeaseExpiry
from store.mvcc.store import Reply
from store.raft import membership
from store.raft import messages as m
from store.raft.driver import Driver
from store.raft.engine import EngineError
from store.raft.hardened import LEADER, Core
from store.raft.log import Log, Truncate
from store.raft.proposals import Proposals
from tests.sim.disk import VirtualStateMachine
from tests.sim.simulation import simulate
from tests.store.raft import test_ahead_of_the_disk as ahead
from tests.store.raft import test_crash_windows as windows
from tests.store.raft import test_directed as directed
from tests.store.raft import test_forwarding as forwarding
from tests.store.raft.bench import urls


def _seeds(profile: str, first: int, count: int) -> None:
    """A run of the simulator that must find something."""
    for seed in range(first, first + count):
        report = simulate(seed, profile)
        assert not report.violations, str(report)


def _send_before_fsync(patch: pytest.MonkeyPatch) -> None:
    flush = Driver._flush

    def mutant(self: Driver) -> None:
        outbox, self._outbox = self._outbox, []
        for peer, message in outbox:
            self._shell.send(peer, message)
        flush(self)

    patch.setattr(Driver, "_flush", mutant)


def _leader_counts_before_its_disk(patch: pytest.MonkeyPatch) -> None:
    apply = Core._SyncObj__applyLogEntries

    def mutant(self: Core) -> bool:
        self._commit_before = self._SyncObj__raftCommitIndex
        return apply(self)

    patch.setattr(Core, "_SyncObj__applyLogEntries", mutant)


def _terms_are_durable_at_once(patch: pytest.MonkeyPatch) -> None:
    patch.setattr(Log, "durable_term", property(lambda self: self.hard_state.term))


def _truncate_always(patch: pytest.MonkeyPatch) -> None:
    def mutant(self: Core, message: m.Append) -> dict[str, Any]:
        verified = message.prev_index + len(message.entries)
        self._receiving = (verified, message.prev_index, message.round)
        return {
            "type": "append_entries",
            "term": message.term,
            "commit_index": message.commit,
            "prevLogIdx": message.prev_index or None,
            "prevLogTerm": message.prev_term,
            "entries": list(message.entries),
        }

    patch.setattr(Core, "_rewritten", mutant)
    # The log itself refuses to truncate what is committed; this mutant shall not be saved by it.
    patch.setattr(Log, "truncate", _truncate_anything)


def _truncate_anything(self: Log, index: int) -> None:
    self._hard_state = replace(self._hard_state, commit=1)
    position = index - self._base.index
    del self.entries[position:]
    self._stable = min(self._stable, index - 1)
    self._note(Truncate(index))


def _commit_uncapped(patch: pytest.MonkeyPatch) -> None:
    rewritten = Core._rewritten

    def mutant(self: Core, message: m.Append) -> dict[str, Any]:
        return {**rewritten(self, message), "commit_index": message.commit}

    patch.setattr(Core, "_rewritten", mutant)


def _read_without_quorum(patch: pytest.MonkeyPatch) -> None:
    def mutant(self: Core, now: float, token: Any) -> bool:
        if self.role() != LEADER:
            return False
        self._effects.read_confirmed(token, self.commit_index())
        return True

    patch.setattr(Core, "read_index", mutant)


def _vote_forgotten(patch: pytest.MonkeyPatch) -> None:
    set_vote = Log.set_vote
    patch.setattr(Log, "set_vote", lambda self, term, vote: set_vote(self, term, 0))


def _votes_not_deduplicated(patch: pytest.MonkeyPatch) -> None:
    receive = Core._receive_current

    def mutant(self: Core, node: Any, message: m.RaftMessage) -> None:
        self._votes = set()
        receive(self, node, message)

    patch.setattr(Core, "_receive_current", mutant)


def _stale_acks_accepted(patch: pytest.MonkeyPatch) -> None:
    receive = Core.receive

    def mutant(self: Core, now: float, peer: int, message: m.RaftMessage) -> None:
        if isinstance(message, m.Ack) and message.term < self.term():
            message = replace(message, term=self.term())
        receive(self, now, peer, message)

    patch.setattr(Core, "receive", mutant)


def _ack_claims_the_whole_log(patch: pytest.MonkeyPatch) -> None:
    rewritten = Core._rewritten

    def mutant(self: Core, message: m.Append) -> dict[str, Any]:
        fields = rewritten(self, message)
        verified, prev, round_ = self._receiving
        if verified is not None:
            self._receiving = (max(verified, self._log.last_index), prev, round_)
        return fields

    patch.setattr(Core, "_rewritten", mutant)


def _apply_before_durable(patch: pytest.MonkeyPatch) -> None:
    patch.setattr(Log, "stable_index", property(lambda self: self.last_index))


def _lease_ignored(patch: pytest.MonkeyPatch) -> None:
    patch.setattr(Core, "_has_lease", lambda self: False)


def _no_check_quorum(patch: pytest.MonkeyPatch) -> None:
    init = Core.__init__

    def mutant(self: Core, *arguments: Any, **named: Any) -> None:
        init(self, *arguments, **named)
        self.conf.leaderFallbackTimeout = 30.0

    patch.setattr(Core, "__init__", mutant)


def _forwarded_for_any_term(patch: pytest.MonkeyPatch) -> None:
    take = Driver._take_forward

    def mutant(self: Driver, peer: int, message: m.Forward) -> None:
        take(self, peer, replace(message, term=self.core.term()))

    patch.setattr(Driver, "_take_forward", mutant)


def _fence_answered_at_once(patch: pytest.MonkeyPatch) -> None:
    receive = Driver.receive

    def mutant(self: Driver, now: float, peer: int, message: m.Message) -> None:
        if isinstance(message, m.Fence) and self.core.role() == LEADER:
            reply = m.FenceReply(message.term, message.number, self._log.last_index)
            self.send(peer, reply)
        else:
            receive(self, now, peer, message)

    patch.setattr(Driver, "receive", mutant)


def _fence_covers_what_was_sent_again(patch: pytest.MonkeyPatch) -> None:
    send = Proposals.send

    def mutant(self: Proposals, term: int) -> list[m.Proposal]:
        fences = {sequence: waiter.fence for sequence, waiter in self._waiters.items()}
        taken = send(self, term)
        for proposal in taken:
            self._waiters[proposal.sequence].fence = fences[proposal.sequence]
        return taken

    def requeue(self: Proposals, sequences: Iterable[int]) -> None:
        for sequence in list(sequences):
            self._waiters[sequence].term = 0
            self._queue.append(sequence)

    patch.setattr(Proposals, "send", mutant)
    patch.setattr(Proposals, "_requeue", requeue)


def _lost_means_not_in_the_log_yet(patch: pytest.MonkeyPatch) -> None:
    answered = Proposals.fence_answered

    def mutant(self: Proposals, number: int, index: int) -> None:
        answered(self, number, 1)

    patch.setattr(Proposals, "fence_answered", mutant)


def _changes_side_by_side(patch: pytest.MonkeyPatch) -> None:
    change = Core._SyncObj__changeCluster

    def mutant(self: Core, request: Any) -> bool:
        self._SyncObj__changeClusterIDx = None
        return change(self, request)

    patch.setattr(Core, "_SyncObj__changeCluster", mutant)


def _voters_of_the_end_in_the_base(patch: pytest.MonkeyPatch) -> None:
    patch.setattr(Core, "members_at", lambda self, index: self.members())


def _learners_count(patch: pytest.MonkeyPatch) -> None:
    adopt = Core._adopt

    def mutant(self: Core, members: Any) -> None:
        adopt(self, members)
        self._SyncObj__otherNodes = self._SyncObj__otherNodes | self._SyncObj__readonlyNodes

    patch.setattr(Core, "_adopt", mutant)
    # Or leadership would be handed to one, which is refused.
    patch.setattr(Core, "successor", lambda self: max(self.voters().keys() - {self.leader()}))


def _install_before_the_log_is_durable(patch: pytest.MonkeyPatch) -> None:
    installed = Driver.installed

    def mutant(self: Driver, base: Any) -> None:
        installed(self, base)
        self._reset_is_new = False
        self._shell.install(base)

    patch.setattr(Driver, "installed", mutant)


def _apply_while_installing(patch: pytest.MonkeyPatch) -> None:
    patch.setattr(Log, "appliable_index", property(lambda self: self.stable_index))


def _snapshot_replaces_a_longer_log(patch: pytest.MonkeyPatch) -> None:
    receive = Core._receive_bodyless

    def mutant(self: Core, node: Any, message: m.Heartbeat | m.InstallSnapshot) -> None:
        with pytest.MonkeyPatch.context() as within:
            within.setattr(Log, "find", lambda log, index: None)
            if isinstance(message, m.InstallSnapshot):
                self._SyncObj__raftCommitIndex = 0
            receive(self, node, message)

    patch.setattr(Core, "_receive_bodyless", mutant)


def _log_compacted_before_the_state_is_durable(patch: pytest.MonkeyPatch) -> None:
    def mutant(self: VirtualStateMachine) -> tuple[int, int]:
        return self.state.index, self.state.term

    patch.setattr(VirtualStateMachine, "durable_index", mutant)


def _two_voters_at_once(patch: pytest.MonkeyPatch) -> None:
    change = Core._SyncObj__changeCluster

    def mutant(self: Core, request: Any) -> bool:
        voters, self._voters = self._voters, membership.voters(request)
        try:
            return change(self, request)
        finally:
            self._voters = voters

    patch.setattr(Core, "_SyncObj__changeCluster", mutant)


def _lease_expires_in_spite_of_a_renewal(patch: pytest.MonkeyPatch) -> None:
    def mutant(store: Any, request: Any) -> Any:
        held = store.lessor.find(request.ID)
        return lease._remove(store, request.ID) if held else Reply(store.revision, b"")

    patch.setattr(lease, "expire", mutant)


def _renewal_moves_no_deadline(patch: pytest.MonkeyPatch) -> None:
    refresh = LeaseExpiry.refresh

    def mutant(self: LeaseExpiry, lessor: Any, changed: Any, *, now: float) -> None:
        fresh = [one for one in changed if one not in self._deadlines or not lessor.find(one)]
        refresh(self, lessor, fresh, now=now)

    patch.setattr(LeaseExpiry, "refresh", mutant)


def _lease_expires_by_the_clock_of_the_grant(patch: pytest.MonkeyPatch) -> None:
    overdue = LeaseExpiry.overdue

    def mutant(self: LeaseExpiry, lessor: Any, *, now: float, limit: int) -> Any:
        return overdue(self, lessor, now=now + 0.6, limit=limit)

    patch.setattr(LeaseExpiry, "overdue", mutant)


def _leases_are_never_overdue(patch: pytest.MonkeyPatch) -> None:
    patch.setattr(LeaseExpiry, "expired", lambda self, *, now, limit: [])


_Patch = Callable[[pytest.MonkeyPatch], None]


@pytest.mark.parametrize(
    ("mutate", "caught_by"),
    [
        pytest.param(
            _send_before_fsync,
            directed.test_05_nothing_is_sent_before_what_it_promises_is_durable,
            id="sends before the fsync",
        ),
        pytest.param(
            _send_before_fsync,
            partial(_seeds, "power", 0, 40),
            id="sends before the fsync, simulated",
        ),
        pytest.param(
            _leader_counts_before_its_disk,
            ahead.test_leader_sends_before_its_own_fsync_but_counts_itself_only_after,
            id="counts the leader before its disk",
        ),
        pytest.param(
            _leader_counts_before_its_disk,
            partial(_seeds, "power", 0, 40),
            id="counts the leader before its disk, simulated",
        ),
        pytest.param(
            _terms_are_durable_at_once,
            ahead.test_leader_sends_no_entry_of_a_term_that_it_may_forget,
            id="sends entries of a term that it may forget",
        ),
        pytest.param(
            _truncate_always,
            directed.test_01_repeated_append_that_matches_truncates_nothing,
            id="truncates always",
        ),
        pytest.param(
            _truncate_always, partial(_seeds, "tcp", 0, 40), id="truncates always, simulated"
        ),
        pytest.param(
            _commit_uncapped,
            directed.test_01_empty_append_keeps_a_longer_tail_and_does_not_commit_it,
            id="commits uncapped",
        ),
        pytest.param(
            _read_without_quorum,
            directed.test_04_read_waits_for_a_quorum_that_answered_after_it_began,
            id="reads without a quorum",
        ),
        pytest.param(
            _read_without_quorum,
            partial(_seeds, "tcp", 0, 60),
            id="reads without a quorum, simulated",
        ),
        pytest.param(
            _vote_forgotten,
            directed.test_05_vote_outlives_a_crash_between_the_fsync_and_the_reply,
            id="forgets its vote",
        ),
        pytest.param(
            _votes_not_deduplicated,
            directed.test_08_vote_counts_once_for_each_voter,
            id="counts votes twice",
        ),
        pytest.param(
            _stale_acks_accepted,
            directed.test_02_ack_of_an_earlier_term_counts_for_nothing,
            id="believes stale acks",
        ),
        pytest.param(
            _ack_claims_the_whole_log,
            directed.test_01_repeated_append_that_matches_truncates_nothing,
            id="acks its whole log",
        ),
        pytest.param(
            _apply_before_durable,
            directed.test_05_single_member_applies_only_what_is_durable,
            id="applies before the fsync",
        ),
        pytest.param(
            _lease_ignored,
            directed.test_03_partitioned_member_does_not_raise_its_term_nor_depose_a_leader,
            id="ignores the lease",
        ),
        pytest.param(
            _no_check_quorum,
            directed.test_03_leader_without_a_quorum_steps_down,
            id="no CheckQuorum",
        ),
        pytest.param(
            _forwarded_for_any_term,
            directed.test_14_proposal_forwarded_for_another_term_is_refused,
            id="takes proposals of any term",
        ),
        pytest.param(
            _fence_answered_at_once,
            forwarding.test_leader_answers_a_fence_once_all_before_it_is_in_the_log,
            id="answers fences at once",
        ),
        pytest.param(
            _fence_answered_at_once,
            partial(_seeds, "resets", 0, 60),
            id="answers fences at once, simulated",
        ),
        pytest.param(
            _fence_covers_what_was_sent_again,
            forwarding.test_proposal_that_was_sent_again_is_not_behind_the_old_fence,
            id="counts what was sent again as lost",
        ),
        pytest.param(
            _lost_means_not_in_the_log_yet,
            partial(_seeds, "resets", 0, 60),
            id="takes a proposal for lost before the fence is reached, simulated",
        ),
        pytest.param(
            _changes_side_by_side,
            directed.test_10_one_change_of_membership_at_a_time,
            id="changes voters side by side",
        ),
        pytest.param(
            _voters_of_the_end_in_the_base,
            directed.test_10_compaction_keeps_the_membership_of_its_index_not_of_the_end,
            id="puts the newest voters into the base",
        ),
        pytest.param(
            _learners_count,
            directed.test_10_learner_gets_the_log_and_counts_for_nothing,
            id="counts learners",
        ),
        pytest.param(
            _learners_count, partial(_seeds, "learner", 0, 40), id="counts learners, simulated"
        ),
        pytest.param(
            _install_before_the_log_is_durable,
            windows.test_entries_behind_a_snapshot_wait_until_it_is_installed,
            id="installs before the log is durable",
        ),
        pytest.param(
            _apply_while_installing,
            windows.test_entries_behind_a_snapshot_wait_until_it_is_installed,
            id="applies while a snapshot is installed",
        ),
        pytest.param(
            _apply_while_installing,
            partial(_seeds, "snapshots", 0, 40),
            id="applies while a snapshot is installed, simulated",
        ),
        pytest.param(
            _snapshot_replaces_a_longer_log,
            partial(_seeds, "snapshots", 0, 40),
            id="lets a snapshot replace a longer log, simulated",
        ),
        pytest.param(
            _log_compacted_before_the_state_is_durable,
            partial(_seeds, "snapshots", 0, 40),
            id="compacts the log before the state is durable, simulated",
        ),
        pytest.param(
            _two_voters_at_once,
            partial(
                directed.test_10_change_touches_one_voter_at_most_and_not_the_leader,
                urls(1, 2, 3, 4, 5),
                allowed=False,
            ),
            id="changes two voters at once",
        ),
        pytest.param(
            _two_voters_at_once,
            partial(_seeds, "members", 0, 20),
            id="lets a leader change itself, simulated",
        ),
        pytest.param(
            _lease_expires_in_spite_of_a_renewal,
            partial(_seeds, "leases", 0, 60),
            id="expires a lease in spite of a renewal, simulated",
        ),
        pytest.param(
            _renewal_moves_no_deadline,
            partial(_seeds, "leases", 0, 20),
            id="renews a lease for nothing, simulated",
        ),
        pytest.param(
            _lease_expires_by_the_clock_of_the_grant,
            partial(_seeds, "leases", 0, 20),
            id="expires leases early, simulated",
        ),
        pytest.param(
            _leases_are_never_overdue,
            partial(_seeds, "leases", 0, 20),
            id="never expires a lease, simulated",
        ),
    ],
)
def test_mutant_is_caught(
    monkeypatch: pytest.MonkeyPatch, mutate: _Patch, caught_by: Callable[[], None]
) -> None:
    mutate(monkeypatch)
    # Of the test, of an invariant in the code, or of a member that finds its disk at odds.
    with pytest.raises((AssertionError, EngineError)):
        caught_by()

"""Each scenario is run against a store that has the bug, and must fail, or it has no teeth."""

from __future__ import annotations

import shutil
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import lmdb
import pytest

from store.mvcc import txn
from store.mvcc.auth.state import AuthState
from store.mvcc.backend import FILE_NAME, Backend
from store.mvcc.key_index import KeyIndex
from store.mvcc.machine import META_APPLIED, KvMachine
from store.mvcc.revision import PackedRevision, Revision, is_tombstone, main_of
from store.mvcc.store import MvccStore
from store.mvcc.watch import Watcher, WatchHub
from store.raft import messages as m
from store.raft.driver import Driver
from store.raft.log import Log
from store.raft.reads import Reads
from store.rpc.watch_stream import NO_WATCH, WatchStream
from tests.robustness.track_record import test_consensus as consensus
from tests.robustness.track_record import test_state as state
from tests.robustness.track_record import test_watch as watch
from tests.store.mvcc.machine_driver import MachineDriver
from tests.store.rpc.test_watch_stream import Watching

Patch = pytest.MonkeyPatch
Bug = Callable[[Patch], None]


class Stage:
    """What the fixtures of the scenarios give them."""

    def __init__(self, path: Path, patch: Patch) -> None:
        self.path = path
        self.patch = patch

    @property
    def crashing(self) -> state.Crashing:
        return state.Crashing(self.path / "crashing")

    @property
    def steady(self) -> MachineDriver:
        return MachineDriver(self.path / "steady")

    @property
    def leader(self) -> MachineDriver:
        return MachineDriver(self.path / "leader")

    @property
    def watching(self) -> Watching:
        watching = Watching(self.path / "state")
        watching.driver.machine.on_replaced = watching.hub.desync_all
        return watching


Scenario = Callable[[Stage], None]


def applied_index_lags(patch: Patch) -> None:
    """The index that goes with the data is that of the flush before."""

    def mutant(self: KvMachine) -> None:
        self.backend.set_meta(META_APPLIED, b"%d %d" % self._durable)
        self.store.save_meta()

    patch.setattr(KvMachine, "_save_applied", mutant)


def answered_before_the_fsync(patch: Patch) -> None:
    patch.setattr(Log, "stable_index", property(lambda self: self.last_index))


def users_are_not_loaded(patch: Patch) -> None:
    patch.setattr(AuthState, "load", lambda _: None)


def defragmented_copy_is_older(patch: Patch) -> None:
    real = Backend._write_copy

    def mutant(self: Backend, path: Path) -> None:
        real(self, path)
        with (
            lmdb.open(str(path), subdir=False, lock=False, max_dbs=4) as env,
            env.begin(write=True, db=env.open_db(b"meta")) as change,
        ):
            change.put(META_APPLIED, b"1 1")
            change.delete(b"digest")

    patch.setattr(Backend, "_write_copy", mutant)


def progress_overtakes(patch: Patch) -> None:
    real = WatchStream.next_response

    def mutant(self: WatchStream) -> bytes | None:
        if self._progress_requested:
            self._progress_requested = False
            self._send(self._store.revision, NO_WATCH, b"")
        return real(self)

    patch.setattr(WatchStream, "next_response", mutant)


def watches_begin_again(patch: Patch) -> None:
    real = WatchHub.desync_all

    def mutant(self: WatchHub) -> None:
        for group in (*self._exact.values(), *self._ranges.values()):
            for watcher in group:
                watcher.next_revision = 1
        real(self)

    patch.setattr(WatchHub, "desync_all", mutant)


def buffers_overlap(patch: Patch) -> None:
    real = Backend.records

    def mutant(self: Backend, start: PackedRevision) -> Iterator[tuple[PackedRevision, bytes]]:
        yield from real(self, start)
        if self._flushing is not None:
            yield from self._flushing.records.items()

    patch.setattr(Backend, "records", mutant)


def slow_watches_drop(patch: Patch) -> None:
    real = WatchStream.offer

    def mutant(self: WatchStream, watcher: Watcher, *arguments: Any) -> None:
        if self._outbox_bytes < 3000:
            real(self, watcher, *arguments)

    patch.setattr(WatchStream, "offer", mutant)


def revision_is_that_of_the_last_key(patch: Patch) -> None:
    real = MvccStore.load

    def mutant(self: MvccStore) -> None:
        real(self)
        mains = [main_of(packed) for packed, _ in self.backend.records(PackedRevision(0))]
        self.revision = Revision(max(mains, default=1))

    patch.setattr(MvccStore, "load", mutant)
    tombstones_are_pruned(patch)


def tombstones_are_pruned(patch: Patch) -> None:
    real = KeyIndex.prune

    def mutant(self: KeyIndex, key: bytes, compacted: int) -> list[PackedRevision]:
        freed = real(self, key, compacted)
        kept = self._history.get(key, [])
        if kept and is_tombstone(kept[0]) and main_of(kept[0]) <= compacted:
            freed.append(kept.pop(0))
        return freed

    patch.setattr(KeyIndex, "prune", mutant)


def second_snapshot_removes_the_first(patch: Patch) -> None:
    real = Driver._receive_snapshot

    def mutant(self: Driver, peer: int, message: m.InstallSnapshot) -> None:
        if self._installing is not None:
            self._shell.discard_snapshot(self._installing.index, self._installing.term)
        real(self, peer, message)

    patch.setattr(Driver, "_receive_snapshot", mutant)


def txns_do_not_look_at_revisions(patch: Patch) -> None:
    patch.setattr(txn, "_check_revision", lambda *_: None)


def all_watches_are_told_of_progress(patch: Patch) -> None:
    patch.setattr(WatchStream, "_has_all", lambda self, watcher: watcher not in self._lagging)


def starts_are_forgotten(patch: Patch) -> None:
    def wants(self: Watcher, event: Any) -> bool:
        return not (self.no_delete if event.is_delete else self.no_put)

    patch.setattr(Watcher, "wants", wants)


def databases_are_overwritten(patch: Patch) -> None:
    real = Backend.replace

    def mutant(self: Backend, path: Path) -> None:
        shutil.copyfile(path, self.directory / FILE_NAME)
        real(self, path)

    patch.setattr(Backend, "replace", mutant)


def answers_are_not_numbered(patch: Patch) -> None:
    real = Reads.confirmed

    def mutant(self: Reads, now: float, number: int, index: int, applied: int) -> None:
        real(self, now, self._number, index, applied)

    patch.setattr(Reads, "confirmed", mutant)


BUGS: list[tuple[str, Bug, Scenario]] = [
    (
        "13766",
        applied_index_lags,
        lambda s: state.test_13766_a_crash_under_load_applies_each_entry_once(
            s.crashing, s.steady, 1
        ),
    ),
    (
        "14370",
        answered_before_the_fsync,
        lambda _: consensus.test_14370_a_single_member_acknowledges_nothing_that_a_crash_takes(
            written=False
        ),
    ),
    (
        "14571",
        users_are_not_loaded,
        lambda s: state.test_14571_a_member_that_begins_with_a_snapshot_knows_the_users(
            s.steady, s.path
        ),
    ),
    (
        "14685",
        defragmented_copy_is_older,
        lambda s: state.test_14685_a_crash_during_defragmentation_changes_no_revision(
            s.crashing,
            s.steady,
            lambda patch: state._end_at(patch, Path, "replace", after=True),
        ),
    ),
    (
        "15220",
        progress_overtakes,
        lambda s: watch.test_15220_progress_comes_after_every_event_it_speaks_for(
            s.watching, s.patch
        ),
    ),
    (
        "15271",
        watches_begin_again,
        lambda s: watch.test_15271_a_watch_does_not_go_back_when_its_member_gets_a_snapshot(
            s.watching, s.leader, s.path
        ),
    ),
    (
        "17247",
        buffers_overlap,
        lambda s: watch.test_17247_an_event_comes_once_whatever_half_of_a_flush_it_is_in(
            s.watching
        ),
    ),
    (
        "17529",
        slow_watches_drop,
        lambda s: watch.test_17529_a_starved_stream_loses_no_event_or_ends_the_watch(
            s.watching, s.patch
        ),
    ),
    (
        "17780",
        revision_is_that_of_the_last_key,
        lambda s: state.test_17780_a_crash_during_compaction_never_lowers_the_revision(
            s.crashing, s.steady, 4
        ),
    ),
    (
        "18055",
        second_snapshot_removes_the_first,
        lambda _: consensus.test_18055_two_snapshots_in_a_row_leave_the_newer_one(
            (consensus.FIRST, consensus.SECOND), synced=False, crash=False
        ),
    ),
    (
        "18089",
        tombstones_are_pruned,
        lambda s: watch.test_18089_a_compaction_at_a_delete_drops_no_event(s.watching, behind=True),
    ),
    (
        "18667",
        txns_do_not_look_at_revisions,
        lambda s: (
            state.test_18667_a_txn_that_reads_a_compacted_revision_fails_whole_and_on_every_member(
                s.crashing, s.steady
            )
        ),
    ),
    (
        "19179",
        tombstones_are_pruned,
        lambda s: watch.test_19179_a_watch_from_the_compacted_revision_sees_the_delete_there(
            s.path, restarted=True
        ),
    ),
    (
        "20221",
        all_watches_are_told_of_progress,
        lambda s: watch.test_20221_a_watch_of_the_future_is_not_told_of_progress_before_it(
            s.watching
        ),
    ),
    (
        "20221, events",
        starts_are_forgotten,
        lambda s: watch.test_20221_a_watch_of_the_future_gets_nothing_older_from_a_member_that_lags(
            s.watching, s.leader, s.path, 3
        ),
    ),
    (
        "20271",
        databases_are_overwritten,
        lambda s: (
            state.test_20271_a_crash_while_a_snapshot_becomes_the_database_leaves_one_that_opens(
                s.crashing, s.steady, s.path, after=False
            )
        ),
    ),
    (
        "20418",
        answers_are_not_numbered,
        lambda _: consensus.test_20418_an_answer_to_an_earlier_try_does_not_serve_a_later_read(),
    ),
]


@pytest.mark.parametrize(
    ("bug", "scenario"), [pytest.param(bug, scenario, id=name) for name, bug, scenario in BUGS]
)
def test_a_store_with_the_bug_fails_the_scenario(
    bug: Bug, scenario: Scenario, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    scenario(Stage(_fresh(tmp_path / "without"), monkeypatch))
    bug(monkeypatch)
    with pytest.raises(Exception):  # noqa: B017, PT011  # an assertion, or what it led to
        scenario(Stage(_fresh(tmp_path / "with"), monkeypatch))


def _fresh(directory: Path) -> Path:
    directory.mkdir()
    return directory

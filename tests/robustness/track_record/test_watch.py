"""What etcd's robustness suite found in its watches, asked of ours.

The numbers are those of etcd's issues; docs/robustness.md says what went wrong there.
"""

from __future__ import annotations

import itertools
from collections.abc import Iterator
from pathlib import Path

import pytest

from kubraft.pb.etcdserverpb import rpc_pb2 as pb
from store.mvcc import compaction
from store.rpc import watch_stream
from tests.store.mvcc.machine_driver import MachineDriver
from tests.store.rpc.test_watch_stream import Watching, revisions

ASK = pb.WatchRequest(progress_request=pb.WatchProgressRequest())


@pytest.fixture
def watching(tmp_path: Path) -> Iterator[Watching]:
    watching = Watching(tmp_path / "state")
    watching.driver.machine.on_replaced = watching.hub.desync_all
    yield watching
    watching.close()


@pytest.fixture
def leader(tmp_path: Path) -> Iterator[MachineDriver]:
    """Another member, whose state can become ours by a snapshot."""
    driver = MachineDriver(tmp_path / "leader")
    yield driver
    driver.close()


def delete(driver: MachineDriver, key: str) -> None:
    driver.reply(pb.DeleteRangeRequest(key=key.encode()))


def compact(driver: MachineDriver, revision: int) -> None:
    driver.reply(pb.CompactionRequest(revision=revision))
    while compaction.step(driver.machine.store):
        pass


def install(watching: Watching, leader: MachineDriver, file: Path) -> None:
    leader.machine.persist()
    leader.machine.save_snapshot(file)
    watching.driver.machine.install_snapshot(file)


def by_watch(responses: list[pb.WatchResponse]) -> dict[int, list[int]]:
    """Revisions of events by watch."""
    found: dict[int, list[int]] = {}
    for response in responses:
        found.setdefault(response.watch_id, []).extend(revisions([response]))
    return found


def test_15220_progress_comes_after_every_event_it_speaks_for(
    watching: Watching, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Several watches of one stream are behind, each by something else."""
    monkeypatch.setattr(watch_stream, "STEP_EVENTS", 3)
    for number in range(40):
        watching.driver.put(f"k{number % 4}", str(number))
    for start in (1, 17, 30, 41):
        watching.create(key=b"k", range_end=b"l", start_revision=start, progress_notify=True)
        watching.stream.receive(ASK)
        watching.now += 11.0
        watching.stream.notify_progress()
    watching.driver.put("k1", "last")
    watching.stream.receive(ASK)
    reached = dict.fromkeys(range(4), 0)
    told = 0
    for response in watching.read():
        if response.events:
            reached[response.watch_id] = max(revisions([response]))
        elif not response.created:
            told += 1
            spoken_for = reached if response.watch_id == -1 else {response.watch_id: 0}
            for watch_id in spoken_for:
                assert reached[watch_id] >= response.header.revision
    assert told
    assert set(reached.values()) == {42}


def test_15271_a_watch_does_not_go_back_when_its_member_gets_a_snapshot(
    watching: Watching, leader: MachineDriver, tmp_path: Path
) -> None:
    """The member was cut off; each snapshot brings what was done without it, and what it had."""
    watching.create(key=b"k", range_end=b"l", start_revision=1)
    watching.create(key=b"k1")
    for number in range(12):
        leader.put(f"k{number % 3}", str(number))
        if number < 4:
            watching.driver.put(f"k{number % 3}", str(number))
        if number == 3:
            assert by_watch(watching.read()) == {0: [2, 3, 4, 5], 1: [3]}
        if number in {7, 11}:
            install(watching, leader, tmp_path / f"snapshot-{number}")
    assert by_watch(watching.read()) == {0: list(range(6, 14)), 1: [6, 9, 12]}


def test_17247_an_event_comes_once_whatever_half_of_a_flush_it_is_in(watching: Watching) -> None:
    """History is read from the database, the buffer being flushed, and the one being filled."""
    puts = [
        pb.RequestOp(request_put=pb.PutRequest(key=key, value=b"v")) for key in (b"z", b"a", b"m")
    ]
    machine = watching.driver.machine
    seen: list[list[tuple[int, bytes]]] = []

    def read_all() -> None:
        watching.create(key=b"\0", range_end=b"\0", start_revision=1)
        responses = watching.read()
        seen.append([(e.kv.mod_revision, e.kv.key) for r in responses for e in r.events])

    expected = []
    for revision in range(2, 8):
        watching.driver.reply(pb.TxnRequest(success=puts))
        expected += [(revision, key) for key in (b"z", b"a", b"m")]
        flush = machine.begin_flush()
        assert flush is not None
        read_all()
        flush.commit()
        read_all()
        machine.end_flush()
        read_all()
        watching.stream.close()
    for number, events in enumerate(seen):
        assert events == expected[: 3 * (number // 3 + 1)]


def test_17529_a_starved_stream_loses_no_event_or_ends_the_watch(
    watching: Watching, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Many watches share a stream that is hardly read, and a compaction overtakes some."""
    monkeypatch.setattr(watch_stream, "BACKLOG_BYTES_MAX", 3000)
    monkeypatch.setattr(watch_stream, "STEP_EVENTS", 5)
    for _ in range(50):
        watching.create(key=b"k", range_end=b"l", prev_kv=True)
    created = watching.read()
    assert len(created) == 50
    responses: list[pb.WatchResponse] = []
    for number in range(200):
        watching.driver.put(f"k{number % 7}", "v" * 50)
        if number == 120:
            compact(watching.driver, 100)
        if number % 10 == 0:
            data = watching.stream.next_response()
            if data is not None:
                responses.append(pb.WatchResponse.FromString(data))
    responses += watching.read()
    delivered = by_watch(responses)
    ended = {r.watch_id: r.compact_revision for r in responses if r.canceled}
    assert ended
    for watch_id, seen in delivered.items():
        assert seen == list(range(2, 2 + len(seen))), f"watch {watch_id} has a gap"
        assert len(seen) == 200 or ended[watch_id] == 100


@pytest.mark.parametrize("behind", [True, False], ids=["slow watch", "new watch"])
def test_18089_a_compaction_at_a_delete_drops_no_event(watching: Watching, *, behind: bool) -> None:
    driver = watching.driver
    driver.put("k", "1")
    if behind:
        # Not read on until the compaction is over.
        watching.create(key=b"k", start_revision=2)
    delete(driver, "k")
    driver.put("other", "1")
    start = 2 if behind else 3
    if behind:
        assert revisions(watching.read()) == [2, 3]
        watching.create(key=b"k", start_revision=3)
    compact(driver, 3)
    if not behind:
        watching.create(key=b"k", start_revision=start)
    (response,) = [response for response in watching.read() if response.events]
    assert [(event.type, event.kv.mod_revision) for event in response.events] == [(1, 3)]


@pytest.mark.parametrize("restarted", [True, False])
def test_19179_a_watch_from_the_compacted_revision_sees_the_delete_there(
    tmp_path: Path, *, restarted: bool
) -> None:
    """The key's creation went with an earlier compaction, so that only its tombstone is left."""
    driver = MachineDriver(tmp_path / "state")
    driver.put("k", "1")
    driver.put("other", "1")
    compact(driver, 3)
    driver.machine.persist()
    delete(driver, "k")
    compact(driver, 4)
    driver.machine.persist()
    if restarted:
        driver.reopen()
        while compaction.step(driver.machine.store):
            pass
    driver.machine.persist()
    events = [(e.key, e.is_delete) for e in driver.machine.store.history(4)]
    driver.close()
    assert events == [(b"k", True)]


def test_20221_a_watch_of_the_future_is_not_told_of_progress_before_it(
    watching: Watching,
) -> None:
    """Who resumed after such a notification would get events from before the asked-for start."""
    watching.create(key=b"k", start_revision=5, progress_notify=True)
    told: list[tuple[int, int]] = []
    for number in range(6):
        watching.now += 21.0
        watching.stream.notify_progress()
        watching.now += 21.0
        watching.stream.notify_progress()
        watching.stream.receive(ASK)
        told += [
            (number, response.header.revision)
            for response in watching.read()
            if not response.events and not response.created
        ]
        watching.driver.put("elsewhere", str(number))
    # Progress up to 4 is the whole truth of a watch from 5, and whoever resumes begins at 5.
    assert min(revision for _, revision in told) == 4


@pytest.mark.parametrize("offset", range(5))
def test_20221_a_watch_of_the_future_gets_nothing_older_from_a_member_that_lags(
    watching: Watching, leader: MachineDriver, tmp_path: Path, offset: int
) -> None:
    """The client saw more elsewhere; this member learns of it by the log and by snapshots."""
    start = 8 + offset
    watching.create(key=b"k", range_end=b"l", start_revision=start)
    for number in range(20):
        leader.put(f"k{number % 3}", str(number))
        if number < 3:
            watching.driver.put(f"k{number % 3}", str(number))
        if number in {5, 9}:
            install(watching, leader, tmp_path / f"snapshot-{number}")
        if number == 9:
            watching.driver.log = list(leader.log)
        if number > 9:
            watching.driver.apply_data(leader.log[-1].data)
    seen = revisions(watching.read())
    assert seen == list(range(start, 22))
    assert all(a < b for a, b in itertools.pairwise(seen))

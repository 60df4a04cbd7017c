"""What survives: flushes in two halves, crashes, snapshots."""

import threading
from collections.abc import Callable
from pathlib import Path

import lmdb
import pytest

from kubraft.pb.etcdserverpb import rpc_pb2
from store.mvcc import compaction
from store.mvcc.hash import hash_kv
from store.mvcc.machine import KvMachine
from store.mvcc.revision import PackedRevision
from tests.store.mvcc.machine_driver import MAP_BYTES, MachineDriver


def test_reads_and_writes_go_on_while_a_flush_waits_for_the_disk(driver: MachineDriver) -> None:
    driver.put("a", "1")
    flush = driver.machine.begin_flush()
    assert flush is not None
    driver.put("a", "2")
    driver.put("b", "1")
    assert (driver.value("a"), driver.value("b")) == ("2", "1")
    assert driver.machine.durable_index() == (0, 0)
    worker = threading.Thread(target=flush.commit)
    worker.start()
    worker.join()
    driver.machine.end_flush()
    assert driver.machine.durable_index() == (1, 1)
    assert driver.value("a") == "2"
    assert driver.machine.persist() == (3, 1)


def test_persist_during_a_flush_makes_everything_durable(driver: MachineDriver) -> None:
    driver.put("a", "1")
    flush = driver.machine.begin_flush()
    assert flush is not None
    driver.put("a", "2")
    worker = threading.Thread(target=flush.commit)
    worker.start()
    assert driver.machine.persist() == (2, 1)
    # The owner of the flush comes later and finds it done.
    driver.machine.end_flush()
    assert driver.machine.durable_index() == (2, 1)
    worker.join()


class _FullDisk:
    """A transaction whose commit fails."""

    def __init__(self, txn: lmdb.Transaction) -> None:
        self._txn = txn

    def commit(self) -> None:
        self._txn.abort()
        raise lmdb.DiskError("no space left on device")


def test_nothing_is_flushed_past_a_flush_that_failed(
    driver: MachineDriver, monkeypatch: pytest.MonkeyPatch
) -> None:
    driver.put("a", "1")
    driver.machine.persist()
    driver.put("a", "2")
    flush = driver.machine.begin_flush()
    assert flush is not None
    monkeypatch.setattr(flush, "_txn", _FullDisk(flush._txn))
    flush.commit()
    with pytest.raises(lmdb.DiskError):
        driver.machine.end_flush()
    assert driver.value("a") == "2"
    # The last flush of a member that stops comes behind the lost one: it must not be made.
    driver.put("b", "1")
    with pytest.raises(lmdb.DiskError):
        driver.machine.persist()
    assert driver.machine.durable_index() == (1, 1)
    driver.reopen()
    assert (driver.value("a"), driver.value("b")) == ("2", "1")


def test_a_database_that_is_full_stops_flushes_and_not_reads(tmp_path: Path) -> None:
    driver = MachineDriver(tmp_path / "small", map_bytes=1 << 20)
    driver.put("a", "1")
    driver.machine.persist()
    for number in range(20):
        driver.put(f"k{number}", "x" * 100_000)
    for _ in range(2):
        with pytest.raises(lmdb.MapFullError):
            driver.machine.persist()
    assert driver.machine.durable_index() == (1, 1)
    assert driver.value("k19") == "x" * 100_000
    snapshot = tmp_path / "snapshot"
    assert driver.machine.save_snapshot(snapshot) == (1, 1)
    driver.close()


def test_a_crash_loses_only_what_the_log_replays(driver: MachineDriver) -> None:
    driver.put("a", "1")
    driver.reply(rpc_pb2.LeaseGrantRequest(ID=7, TTL=60))
    driver.put("leased", "1", lease=7)
    driver.machine.persist()
    driver.put("a", "2")
    driver.reply(rpc_pb2.DeleteRangeRequest(key=b"leased"))
    driver.put("leased-too", "1", lease=7)
    before = hash_kv(driver.machine.store)
    driver.reopen()
    assert driver.machine.durable_index() == (3, 1)
    assert hash_kv(driver.machine.store) == before
    lease = driver.machine.store.lessor.get(7)
    assert lease.keys == {b"leased-too"}


def test_a_compaction_cut_short_by_a_crash_is_finished_after_it(driver: MachineDriver) -> None:
    for number in range(20):
        driver.put(f"k{number % 4}", str(number))
    driver.machine.persist()
    driver.reply(rpc_pb2.CompactionRequest(revision=21))
    compaction.step(driver.machine.store, keys=1)
    driver.machine.persist()
    driver.reopen()
    while compaction.step(driver.machine.store):
        pass
    driver.machine.persist()
    left = list(driver.machine.backend.records(PackedRevision(0)))
    assert len(left) == 4


def test_a_snapshot_becomes_another_members_state(driver: MachineDriver, tmp_path: Path) -> None:
    driver.put("a", "1")
    driver.reply(rpc_pb2.LeaseGrantRequest(ID=7, TTL=60))
    driver.put("b", "1", lease=7)
    driver.reply(rpc_pb2.Member(ID=3, name="m", clientURLs=["http://x:1"]))
    driver.machine.persist()
    driver.put("late", "not in it")
    path = tmp_path / "snapshot"
    assert driver.machine.save_snapshot(path) == (4, 1)
    other = KvMachine.open(tmp_path / "other", map_bytes=MAP_BYTES)
    replaced: list[bool] = []
    other.on_replaced = lambda: replaced.append(True)
    assert other.install_snapshot(path) == (4, 1)
    assert replaced == [True]
    assert other.store.revision == 3
    assert other.store.index.live(b"late") is None
    assert other.store.lessor.get(7).keys == {b"b"}
    assert other.members[3].name == "m"
    assert other.durable_index() == (4, 1)
    other.apply(driver.log[4:])
    assert hash_kv(other.store) == hash_kv(driver.machine.store)
    other.close()


@pytest.mark.parametrize(
    "damage",
    [
        pytest.param(lambda data: data[:-1], id="cut short"),
        pytest.param(lambda data: b"", id="empty"),
        pytest.param(lambda data: data[:5000] + b"X" + data[5001:], id="a byte changed"),
        pytest.param(lambda data: data[: len(data) // 2], id="half"),
        pytest.param(lambda data: b"no snapshot at all, and longer than its trailer", id="other"),
    ],
)
def test_a_damaged_snapshot_is_refused_and_the_old_state_kept(
    driver: MachineDriver,
    tmp_path: Path,
    damage: Callable[[bytes], bytes],
) -> None:
    driver.put("a", "1")
    driver.machine.persist()
    path = tmp_path / "snapshot"
    driver.machine.save_snapshot(path)
    path.write_bytes(damage(path.read_bytes()))
    with pytest.raises(ValueError, match="snapshot"):
        driver.machine.install_snapshot(path)
    driver.put("b", "2")
    assert (driver.value("a"), driver.value("b")) == ("1", "2")


def test_a_power_loss_at_any_point_of_a_flush_leaves_a_whole_database(
    driver: MachineDriver, tmp_path: Path
) -> None:
    """The file as it is after each commit opens by itself, at the index it was committed with."""
    for number in range(5):
        driver.put("k", str(number))
        index, term = driver.machine.persist()
        copy = tmp_path / f"copy-{number}"
        copy.mkdir()
        driver.put("k", "buffered")
        (copy / "db").write_bytes((tmp_path / "state" / "db").read_bytes())
        other = KvMachine.open(copy, map_bytes=MAP_BYTES)
        assert other.durable_index() == (index, term)
        assert other.store.revision == driver.machine.store.revision - 1
        other.close()


def test_a_snapshot_being_copied_makes_no_flush_wait(driver: MachineDriver) -> None:
    driver.put("a", "1")
    driver.machine.persist()
    driver.put("a", "2")
    with driver.machine.backend._writer:
        assert driver.machine.begin_flush() is None
        assert driver.machine.persist() == (1, 1)
        assert driver.value("a") == "2"
    assert driver.machine.persist() == (2, 1)


def test_snapshot_stays_whole_until_it_is_taken(driver: MachineDriver, tmp_path: Path) -> None:
    driver.put("a", "1")
    driver.machine.persist()
    path = tmp_path / "snapshot"
    driver.machine.save_snapshot(path)
    content = path.read_bytes()
    other = KvMachine.open(tmp_path / "other", map_bytes=MAP_BYTES)
    read = other.read_snapshot(path)
    # A crash here finds the file as it came, so that the install can be made at the next start.
    assert path.read_bytes() == content
    assert [entry.name for entry in tmp_path.iterdir() if entry.name.startswith("snapshot")] == [
        "snapshot"
    ]
    assert other.install_snapshot(path, read) == (1, 1)
    assert vars(other.store).keys() == vars(read).keys()
    assert (other.store.revision, other.store.find(b"a")) == (2, driver.machine.store.find(b"a"))
    other.close()
    again = KvMachine.open(tmp_path / "other", map_bytes=MAP_BYTES)
    assert again.store.find(b"a") == driver.machine.store.find(b"a")
    again.close()


def test_snapshot_is_not_taken_while_the_old_state_is_copied(
    driver: MachineDriver, tmp_path: Path
) -> None:
    driver.put("a", "1")
    driver.machine.persist()
    path = tmp_path / "snapshot"
    driver.machine.save_snapshot(path)
    with driver.machine.backend._writer:  # as a copy does, which may take long
        assert driver.machine.install_snapshot(path) is None
    assert driver.machine.install_snapshot(path) == (1, 1)

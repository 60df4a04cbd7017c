"""Thousands of keys that go at once: what is left of them, for every reader and during a flush."""

from __future__ import annotations

import threading
from collections.abc import Iterator

import pytest

from kubraft.pb.etcdserverpb import rpc_pb2 as pb
from store.mvcc import compaction
from store.mvcc.backend import Flush
from store.mvcc.hash import hash_kv
from store.mvcc.key_index import KeyIndex
from store.mvcc.revision import floor, pack, pack_tombstones
from tests.store.mvcc.machine_driver import MachineDriver

KEYS = 5_000
LEASE = 7
_EACH = 100


def name(number: int) -> bytes:
    return b"k/%06d" % number


def fill(driver: MachineDriver, numbers: range, lease: int = 0) -> None:
    for first in range(0, len(numbers), _EACH):
        request = pb.TxnRequest()
        for number in numbers[first : first + _EACH]:
            put = request.success.add().request_put
            put.key, put.value, put.lease = name(number), b"v%d" % number, lease
        driver.reply(request)


def delete(driver: MachineDriver, first: int, stop: int, *, prev_kv: bool = False) -> bytes:
    request = pb.DeleteRangeRequest(key=name(first), range_end=name(stop), prev_kv=prev_kv)
    return driver.reply(request).body


def keys(driver: MachineDriver, revision: int = 0) -> list[bytes]:
    request = pb.RangeRequest(key=b"k/", range_end=b"k0", keys_only=True, revision=revision)
    return [kv.key for kv in driver.range(request).kvs]


def names(*parts: range) -> list[bytes]:
    return [name(number) for part in parts for number in part]


ALL = range(KEYS)


@pytest.mark.parametrize(
    ("first", "stop"),
    [
        pytest.param(0, KEYS, id="all"),
        pytest.param(100, 4_900, id="nearly all"),
        pytest.param(2_000, 2_300, id="a few in the middle"),
        pytest.param(4_999, KEYS, id="one"),
        pytest.param(KEYS, KEYS + 5, id="none"),
    ],
)
def test_range_that_is_deleted_is_gone_now_and_there_in_the_past(
    driver: MachineDriver, first: int, stop: int
) -> None:
    fill(driver, ALL)
    driver.machine.persist()
    before = driver.machine.store.revision
    gone = range(first, min(stop, KEYS))
    body = delete(driver, first, stop, prev_kv=True)
    response = pb.DeleteRangeResponse.FromString(body)
    assert response.deleted == len(gone)
    assert [(kv.key, kv.value) for kv in response.prev_kvs] == [
        (name(number), b"v%d" % number) for number in gone
    ]
    left = names(range(first), range(min(stop, KEYS), KEYS))
    assert keys(driver) == left
    assert keys(driver, before) == names(ALL)
    assert driver.machine.store.revision == before + bool(gone)
    seen = [(e.key, e.is_delete) for e in driver.machine.store.history(before + 1)]
    assert seen == [(key, True) for key in names(gone)]
    driver.reopen()
    assert (keys(driver), keys(driver, before)) == (left, names(ALL))


def test_keys_that_come_back_are_new_and_go_again(driver: MachineDriver) -> None:
    fill(driver, ALL)
    delete(driver, 0, KEYS)
    fill(driver, range(1_000, 2_000))
    born = driver.machine.store.revision
    assert keys(driver) == names(range(1_000, 2_000))
    kv = driver.range(pb.RangeRequest(key=name(1_999))).kvs[0]
    assert (kv.version, kv.create_revision) == (1, born)
    delete(driver, 500, 1_500)
    assert keys(driver) == names(range(1_500, 2_000))
    assert keys(driver, born) == names(range(1_000, 2_000))


def test_compaction_after_it_leaves_what_a_restart_leaves(driver: MachineDriver) -> None:
    fill(driver, ALL)
    delete(driver, 0, KEYS)
    fill(driver, range(100))
    driver.machine.persist()
    driver.reply(pb.CompactionRequest(revision=driver.machine.store.revision))
    while compaction.step(driver.machine.store):
        pass
    expected = hash_kv(driver.machine.store)
    driver.machine.persist()
    assert sum(1 for _ in driver.machine.store.backend.records(floor(0))) == 100
    driver.reopen()
    assert hash_kv(driver.machine.store) == expected
    assert keys(driver) == names(range(100))


@pytest.mark.parametrize("others", [False, True], ids=["alone", "between other keys"])
def test_keys_of_a_lease_go_with_it_and_no_others(driver: MachineDriver, others: bool) -> None:
    driver.reply(pb.LeaseGrantRequest(ID=LEASE, TTL=60))
    fill(driver, ALL, LEASE)
    kept = ALL[::7] if others else range(0)
    for number in kept:
        driver.put(name(number).decode(), "its own now")
    delete(driver, 10, 20)
    fill(driver, range(10, 20))
    assert len(driver.machine.store.lessor.get(LEASE).keys) == len({*ALL} - {*kept, *range(10, 20)})
    before = driver.machine.store.revision
    driver.reopen()
    driver.reply(pb.LeaseRevokeRequest(ID=LEASE))
    assert keys(driver) == sorted({*names(kept), *names(range(10, 20))})
    assert driver.machine.store.revision == before + 1


@pytest.fixture
def filling(driver: MachineDriver) -> Iterator[tuple[MachineDriver, Flush]]:
    """A machine in the middle of a flush that brings in many puts and as many deletes."""
    fill(driver, ALL)
    driver.machine.persist()
    fill(driver, ALL)
    driver.reply(pb.CompactionRequest(revision=driver.machine.store.revision))
    while compaction.step(driver.machine.store):
        pass
    flush = driver.machine.begin_flush()
    assert flush is not None
    assert flush.fill()
    assert flush.fill()
    yield driver, flush
    flush.commit()


def test_reads_and_writes_go_on_while_a_flush_is_filled(
    filling: tuple[MachineDriver, Flush],
) -> None:
    driver, flush = filling
    rounds = 0
    while flush.fill():
        delete(driver, rounds, rounds + 1)
        rounds += 1
        assert keys(driver) == names(range(rounds, KEYS))
    assert rounds > 2
    worker = threading.Thread(target=flush.commit)
    worker.start()
    worker.join()
    driver.machine.end_flush()
    index, _ = driver.machine.durable_index()
    assert index == len(driver.log) - rounds
    assert keys(driver) == names(range(rounds, KEYS))
    driver.reopen()
    assert keys(driver) == names(range(rounds, KEYS))


def test_member_that_stops_in_the_middle_of_a_flush_ends_it_first(
    filling: tuple[MachineDriver, Flush],
) -> None:
    driver, _ = filling
    delete(driver, 0, 1_000)
    assert driver.machine.persist() == driver.machine.applied_index()
    driver.reopen()
    assert keys(driver) == names(range(1_000, KEYS))


def test_crash_in_the_middle_of_a_flush_leaves_the_state_before(
    filling: tuple[MachineDriver, Flush],
) -> None:
    driver, _ = filling
    driver.machine.backend._flush = None  # as if the process had ended: nothing of it is committed
    driver.reopen()
    assert keys(driver) == names(ALL)


def test_index_forgets_the_dead_once_nobody_can_read_them() -> None:
    index = KeyIndex()
    for number in range(10):
        index.put(name(number), pack(2, number))
    index.tombstones(names(range(2, 8)), pack_tombstones(3, 0, 6))
    assert [key for key, _ in index.keys_at(b"k/", b"k0", 2)] == names(range(10))
    assert list(index.keys(b"k/", b"k0")) == names(range(2), range(8, 10))
    freed = [packed for key in index.with_history() for packed in index.prune(key, 4)]
    assert len(freed) == 12
    assert index.with_history() == []
    for number in range(2, 8):
        index.put(name(number), pack(5, number))
    assert index.count(b"k/", b"k0") == 10

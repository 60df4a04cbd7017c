"""A hash that is taken in steps is that of one moment, whatever happens between them."""

import pytest

from kubraft.pb.etcdserverpb import rpc_pb2 as pb
from store.mvcc import compaction
from store.mvcc.errors import CompactedError
from store.mvcc.hash import HistoryHash, hash_kv
from tests.store.mvcc.machine_driver import MachineDriver


@pytest.fixture
def filled(driver: MachineDriver) -> MachineDriver:
    for number in range(60):
        driver.put(f"k{number % 7}", str(number))
        if number == 30:
            driver.machine.persist()
    return driver


def finish(run: HistoryHash, records: int = 7) -> int:
    while run.step(records):
        pass
    return run.figure


@pytest.mark.parametrize("records", [1, 7, 60, 1000])
def test_steps_make_no_difference(filled: MachineDriver, records: int) -> None:
    store = filled.machine.store
    assert finish(HistoryHash(store), records) == hash_kv(store)[0]


def test_what_is_written_flushed_and_cleared_up_meanwhile_makes_none(
    filled: MachineDriver,
) -> None:
    store = filled.machine.store
    filled.reply(pb.CompactionRequest(revision=40))
    whole = hash_kv(store)
    run = HistoryHash(store)
    for number in range(4):
        run.step(7)
        filled.put("k1", f"later {number}")
        compaction.step(store, keys=1)
        filled.machine.persist()
    assert (finish(run), run.revision) == whole
    assert hash_kv(store, whole[1]) == whole


def test_a_compaction_meanwhile_begins_it_anew(filled: MachineDriver) -> None:
    store = filled.machine.store
    run, older = HistoryHash(store, 50), HistoryHash(store, 20)
    run.step(30)
    older.step(3)
    filled.reply(pb.CompactionRequest(revision=40))
    assert (finish(run), run.compacted) == (hash_kv(store, 50)[0], 40)
    with pytest.raises(CompactedError):
        finish(older)

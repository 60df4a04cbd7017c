"""A database that is not what was written to it is refused; LMDB alone would read it."""

import random
import subprocess
import sys
from pathlib import Path

import pytest

from kubraft.pb.etcdserverpb import rpc_pb2
from store.mvcc import compaction
from store.mvcc.backend import FILE_NAME, Backend, DamagedDatabaseError
from store.mvcc.hash import hash_kv
from store.mvcc.machine import KvMachine
from tests.store.mvcc.machine_driver import MAP_BYTES, MachineDriver

# Opens each directory, and says what it found there.
READER = f"""
import sys, lmdb
from pathlib import Path
from store.mvcc.hash import hash_kv
from store.mvcc.machine import KvMachine
for directory in sys.argv[1:]:
    try:
        machine = KvMachine.open(Path(directory), map_bytes={MAP_BYTES})
    except (OSError, lmdb.Error):
        print("refused")
    else:
        print(machine.applied_index()[0], machine.store.revision, *hash_kv(machine.store))
"""
FLIPS = 120


def fill(driver: MachineDriver) -> None:
    for number in range(300):
        driver.put(f"key-{number % 120}", f"value {number} " * 10)
        if number % 40 == 0:
            driver.machine.persist()
    driver.reply(rpc_pb2.LeaseGrantRequest(ID=7, TTL=60))
    driver.machine.persist()


def test_no_bit_of_the_database_turns_over_unseen(driver: MachineDriver, tmp_path: Path) -> None:
    fill(driver)
    machine = driver.machine
    whole = (machine.applied_index()[0], machine.store.revision, *hash_kv(machine.store))
    content = (tmp_path / "state" / FILE_NAME).read_bytes()
    rng = random.Random(1)
    directories = []
    for number in range(FLIPS):
        damaged = bytearray(content)
        damaged[rng.randrange(len(damaged))] ^= 1 << rng.randrange(8)
        directories.append(tmp_path / f"flip-{number}")
        directories[-1].mkdir()
        (directories[-1] / FILE_NAME).write_bytes(damaged)
    done = subprocess.run(
        [sys.executable, "-c", READER, *directories],
        capture_output=True,
        text=True,
        timeout=100,
        check=True,
    )
    told = done.stdout.splitlines()
    # Many bits belong to pages that are free, or mean nothing.
    assert set(told) == {"refused", " ".join(map(str, whole))}
    assert told.count("refused") > FLIPS // 10


@pytest.mark.parametrize("seed", range(5))
def test_what_was_written_is_never_taken_for_damaged(driver: MachineDriver, seed: int) -> None:
    """Puts, deletes, leases, compactions, defragmentations, and crashes in between."""
    rng = random.Random(seed)
    for number in range(150):
        machine = driver.machine
        match rng.randrange(9):
            case 0:
                driver.apply(rpc_pb2.DeleteRangeRequest(key=b"k%d" % rng.randrange(9)))
            case 1:
                driver.apply(rpc_pb2.LeaseGrantRequest(ID=1 + rng.randrange(4), TTL=60))
            case 2:
                driver.apply(rpc_pb2.LeaseRevokeRequest(ID=1 + rng.randrange(4)))
            case 3:
                driver.apply(rpc_pb2.CompactionRequest(revision=machine.store.revision - 3))
            case 4:
                compaction.step(machine.store, keys=rng.randrange(5))
            case 5:
                machine.persist()
                machine.backend.verify()
            case 6 if rng.random() < 0.5:
                machine.persist()
                assert machine.backend.take_defragmented(machine.backend.copy_defragmented())
                machine.backend.verify()
            case 7 if rng.random() < 0.5:
                driver.reopen()
            case _:
                driver.put(f"k{rng.randrange(9)}", str(number))


def test_a_record_that_is_gone_is_missed(driver: MachineDriver, tmp_path: Path) -> None:
    fill(driver)
    backend = driver.machine.backend
    with backend._env.begin(write=True, db=backend._records_db) as txn, txn.cursor() as cursor:
        assert cursor.first()
        assert cursor.delete()
    driver.close()
    with pytest.raises(DamagedDatabaseError, match="db is damaged"):
        KvMachine.open(tmp_path / "state", map_bytes=MAP_BYTES)
    # Nothing was kept open: it can be looked at.
    driver.machine.store.backend = Backend(tmp_path / "state", map_bytes=MAP_BYTES)


def test_a_database_from_before_there_were_digests_is_taken(
    driver: MachineDriver, tmp_path: Path
) -> None:
    fill(driver)
    revision = driver.machine.store.revision
    backend = driver.machine.backend
    with backend._env.begin(write=True, db=backend._meta_db) as txn:
        assert txn.delete(b"digest")
    driver.reopen()
    assert driver.machine.store.revision == revision
    driver.put("k", "v")
    driver.machine.persist()
    driver.reopen()
    assert driver.value("k") == "v"

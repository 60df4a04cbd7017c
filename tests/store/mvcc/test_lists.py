"""Lists of keys: out of what is flushed, is being flushed and is not, now and in the past."""

from __future__ import annotations

import pytest

from kubraft.pb.etcdserverpb import rpc_pb2
from tests.store.mvcc.machine_driver import MachineDriver

ALL = rpc_pb2.RangeRequest(key=b"k", range_end=b"l")


def pairs(response: rpc_pb2.RangeResponse) -> list[tuple[str, str]]:
    return [(kv.key.decode(), kv.value.decode()) for kv in response.kvs]


def test_list_gathers_what_lies_in_three_places_in_the_order_of_the_keys(
    driver: MachineDriver,
) -> None:
    for number in range(9):
        driver.put(f"k{number}", "flushed")
    driver.machine.persist()
    for number in (1, 4, 7):
        driver.put(f"k{number}", "flushing")
    flush = driver.machine.begin_flush()
    assert flush is not None
    for number in (2, 4):
        driver.put(f"k{number}", "")
    places = ["flushed", "flushing", "", "flushed", "", "flushed", "flushed", "flushing", "flushed"]
    expected = [(f"k{number}", place) for number, place in enumerate(places)]
    assert pairs(driver.range(ALL)) == expected
    flush.commit()
    driver.machine.end_flush()
    assert pairs(driver.range(ALL)) == expected


@pytest.mark.parametrize("limit", [0, 1, 2, 3])
def test_list_in_a_txn_of_the_revision_before_it_does_not_see_what_the_txn_did(
    driver: MachineDriver, limit: int
) -> None:
    driver.put("k1", "old")
    driver.put("k2", "old")
    txn = rpc_pb2.TxnRequest()
    txn.success.add().request_put.CopyFrom(rpc_pb2.PutRequest(key=b"k1", value=b"new"))
    for revision in (3, 0):
        ranged = txn.success.add().request_range
        ranged.CopyFrom(ALL)
        ranged.revision, ranged.limit = revision, limit
    body = rpc_pb2.TxnResponse.FromString(driver.reply(txn).body)
    before, now = (response.response_range for response in body.responses[1:])
    wanted = limit or 2
    assert pairs(before) == [("k1", "old"), ("k2", "old")][:wanted]
    assert pairs(now) == [("k1", "new"), ("k2", "old")][:wanted]
    assert before.count == now.count == 2
    assert before.more is now.more is (limit == 1)


def test_long_list_of_large_and_small_values_is_whole(driver: MachineDriver) -> None:
    sizes = [0, 1, 90, 127, 128, 4000, 4095, 4096, 5000, 20_000]
    for size in sizes:
        driver.put(f"k{size:06}", "v" * size)
    assert [len(kv.value) for kv in driver.range(ALL).kvs] == sizes
    keys_only = rpc_pb2.RangeRequest(key=b"k", range_end=b"l", keys_only=True)
    assert [kv.value for kv in driver.range(keys_only).kvs] == [b""] * len(sizes)

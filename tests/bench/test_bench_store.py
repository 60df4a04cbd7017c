"""What the store's benchmark counts by itself is what was there."""

from __future__ import annotations

import pytest

from kubraft.pb.etcdserverpb import rpc_pb2
from tests.bench.bench_store_client import EventCounter
from tests.bench.bench_store_load import Figure, cases, median, transactions
from tests.bench.bench_store_ratios import HEADINGS, Row, table


def message(response: rpc_pb2.WatchResponse) -> bytes:
    data = response.SerializeToString()
    return b"\0" + len(data).to_bytes(4, "big") + data


@pytest.mark.parametrize("piece", [1, 7, 1000])
def test_events_are_counted_however_their_messages_are_cut(piece: int) -> None:
    created = rpc_pb2.WatchResponse(watch_id=300, created=True)
    full = rpc_pb2.WatchResponse(watch_id=-1)
    full.header.revision = 1 << 40
    for size in (0, 100, 300, 20_000):
        full.events.add().kv.value = b"\x5a" * size
    data = message(created) + message(full) + message(created) + message(full)
    counter = EventCounter()
    counts = [counter.feed(data[at : at + piece]) for at in range(0, len(data), piece)]
    assert counter.events == sum(counts) == 8


def test_every_request_fits_the_window_that_a_stream_begins_with() -> None:
    requests = [case.request for case in cases()]
    requests += transactions(range(120), size=1024, prefix=b"key/")
    assert max(map(len, requests)) < 65_000
    puts = [len(rpc_pb2.TxnRequest.FromString(request).success) for request in requests[-3:]]
    assert puts == [50, 50, 20]


@pytest.mark.parametrize("markdown", [False, True])
def test_table_shows_ratios_of_medians(*, markdown: bool) -> None:
    theirs = median([Figure(value, 1.0, 2.0, 10.0) for value in (90.0, 100.0, 900.0)])
    line = table(Row("Put", theirs, Figure(50.0, 3.0, 4.0, 20.0), ">= 0.2"), markdown=markdown)
    assert "0.50" in line
    assert "3.00" in line
    assert line.count("|") == (len(HEADINGS) + 1 if markdown else 0)

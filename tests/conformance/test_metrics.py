"""/metrics on the client port has etcd's names and kinds, less what is left out on purpose."""

import re
import urllib.request

import pytest
from prometheus_client.parser import text_string_to_metric_families

from kubraft.pb.etcdserverpb import rpc_pb2 as pb
from tests.conformance.pair import Pair, Side
from tests.conformance.test_documents import table
from tests.e2e.store_cluster import wait_until

pytestmark = [pytest.mark.e2e, pytest.mark.xdist_group("pair")]


def scrape(side: Side) -> str:
    url = side.cluster.client_url("store-0") + "/metrics"
    with urllib.request.urlopen(url, timeout=30) as answer:
        assert answer.headers["content-type"].startswith("text/plain; version=0.0.4")
        return str(answer.read().decode())


def kinds(text: str) -> dict[str, str]:
    return dict(re.findall(r"^# TYPE (\S+) (\S+)$", text, re.MULTILINE))


def value(text: str, sample: str) -> float:
    found = re.search(rf"^{re.escape(sample)} (\S+)$", text, re.MULTILINE)
    assert found, sample
    return float(found[1])


def test_names_and_kinds_are_those_of_etcd(pair: Pair) -> None:
    etcd, ours = (kinds(scrape(side)) for side in pair.sides)
    left_out = [name for cells in table("Metrics") for name in re.findall(r"`(\S+)`", cells[0])]

    def is_left_out(name: str) -> bool:
        return any(re.fullmatch(known.replace("*", ".*"), name) for known in left_out)

    missing = {name for name in etcd if name not in ours and not is_left_out(name)}
    assert missing == set()
    # What is said to be missing is.
    assert {name for name in ours if is_left_out(name)} == set()
    assert {name: ours[name] for name in ours if name in etcd} == {
        name: etcd[name] for name in ours if name in etcd
    }


def test_figures_count_what_clients_and_disk_do(pair: Pair) -> None:
    before = scrape(pair.ours)
    pair.begin()
    pair.ours.call("Put", pb.PutRequest(key=b"metrics", value=b"v" * 100))
    pair.ours.answer("Put", pb.PutRequest(key=b"metrics", lease=4711))
    after = scrape(pair.ours)
    assert list(text_string_to_metric_families(after))

    def gain(sample: str) -> float:
        there = sample + " " in before
        return value(after, sample) - (value(before, sample) if there else 0)

    put = 'grpc_method="Put",grpc_service="etcdserverpb.KV",grpc_type="unary"'
    assert gain("etcd_mvcc_put_total") >= 1
    assert gain(f"grpc_server_started_total{{{put}}}") >= 2
    assert gain(f'grpc_server_handled_total{{grpc_code="OK",{put}}}') >= 1
    assert gain(f'grpc_server_handled_total{{grpc_code="NotFound",{put}}}') == 1
    assert gain("etcd_disk_wal_fsync_duration_seconds_count") >= 1
    assert gain('etcd_disk_wal_fsync_duration_seconds_bucket{le="+Inf"}') >= 1
    assert gain("etcd_disk_wal_write_bytes_total") >= 100
    applied = 'etcd_server_apply_duration_seconds_count{op="Put",success="%s",version="v3"}'
    assert gain(applied % "true") >= 1
    assert gain(applied % "false") >= 1


def buckets(text: str) -> dict[str, set[str]]:
    found: dict[str, set[str]] = {}
    for name, bound in re.findall(r'^(\S+?)_bucket\{.*?le="(\S+?)"', text, re.MULTILINE):
        found.setdefault(name, set()).add(bound)
    return found


def test_buckets_are_those_of_etcd(pair: Pair) -> None:
    pair.begin()
    for side in pair.sides:
        side.call("Put", pb.PutRequest(key=b"bucket"))
    etcd, ours = (buckets(scrape(side)) for side in pair.sides)
    assert {name: ours[name] for name in ours if name in etcd} == {
        name: etcd[name] for name in ours if name in etcd
    }


def test_figures_tell_of_long_work(pair: Pair) -> None:
    pair.begin()
    before = scrape(pair.ours)
    for value_ in (b"1", b"2", b"3"):
        pair.ours.call("Put", pb.PutRequest(key=b"long", value=value_))
    revision = pair.ours.call("Range", pb.RangeRequest(key=b"long")).header.revision
    pair.ours.call("LeaseGrant", pb.LeaseGrantRequest(ID=4242, TTL=60))
    pair.ours.call("Compact", pb.CompactionRequest(revision=revision))
    pair.ours.call("Defragment", pb.DefragmentRequest())
    pair.ours.call("Hash", pb.HashRequest())
    pair.ours.call("HashKV", pb.HashKVRequest())
    figures = (
        "etcd_disk_backend_defrag_duration_seconds_count",
        "etcd_mvcc_hash_duration_seconds_count",
        "etcd_mvcc_hash_rev_duration_seconds_count",
        "etcd_debugging_lease_ttl_total_count",
        "etcd_debugging_mvcc_db_compaction_total_duration_milliseconds_count",
        "etcd_debugging_mvcc_db_compaction_last",
    )

    def grown() -> bool:
        after = scrape(pair.ours)
        return all(value(after, figure) > value(before, figure) for figure in figures)

    wait_until(grown, "the figures of long work")
    assert value(scrape(pair.ours), "etcd_disk_defrag_inflight") == 0

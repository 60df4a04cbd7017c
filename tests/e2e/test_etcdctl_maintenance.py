"""The real etcdctl on alarms, quota, defragmentation, snapshots and the change of leaders."""

import hashlib
import json
import subprocess
from collections.abc import Iterator
from pathlib import Path

import lmdb
import pytest

from tests.e2e.store_cluster import TOOLS, StoreCluster, wait_until

pytestmark = pytest.mark.e2e

QUOTA_BYTES = 4 << 20


@pytest.fixture(scope="module")
def cluster(tmp_path_factory: pytest.TempPathFactory) -> Iterator[StoreCluster]:
    directory = tmp_path_factory.mktemp("maintenance")
    flags = ("--quota-backend-bytes", str(QUOTA_BYTES), "--backend-batch-interval=100ms")
    with StoreCluster(directory, tls=False, flags=flags) as cluster:
        cluster.start()
        cluster.wait_ready()
        yield cluster


def fill(cluster: StoreCluster) -> str:
    """Write until it is refused; returns what etcdctl says then."""
    said: list[str] = []

    def is_full() -> bool:
        put = cluster.etcdctl("put", "big", stdin="x" * 500_000, check=False)
        said.append(put.stderr)
        return put.returncode != 0

    wait_until(is_full, "the quota is reached")
    return said[-1]


def test_a_full_store_refuses_puts_until_it_is_cleared_and_disarmed(cluster: StoreCluster) -> None:
    assert "etcdserver: mvcc: database space exceeded" in fill(cluster)
    alarms = cluster.etcdctl("alarm", "list").stdout
    assert "alarm:NOSPACE" in alarms
    status = cluster.etcdctl("endpoint", "status", "-w", "json").stdout
    assert "alarm:NOSPACE" in status
    unhealthy = cluster.etcdctl("endpoint", "health", "-w", "json", check=False)
    assert "NOSPACE" in unhealthy.stdout

    now = cluster.etcdctl_json("get", "none")["header"]["revision"]
    cluster.etcdctl("compact", str(now), "--physical")
    # On all members, whose clearing up and flushing takes its time.
    for name in cluster.names:

        def is_small(name: str = name) -> bool:
            cluster.etcdctl("defrag", at=name)
            return cluster.status(name).dbSize < QUOTA_BYTES / 2

        wait_until(is_small, f"{name} is small again")
    refused = cluster.etcdctl("put", "a", "b", check=False)
    assert "etcdserver: mvcc: database space exceeded" in refused.stderr

    for line in cluster.etcdctl("alarm", "disarm").stdout.splitlines():
        assert "alarm:NOSPACE" in line
    assert cluster.etcdctl("alarm", "list").stdout == ""
    assert cluster.etcdctl("put", "a", "b").stdout == "OK\n"
    assert len(cluster.etcdctl("get", "big", "--print-value-only").stdout) == 500_001
    log = cluster.log_file(cluster.names[0]).read_text
    wait_until(lambda: 'event="alarm on" alarm=NOSPACE' in log(), "the alarm is logged")
    wait_until(lambda: 'event="alarm off" alarm=NOSPACE' in log(), "its end is logged")
    # The state after a defragmentation is one that a restart finds.
    name = cluster.followers()[0]
    cluster.kill(name)
    cluster.start(name)
    cluster.wait_ready(name)
    assert cluster.etcdctl("get", "a", "--print-value-only", at=name).stdout == "b\n"


def test_a_snapshot_has_its_checksum_and_the_keys(cluster: StoreCluster, tmp_path: Path) -> None:
    cluster.etcdctl("put", "in-snapshot", "value-in-snapshot")
    saved = tmp_path / "saved.db"
    cluster.etcdctl("snapshot", "save", str(saved), at="store-1")
    data = saved.read_bytes()
    assert len(data) % 512 == hashlib.sha256().digest_size
    assert hashlib.sha256(data[:-32]).digest() == data[-32:]
    bare = tmp_path / "bare.db"
    bare.write_bytes(data[:-32])
    with lmdb.open(str(bare), subdir=False, readonly=True, lock=False, max_dbs=4) as database:
        records = database.open_db(b"key", create=False)
        with database.begin(db=records) as txn:
            assert any(b"value-in-snapshot" in value for _, value in txn.cursor())


def move_leader(
    cluster: StoreCluster, target: str, *names: str
) -> subprocess.CompletedProcess[str]:
    """This command of etcdctl reads its variables twice and falls over them; flags it likes."""
    urls = ",".join(map(cluster.client_url, names))
    return subprocess.run(
        [str(TOOLS / "etcdctl"), "--endpoints", urls, "move-leader", target],
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )


def test_move_leader_is_for_the_leader_and_to_a_member(cluster: StoreCluster) -> None:
    leader, (follower, other) = cluster.leader(), cluster.followers()
    ids = {name: f"{cluster.status(name).header.member_id:x}" for name in cluster.names}
    refused = move_leader(cluster, ids[follower], other)
    assert refused.returncode != 0
    assert "no leader endpoint" in refused.stderr, refused.stderr
    unknown = move_leader(cluster, "abc", leader)
    assert "etcdserver: bad leader transferee" in unknown.stderr
    moved = move_leader(cluster, ids[follower], *cluster.names)
    assert moved.stdout == f"Leadership transferred from {ids[leader]} to {ids[follower]}\n"
    wait_until(lambda: cluster.leader() == follower, "the follower leads")


def test_members_agree_on_hashes(cluster: StoreCluster) -> None:
    cluster.etcdctl("put", "hashed", "1")
    for name in cluster.names:
        cluster.etcdctl("get", "hashed", at=name)
    answer = json.loads(cluster.etcdctl("endpoint", "hashkv", "-w", "json").stdout)
    assert len({entry["HashKV"]["hash"] for entry in answer}) == 1

"""The first look at a real cluster: every member answers etcdctl, and stops cleanly."""

import signal
from pathlib import Path

import pytest

from tests.e2e.store_cluster import StoreCluster

pytestmark = pytest.mark.e2e


def test_every_member_serves_reads_and_writes_and_stops_cleanly(tmp_path: Path) -> None:
    with StoreCluster(tmp_path) as cluster:
        cluster.start()
        cluster.wait_ready()
        for name in cluster.names:
            assert cluster.etcdctl("put", f"key-{name}", name, at=name).stdout == "OK\n"
        for name in cluster.names:
            listed = cluster.etcdctl_json("get", "key-", "--prefix", at=name)
            assert listed["count"] == 3
        assert [cluster.terminate(name) for name in cluster.names] == [-signal.SIGTERM] * 3
        assert all("event=ready" in cluster.log_file(name).read_text() for name in cluster.names)

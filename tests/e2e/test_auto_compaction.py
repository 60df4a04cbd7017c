"""History goes by itself, by time."""

from pathlib import Path

import pytest

from tests.e2e.store_cluster import StoreCluster, wait_until

pytestmark = pytest.mark.e2e


def test_old_revisions_are_compacted_after_their_time(tmp_path: Path) -> None:
    with StoreCluster(
        tmp_path, members=1, tls=False, flags=("--auto-compaction-retention=1s",)
    ) as cluster:
        cluster.start()
        cluster.wait_ready()
        for number in range(3):
            cluster.etcdctl("put", "k", str(number))

        def is_compacted() -> bool:
            old = cluster.etcdctl("get", "k", "--rev=2", check=False)
            return "required revision has been compacted" in old.stderr

        wait_until(is_compacted, "revision 2 is gone")
        assert cluster.etcdctl("get", "k", "--print-value-only").stdout == "2\n"

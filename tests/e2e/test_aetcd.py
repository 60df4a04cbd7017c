"""The Python client aetcd, unchanged: the same program at our member and at the real etcd."""

import subprocess
import sys
from pathlib import Path

import pytest

from tests.e2e.store_cluster import ROOT, StoreCluster

pytestmark = pytest.mark.e2e

STORY = Path(__file__).with_name("aetcd_story.py")


def tell(cluster: StoreCluster, *credentials: str) -> None:
    host, _, port = cluster.address("store-0").rpartition(":")
    done = subprocess.run(
        [sys.executable, str(STORY), host, port, *credentials],
        cwd=ROOT,
        capture_output=True,
        text=True,
        timeout=90,
        check=False,
    )
    assert done.returncode == 0, done.stderr


@pytest.mark.parametrize("etcd", [pytest.param(True, id="etcd"), pytest.param(False, id="kubraft")])
def test_an_application_on_aetcd_runs_with_users_and_without(tmp_path: Path, *, etcd: bool) -> None:
    flags = ["--bcrypt-cost=4"]
    with StoreCluster(tmp_path, members=1, tls=False, etcd=etcd, flags=flags) as cluster:
        cluster.start()
        cluster.wait_ready()
        tell(cluster)
        for command in (
            ("user", "add", "root:secret"),
            ("user", "grant-role", "root", "root"),
            ("auth", "enable"),
        ):
            if command[1] == "grant-role":
                cluster.etcdctl("role", "add", "root")
            cluster.etcdctl(*command)
        tell(cluster, "root", "secret")

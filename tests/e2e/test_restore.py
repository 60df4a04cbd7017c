"""Snapshots restored: a live cluster's into a new one, and one of the real etcd."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import pytest

from kubraft.pb.etcdserverpb import rpc_pb2, rpc_pb2_grpc
from tests.e2e.store_cluster import ROOT, StoreCluster

pytestmark = pytest.mark.e2e

BUMP = 1_000_000


def etcdutl(*arguments: str, status: int = 0) -> str:
    """Run our command; what it says."""
    done = subprocess.run(
        [sys.executable, "-m", "store.offline", *arguments],
        cwd=ROOT,
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    assert done.returncode == status, done.stderr
    return done.stdout if status == 0 else done.stderr


def restore(cluster: StoreCluster, snapshot: Path, *more: str) -> None:
    """Give every member of a cluster that never ran its data."""
    initial = ",".join(f"{name}={cluster.peer_url(name)}" for name in cluster.names)
    for name in cluster.names:
        etcdutl(
            *("snapshot", "restore", str(snapshot)),
            *("--name", name, "--data-dir", str(cluster.data_dir(name))),
            *("--initial-cluster", initial, "--initial-cluster-token", cluster.directory.name),
            *("--initial-advertise-peer-urls", cluster.peer_url(name)),
            *more,
        )


def header(cluster: StoreCluster) -> dict[str, int]:
    found: dict[str, int] = cluster.etcdctl_json("get", "x")["header"]
    return found


def test_a_live_clusters_snapshot_becomes_a_new_cluster(tmp_path: Path) -> None:
    file = tmp_path / "snapshot.db"
    with StoreCluster(tmp_path / "old", tls=False) as old:
        old.start()
        old.wait_ready()
        lease = old.etcdctl("lease", "grant", "3600").stdout.split()[1]
        for number in range(20):
            old.etcdctl("put", f"key-{number % 5}", str(number), f"--lease={lease}")
        old.etcdctl("user", "add", "root:secret")
        old.etcdctl("user", "grant-role", "root", "root")
        before = header(old)
        old.etcdctl("snapshot", "save", str(file), at="store-0")
        members = {member["ID"] for member in old.etcdctl_json("member", "list")["members"]}
    seen = json.loads(etcdutl("snapshot", "status", str(file), "-w", "json"))
    assert (seen["revision"], seen["totalKey"]) == (before["revision"], 5)
    assert "TOTAL KEYS" in etcdutl("snapshot", "status", str(file), "-w", "table")

    with StoreCluster(tmp_path / "new", tls=False) as new:
        restore(new, file, "--bump-revision", str(BUMP), "--mark-compacted")
        refused = etcdutl(
            *("snapshot", "restore", str(file), "--data-dir", str(new.data_dir("store-0"))),
            status=1,
        )
        assert (
            refused
            == f'Error: data-dir "{new.data_dir("store-0")}" not empty or could not be read\n'
        )
        new.start()
        new.wait_ready()
        after = header(new)
        assert after["cluster_id"] != before["cluster_id"]
        assert after["revision"] == before["revision"] + BUMP
        listed = new.etcdctl_json("member", "list")["members"]
        assert sorted(member["name"] for member in listed) == sorted(new.names)
        assert members.isdisjoint(member["ID"] for member in listed)
        for name in new.names:
            found = new.etcdctl("get", "key-", "--prefix", "--print-value-only", at=name).stdout
            assert found.split() == ["15", "16", "17", "18", "19"]
        # Whoever watched or cached the old cluster has to begin anew.
        watch = new.etcdctl("watch", "key-0", f"--rev={before['revision']}", check=False)
        assert "required revision has been compacted" in watch.stdout + watch.stderr
        kept = new.etcdctl("lease", "timetolive", lease, "--keys").stdout
        assert "granted with TTL(3600s)" in kept
        assert "key-4" in kept
        assert new.etcdctl("user", "list").stdout.split() == ["root"]
        new.etcdctl("put", "key-0", "new")
        # It is an ordinary cluster: one that was killed comes back, one more joins.
        new.kill("store-2")
        new.etcdctl("put", "key-1", "new", at="store-0")
        new.start("store-2")
        new.wait_ready("store-2")
        assert new.etcdctl("get", "key-1", "--print-value-only", at="store-2").stdout == "new\n"


def test_a_damaged_snapshot_is_refused_and_leaves_nothing(tmp_path: Path) -> None:
    file = tmp_path / "snapshot.db"
    with StoreCluster(tmp_path / "old", members=1, tls=False) as old:
        old.start()
        old.wait_ready()
        old.etcdctl("put", "key", "value")
        old.etcdctl("snapshot", "save", str(file))
    content = bytearray(file.read_bytes())
    content[9000] ^= 1
    file.write_bytes(content)
    target = tmp_path / "target"
    flags = ("--data-dir", str(target))
    assert "Error: expected sha256 " in etcdutl("snapshot", "restore", str(file), *flags, status=1)
    file.write_bytes(content[:-32])
    missing = etcdutl("snapshot", "restore", str(file), *flags, status=1)
    assert missing == "Error: snapshot missing hash but --skip-hash-check=false\n"
    file.write_bytes(b"x" * 8192)
    other = etcdutl("snapshot", "restore", str(file), "--skip-hash-check", *flags, status=1)
    assert other == f"Error: {file}: not a database of a store\n"
    gone = etcdutl("snapshot", "restore", str(tmp_path / "none"), *flags, status=1)
    assert gone == f"Error: {tmp_path / 'none'}: No such file or directory\n"
    assert [path.name for path in tmp_path.iterdir() if "target" in path.name] == []
    bad = etcdutl("snapshot", "restore", str(file), "--bump-revision=5", status=128)
    assert bad == "Error: --mark-compacted required if --revision-bump > 0\n"


def test_a_snapshot_of_etcd_itself_becomes_a_member(tmp_path: Path) -> None:
    """The way from etcd to this store: every revision that was readable there is so here."""
    file = tmp_path / "snapshot.db"
    with StoreCluster(tmp_path / "etcd", members=1, tls=False, etcd=True) as etcd:
        etcd.start()
        etcd.wait_ready()
        lease = etcd.etcdctl("lease", "grant", "3600").stdout.split()[1]
        with etcd.channel("store-0") as channel:
            kv = rpc_pb2_grpc.KVStub(channel)
            for number in range(300):
                value = f"{number} {'x' * 400}".encode()
                kv.Put(rpc_pb2.PutRequest(key=b"key-%d" % (number % 40), value=value), timeout=30)
        etcd.etcdctl("put", "leased", "value", f"--lease={lease}")
        etcd.etcdctl("del", "key-7")
        etcd.etcdctl("compact", "150")
        etcd.etcdctl("txn", stdin="\n\nput a 1\nput b 2\n\n\n")
        revision = header(etcd)["revision"]
        moments = [150, 200, 260, revision - 1, revision]
        wanted = {at: read_all(etcd, at) for at in moments}
        etcd.etcdctl("user", "add", "root:secret")
        etcd.etcdctl("user", "grant-role", "root", "root")
        etcd.etcdctl("auth", "enable")
        etcd.etcdctl("snapshot", "save", str(file), "--user=root:secret")
    log = tmp_path / "log"
    flags = [f"--wal-dir={log}"]
    with StoreCluster(tmp_path / "ours", members=1, tls=False, flags=flags) as ours:
        restore(ours, file, *flags)
        ours.start()
        ours.log_in = ("root", "secret")
        ours.wait_ready()
        user = "--user=root:secret"
        denied = ours.etcdctl("get", "a", check=False)
        assert "etcdserver: user name is empty" in denied.stderr
        assert {at: read_all(ours, at, user) for at in moments} == wanted
        gone = ours.etcdctl("get", "a", "--rev=149", user, check=False)
        assert "required revision has been compacted" in gone.stderr
        kept = ours.etcdctl("lease", "timetolive", lease, "--keys", user).stdout
        assert "leased" in kept
        put = ours.etcdctl_json("put", "a", "new", user)
        assert put["header"]["revision"] == revision + 1
        assert any(log.iterdir())
        assert not (ours.data_dir("store-0") / "wal").exists()


def read_all(cluster: StoreCluster, revision: int, *more: str) -> object:
    return cluster.etcdctl_json("get", "", "--from-key", f"--rev={revision}", *more)["kvs"]

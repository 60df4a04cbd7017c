"""What goes wrong at a member's start or under it is one line that names it, and status 1."""

import os
import shutil
import socket
import subprocess
from collections.abc import Callable
from pathlib import Path

import grpc
import pytest

from kubraft.pb.etcdserverpb import rpc_pb2, rpc_pb2_grpc
from tests.e2e.store_cluster import ROOT, StoreCluster, wait_until

pytestmark = pytest.mark.e2e

WAL_NAMES = {f"{1:016x}.wal"}


def fail(cluster: StoreCluster, name: str = "store-0", *, status: int = 1) -> str:
    """Run a member that must fail by itself; the last line it writes."""
    done = subprocess.run(
        cluster.command(name), cwd=ROOT, capture_output=True, text=True, timeout=20, check=False
    )
    assert done.returncode == status, done.stderr
    assert "Traceback" not in done.stderr
    return done.stderr.strip().splitlines()[-1]


def listen(url: str) -> socket.socket:
    taken = socket.socket()
    taken.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    taken.bind(("127.0.0.1", int(url.rpartition(":")[2])))
    taken.listen()
    return taken


@pytest.mark.parametrize(
    ("flag", "url_of"),
    [
        pytest.param("--listen-client-urls", StoreCluster.client_url, id="client port"),
        pytest.param("--listen-peer-urls", StoreCluster.peer_url, id="peer port"),
    ],
)
def test_a_taken_port_is_named(
    tmp_path: Path, flag: str, url_of: Callable[[StoreCluster, str], str]
) -> None:
    cluster = StoreCluster(tmp_path, members=1)
    url = url_of(cluster, "store-0")
    with listen(url):
        line = fail(cluster)
    assert line == f"store: {flag} {url}: cannot listen: Address already in use"


def test_a_data_directory_in_use_is_named(tmp_path: Path) -> None:
    with StoreCluster(tmp_path, members=1, tls=False) as cluster:
        cluster.start()
        cluster.wait_ready()
        line = fail(cluster)
    assert line == f"store: --data-dir {cluster.data_dir('store-0')}: in use by another process"


@pytest.mark.parametrize(
    ("make", "cause"),
    [
        pytest.param(Path.touch, "not a directory", id="a file"),
        pytest.param(
            lambda path: (path / "member/snap").mkdir(parents=True),
            "holds the data of an etcd (member); "
            "kubraft-etcdutl snapshot restore takes over a snapshot of it",
            id="data of etcd",
        ),
    ],
)
def test_a_data_directory_that_is_another_thing_is_refused(
    tmp_path: Path, make: Callable[[Path], None], cause: str
) -> None:
    cluster = StoreCluster(tmp_path, members=1, tls=False)
    make(cluster.data_dir("store-0"))
    assert fail(cluster) == f"store: --data-dir {cluster.data_dir('store-0')}: {cause}"


def test_a_member_with_data_needs_no_flags_of_the_initial_cluster(tmp_path: Path) -> None:
    """As etcd says of them: they count at the first start only."""
    with StoreCluster(tmp_path, members=1, tls=False) as cluster:
        cluster.start()
        cluster.wait_ready()
        before = cluster.etcdctl_json("put", "key", "value")["header"]
        cluster.terminate("store-0")
        cluster.without_bootstrap = True
        cluster.start()
        cluster.wait_ready()
        after = cluster.etcdctl_json("get", "key")
        assert after["count"] == 1
        for name in ("cluster_id", "member_id"):
            assert after["header"][name] == before[name]
        (listed,) = cluster.etcdctl_json("member", "list")["members"]
        assert listed["peerURLs"] == [cluster.peer_url("store-0")]


@pytest.mark.parametrize(
    ("file", "flag"),
    [
        pytest.param("store-0-server.crt", "--cert-file", id="certificate"),
        pytest.param("store-0-server.key", "--key-file", id="key"),
        pytest.param("store-ca.crt", "--trusted-ca-file", id="authority"),
        pytest.param("store-0-peer.crt", "--peer-cert-file", id="peer certificate"),
    ],
)
def test_a_missing_certificate_is_named(tmp_path: Path, file: str, flag: str) -> None:
    cluster = StoreCluster(tmp_path, members=1)
    (cluster.pki / file).unlink()
    assert fail(cluster) == f"store: {flag} {cluster.pki / file}: No such file or directory"


def test_a_certificate_that_is_none_is_named(tmp_path: Path) -> None:
    cluster = StoreCluster(tmp_path, members=1)
    (cluster.pki / "store-0-server.crt").write_text("not a certificate")
    assert "--cert-file" in fail(cluster)


def test_an_unknown_flag_is_named(tmp_path: Path) -> None:
    cluster = StoreCluster(tmp_path, members=1, flags=["--nonsense"])
    assert fail(cluster, status=2) == "store: flag provided but not defined: -nonsense"


@pytest.mark.parametrize("part", ["wal", "state"])
def test_a_damaged_data_directory_is_refused_in_one_line(tmp_path: Path, part: str) -> None:
    with StoreCluster(tmp_path, members=1, tls=False) as cluster:
        cluster.start()
        cluster.wait_ready()
        cluster.etcdctl("put", "key", "value")
        cluster.terminate("store-0")
        directory = cluster.data_dir("store-0") / part
        (file,) = (path for path in directory.iterdir() if path.name in {"db"} | WAL_NAMES)
        file.write_bytes(b"something else\n" * 1000)
        line = fail(cluster)
    assert line.startswith(f"store: --data-dir {cluster.data_dir('store-0')}")


def test_a_lost_log_is_no_empty_log(tmp_path: Path) -> None:
    """What is left of a member is never taken for a new one."""
    with StoreCluster(tmp_path, members=1, tls=False) as cluster:
        cluster.start()
        cluster.wait_ready()
        cluster.etcdctl("put", "key", "value")
        cluster.terminate("store-0")
        shutil.rmtree(cluster.data_dir("store-0") / "wal")
        for _ in range(2):
            assert "write-ahead log ends at index" in fail(cluster)


def test_a_defragmentation_that_the_disk_refuses_says_so_and_harms_nothing(tmp_path: Path) -> None:
    with StoreCluster(tmp_path, members=1, tls=False) as cluster:
        cluster.start()
        cluster.wait_ready()
        cluster.etcdctl("put", "key", "value")
        obstacle = cluster.data_dir("store-0") / "state" / "db.defragmented"
        obstacle.mkdir()
        refused = cluster.etcdctl("defrag", check=False)
        assert "etcdserver: defragmentation failed: Is a directory" in refused.stderr
        obstacle.rmdir()
        cluster.etcdctl("defrag")
        assert cluster.etcdctl("get", "key", "--print-value-only").stdout == "value\n"


def test_a_full_disk_ends_the_member_with_one_clear_line(tmp_path: Path) -> None:
    """The file size limit stands in for the end of the disk: the same write fails."""
    cluster = StoreCluster(tmp_path, members=1, tls=False)
    command = ["bash", "-c", 'trap "" XFSZ; ulimit -f 2048; exec "$0" "$@"']
    with cluster.log_file("store-0").open("wb") as log:
        process = subprocess.Popen(
            [*command, *cluster.command("store-0")], cwd=ROOT, stdout=log, stderr=log
        )
    try:
        text = cluster.log_file("store-0").read_text
        wait_until(lambda: "event=ready" in text() or process.poll() is not None, "ready")
        with cluster.channel("store-0") as channel:
            kv = rpc_pb2_grpc.KVStub(channel)
            for number in range(40):
                try:
                    kv.Put(rpc_pb2.PutRequest(key=b"k%d" % number, value=b"v" * 200_000), timeout=5)
                except grpc.RpcError:
                    break
        assert process.wait(20) == 1
    finally:
        if process.poll() is None:
            process.kill()
            process.wait(10)
    last = text().strip().splitlines()[-1]
    assert last.startswith(f"store: --data-dir {cluster.data_dir('store-0')}: ")
    assert os.strerror(27) in last
    assert "Traceback" not in text()


def test_malformed_requests_are_refused_and_crash_nothing(tmp_path: Path) -> None:
    with StoreCluster(tmp_path, members=1, tls=False) as cluster:
        cluster.start()
        cluster.wait_ready()
        with cluster.channel("store-0") as channel:
            for method in (
                "KV/Put",
                "KV/Range",
                "KV/Txn",
                "Lease/LeaseGrant",
                "Cluster/MemberList",
            ):
                call = channel.unary_unary(f"/etcdserverpb.{method}", None, None)
                with pytest.raises(grpc.RpcError) as refused:
                    call(b"\xff\xff\xff", timeout=5)
                assert refused.value.code() is grpc.StatusCode.INTERNAL
            watch = channel.stream_stream("/etcdserverpb.Watch/Watch", None, None)
            with pytest.raises(grpc.RpcError):
                list(watch(iter([b"\xff\xff"]), timeout=5))
            kv = rpc_pb2_grpc.KVStub(channel)
            with pytest.raises(grpc.RpcError) as refused:
                kv.Put(rpc_pb2.PutRequest(key=b"k", value=b"v" * (1536 * 1024 + 1)), timeout=5)
            assert refused.value.code() is grpc.StatusCode.INVALID_ARGUMENT
            assert refused.value.details() == "etcdserver: request is too large"
            with pytest.raises(grpc.RpcError) as refused:
                kv.Range(rpc_pb2.RangeRequest(key=b"k", sort_order=7), timeout=5)  # type: ignore[arg-type]
            assert refused.value.details() == "etcdserver: invalid sort option"
            assert kv.Put(rpc_pb2.PutRequest(key=b"k"), timeout=5).header.revision == 2

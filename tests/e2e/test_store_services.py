"""What clients other than etcdctl rely on: reflection, health, long ranges, required leaders."""

import subprocess
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import grpc
import pytest

from kubraft.pb.etcdserverpb import rpc_pb2, rpc_pb2_grpc
from tests.e2e.store_cluster import TOOLS, StoreCluster, wait_until

pytestmark = pytest.mark.e2e

COUNT = 4500
# What clientv3.WithRequireLeader sends.
REQUIRE_LEADER = (("hasleader", "true"),)


@pytest.fixture(scope="module")
def cluster(tmp_path_factory: pytest.TempPathFactory) -> Iterator[StoreCluster]:
    with StoreCluster(tmp_path_factory.mktemp("services")) as cluster:
        cluster.start()
        cluster.wait_ready()
        yield cluster


def grpcurl(cluster: StoreCluster, at: str, *arguments: str) -> str:
    files = {"-cacert": "ca.crt", "-cert": "store-client.crt", "-key": "store-client.key"}
    tls = [part for flag, file in files.items() for part in (flag, str(cluster.pki / file))]
    done = subprocess.run(
        [str(TOOLS / "grpcurl"), *tls, *_with_address(cluster.address(at), arguments)],
        capture_output=True,
        text=True,
        timeout=30,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    return done.stdout


def _with_address(address: str, arguments: tuple[str, ...]) -> list[str]:
    """The address stands before what is asked for: flags, address, verb or method, symbol."""
    first = next((i for i, word in enumerate(arguments) if word in {"list", "describe"}), -1)
    return [*arguments[:first], address, *arguments[first:]]


def test_reflection_and_health_serve_grpcurl(cluster: StoreCluster) -> None:
    listed = grpcurl(cluster, "store-1", "list").split()
    assert set(listed) == {
        *(f"etcdserverpb.{name}" for name in ("Auth", "Cluster", "KV", "Lease", "Maintenance")),
        *("etcdserverpb.Watch", "v3electionpb.Election", "v3lockpb.Lock"),
        *("grpc.health.v1.Health", "grpc.reflection.v1alpha.ServerReflection"),
    }
    for service in listed:
        assert f"service {service.rpartition('.')[2]} {{" in grpcurl(
            cluster, "store-1", "describe", service
        )
    message = grpcurl(cluster, "store-1", "describe", "etcdserverpb.RangeRequest")
    assert "int64 max_create_revision = 13;" in message

    def is_serving() -> bool:
        return "SERVING" in grpcurl(cluster, "store-1", "grpc.health.v1.Health/Check")

    wait_until(is_serving, "health")
    # "a" and "b" in base64.
    put = grpcurl(cluster, "store-1", "-d", '{"key":"YQ==","value":"Yg=="}', "etcdserverpb.KV/Put")
    assert '"revision"' in put


def test_a_long_range_is_the_same_at_one_revision_whole_or_in_parts(cluster: StoreCluster) -> None:
    keys = [b"long/%05d" % number for number in range(COUNT)]
    with cluster.channel("store-0") as channel:
        kv = rpc_pb2_grpc.KVStub(channel)
        for first in range(0, COUNT, 100):
            puts = [
                rpc_pb2.RequestOp(request_put=rpc_pb2.PutRequest(key=key, value=key))
                for key in keys[first : first + 100]
            ]
            then = kv.Txn(rpc_pb2.TxnRequest(success=puts), timeout=10).header.revision
        whole = rpc_pb2.RangeRequest(key=b"long/", range_end=b"long0")
        response = kv.Range(whole, timeout=10)
        assert [entry.key for entry in response.kvs] == keys
        assert all(entry.value == entry.key for entry in response.kvs)
        assert (response.count, response.more, response.header.revision) == (COUNT, False, then)
        part = rpc_pb2.RangeRequest(
            key=b"long/", range_end=b"long0", limit=3000, keys_only=True, revision=then
        )
        kv.DeleteRange(rpc_pb2.DeleteRangeRequest(key=keys[0]), timeout=10)
        response = kv.Range(part, timeout=10)
        assert [entry.key for entry in response.kvs] == keys[:3000]
        assert not any(entry.value for entry in response.kvs)
        assert (response.count, response.more) == (COUNT, True)
        response = kv.Range(whole, timeout=10)
        assert (len(response.kvs), response.count) == (COUNT - 1, COUNT - 1)


def test_calls_that_require_a_leader_are_refused_without_one(tmp_path: Path) -> None:
    with StoreCluster(tmp_path, members=2, tls=False) as cluster:
        cluster.start()
        cluster.wait_ready()
        survivor, other = cluster.names
        with cluster.channel(survivor) as channel:
            watch = rpc_pb2_grpc.WatchStub(channel)
            create = rpc_pb2.WatchCreateRequest(key=b"k")
            requests = iter([rpc_pb2.WatchRequest(create_request=create)])
            stream: Any = watch.Watch(requests, metadata=REQUIRE_LEADER, timeout=30)
            assert next(stream).created
            cluster.kill(other)
            with pytest.raises(grpc.RpcError) as ended:
                next(stream)
            assert ended.value.code() is grpc.StatusCode.UNAVAILABLE
            assert ended.value.details() == "etcdserver: no leader"
            kv = rpc_pb2_grpc.KVStub(channel)
            local = rpc_pb2.RangeRequest(key=b"k", serializable=True)
            assert kv.Range(local, timeout=5).count == 0
            with pytest.raises(grpc.RpcError) as refused:
                kv.Range(local, metadata=REQUIRE_LEADER, timeout=5)
            assert refused.value.details() == "etcdserver: no leader"

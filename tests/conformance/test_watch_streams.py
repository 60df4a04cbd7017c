"""How watches are cut into responses and kept informed: the same claims of etcd and of ours."""

import queue
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import grpc
import pytest

from kubraft.pb.etcdserverpb import rpc_pb2 as pb
from kubraft.pb.etcdserverpb import rpc_pb2_grpc
from tests.e2e.store_cluster import StoreCluster

pytestmark = [pytest.mark.e2e, pytest.mark.xdist_group("watch streams")]

REQUEST_BYTES_MAX = 64 << 10
# The limit on requests, and what etcd adds for gRPC.
RESPONSE_BYTES_MAX = REQUEST_BYTES_MAX + (512 << 10)
ANSWER_S = 30.0
INTERVAL = "watch-progress-notify-interval=500ms"


@pytest.fixture(scope="module", params=["etcd", "kubraft"])
def channel(
    request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[grpc.Channel]:
    etcd = request.param == "etcd"
    flags = (f"--max-request-bytes={REQUEST_BYTES_MAX}", f"--experimental-{INTERVAL}")
    directory: Path = tmp_path_factory.mktemp("streams")
    with StoreCluster(directory, members=1, tls=False, etcd=etcd, flags=flags) as cluster:
        cluster.start()
        cluster.wait_ready()
        with cluster.channel("store-0") as channel:
            yield channel


class Stream:
    """A watch stream whose responses are taken one by one."""

    def __init__(self, channel: grpc.Channel) -> None:
        self._requests: queue.Queue[pb.WatchRequest | None] = queue.Queue()
        self._responses: queue.Queue[pb.WatchResponse] = queue.Queue()
        self._call: Any = rpc_pb2_grpc.WatchStub(channel).Watch(iter(self._requests.get, None))
        self._reader = threading.Thread(target=self._read, daemon=True)
        self._reader.start()

    def _read(self) -> None:
        try:
            for response in self._call:
                self._responses.put(response)
        except grpc.RpcError:
            pass  # the test is over

    def create(self, key: bytes, **options: Any) -> pb.WatchResponse:
        request = pb.WatchCreateRequest(key=key, **options)
        self._requests.put(pb.WatchRequest(create_request=request))
        return self.receive()

    def receive(self) -> pb.WatchResponse:
        return self._responses.get(timeout=ANSWER_S)

    def close(self) -> None:
        self._requests.put(None)
        self._call.cancel()
        self._reader.join(10)


@pytest.fixture
def stream(channel: grpc.Channel) -> Iterator[Stream]:
    stream = Stream(channel)
    yield stream
    stream.close()


def put(channel: grpc.Channel, *keys: bytes, size: int = 1) -> int:
    """One txn; the revision of it."""
    puts = [pb.RequestOp(request_put=pb.PutRequest(key=key, value=b"v" * size)) for key in keys]
    response = rpc_pb2_grpc.KVStub(channel).Txn(pb.TxnRequest(success=puts), timeout=ANSWER_S)
    return int(response.header.revision)


def test_a_large_response_comes_in_fragments_if_asked(
    channel: grpc.Channel, stream: Stream
) -> None:
    revisions = [put(channel, b"f/%d" % number, size=60_000) for number in range(12)]
    options = {"range_end": b"f0", "start_revision": revisions[0]}
    assert stream.create(b"f/", fragment=True, **options).created
    parts = [stream.receive()]
    while sum(len(part.events) for part in parts) < 12:
        parts.append(stream.receive())
    assert len(parts) > 1
    assert all(part.ByteSize() < RESPONSE_BYTES_MAX for part in parts)
    assert [part.fragment for part in parts] == [True] * (len(parts) - 1) + [False]
    assert {part.header.revision for part in parts} == {revisions[-1]}
    assert stream.create(b"f/", **options).created
    whole = stream.receive()
    assert (len(whole.events), whole.fragment) == (12, False)


def test_idle_watches_that_ask_for_it_are_told_how_far_they_are(
    channel: grpc.Channel, stream: Stream
) -> None:
    told = stream.create(b"p/told", progress_notify=True).watch_id
    stream.create(b"p/silent")
    now = put(channel, b"p/other")
    while True:
        response = stream.receive()
        assert (response.watch_id, len(response.events), response.canceled) == (told, 0, False)
        if response.header.revision == now:
            break


def test_many_watches_share_a_stream(channel: grpc.Channel, stream: Stream) -> None:
    count = 200
    ids = [stream.create(b"m/%d" % number).watch_id for number in range(count)]
    assert ids == list(range(count))
    everything = stream.create(b"m/", range_end=b"m0", watch_id=7000)
    assert everything.watch_id == 7000
    revision = put(channel, *[b"m/%d" % number for number in range(0, count, 2)])
    seen: dict[int, list[bytes]] = {}
    while sum(map(len, seen.values())) < count:
        response = stream.receive()
        assert response.header.revision == revision
        seen.setdefault(response.watch_id, []).extend(e.kv.key for e in response.events)
    assert seen.pop(7000) == [b"m/%d" % number for number in range(0, count, 2)]
    assert seen == {number: [b"m/%d" % number] for number in range(0, count, 2)}

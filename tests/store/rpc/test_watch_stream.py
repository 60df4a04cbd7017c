"""A watch stream without gRPC: slow clients, catching up, progress, fragments, atomic revisions."""

from collections.abc import Iterator
from pathlib import Path

import pytest

from kubraft.pb.etcdserverpb import rpc_pb2
from store.mvcc.watch import WatchHub
from store.mvcc.wire import field_bytes, field_varint
from store.rpc import watch_stream
from store.rpc.watch_stream import WatchStream
from tests.store.mvcc.machine_driver import MachineDriver


class Watching:
    """A machine, a hub and one stream, whose client reads when `read` is called."""

    def __init__(self, directory: Path, *, response_bytes_max: int = 1 << 20) -> None:
        self.driver = MachineDriver(directory)
        store = self.driver.machine.store
        self.now = 0.0
        self.hub = WatchHub(store.find_at)
        self.driver.machine.on_events = lambda events: self.hub.notify(events, store.revision)
        self.stream = WatchStream(
            store,
            self.hub,
            lambda revision: field_bytes(1, field_varint(3, revision)),
            progress_interval_s=10.0,
            response_bytes_max=response_bytes_max,
            now=lambda: self.now,
        )

    def create(self, **fields: object) -> None:
        request = rpc_pb2.WatchCreateRequest(**fields)  # type: ignore[arg-type]
        self.stream.receive(rpc_pb2.WatchRequest(create_request=request))

    def read(self) -> list[rpc_pb2.WatchResponse]:
        """All that the client can read now."""
        responses = []
        while True:
            data = self.stream.next_response()
            if data is not None:
                responses.append(rpc_pb2.WatchResponse.FromString(data))
            elif self.stream.is_lagging:
                self.stream.catch_up()
            else:
                return responses

    def close(self) -> None:
        self.stream.close()
        self.driver.close()


@pytest.fixture
def watching(tmp_path: Path) -> Iterator[Watching]:
    watching = Watching(tmp_path / "state")
    yield watching
    watching.close()


def revisions(responses: list[rpc_pb2.WatchResponse]) -> list[int]:
    return [event.kv.mod_revision for response in responses for event in response.events]


def test_a_client_that_does_not_read_costs_bounded_memory_and_misses_nothing(
    watching: Watching, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(watch_stream, "BACKLOG_BYTES_MAX", 4000)
    monkeypatch.setattr(watch_stream, "STEP_EVENTS", 7)
    watching.create(key=b"k", range_end=b"l")
    for number in range(500):
        watching.driver.put(f"k{number}", "v" * 20)
    assert watching.stream._outbox_bytes < 5000
    responses = watching.read()
    assert revisions(responses) == list(range(2, 502))
    watching.driver.put("k", "live again")
    assert revisions(watching.read()) == [502]


def test_the_events_of_one_revision_come_in_one_response(
    watching: Watching, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(watch_stream, "STEP_EVENTS", 2)
    puts = [
        rpc_pb2.RequestOp(request_put=rpc_pb2.PutRequest(key=b"k%d" % number))
        for number in range(10)
    ]
    for _ in range(3):
        watching.driver.reply(rpc_pb2.TxnRequest(success=puts))
    watching.create(key=b"\0", range_end=b"\0", start_revision=1)
    responses = [response for response in watching.read() if response.events]
    assert [{event.kv.mod_revision for event in r.events} for r in responses] == [{2}, {3}, {4}]


def test_large_responses_are_cut_into_fragments_on_request(tmp_path: Path) -> None:
    watching = Watching(tmp_path / "state", response_bytes_max=1000)
    for number in range(10):
        watching.driver.put(f"k{number}", "v" * 300)
    watching.create(key=b"k", range_end=b"l", start_revision=1, fragment=True)
    responses = [response for response in watching.read() if response.events]
    assert len(responses) > 2
    assert [response.fragment for response in responses] == [True] * (len(responses) - 1) + [False]
    assert revisions(responses) == list(range(2, 12))
    watching.close()


def test_a_compaction_that_overtakes_a_slow_watch_ends_it(watching: Watching) -> None:
    watching.driver.put("k", "1")
    watching.create(key=b"k", start_revision=1)
    watching.driver.put("k", "2")
    watching.driver.reply(rpc_pb2.CompactionRequest(revision=3))
    created, canceled = watching.read()
    assert created.created
    assert (canceled.canceled, canceled.compact_revision) == (True, 3)


def test_a_watch_from_the_compacted_revision_itself_sees_its_events(watching: Watching) -> None:
    watching.driver.put("k", "1")
    watching.driver.reply(rpc_pb2.DeleteRangeRequest(key=b"k"))
    watching.driver.put("other", "1")
    watching.driver.reply(rpc_pb2.CompactionRequest(revision=3))
    watching.create(key=b"k", start_revision=3)
    _, response = watching.read()
    assert [(e.type, e.kv.mod_revision) for e in response.events] == [(1, 3)]


def test_idle_watches_that_ask_for_it_are_told_how_far_they_are(watching: Watching) -> None:
    watching.create(key=b"k", progress_notify=True)
    watching.create(key=b"quiet")
    watching.read()
    for _ in range(2):
        watching.now += 11.0
        watching.stream.notify_progress()
    watching.driver.put("elsewhere", "1")
    watching.now += 11.0
    watching.stream.notify_progress()
    responses = watching.read()
    assert {response.watch_id for response in responses} == {0}
    assert responses[-1].header.revision == 2
    assert not responses[-1].events


def test_progress_on_request_comes_after_what_it_speaks_for(watching: Watching) -> None:
    watching.driver.put("k", "1")
    watching.create(key=b"k", start_revision=1)
    watching.stream.receive(rpc_pb2.WatchRequest(progress_request=rpc_pb2.WatchProgressRequest()))
    _, event, progress = watching.read()
    assert revisions([event]) == [2]
    assert (progress.watch_id, progress.header.revision) == (-1, 2)


def test_a_replaced_state_is_read_from_history(watching: Watching, tmp_path: Path) -> None:
    watching.create(key=b"k", range_end=b"l")
    watching.driver.put("k1", "1")
    watching.read()
    other = MachineDriver(tmp_path / "other")
    for number in range(1, 6):
        other.put(f"k{number}", "1")
    other.machine.persist()
    other.machine.save_snapshot(tmp_path / "snapshot")
    other.close()
    watching.driver.machine.on_replaced = watching.hub.desync_all
    watching.driver.machine.install_snapshot(tmp_path / "snapshot")
    assert revisions(watching.read()) == [3, 4, 5, 6]


@pytest.mark.parametrize(
    ("fields", "reason"),
    [
        pytest.param({"key": b"b", "range_end": b"a"}, "mvcc: watcher range is empty", id="range"),
        pytest.param(
            {"key": b"b", "watch_id": 5},
            "mvcc: duplicate watch ID provided on the WatchStream",
            id="id twice",
        ),
        pytest.param(
            {"key": b"b", "start_revision": -1},
            "etcdserver: mvcc: required revision has been compacted",
            id="negative start",
        ),
    ],
)
def test_a_watch_that_cannot_be_made_is_refused(
    watching: Watching, fields: dict[str, object], reason: str
) -> None:
    watching.create(key=b"x", watch_id=5)
    watching.create(**fields)
    _, refused = watching.read()
    assert (refused.watch_id, refused.created, refused.canceled) == (-1, True, True)
    assert refused.cancel_reason == reason


def test_a_future_start_waits_for_its_revision(watching: Watching) -> None:
    watching.create(key=b"k", start_revision=4)
    for value in "123":
        watching.driver.put("k", value)
    assert revisions(watching.read()) == [4]


def test_unknown_requests_are_ignored(watching: Watching) -> None:
    watching.stream.receive(rpc_pb2.WatchRequest())
    assert watching.read() == []

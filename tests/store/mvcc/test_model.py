"""The machine and the plain model are told apart by nothing, through crashes and compactions."""

import contextlib
import tempfile
from pathlib import Path

import pytest
from hypothesis import HealthCheck, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, rule

from kubraft.pb.etcdserverpb import rpc_pb2
from store.mvcc import compaction, errors
from store.mvcc.hash import hash_kv
from tests.conformance import model
from tests.store.mvcc.machine_driver import MachineDriver

KEYS = st.sampled_from([b"a", b"aa", b"ab", b"b", b"c", b"\xff"])
VALUES = st.binary(max_size=3)
# As requests carry them; the model takes None for one key and empty for no upper bound.
ENDS = st.sampled_from([b"", b"\0", b"ab", b"b", b"c", b"\xff"])


def model_end(end: bytes) -> bytes | None:
    if not end:
        return None
    return b"" if end == b"\0" else end


class Comparison(RuleBasedStateMachine):
    def __init__(self) -> None:
        super().__init__()
        self._stack = contextlib.ExitStack()
        directory = self._stack.enter_context(tempfile.TemporaryDirectory())
        self.driver = MachineDriver(Path(directory) / "one")
        self.twin = MachineDriver(Path(directory) / "two")
        self.model = model.KvModel()

    def teardown(self) -> None:
        self.driver.close()
        self.twin.close()
        self._stack.close()

    def both(self, request: object) -> object:
        result = self.driver.apply(request)  # type: ignore[arg-type]
        twin = self.twin.apply(request)  # type: ignore[arg-type]
        assert twin == result or type(twin) is type(result)
        return result

    @rule(key=KEYS, value=VALUES)
    def put(self, key: bytes, value: bytes) -> None:
        self.both(rpc_pb2.PutRequest(key=key, value=value))
        self.model.put(key, value)

    @rule(key=KEYS, end=ENDS)
    def delete(self, key: bytes, end: bytes) -> None:
        self.both(rpc_pb2.DeleteRangeRequest(key=key, range_end=end))
        self.model.delete(key, model_end(end))

    @rule(puts=st.dictionaries(KEYS, VALUES, max_size=3), deletes=st.lists(KEYS, max_size=2))
    def txn(self, puts: dict[bytes, bytes], deletes: list[bytes]) -> None:
        doomed = [key for key in deletes if key not in puts]
        operations = [
            rpc_pb2.RequestOp(request_delete_range=rpc_pb2.DeleteRangeRequest(key=key))
            for key in doomed
        ]
        operations += [
            rpc_pb2.RequestOp(request_put=rpc_pb2.PutRequest(key=key, value=value))
            for key, value in puts.items()
        ]
        self.both(rpc_pb2.TxnRequest(success=operations))
        self.model.write(puts, doomed)

    @rule(back=st.integers(-1, 6), steps=st.integers(0, 3))
    def compact(self, back: int, steps: int) -> None:
        revision = self.model.revision - back
        result = self.both(rpc_pb2.CompactionRequest(revision=revision))
        try:
            self.model.compact(revision)
        except model.CompactedError:
            assert isinstance(result, errors.CompactedError)
        except model.FutureRevisionError:
            assert isinstance(result, errors.FutureRevisionError)
        # Members clear up at different speeds.
        compaction.step(self.driver.machine.store, keys=steps)

    @rule()
    def flush(self) -> None:
        assert self.driver.machine.persist() == self.driver.machine.applied_index()

    @rule()
    def crash(self) -> None:
        self.driver.reopen()

    @rule(key=KEYS, end=ENDS, back=st.integers(-1, 8))
    def read_the_past(self, key: bytes, end: bytes, back: int) -> None:
        revision = self.model.revision - back
        if revision <= 0:
            return
        request = rpc_pb2.RangeRequest(key=key, range_end=end, revision=revision)
        try:
            expected = self.model.range(key, model_end(end), revision)
        except model.CompactedError:
            with pytest.raises(errors.CompactedError):
                self.driver.range(request)
        except model.FutureRevisionError:
            with pytest.raises(errors.FutureRevisionError):
                self.driver.range(request)
        else:
            assert_same(self.driver.range(request), expected)

    @invariant()
    def the_present_is_the_same(self) -> None:
        request = rpc_pb2.RangeRequest(key=b"\0", range_end=b"\0")
        response = self.driver.range(request)
        assert_same(response, self.model.range(b"\0", b""))
        assert self.driver.machine.store.revision == self.model.revision

    @invariant()
    def history_is_the_same(self) -> None:
        store = self.driver.machine.store
        start = max(store.compacted + 1, 2)
        seen = [(event.revision, event.key, event.is_delete) for event in store.history(start)]
        assert sorted(seen) == sorted(self.model.events(start))

    @invariant()
    def members_have_the_same_hash(self) -> None:
        assert hash_kv(self.driver.machine.store) == hash_kv(self.twin.machine.store)


def assert_same(response: rpc_pb2.RangeResponse, expected: list[tuple[bytes, model.Value]]) -> None:
    seen = [
        (kv.key, model.Value(kv.value, kv.create_revision, kv.mod_revision, kv.version, kv.lease))
        for kv in response.kvs
    ]
    assert seen == expected
    assert response.count == len(expected)


TestComparison = Comparison.TestCase
TestComparison.settings = settings(
    max_examples=60,
    stateful_step_count=40,
    deadline=None,
    suppress_health_check=[HealthCheck.too_slow],
)

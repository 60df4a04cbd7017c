"""Commands: unknown or damaged ones are refused alike on every member, and change nothing."""

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from kubraft.pb.etcdserverpb import rpc_pb2
from store.mvcc.command import NOBODY, Kind, decode, encode
from store.mvcc.errors import MalformedCommandError
from store.mvcc.store import Reply
from tests.store.mvcc.machine_driver import MachineDriver


@pytest.mark.parametrize(
    "data",
    [
        pytest.param(b"", id="empty"),
        pytest.param(b"\x01", id="no kind"),
        pytest.param(b"\x02\x01", id="later version"),
        pytest.param(b"\x01\xff", id="unknown kind"),
        pytest.param(b"\x01\x01\x0a\xff", id="request cut short"),
    ],
)
def test_a_malformed_command_is_refused(driver: MachineDriver, data: bytes) -> None:
    assert isinstance(driver.apply_data(data), MalformedCommandError)
    assert driver.machine.store.revision == 1
    assert driver.machine.applied_index() == (1, 1)


@settings(suppress_health_check=[HealthCheck.function_scoped_fixture], deadline=None)
@given(kind=st.sampled_from(Kind), data=st.binary(max_size=60))
def test_no_bytes_crash_the_machine(driver: MachineDriver, kind: Kind, data: bytes) -> None:
    result = driver.apply_data(encode(kind, data))
    assert isinstance(result, Reply | Exception)


def test_what_is_encoded_is_decoded() -> None:
    request = rpc_pb2.PutRequest(key=b"k", value=b"v", lease=-5)
    assert decode(encode(Kind.PUT, request.SerializeToString())) == (Kind.PUT, request, NOBODY)

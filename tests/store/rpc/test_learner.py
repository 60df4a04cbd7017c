"""A learner is one from its start on, also before its log says so."""

from pathlib import Path

import pytest

from kubraft.pb.etcdserverpb import rpc_pb2 as pb
from store.raft.membership import as_learner
from store.rpc import maintenance, put
from store.rpc.errors import NOT_FOR_LEARNERS, RefusedError
from tests.store.rpc.one_member import OneMember

PUT = pb.PutRequest(key=b"k").SerializeToString()
URL = "http://m1:2380"


@pytest.mark.parametrize(
    ("announced", "members", "learns"),
    [
        pytest.param(as_learner(URL), (2, 3), True, id="its log does not say so yet"),
        pytest.param(URL, (2, 3), False, id="a voter whose log does not say so yet"),
        pytest.param(as_learner(URL), (1, 2, 3), False, id="promoted since"),
        pytest.param("", (1, 2, 3), False, id="of the first members"),
    ],
)
async def test_a_member_is_what_the_others_said_until_its_log_says_it(
    tmp_path: Path, announced: str, members: tuple[int, ...], *, learns: bool
) -> None:
    member = OneMember(tmp_path / "state", members=members, announced=announced)
    told = await maintenance.status(member.services, b"")
    assert pb.StatusResponse.FromString(told).isLearner == learns
    if learns:
        with pytest.raises(RefusedError, match=NOT_FOR_LEARNERS):
            await put.put(member.services, PUT)
    else:
        await put.put(member.services, PUT)
    member.driver.close()

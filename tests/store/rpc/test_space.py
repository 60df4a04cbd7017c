"""Where growth is refused, by --quota-backend-bytes."""

from pathlib import Path

import pytest

from kubraft.pb.etcdserverpb import rpc_pb2 as pb
from store.mvcc.errors import NoSpaceError
from store.rpc import maintenance, put
from store.rpc.service import ServiceOptions
from tests.store.rpc.one_member import OneMember

PUT = pb.PutRequest(key=b"k", value=b"v").SerializeToString()


async def status(member: OneMember) -> pb.StatusResponse:
    return pb.StatusResponse.FromString(await maintenance.status(member.services, b""))


@pytest.mark.parametrize("quota", [1, -1])
async def test_a_negative_quota_is_none(tmp_path: Path, quota: int) -> None:
    member = OneMember(tmp_path / "state", ServiceOptions(quota_bytes=quota))
    member.driver.put("k", "v" * 100)
    if quota > 0:
        with pytest.raises(NoSpaceError):
            await put.put(member.services, PUT)
    else:
        await put.put(member.services, PUT)
    told = await status(member)
    assert told.dbSizeQuota == quota
    assert bool(told.errors) == (quota > 0)
    member.driver.close()

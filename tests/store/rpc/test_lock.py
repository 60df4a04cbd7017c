"""Who is told that it has the lock, or leads, does, whatever its member heard meanwhile."""

import asyncio
from collections.abc import Iterator
from pathlib import Path

import grpc
import pytest

from kubraft.pb.etcdserverpb import rpc_pb2 as pb
from kubraft.pb.v3electionpb.v3election_pb2 import CampaignRequest, CampaignResponse
from kubraft.pb.v3lockpb.v3lock_pb2 import LockRequest, LockResponse
from store.raft.engine import NoLeaderError
from store.rpc import election, lock
from store.rpc.errors import RefusedError
from tests.store.rpc.one_member import OneMember

HOLDER, WAITER = 0x10, 0x20


@pytest.fixture
def member(tmp_path: Path) -> Iterator[OneMember]:
    member = OneMember(tmp_path / "state")
    for lease in (HOLDER, WAITER):
        member.driver.reply(pb.LeaseGrantRequest(ID=lease, TTL=60))
    yield member
    member.driver.close()


async def take(member: OneMember, lease: int) -> bytes:
    request = LockRequest(name=b"job", lease=lease)
    data = await lock.lock(member.services, request.SerializeToString())
    return LockResponse.FromString(data).key


async def begin_to_wait(member: OneMember) -> asyncio.Task[bytes]:
    assert await take(member, HOLDER) == b"job/10"
    waiting = asyncio.create_task(take(member, WAITER))
    await waits(member)
    return waiting


async def waits(member: OneMember) -> None:
    """Until somebody waits for a turn."""
    async with asyncio.timeout(30):
        while member.services.hub.count() == 0:  # noqa: ASYNC110  # no event for it
            await asyncio.sleep(0)


def holder_ends() -> pb.DeleteRangeRequest:
    return pb.DeleteRangeRequest(key=b"job/10")


async def test_the_next_in_line_gets_it(member: OneMember) -> None:
    waiting = await begin_to_wait(member)
    member.driver.reply(holder_ends())
    assert await waiting == b"job/20"


@pytest.mark.parametrize(
    "lost",
    [
        pytest.param([pb.LeaseRevokeRequest(ID=WAITER)], id="lease ended"),
        pytest.param([pb.DeleteRangeRequest(key=b"job/20")], id="key deleted"),
        pytest.param(
            [
                pb.DeleteRangeRequest(key=b"job/20"),
                pb.PutRequest(key=b"job/30"),
                pb.PutRequest(key=b"job/20", lease=WAITER),
            ],
            id="key put anew, behind another",
        ),
    ],
)
async def test_a_key_lost_where_the_member_did_not_hear_of_it_is_not_the_lock(
    member: OneMember, lost: list[pb.PutRequest]
) -> None:
    waiting = await begin_to_wait(member)
    # The quorum has gone further than this member, which hears the first of it now.
    member.log.elsewhere(holder_ends(), *lost)
    member.log.hear(1)
    with pytest.raises(RefusedError) as refused:
        await waiting
    assert refused.value.refusal == (grpc.StatusCode.UNKNOWN, "mutex: session is expired")


async def campaign(member: OneMember, lease: int) -> bytes:
    request = CampaignRequest(name=b"job", lease=lease, value=b"v")
    data = await election.campaign(member.services, request.SerializeToString())
    return CampaignResponse.FromString(data).leader.key


@pytest.mark.parametrize("lost", [False, True])
async def test_nobody_is_elected_whose_key_is_gone(member: OneMember, *, lost: bool) -> None:
    assert await campaign(member, HOLDER) == b"job/10"
    waiting = asyncio.create_task(campaign(member, WAITER))
    await waits(member)
    member.log.elsewhere(holder_ends(), *([pb.LeaseRevokeRequest(ID=WAITER)] if lost else []))
    member.log.hear(1)
    if lost:
        with pytest.raises(RefusedError, match="election: not leader"):
            await waiting
    else:
        assert await waiting == b"job/20"


async def test_without_a_quorum_nobody_gets_it(member: OneMember) -> None:
    waiting = await begin_to_wait(member)
    member.driver.reply(holder_ends())
    member.log.has_quorum = False
    with pytest.raises(NoLeaderError):
        await waiting

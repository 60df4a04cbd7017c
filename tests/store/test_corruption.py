"""Whose history differs: the judgement, and members that ask each other."""

import asyncio
from collections.abc import Iterator
from pathlib import Path

import pytest

from kubraft.pb.etcdserverpb import rpc_pb2 as pb
from store.corruption import NOBODYS, Finding, MemberHash, ahead, compare
from store.corruption_check import CorruptionCheck, CorruptMemberError
from store.mvcc import compaction
from store.raft.engine import NoLeaderError, Role
from tests.store.rpc.one_member import OneMember

SAME, OTHER, THIRD = 1, 2, 3


def hashes(*figures: int, compacted: dict[int, int] | None = None) -> list[MemberHash]:
    """One of each member from 1 on."""
    return [
        MemberHash(member, figure, 10, (compacted or {}).get(member, -1), 10)
        for member, figure in enumerate(figures, 1)
    ]


@pytest.mark.parametrize(
    ("found", "members", "blamed"),
    [
        pytest.param(hashes(SAME, SAME, SAME), 3, [], id="equal"),
        pytest.param(hashes(SAME, SAME, OTHER), 3, [3], id="most are right"),
        pytest.param(hashes(OTHER, SAME, SAME), 3, [1], id="the one that asks is wrong"),
        pytest.param(hashes(SAME, OTHER, SAME, THIRD, SAME), 5, [2, 4], id="two of five"),
        pytest.param(hashes(SAME, OTHER), 3, [NOBODYS], id="one does not answer"),
        pytest.param(hashes(SAME, OTHER, THIRD), 3, [NOBODYS], id="all differ"),
        pytest.param(hashes(SAME, SAME, OTHER, OTHER), 4, [NOBODYS], id="two and two"),
        pytest.param(hashes(SAME, OTHER, compacted={2: 5}), 2, [], id="compacted elsewhere"),
        pytest.param(hashes(SAME), 3, [], id="nobody answers"),
    ],
)
def test_who_is_blamed(found: list[MemberHash], members: int, blamed: list[int]) -> None:
    assert [finding.member for finding in compare(found, members=members)] == blamed


def test_nobody_is_ahead_of_the_leader() -> None:
    found = [MemberHash(1, SAME, 10, 4, 12), MemberHash(2, SAME, 10, 6, 11)]
    assert ahead(found, newest=12, compacted=6) == []
    assert ahead(found, newest=11, compacted=5) == [
        Finding(1, "revision 12 is above the leader's 11"),
        Finding(2, "compacted revision 6 is above the leader's 5"),
    ]


class Trio:
    """Three members in memory that can ask each other; `apply` is what they all agree on."""

    def __init__(self, directory: Path) -> None:
        numbers = (1, 2, 3)
        self.members = {
            number: OneMember(directory / str(number), member=number, members=numbers)
            for number in numbers
        }
        self.checks = {
            number: CorruptionCheck(
                member.log, member.driver.machine, member_id=number, ask=self._ask
            )
            for number, member in self.members.items()
        }
        self.gone: set[int] = set()

    async def _ask(self, peer: int, question: bytes) -> bytes:
        await asyncio.sleep(0)
        if peer in self.gone:
            raise ConnectionRefusedError(111, "Connection refused")
        return await self.checks[peer].answer(question)

    def put(self, key: str, value: str, *at: int) -> None:
        for number in at or self.members:
            self.members[number].driver.put(key, value)

    def compact(self, revision: int, *at: int) -> None:
        for number in at or self.members:
            self.members[number].driver.reply(pb.CompactionRequest(revision=revision))

    def alarms(self, member: int) -> list[int]:
        machine = self.members[member].driver.machine
        return [alarm.memberID for alarm in machine.alarms.get(pb.CORRUPT)]


@pytest.fixture
def trio(tmp_path: Path) -> Iterator[Trio]:
    trio = Trio(tmp_path)
    for number in range(20):
        trio.put(f"k{number % 5}", str(number))
    yield trio
    for member in trio.members.values():
        member.driver.close()


async def test_equal_members_raise_no_alarm_however_far_clearing_up_is(trio: Trio) -> None:
    assert await trio.checks[1].check() == []
    trio.compact(12)
    while compaction.step(trio.members[2].driver.machine.store):
        pass
    assert await trio.checks[1].check() == []
    assert await trio.checks[1].check(12) == []
    # One has not heard of the last of it yet.
    trio.put("late", "x", 1, 3)
    assert await trio.checks[1].check() == []
    assert trio.alarms(1) == []
    for check in trio.checks.values():
        await check.check_start()


@pytest.mark.parametrize("leader", [1, 3])
async def test_the_member_that_differs_gets_the_alarm_whoever_leads(
    trio: Trio, leader: int
) -> None:
    trio.put("k", "as agreed", 1, 2)
    trio.put("k", "another", 3)
    findings = await trio.checks[leader].check()
    assert [finding.member for finding in findings] == [3]
    assert trio.alarms(leader) == [3]
    refused = trio.members[leader].driver.apply(pb.PutRequest(key=b"k"))
    assert str(refused) == "etcdserver: corrupt cluster"


async def test_a_difference_is_found_behind_a_compaction(trio: Trio) -> None:
    trio.put("k", "as agreed", 1, 2)
    trio.put("k", "another", 3)
    trio.put("k", "later")
    trio.compact(22)
    assert [finding.member for finding in await trio.checks[1].check(22)] == [3]


async def test_a_member_that_differs_from_all_does_not_start(trio: Trio) -> None:
    trio.put("k", "as agreed", 1, 2)
    trio.put("k", "another", 3)
    with pytest.raises(CorruptMemberError, match="3 found data inconsistency with peers"):
        await trio.checks[3].check_start()
    # Whom a majority agrees with starts; who knows of none does not.
    await trio.checks[1].check_start()
    trio.gone = {2}
    with pytest.raises(CorruptMemberError, match="none has most"):
        await trio.checks[1].check_start()
    trio.gone = {2, 3}
    await trio.checks[1].check_start()


async def test_without_a_quorum_nobody_is_blamed(trio: Trio) -> None:
    trio.put("k", "another", 3)
    trio.members[1].log.has_quorum = False
    with pytest.raises(NoLeaderError):
        await trio.checks[1].check()
    assert trio.alarms(1) == []


async def test_only_a_leader_asks_by_itself(trio: Trio) -> None:
    trio.put("k", "as agreed", 1, 2)
    trio.put("k", "another", 3)
    trio.members[1].log.role = Role.FOLLOWER
    running = [asyncio.create_task(trio.checks[number].run(0.01)) for number in (1, 2)]
    async with asyncio.timeout(30):
        while not trio.alarms(2):  # noqa: ASYNC110  # no event for it
            await asyncio.sleep(0.01)
    assert trio.alarms(1) == []
    for task in running:
        task.cancel()
    await asyncio.gather(*running, return_exceptions=True)


@pytest.mark.parametrize(
    "question", [b"\xff\xff", pb.HashKVRequest(revision=99).SerializeToString()]
)
async def test_what_cannot_be_answered_is_said(trio: Trio, question: bytes) -> None:
    answered = await trio.checks[1].answer(question)
    assert answered[:1] == b"\1"
    assert len(answered) > 1

"""Members compared while they run, or before they serve: hashes asked for, and the alarm raised.

The leader asks all others every so often; a member that starts asks them before anybody can come to
it. Who cannot be asked, or is elsewhere in history, is passed over. Source: etcd,
server/etcdserver (corrupt.go).
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from typing import NoReturn

from google.protobuf.message import DecodeError

from kubraft.log import get_logger
from kubraft.pb.etcdserverpb.rpc_pb2 import (
    CORRUPT,
    AlarmRequest,
    HashKVRequest,
    HashKVResponse,
    ResponseHeader,
)
from store import corruption
from store.corruption import Finding, MemberHash
from store.member_error import cause_of
from store.mvcc import command
from store.mvcc.command import Kind
from store.mvcc.errors import MvccError
from store.mvcc.machine import KvMachine
from store.paced_hash import hash_in_steps
from store.raft.complaints import Complaints
from store.raft.engine import Engine, EngineError, Role
from store.raft.membership import present

log = get_logger("store.corruption")

Ask = Callable[[int, bytes], Awaitable[bytes]]

_ANSWERED = b"\0"
_REFUSED = b"\1"


class CorruptMemberError(Exception):
    """This member's history is not that of the others; one line."""


class NoHashError(Exception):
    """A member could not give the hash; one line."""


class CorruptionCheck:
    """Asks and answers for one member."""

    def __init__(self, engine: Engine, machine: KvMachine, *, member_id: int, ask: Ask) -> None:
        """`ask` puts a question to another member, whose `answer` answers it."""
        self._engine = engine
        self._machine = machine
        self._member_id = member_id
        self._ask = ask
        # One walk through the history at a time.
        self._walking = asyncio.Lock()
        self._complaints = Complaints()
        # Up to where history was compared at a compaction.
        self._compared = 0

    async def answer(self, question: bytes) -> bytes:
        """What a peer is told that asks for a hash."""
        try:
            found = await self._own(HashKVRequest.FromString(question).revision)
        except (MvccError, DecodeError) as error:
            return _REFUSED + str(error).encode()
        response = HashKVResponse(
            header=ResponseHeader(member_id=found.member, revision=found.newest),
            hash=found.figure,
            compact_revision=found.compacted,
            hash_revision=found.revision,
        )
        return _ANSWERED + response.SerializeToString()

    async def check_start(self) -> None:
        """Compare with whoever can be asked, before this member serves.

        Raises:
            CorruptMemberError: they have another history, and no majority has this one.
        """
        hashes = await self._collect(0)
        findings = corruption.compare(hashes, members=len(present(self._engine.members())))
        for finding in findings:
            if finding.member in {self._member_id, corruption.NOBODYS}:
                raise CorruptMemberError(
                    f"{self._member_id:x} found data inconsistency with peers: {finding.cause}"
                )
            log.warning("members differ", member=self._name(finding.member), cause=finding.cause)
        log.info("compared with peers", peers=len(hashes) - 1)

    async def run(self, interval_s: float) -> NoReturn:
        """As the leader, compare all members at the newest revision, every `interval_s`."""
        while True:
            await asyncio.sleep(interval_s)
            if self._engine.status().role is Role.LEADER:
                await self._check(0)

    async def run_after_compactions(self, interval_s: float) -> NoReturn:
        """As the leader, compare all members at the last compaction, if there was a new one."""
        while True:
            await asyncio.sleep(interval_s)
            compacted = self._machine.store.compacted
            if self._engine.status().role is Role.LEADER and compacted > self._compared:
                self._compared = compacted
                await self._check(compacted)

    async def _check(self, revision: int) -> None:
        try:
            await self.check(revision)
        except (EngineError, MvccError) as error:
            self._tell("members not compared", cause=str(error))

    async def check(self, revision: int = 0) -> list[Finding]:
        """Compare the members now, and raise the alarm for those that differ.

        Raises:
            EngineError: no quorum confirmed that this member leads.
            MvccError: history does not reach `revision`.
        """
        hashes = await self._collect(revision)
        # Whatever the others had seen when they answered, this member has seen after it.
        await self._engine.read_index()
        store = self._machine.store
        findings = corruption.compare(hashes, members=len(present(self._engine.members())))
        findings += corruption.ahead(hashes, newest=store.revision, compacted=store.compacted)
        for finding in findings:
            name = self._name(finding.member)
            self._tell("members differ", member=name, cause=finding.cause)
            await self._raise_alarm(finding.member)
        log.debug("members compared", members=len(hashes), differ=len(findings))
        return findings

    def _name(self, member_id: int) -> str:
        told = self._machine.members.get(member_id)
        return told.name if told is not None else f"{member_id:x}"

    def _tell(self, event: str, **fields: str) -> None:
        """Log what is wrong, once a minute."""
        now = asyncio.get_running_loop().time()
        if self._complaints.is_new((event, *fields.values()), now=now):
            log.warning(event, **fields)

    async def _raise_alarm(self, member_id: int) -> None:
        if not self._machine.alarms.has(CORRUPT, member_id):
            alarm = AlarmRequest(action=AlarmRequest.ACTIVATE, memberID=member_id, alarm=CORRUPT)
            await self._engine.propose(command.encode(Kind.ALARM, alarm.SerializeToString()))

    async def _own(self, revision: int) -> MemberHash:
        store = self._machine.store
        async with self._walking:
            run = await hash_in_steps(store, revision)
        return MemberHash(self._member_id, run.figure, run.revision, run.compacted, store.revision)

    async def _collect(self, revision: int) -> list[MemberHash]:
        """The hashes of all members that can tell it, this one's first.

        Raises:
            MvccError: history does not reach `revision` here.
        """
        own = await self._own(revision)
        peers = [member for member in present(self._engine.members()) if member != own.member]
        answers = await asyncio.gather(
            *(self._hash_of(peer, own.revision) for peer in peers), return_exceptions=True
        )
        found = [own]
        for peer, answered in zip(peers, answers, strict=True):
            if isinstance(answered, MemberHash):
                found.append(answered)
            elif isinstance(answered, OSError | ValueError | NoHashError):
                self._tell("member not compared", member=self._name(peer), cause=cause_of(answered))
            else:
                raise answered
        return found

    async def _hash_of(self, peer: int, revision: int) -> MemberHash:
        """Raises OSError, ValueError, NoHashError: the peer gave none."""
        answered = await self._ask(peer, HashKVRequest(revision=revision).SerializeToString())
        if answered[:1] != _ANSWERED:
            raise NoHashError(answered[1:].decode(errors="replace"))
        try:
            told = HashKVResponse.FromString(answered[1:])
        except DecodeError as error:
            raise NoHashError("the answer does not decode") from error
        return MemberHash(
            peer, told.hash, told.hash_revision, told.compact_revision, told.header.revision
        )

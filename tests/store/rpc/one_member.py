"""The services of one member in memory: a log of its own in place of consensus.

`elsewhere` commits what this member hears of only with its next proposal or linearizable read, as
a member does whose leader others can reach and it cannot.
"""

from __future__ import annotations

import asyncio
from collections.abc import Mapping, Sequence
from pathlib import Path

from google.protobuf.message import Message

from store.mvcc.lease_expiry import LeaseExpiry
from store.raft.engine import (
    EngineError,
    EngineStatus,
    LogIndex,
    MemberID,
    NoLeaderError,
    Role,
    Term,
)
from store.rpc.caller import Callers
from store.rpc.service import MemberServices, ServiceOptions
from store.rpc.simple_tokens import SimpleTokens
from tests.store.mvcc.machine_driver import MachineDriver


class OwnLog:
    """Implements `store.raft.engine.Engine` for one member and for what the tests ask of it."""

    def __init__(self, driver: MachineDriver, member: int, members: Sequence[int]) -> None:
        self._driver = driver
        self._member = MemberID(member)
        self._members = tuple(map(MemberID, members))
        self._unheard: list[Message] = []
        self.has_quorum = True
        self.role = Role.LEADER

    def elsewhere(self, *requests: Message) -> None:
        self._unheard += requests

    async def propose(self, data: bytes) -> object:
        await self.read_index()
        return self._driver.apply_data(data)

    async def read_index(self) -> LogIndex:
        await asyncio.sleep(0)
        if not self.has_quorum:
            raise NoLeaderError
        self.hear()
        return self._last

    def hear(self, count: int | None = None) -> None:
        """Apply the first `count` of what happened elsewhere."""
        heard, self._unheard = self._unheard[:count], self._unheard[len(self._unheard[:count]) :]
        for request in heard:
            self._driver.apply(request)

    @property
    def _last(self) -> LogIndex:
        return LogIndex(len(self._driver.log))

    def status(self) -> EngineStatus:
        last = self._last
        own, all_of_them = self._member, self._members
        return EngineStatus(own, self.role, Term(1), own, last, last, last, all_of_them, ())

    def members(self) -> Mapping[int, str]:
        return {member: f"http://m{member}:2380" for member in self._members}

    async def change_members(self, before: Mapping[int, str], after: Mapping[int, str]) -> None:
        raise EngineError(f"not from {before} to {after}")

    async def transfer_leadership(self, to: MemberID) -> None:
        raise EngineError(f"not to {to}")

    async def start(self) -> None:
        """There is nothing to recover."""

    async def stop(self) -> None:
        self._driver.close()


class OneMember:
    """`services` on `log` on the machine of `driver`."""

    def __init__(
        self,
        directory: Path,
        options: ServiceOptions | None = None,
        *,
        member: int = 1,
        members: Sequence[int] = (1,),
        announced: str = "",
    ) -> None:
        self.driver = MachineDriver(directory)
        machine = self.driver.machine
        self.log = OwnLog(self.driver, member, members)
        tokens = machine.auth_commands.tokens = SimpleTokens(ttl_s=60, now=lambda: 0.0)
        self.services = MemberServices(
            cluster_id=7,
            member_id=member,
            members={},
            engine=self.log,
            machine=machine,
            expiry=LeaseExpiry(),
            options=options or ServiceOptions(),
            callers=Callers(machine.auth, tokens, client_cert_auth=False),
            announced=announced,
        )
        hub, store = self.services.hub, machine.store
        machine.on_events = lambda events: hub.notify(events, store.revision)

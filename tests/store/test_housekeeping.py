"""What a member does by itself, on an engine that refuses."""

from __future__ import annotations

import asyncio
import contextlib
from pathlib import Path
from typing import Any

import pytest
from structlog.testing import capture_logs

from kubraft.pb.etcdserverpb import rpc_pb2
from store import housekeeping as module
from store.housekeeping import Housekeeping
from store.mvcc.lease_expiry import LeaseExpiry
from store.raft.engine import EngineStatus, LogIndex, MemberID, NoLeaderError, Role, Term
from store.state_machine import StoreStateMachine
from tests.store.mvcc.machine_driver import MachineDriver
from tests.store.raft.cluster import eventually

LEASES = 50


class Refusing:
    """A leader that has lost its quorum."""

    def status(self) -> EngineStatus:
        own, index = MemberID(1), LogIndex(1)
        return EngineStatus(own, Role.LEADER, Term(1), own, index, index, index, (own,), ())

    async def propose(self, data: bytes) -> object:
        raise NoLeaderError


async def test_leases_that_cannot_be_expired_are_told_of_together(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    driver = MachineDriver(tmp_path)
    monkeypatch.setattr(module, "_LEASE_POLL_S", 0.01)
    machine, expiry = driver.machine, LeaseExpiry()
    for number in range(1, LEASES + 1):
        driver.reply(rpc_pb2.LeaseGrantRequest(ID=number, TTL=1))
    engine: Any = Refusing()
    housekeeping = Housekeeping(
        engine=engine,
        machine=machine,
        expiry=expiry,
        state_machine=StoreStateMachine(machine, expiry),
        flush_interval_s=0.1,
        election_s=0.0,
        auto_compactor=None,
    )
    with capture_logs() as lines:
        work = asyncio.create_task(housekeeping.run())
        await eventually(lambda: lines)
        work.cancel()
        with contextlib.suppress(asyncio.CancelledError):
            await work
    housekeeping.close()
    machine.close()
    line = lines[0]
    assert (line["event"], line["count"], line["cause"]) == (
        "leases not expired",
        LEASES,
        "no leader",
    )

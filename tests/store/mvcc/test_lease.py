"""Leases: expiry against renewal, deadlines on a member's own clock."""

import pytest

from kubraft.pb.etcdserverpb import rpc_pb2
from store.mvcc.errors import LeaseNotFoundError
from store.mvcc.lease_expiry import LONG_LEASE_S, RETRY_S, LeaseExpiry
from store.mvcc.lessor import Lessor
from tests.store.mvcc.machine_driver import MachineDriver


def test_all_keys_of_a_lease_go_at_one_revision_in_order(driver: MachineDriver) -> None:
    driver.reply(rpc_pb2.LeaseGrantRequest(ID=1, TTL=60))
    for key in ("c", "a", "b"):
        driver.put(key, "v", lease=1)
    driver.reply(rpc_pb2.LeaseRevokeRequest(ID=1))
    events = list(driver.machine.store.history(5))
    assert [(event.key, event.revision, event.is_delete) for event in events] == [
        (b"a", 5, True),
        (b"b", 5, True),
        (b"c", 5, True),
    ]


def test_an_expiry_decided_before_a_keep_alive_is_void(driver: MachineDriver) -> None:
    driver.reply(rpc_pb2.LeaseGrantRequest(ID=1, TTL=60))
    driver.put("k", "v", lease=1)
    seen = driver.machine.store.lessor.get(1).renewed
    driver.reply(rpc_pb2.LeaseKeepAliveRequest(ID=1))
    driver.reply(rpc_pb2.LeaseCheckpoint(ID=1, remaining_TTL=seen))
    assert driver.value("k") == "v"
    seen = driver.machine.store.lessor.get(1).renewed
    driver.reply(rpc_pb2.LeaseCheckpoint(ID=1, remaining_TTL=seen))
    assert driver.value("k") is None
    assert isinstance(driver.apply(rpc_pb2.LeaseKeepAliveRequest(ID=1)), LeaseNotFoundError)


@pytest.fixture
def lessor() -> Lessor:
    lessor = Lessor()
    lessor.grant(1, 10, index=1)
    lessor.grant(2, 20, index=2)
    return lessor


def test_deadlines_pass_in_order_and_come_again_until_done(lessor: Lessor) -> None:
    expiry = LeaseExpiry()
    expiry.refresh(lessor, lessor.take_changed(), now=100.0)
    assert expiry.expired(now=109.9, limit=10) == []
    assert expiry.expired(now=110.0, limit=10) == [1]
    assert expiry.expired(now=110.1, limit=10) == []
    assert expiry.expired(now=110.0 + RETRY_S, limit=10) == [1]
    lessor.remove(1)
    expiry.refresh(lessor, lessor.take_changed(), now=114.0)
    assert expiry.expired(now=119.9, limit=10) == []
    assert expiry.expired(now=200.0, limit=10) == [2]


def test_a_renewal_moves_the_deadline(lessor: Lessor) -> None:
    expiry = LeaseExpiry()
    expiry.refresh(lessor, lessor.take_changed(), now=0.0)
    lessor.renew(1, index=3)
    expiry.refresh(lessor, lessor.take_changed(), now=9.0)
    assert expiry.expired(now=18.0, limit=10) == []
    assert expiry.remaining_s(lessor.get(1).id, now=18.0) == pytest.approx(1.0)
    assert expiry.expired(now=19.0, limit=10) == [1]


def test_a_new_leader_gives_leases_their_time_again(lessor: Lessor) -> None:
    expiry = LeaseExpiry()
    expiry.refresh(lessor, lessor.take_changed(), now=0.0)
    expiry.extend_all(lessor, grace_s=1.0, now=9.0)
    assert expiry.expired(now=19.9, limit=10) == []
    assert expiry.expired(now=20.0, limit=10) == [1]


def test_elections_do_not_keep_a_long_lease_alive_for_ever() -> None:
    lessor, expiry = Lessor(), LeaseExpiry()
    lease = lessor.grant(1, 100_000, index=1)
    expiry.refresh(lessor, lessor.take_changed(), now=0.0)
    expiry.extend_all(lessor, grace_s=1.0, now=99_990.0)
    assert expiry.remaining_s(lease.id, now=99_990.0) <= 10 + LONG_LEASE_S + 1


def test_many_renewals_do_not_pile_up(lessor: Lessor) -> None:
    expiry = LeaseExpiry()
    for now in range(10_000):
        lessor.renew(1, index=now)
        expiry.refresh(lessor, lessor.take_changed(), now=float(now))
    assert len(expiry._queue) < 100


def test_expiry_names_no_more_than_asked_for(lessor: Lessor) -> None:
    expiry = LeaseExpiry()
    expiry.refresh(lessor, lessor.take_changed(), now=0.0)
    assert expiry.expired(now=100.0, limit=1) == [1]
    assert expiry.expired(now=100.0, limit=1) == [2]

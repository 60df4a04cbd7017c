"""Alarms are state: they outlive a crash, and travel in a snapshot."""

from pathlib import Path

from kubraft.pb.etcdserverpb import rpc_pb2
from store.mvcc.errors import NoSpaceError
from tests.store.mvcc.machine_driver import MachineDriver

RAISE = rpc_pb2.AlarmRequest(
    action=rpc_pb2.AlarmRequest.ACTIVATE, memberID=7, alarm=rpc_pb2.NOSPACE
)
CLEAR = rpc_pb2.AlarmRequest(
    action=rpc_pb2.AlarmRequest.DEACTIVATE, memberID=7, alarm=rpc_pb2.NOSPACE
)
PUT = rpc_pb2.PutRequest(key=b"k", value=b"v")


def test_an_alarm_outlives_a_crash_and_so_does_its_end(driver: MachineDriver) -> None:
    driver.reply(RAISE)
    driver.machine.persist()
    driver.reopen()
    assert isinstance(driver.apply(PUT), NoSpaceError)
    driver.reply(CLEAR)
    driver.machine.persist()
    driver.reopen()
    driver.reply(PUT)


def test_an_alarm_travels_in_a_snapshot(driver: MachineDriver, tmp_path: Path) -> None:
    driver.reply(RAISE)
    driver.machine.persist()
    driver.machine.save_snapshot(tmp_path / "snapshot")
    driver.reply(CLEAR)
    driver.machine.install_snapshot(tmp_path / "snapshot")
    assert isinstance(driver.apply(PUT), NoSpaceError)


def test_defragmentation_keeps_what_is_flushed_and_what_is_not(driver: MachineDriver) -> None:
    backend = driver.machine.backend
    driver.put("flushed", "1")
    driver.machine.persist()
    driver.put("buffered", "2")
    generation = backend.copy_defragmented()
    driver.put("during", "3")
    assert backend.take_defragmented(generation)
    values = [driver.value(key) for key in ("flushed", "buffered", "during")]
    assert values == ["1", "2", "3"]
    stale = backend.copy_defragmented()
    driver.machine.persist()
    assert not backend.take_defragmented(stale)
    driver.reopen()
    assert driver.value("during") == "3"

"""Users and roles are state: a crash and a snapshot keep them, and what is checked is what is."""

from pathlib import Path

import pytest

from kubraft.pb.authpb.auth_pb2 import Permission, UserAddOptions
from kubraft.pb.etcdserverpb import rpc_pb2 as pb
from store.mvcc.auth.errors import (
    AuthOldRevisionError,
    PermissionDeniedError,
    UserEmptyError,
)
from store.mvcc.command import NOBODY, Identity, Kind, decode, encode
from tests.store.mvcc.machine_driver import MachineDriver

NO_PASSWORD = UserAddOptions(no_password=True)


@pytest.fixture
def guarded(driver: MachineDriver) -> MachineDriver:
    """Root, and ann who may write what begins with a."""
    permission = Permission(permType=Permission.WRITE, key=b"a", range_end=b"b")
    for kind, request in (
        (Kind.USER_ADD, pb.AuthUserAddRequest(name="root", options=NO_PASSWORD)),
        (Kind.USER_GRANT_ROLE, pb.AuthUserGrantRoleRequest(user="root", role="root")),
        (Kind.USER_ADD, pb.AuthUserAddRequest(name="ann", options=NO_PASSWORD)),
        (Kind.ROLE_ADD, pb.AuthRoleAddRequest(name="a")),
        (
            Kind.ROLE_GRANT_PERMISSION,
            pb.AuthRoleGrantPermissionRequest(name="a", perm=permission),
        ),
        (Kind.USER_GRANT_ROLE, pb.AuthUserGrantRoleRequest(user="ann", role="a")),
        (Kind.AUTH_ENABLE, pb.AuthEnableRequest()),
    ):
        result = driver.apply_data(encode(kind, request.SerializeToString()))
        assert not isinstance(result, Exception), result
    return driver


def put(driver: MachineDriver, key: bytes, who: Identity) -> object:
    request = pb.PutRequest(key=key, value=b"v").SerializeToString()
    return driver.apply_data(encode(Kind.PUT, request, who))


def check_all(driver: MachineDriver) -> None:
    revision = driver.machine.auth.revision
    assert isinstance(put(driver, b"a", NOBODY), UserEmptyError)
    assert isinstance(put(driver, b"a", Identity("ann", revision - 1)), AuthOldRevisionError)
    assert isinstance(put(driver, b"b", Identity("ann", revision)), PermissionDeniedError)
    assert isinstance(put(driver, b"a", Identity("eve", revision)), PermissionDeniedError)
    for who, key in (("ann", b"a"), ("root", b"b")):
        assert not isinstance(put(driver, key, Identity(who, revision)), Exception)


def test_permissions_are_checked_when_applied(guarded: MachineDriver) -> None:
    check_all(guarded)


def test_they_outlive_a_crash(guarded: MachineDriver) -> None:
    guarded.machine.persist()
    guarded.reopen()
    check_all(guarded)


def test_they_are_replayed_from_the_log(guarded: MachineDriver) -> None:
    guarded.reopen()
    check_all(guarded)


def test_they_travel_in_a_snapshot(guarded: MachineDriver, tmp_path: Path) -> None:
    guarded.machine.persist()
    guarded.machine.save_snapshot(tmp_path / "snapshot")
    revision = guarded.machine.auth.revision
    delete = pb.AuthUserDeleteRequest(name="ann").SerializeToString()
    guarded.apply_data(encode(Kind.USER_DELETE, delete, Identity("root", revision)))
    guarded.machine.install_snapshot(tmp_path / "snapshot")
    check_all(guarded)


@pytest.mark.parametrize("name", ["", "ann", "größer", "x" * 1000])
def test_a_command_says_who_it_is_from(name: str) -> None:
    request = pb.PutRequest(key=b"k", value=b"v")
    decoded = decode(encode(Kind.PUT, request.SerializeToString(), Identity(name, 7)))
    assert decoded == (Kind.PUT, request, Identity(name, 7))


def test_a_long_name_of_a_user_is_kept(driver: MachineDriver) -> None:
    name = "n" * 5000
    request = pb.AuthUserAddRequest(name=name, options=NO_PASSWORD)
    driver.apply_data(encode(Kind.USER_ADD, request.SerializeToString()))
    driver.machine.persist()
    driver.reopen()
    assert driver.machine.auth.user(name).name == name.encode()

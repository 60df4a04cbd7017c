"""What etcd's robustness suite found in its state machine and database, asked of ours.

The numbers are those of etcd's issues; docs/robustness.md says what went wrong there.
"""

from __future__ import annotations

import random
import shutil
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from kubraft.pb.authpb.auth_pb2 import Permission, UserAddOptions
from kubraft.pb.etcdserverpb import rpc_pb2 as pb
from store.mvcc import compaction
from store.mvcc.backend import Backend, Flush
from store.mvcc.command import NOBODY, Identity, Kind, encode
from store.mvcc.errors import CompactedError
from store.mvcc.hash import hash_kv
from store.mvcc.machine import KvMachine
from tests.store.mvcc.machine_driver import MAP_BYTES, LogEntry, MachineDriver

KEYS = [f"key-{number}" for number in range(5)]


class Crashing:
    """A machine whose process may end at any step; it starts again from a copy of its files.

    `flush` and `commit` are the two halves of a flush, apart, so that a crash fits in between.
    """

    def __init__(self, directory: Path) -> None:
        self._root = directory
        self._starts = 0
        self._flush: Flush | None = None
        self._committed = False
        self.log: list[LogEntry] = []
        self.machine = self._open()

    @property
    def _directory(self) -> Path:
        return self._root / str(self._starts)

    def _open(self) -> KvMachine:
        return KvMachine.open(self._directory, map_bytes=MAP_BYTES)

    def apply(self, data: bytes) -> object:
        self.log.append(LogEntry(len(self.log) + 1, 1, data))
        return self.machine.apply(self.log[-1:])[0]

    def flush(self) -> None:
        if self._flush is None:
            self._flush = self.machine.begin_flush()

    def commit(self) -> None:
        if self._flush is not None and not self._committed:
            self._flush.commit()
            self._committed = True

    def end(self) -> None:
        self.commit()
        if self._flush is not None:
            self.machine.end_flush()
        self._flush, self._committed = None, False

    def crash(self) -> None:
        """End the process now; what it had written is what the next one finds."""
        old, directory = self.machine, self._directory
        self._starts += 1
        shutil.copytree(directory, self._directory)
        self.commit()
        self._flush, self._committed = None, False
        old.close()
        self.machine = self._open()
        index, _ = self.machine.durable_index()
        self.machine.apply(self.log[index:])

    def close(self) -> None:
        self.end()
        self.machine.close()


@pytest.fixture
def crashing(tmp_path: Path) -> Iterator[Crashing]:
    crashing = Crashing(tmp_path / "crashing")
    yield crashing
    crashing.close()


@pytest.fixture
def steady(tmp_path: Path) -> Iterator[MachineDriver]:
    """One that never crashes."""
    driver = MachineDriver(tmp_path / "steady")
    yield driver
    driver.close()


def put(key: str, value: str) -> bytes:
    request = pb.PutRequest(key=key.encode(), value=value.encode())
    return encode(Kind.PUT, request.SerializeToString())


def delete(key: str) -> bytes:
    return encode(Kind.DELETE_RANGE, pb.DeleteRangeRequest(key=key.encode()).SerializeToString())


def compact(revision: int) -> bytes:
    return encode(Kind.COMPACT, pb.CompactionRequest(revision=revision).SerializeToString())


def same(one: KvMachine, other: KvMachine) -> bool:
    """Whether two members would say the same of all they hold."""
    return (
        one.store.revision == other.store.revision
        and one.applied_index() == other.applied_index()
        and hash_kv(one.store) == hash_kv(other.store)
    )


def a_command(rng: random.Random, number: int, machine: KvMachine) -> bytes:
    match rng.randrange(8):
        case 0:
            return delete(rng.choice(KEYS))
        case 1:
            return compact(max(1, machine.store.revision - rng.randrange(6)))
        case _:
            return put(rng.choice(KEYS), str(number))


@pytest.mark.parametrize("seed", range(20))
def test_13766_a_crash_under_load_applies_each_entry_once(
    crashing: Crashing, steady: MachineDriver, seed: int
) -> None:
    rng = random.Random(seed)
    for number in range(60):
        data = a_command(rng, number, steady.machine)
        assert type(crashing.apply(data)) is type(steady.apply_data(data))
        step = rng.choice((crashing.flush, crashing.commit, crashing.end, None, None))
        if step is not None:
            step()
        if rng.random() < 0.3:
            compaction.step(crashing.machine.store, keys=1)
        if rng.random() < 0.1:
            crashing.crash()
            assert same(crashing.machine, steady.machine)
    crashing.crash()
    assert same(crashing.machine, steady.machine)


def _auth(kind: Kind, request: object) -> bytes:
    return encode(kind, request.SerializeToString())  # type: ignore[attr-defined]


NO_PASSWORD = UserAddOptions(no_password=True)
ANN_WRITES_KEYS = Permission(permType=Permission.WRITE, key=b"key-", range_end=b"key.")


def _history_with_auth() -> list[bytes]:
    """Users come, auth is enabled, one writes, is denied, and loses its role."""
    ann, bob = Identity("ann", 7), Identity("bob", 7)
    written = pb.PutRequest(key=b"key-1", value=b"ann's").SerializeToString()
    return [
        put("key-1", "nobody's"),
        _auth(Kind.USER_ADD, pb.AuthUserAddRequest(name="root", options=NO_PASSWORD)),
        _auth(Kind.USER_GRANT_ROLE, pb.AuthUserGrantRoleRequest(user="root", role="root")),
        _auth(Kind.USER_ADD, pb.AuthUserAddRequest(name="ann", options=NO_PASSWORD)),
        _auth(Kind.ROLE_ADD, pb.AuthRoleAddRequest(name="writer")),
        _auth(
            Kind.ROLE_GRANT_PERMISSION,
            pb.AuthRoleGrantPermissionRequest(name="writer", perm=ANN_WRITES_KEYS),
        ),
        _auth(Kind.USER_GRANT_ROLE, pb.AuthUserGrantRoleRequest(user="ann", role="writer")),
        put("key-2", "nobody's"),
        _auth(Kind.AUTH_ENABLE, pb.AuthEnableRequest()),
        encode(Kind.PUT, written, ann),
        encode(Kind.PUT, written, bob),
        encode(Kind.PUT, written, NOBODY),
        _auth(Kind.USER_REVOKE_ROLE, pb.AuthUserRevokeRoleRequest(name="ann", role="writer")),
        encode(Kind.PUT, written, ann),
    ]


def test_14571_what_auth_lets_pass_is_the_same_after_a_crash_at_any_entry(
    crashing: Crashing, steady: MachineDriver
) -> None:
    answers = []
    for data in _history_with_auth():
        answers.append(type(steady.apply_data(data)))
        assert type(crashing.apply(data)) is answers[-1]
        crashing.end()
        crashing.crash()
        assert same(crashing.machine, steady.machine)
    assert len(set(answers)) > 1, "nothing was denied"


def test_14571_a_member_that_begins_with_a_snapshot_knows_the_users(
    steady: MachineDriver, tmp_path: Path
) -> None:
    history = _history_with_auth()
    for upto in range(1, len(history)):
        member = MachineDriver(tmp_path / f"from-{upto}")
        newcomer = KvMachine.open(tmp_path / f"newcomer-{upto}", map_bytes=MAP_BYTES)
        for data in history[:upto]:
            member.apply_data(data)
        member.machine.persist()
        member.machine.save_snapshot(tmp_path / "snapshot")
        newcomer.install_snapshot(tmp_path / "snapshot")
        for data in history[upto:]:
            member.apply_data(data)
        newcomer.apply(member.log[upto:])
        assert same(newcomer, member.machine), upto
        newcomer.close()
        member.close()


class EndError(Exception):
    """The process ended here."""


def _end_at(
    monkeypatch: pytest.MonkeyPatch, owner: object, name: str, *, after: bool = False
) -> None:
    real = getattr(owner, name)

    def end(*arguments: object, **named: object) -> None:
        if after:
            real(*arguments, **named)
        raise EndError

    monkeypatch.setattr(owner, name, end)


Break = Callable[[pytest.MonkeyPatch], None]
DEFRAGMENTATION = [
    pytest.param(lambda patch: _end_at(patch, Backend, "_write_copy"), id="before the copy"),
    pytest.param(
        lambda patch: _end_at(patch, Backend, "_write_copy", after=True), id="after the copy"
    ),
    pytest.param(lambda patch: _end_at(patch, Path, "replace"), id="before the swap"),
    pytest.param(lambda patch: _end_at(patch, Path, "replace", after=True), id="after the swap"),
    pytest.param(lambda patch: _end_at(patch, Backend, "_open"), id="before it is open"),
]


@pytest.mark.parametrize("break_there", DEFRAGMENTATION)
def test_14685_a_crash_during_defragmentation_changes_no_revision(
    crashing: Crashing, steady: MachineDriver, break_there: Break
) -> None:
    for number in range(40):
        for target in (crashing.apply, steady.apply_data):
            target(put(KEYS[number % 3], "x" * 2000))
        if number == 20:
            crashing.end()
            crashing.flush()
            crashing.end()
    backend = crashing.machine.backend
    with pytest.MonkeyPatch.context() as patch:
        break_there(patch)
        with pytest.raises(EndError):
            backend.take_defragmented(backend.copy_defragmented())
    # The old process is gone with what it had in memory; only its files are left.
    backend._env.close()
    shutil.copytree(backend.directory, backend.directory.with_name("left"))
    left = KvMachine.open(backend.directory.with_name("left"), map_bytes=MAP_BYTES)
    index, _ = left.durable_index()
    left.apply(crashing.log[index:])
    assert 0 < index < len(crashing.log)
    assert same(left, steady.machine)
    crashing.machine = left


@pytest.mark.parametrize("pruned", range(4))
def test_17780_a_crash_during_compaction_never_lowers_the_revision(
    crashing: Crashing, steady: MachineDriver, pruned: int
) -> None:
    """The newest revisions are deletes, which a compaction of them takes with it."""
    commands = [put(key, "1") for key in KEYS] + [delete(key) for key in KEYS]
    for data in [*commands, compact(11)]:
        crashing.apply(data)
        steady.apply_data(data)
    compaction.step(crashing.machine.store, keys=pruned)
    crashing.flush()
    crashing.end()
    crashing.crash()
    for _ in KEYS:
        compaction.step(crashing.machine.store, keys=1)
        crashing.flush()
        crashing.end()
        crashing.crash()
        assert crashing.machine.store.revision == 11
    while compaction.step(crashing.machine.store):
        pass
    crashing.flush()
    crashing.end()
    crashing.crash()
    assert crashing.machine.store.revision == 11
    answer = crashing.apply(put("key-1", "again"))
    assert getattr(answer, "revision", None) == 12


def _reading_txn(revision: int) -> bytes:
    """Put, then read at a revision: one that is compacted makes all of it fail."""
    operations = [
        pb.RequestOp(request_put=pb.PutRequest(key=b"written", value=b"%d" % revision)),
        pb.RequestOp(request_range=pb.RangeRequest(key=b"key-1", revision=revision)),
    ]
    return encode(Kind.TXN, pb.TxnRequest(success=operations).SerializeToString())


def test_18667_a_txn_that_reads_a_compacted_revision_fails_whole_and_on_every_member(
    crashing: Crashing, steady: MachineDriver
) -> None:
    """One member has cleared up after the compaction and crashed, the other has not begun to."""
    history = [put("key-1", str(number)) for number in range(8)]
    for data in [*history, compact(6)]:
        crashing.apply(data)
        steady.apply_data(data)
    while compaction.step(crashing.machine.store):
        pass
    crashing.flush()
    crashing.end()
    crashing.crash()
    for revision in (2, 5, 6, 9):
        data = _reading_txn(revision)
        answers = [crashing.apply(data), steady.apply_data(data)]
        refused = [isinstance(answer, CompactedError) for answer in answers]
        assert refused == [revision < 6] * 2
        written = steady.value("written")
        assert written == (None if revision < 6 else str(revision))
        assert same(crashing.machine, steady.machine)
    assert steady.machine.store.revision == 11


@pytest.mark.parametrize("after", [False, True], ids=["before the swap", "after the swap"])
def test_20271_a_crash_while_a_snapshot_becomes_the_database_leaves_one_that_opens(
    crashing: Crashing, steady: MachineDriver, tmp_path: Path, *, after: bool
) -> None:
    crashing.apply(put("key-1", "old"))
    crashing.flush()
    crashing.end()
    for number in range(300):
        steady.put(f"key-{number}", "x" * 300)
    steady.machine.persist()
    steady.machine.save_snapshot(tmp_path / "snapshot")
    with pytest.MonkeyPatch.context() as patch:
        _end_at(patch, Path, "replace", after=after)
        with pytest.raises(EndError):
            crashing.machine.install_snapshot(tmp_path / "snapshot")
    backend = crashing.machine.backend
    backend._env.close()
    left = KvMachine.open(backend.directory, map_bytes=MAP_BYTES)
    if after:
        assert same(left, steady.machine)
    else:
        assert (left.store.revision, left.durable_index()) == (2, (1, 1))
    crashing.machine = left

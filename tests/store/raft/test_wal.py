"""The write-ahead log: what it gives back after every way of losing power, and what it refuses."""

from __future__ import annotations

import copy
import os
import random
import struct
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from store.raft.disk import DiskDirectory
from store.raft.log import Base, Compact, HardState, Item, LogImage, Reset, Truncate
from store.raft.messages import Entry
from store.raft.record import DamageError, frame, scan
from store.raft.wal import Identity, Wal, WalError, open_wal
from tests.sim.disk import PowerLossError, VirtualDirectory

IDENTITY = Identity(7, 1)
VOTERS = {1: "http://a:1", 2: "http://b:2"}
SEGMENT_BYTES = 300


def reopen(
    directory: VirtualDirectory, *, segment_bytes: int = SEGMENT_BYTES
) -> tuple[Wal, LogImage]:
    return open_wal(directory, IDENTITY, dict(VOTERS), segment_bytes=segment_bytes)


class Model:
    """The log as a plain list: what a WAL must give back."""

    def __init__(self) -> None:
        self.hard_state = HardState()
        self.base = Base(1, 0, dict(VOTERS))
        self.entries: list[Entry] = []

    def follow(self, items: list[Item]) -> None:
        for item in items:
            match item:
                case Entry():
                    self.entries.append(item)
                case Truncate(index):
                    self.entries = [entry for entry in self.entries if entry.index < index]
                case HardState():
                    self.hard_state = item
                case Compact(base):
                    self.base = base
                    self.entries = [entry for entry in self.entries if entry.index > base.index]
                case Reset(base):
                    self.base, self.entries = base, []

    def image(self) -> LogImage:
        return LogImage(self.hard_state, self.base, tuple(self.entries))

    @property
    def last_index(self) -> int:
        return self.entries[-1].index if self.entries else self.base.index


def draw_batch(rng: random.Random, model: Model, term: int) -> list[Item]:
    """A batch that a log could have made, in the state of `model`."""
    items: list[Item] = []
    kind = rng.random()
    last = model.last_index
    if kind < 0.15 and model.entries:
        last = rng.randint(model.base.index, last)
        items.append(Truncate(last + 1))
    elif kind < 0.3 and model.entries:
        index = rng.choice(model.entries).index
        chosen = next(entry for entry in model.entries if entry.index == index)
        items.append(Compact(Base(index, chosen.term, {1: "http://a:1"})))
    elif kind < 0.36:
        last += rng.randint(1, 50)
        items.append(Reset(Base(last, term, {3: "http://c:3"})))
    for _ in range(rng.randint(0, 4)):
        last += 1
        items.append(Entry(rng.randbytes(rng.randint(1, 90)), last, term))
    items.append(HardState(term, rng.randint(0, 2), model.base.index))
    return items


@settings(max_examples=60, deadline=None)
@given(st.integers(min_value=0, max_value=2**32), st.integers(min_value=1, max_value=40))
def test_recovery_gives_back_every_batch(seed: int, batches: int) -> None:
    rng = random.Random(seed)
    directory, model = VirtualDirectory("wal"), Model()
    wal, _ = reopen(directory)
    for number in range(batches):
        items = draw_batch(rng, model, number + 1)
        wal.write(items)
        model.follow(items)
        if rng.random() < 0.2:
            wal, image = reopen(directory)
            assert image == model.image()
    assert reopen(directory)[1] == model.image()


@settings(max_examples=60, deadline=None)
@given(st.integers(min_value=0, max_value=2**32), st.integers(min_value=0, max_value=3))
def test_power_loss_leaves_all_of_a_batch_or_nothing(seed: int, operation: int) -> None:
    rng = random.Random(seed)
    directory, model = VirtualDirectory("wal"), Model()
    wal, _ = reopen(directory)
    for number in range(30):
        items = draw_batch(rng, model, number + 1)
        before, after = model.image(), copy.deepcopy(model)
        after.follow(items)
        if rng.random() < 0.3:
            directory.lose_power_after(operation, rng)
        try:
            wal.write(items)
            model = after
        except PowerLossError:
            directory.power_on()
            wal, image = reopen(directory)
            model = model if image == before else after
            assert image == model.image()
        directory.power_on()


def written(batches: int = 6) -> VirtualDirectory:
    directory = VirtualDirectory("wal")
    wal, _ = reopen(directory, segment_bytes=1 << 20)
    for index in range(2, 2 + batches):
        wal.write([Entry(b"%d" % index * 30, index, 1), HardState(1, 1, index - 1)])
    return directory


def test_every_torn_prefix_recovers_the_whole_records_before_it() -> None:
    whole = written()
    (name,) = whole.names()
    content = whole.files[name]
    (first,) = written(0).files.values()
    seen = set()
    for size in range(len(first), len(content) + 1):
        directory = VirtualDirectory("wal")
        directory.files[name] = content[:size]
        wal, image = reopen(directory)
        assert [entry.index for entry in image.entries] == list(range(2, 2 + len(image.entries)))
        seen.add(len(image.entries))
        next_index = 2 + len(image.entries)
        wal.write([Entry(b"next", next_index, 2)])
        assert reopen(directory)[1].entries[-1] == Entry(b"next", next_index, 2)
    assert seen == set(range(7))


def test_every_flipped_bit_is_noticed() -> None:
    """Before the last record all damage is refused; in it, what is cut off is at most that one."""
    whole = written()
    (name,) = whole.names()
    content = whole.files[name]
    good = reopen(written())[1]
    rng = random.Random(5)
    refused = 0
    for at in range(len(content)):
        flipped = bytearray(content)
        flipped[at] ^= 1 << rng.randrange(8)
        directory = VirtualDirectory("wal")
        directory.files[name] = bytes(flipped)
        complaint = ""
        try:
            _, image = reopen(directory)
        except WalError as error:
            complaint = str(error)
        if complaint:
            refused += 1
            assert f"wal/{name}: damaged record at offset" in complaint
        else:  # padding is in no CRC and means nothing
            assert image == good
    assert refused > len(content) * 0.9


def test_damage_in_an_older_segment_is_refused() -> None:
    directory = VirtualDirectory("wal")
    wal, _ = reopen(directory)
    for index in range(2, 30):
        wal.write([Entry(b"x" * 50, index, 1)])
    assert len(directory.names()) > 3
    second = directory.names()[1]
    directory.files[second] = directory.files[second][:-20]
    with pytest.raises(WalError, match=rf"wal/{second}: damaged record at offset \d+"):
        reopen(directory)


def test_missing_segment_is_refused() -> None:
    directory = VirtualDirectory("wal")
    wal, _ = reopen(directory)
    for index in range(2, 30):
        wal.write([Entry(b"x" * 50, index, 1)])
    gone = directory.names()[2]
    del directory.files[gone]
    with pytest.raises(WalError, match="the segment after it is gone"):
        reopen(directory)


def test_missing_first_segment_is_refused_unless_compaction_dropped_it() -> None:
    directory = VirtualDirectory("wal")
    wal, _ = reopen(directory)
    for index in range(2, 30):
        wal.write([Entry(b"x" * 50, index, 1)])
    del directory.files[directory.names()[0]]
    with pytest.raises(WalError, match=r"entries 2 to \d+ are missing"):
        reopen(directory)


@pytest.mark.parametrize(
    ("identity", "message"),
    [
        pytest.param(Identity(8, 1), "data directory of another cluster (7, not 8)", id="cluster"),
        pytest.param(Identity(7, 2), "data directory of another member (1, not 2)", id="member"),
    ],
)
def test_data_directory_of_another_is_refused(identity: Identity, message: str) -> None:
    directory = written()
    with pytest.raises(WalError) as caught:
        open_wal(directory, identity, dict(VOTERS))
    assert message in str(caught.value)


def test_newer_format_is_refused_by_name() -> None:
    directory = VirtualDirectory("wal")
    body = struct.pack("<IQQQ", 2, 7, 1, 1)
    directory.files[f"{1:016x}.wal"] = frame(struct.pack("<BI", 1, len(body)) + body, segment=1)
    with pytest.raises(WalError, match="written by a newer version"):
        reopen(directory)


def test_log_compaction_drops_whole_segments_only() -> None:
    directory = VirtualDirectory("wal")
    wal, _ = reopen(directory)
    for index in range(2, 60):
        wal.write([Entry(b"x" * 50, index, 1)])
    before = directory.names()
    wal.write([Compact(Base(40, 1, dict(VOTERS)))])
    after = directory.names()
    assert 2 < len(after) < len(before)
    assert set(after[:-1]) <= set(before)
    image = reopen(directory)[1]
    assert [entry.index for entry in image.entries] == list(range(41, 60))


def test_disk_that_fails_once_is_never_written_again(monkeypatch: pytest.MonkeyPatch) -> None:
    directory = VirtualDirectory("wal")
    wal, _ = reopen(directory)

    def full(name: str, data: bytes) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(directory, "append", full)
    for _ in range(2):
        with pytest.raises(WalError, match=r"wal/0+1\.wal: cannot write: No space left on device"):
            wal.write([Entry(b"x", 2, 1)])
        monkeypatch.undo()


class TestOnARealDisk:
    def test_log_survives_reopening(self, tmp_path: Path) -> None:
        wal, _ = open_wal(DiskDirectory(tmp_path / "wal"), IDENTITY, dict(VOTERS))
        wal.write([Entry(b"x", 2, 1), HardState(1, 1, 1)])
        wal.close()
        again, image = open_wal(DiskDirectory(tmp_path / "wal"), IDENTITY, dict(VOTERS))
        again.close()
        assert image.entries == (Entry(b"x", 2, 1),)
        assert image.hard_state == HardState(1, 1, 1)

    def test_second_process_is_kept_out(self, tmp_path: Path) -> None:
        first = DiskDirectory(tmp_path)
        with pytest.raises(OSError, match="in use by another process"):
            DiskDirectory(tmp_path)
        first.close()
        DiskDirectory(tmp_path).close()

    def test_left_over_temporary_files_are_removed(self, tmp_path: Path) -> None:
        (tmp_path / "0000000000000002.wal.tmp").write_bytes(b"half")
        directory = DiskDirectory(tmp_path)
        assert list(tmp_path.iterdir()) == []
        directory.close()

    def test_order_is_write_then_sync_then_directory_sync(
        self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        calls: list[str] = []
        for name in ("write", "pwrite", "fsync", "ftruncate", "fdatasync"):
            real = getattr(os, name)

            def record(*arguments: object, name: str = name, real: object = real) -> object:
                calls.append(name)
                return real(*arguments)  # type: ignore[operator]

            monkeypatch.setattr(os, name, record)
        directory = DiskDirectory(tmp_path)
        directory.create("a", b"opening")
        directory.append("a", b"more")
        directory.close()
        own_name = ["fsync"]
        created = ["write", "fsync", "fsync"]
        room_given_back = ["ftruncate", "fsync"]
        assert calls == [*own_name, *created, "pwrite", "fdatasync", *room_given_back]
        assert (tmp_path / "a").read_bytes() == b"openingmore"

    def test_log_survives_a_crash_with_room_behind_its_end(self, tmp_path: Path) -> None:
        expected: list[Entry] = []
        for number in range(3):
            directory = DiskDirectory(tmp_path)
            wal, image = open_wal(directory, IDENTITY, dict(VOTERS), segment_bytes=SEGMENT_BYTES)
            assert list(image.entries) == expected
            for index in range(2 + 9 * number, 11 + 9 * number):
                expected.append(Entry(b"x" * 50, index, 1))
                wal.write(expected[-1:])
            sizes = [(tmp_path / name).stat().st_size for name in wal.segments]
            assert sizes[-1] > SEGMENT_BYTES + 1000
            assert max(sizes[:-1]) <= SEGMENT_BYTES + 150  # no room left in what is complete
            os.close(directory._directory)  # the process is gone, and its lock with it
            os.close(directory._open_file)

    def test_disk_that_cannot_set_room_aside_takes_the_log_all_the_same(
        self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        def refuse(*_: object) -> None:
            raise OSError(95, "Operation not supported")

        monkeypatch.setattr(os, "posix_fallocate", refuse)
        directory = DiskDirectory(tmp_path)
        directory.create("a", b"opening")
        directory.append("a", b"more")
        assert directory.read("a") == b"openingmore"
        directory.append("a", b"!")
        directory.close()
        assert (tmp_path / "a").read_bytes() == b"openingmore!"


@given(st.lists(st.binary(min_size=1, max_size=700), max_size=8), st.integers(1, 2**40))
def test_records_round_trip(payloads: list[bytes], segment: int) -> None:
    content = b"".join(frame(payload, segment=segment) for payload in payloads)
    found = scan(content, segment=segment, last=True)
    assert found.payloads == payloads
    assert found.good_bytes == len(content)


def test_record_of_another_segment_is_not_taken() -> None:
    with pytest.raises(DamageError):
        scan(frame(b"payload", segment=1), segment=2, last=True)

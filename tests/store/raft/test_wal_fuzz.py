"""A write-ahead log that was changed behind its back: it opens with what can be right, or refuses.

Whatever the bytes are, reading ends with a log image or a WalError that names the file; what was
acknowledged before other records is never dropped without a word.
"""

from __future__ import annotations

import contextlib
import random
import struct
from collections.abc import Callable

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from store.raft.log import Log, LogImage
from store.raft.record import frame
from store.raft.wal import WalError, open_wal, read_identity
from tests.sim.disk import VirtualDirectory
from tests.store.raft.test_wal import IDENTITY, VOTERS, Model, draw_batch, reopen

_SECTOR = 512


def _history(rng: random.Random, batches: int) -> tuple[VirtualDirectory, list[LogImage]]:
    """A log, and its images: before any batch, and after each."""
    directory, model = VirtualDirectory("wal"), Model()
    wal, _ = reopen(directory, segment_bytes=rng.choice((300, 1500)))
    images = [model.image()]
    for number in range(batches):
        items = draw_batch(rng, model, term=1 + number // 3)
        wal.write(items)
        model.follow(items)
        images.append(model.image())
    return directory, images


def _flipped(content: bytes, rng: random.Random) -> bytes:
    at = rng.randrange(len(content))
    return content[:at] + bytes([content[at] ^ 1 << rng.randrange(8)]) + content[at + 1 :]


def _overwritten(content: bytes, rng: random.Random) -> bytes:
    at = rng.randrange(len(content))
    noise = rng.randbytes(rng.randint(1, 40))
    return (content[:at] + noise + content[at + len(noise) :])[: len(content)]


def _sector_of_another_file(content: bytes, rng: random.Random) -> bytes:
    at = rng.randrange(len(content)) // 16 * 16
    other = frame(rng.randbytes(100), segment=rng.randint(1, 99))
    return (content[:at] + other + content[at + len(other) :])[: len(content)]


def _zeroed(content: bytes, rng: random.Random) -> bytes:
    at = rng.randrange(len(content)) // _SECTOR * _SECTOR
    zeroed = content[:at] + bytes(len(content[at : at + _SECTOR])) + content[at + _SECTOR :]
    return zeroed[: len(content)]


def _cut(content: bytes, rng: random.Random) -> bytes:
    return content[: rng.randrange(len(content))]


def _grown(content: bytes, rng: random.Random) -> bytes:
    return content + rng.randbytes(rng.randint(1, 700))


_Mutation = Callable[[bytes, random.Random], bytes]


def _open(directory: VirtualDirectory) -> LogImage | None:
    """What it recovers to; None where it refuses, in words that say where."""
    try:
        _, image = open_wal(directory, IDENTITY, dict(VOTERS), segment_bytes=300)
    except WalError as error:
        complaint = str(error)
    else:
        Log(image)
        return image
    assert complaint.startswith("wal")
    return None


@pytest.mark.parametrize(
    "mutate", [_flipped, _overwritten, _sector_of_another_file], ids=["bit", "noise", "stranger"]
)
@settings(max_examples=50, deadline=None)
@given(seed=st.integers(0, 2**32), batches=st.integers(1, 25))
def test_changed_bytes_never_cost_more_than_the_last_record(
    mutate: _Mutation, seed: int, batches: int
) -> None:
    rng = random.Random(seed)
    directory, images = _history(rng, batches)
    name = rng.choice(directory.names())
    before = directory.files[name]
    directory.files[name] = mutate(before, rng)
    if (image := _open(directory)) is not None:
        assert image in images[-2:]


@pytest.mark.parametrize("mutate", [_zeroed, _cut, _grown], ids=["zeros", "cut", "grown"])
@settings(max_examples=50, deadline=None)
@given(seed=st.integers(0, 2**32), batches=st.integers(1, 25))
def test_lost_end_of_the_last_segment_leaves_a_prefix_and_anything_else_is_refused(
    mutate: _Mutation, seed: int, batches: int
) -> None:
    rng = random.Random(seed)
    directory, images = _history(rng, batches)
    name = rng.choice(directory.names())
    last = name == directory.names()[-1]
    changed = mutate(directory.files[name], rng)
    same = changed == directory.files[name]
    directory.files[name] = changed
    image = _open(directory)
    if image is None:
        return
    assert last or same
    assert any(_is_begun(image, whole) for whole in images)
    # And once recovered, it is whole: what comes now is kept behind what was found.
    assert _open(directory) == image


def _is_begun(image: LogImage, whole: LogImage) -> bool:
    """Whether `image` is `whole`, perhaps without entries at its end.

    Where the cut takes the record of a log compaction, the segments that it made needless are gone.
    The state that holds their effect is then ahead of the log, for which a member refuses to start.
    """
    begun = whole.entries[: len(image.entries)]
    return (image.hard_state, image.base, image.entries) == (whole.hard_state, whole.base, begun)


_small = st.integers(0, 6)
_bodies = st.one_of(
    st.tuples(st.integers(0, 9), st.binary(max_size=60)),
    st.builds(lambda i, t, d: (2, struct.pack("<QQ", i, t) + d), _small, _small, st.binary()),
    st.builds(lambda i: (3, struct.pack("<Q", i)), _small),
    st.builds(lambda t, v, c: (4, struct.pack("<QQQ", t, v, c)), _small, _small, _small),
    st.builds(
        lambda kind, i, t, d: (kind, struct.pack("<QQ", i, t) + d),
        st.sampled_from((5, 6)),
        _small,
        _small,
        st.one_of(st.just(b""), st.binary(max_size=12)),
    ),
)
_wrong = st.sampled_from((0, 0, 0, 0, 0, 0, 0, 0, -1, 1))
_items = st.lists(st.tuples(_bodies, _wrong), max_size=5)


@settings(max_examples=150, deadline=None)
@given(records=st.lists(_items, min_size=1, max_size=4), opened=st.booleans())
def test_records_with_good_checksums_and_wrong_contents_are_refused_or_make_a_log(
    records: list[list[tuple[tuple[int, bytes], int]]], *, opened: bool
) -> None:
    directory = VirtualDirectory("wal")
    if opened:
        reopen(directory)
    content = directory.files.get(f"{1:016x}.wal", b"").rstrip(b"\0")
    content += bytes(-len(content) % 16)
    for items in records:
        payload = b"".join(
            struct.pack("<BI", kind, max(0, len(body) + wrong)) + body
            for (kind, body), wrong in items
        )
        content += frame(payload, segment=1)
    directory.files[f"{1:016x}.wal"] = content
    image = _open(directory)
    if image is not None:
        indices = [entry.index for entry in image.entries]
        assert indices == list(range(image.base.index + 1, image.base.index + 1 + len(indices)))
        assert all(entry.data for entry in image.entries)
    with contextlib.suppress(WalError):
        read_identity(directory)


@settings(max_examples=100, deadline=None)
@given(st.binary(max_size=3000))
def test_noise_in_place_of_a_segment_is_refused(noise: bytes) -> None:
    directory = VirtualDirectory("wal")
    directory.files[f"{1:016x}.wal"] = noise
    assert _open(directory) is None

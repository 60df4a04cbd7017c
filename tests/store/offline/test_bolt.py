"""bbolt files: what is whole is read in order, what is not is refused and never runs away."""

from __future__ import annotations

import struct

import pytest
from hypothesis import given
from hypothesis import strategies as st

from store.offline.bolt import MAGIC, BoltError, BoltFile, _fnv

PAGE = 4096
BRANCH, LEAF, META, BUCKET = 1, 2, 4, 1


def page(number: int, kind: int, count: int, body: bytes, size: int = PAGE) -> bytes:
    return (struct.pack("<QHHI", number, kind, count, 0) + body).ljust(size, b"\0")


def meta(number: int, *, root: int, transaction: int, whole: bool = True) -> bytes:
    body = struct.pack("<IIIIQQQQQ", MAGIC, 2, PAGE, 0, root, 0, 2, 9, transaction)
    checksum = _fnv(body) if whole else 0
    return page(number, META, 0, body + struct.pack("<Q", checksum))


def leaf(pairs: list[tuple[bytes, bytes, int]]) -> bytes:
    head, data = b"", b""
    for position, (key, value, flags) in enumerate(pairs):
        offset = (len(pairs) - position) * 16 + len(data)
        head += struct.pack("<IIII", flags, offset, len(key), len(value))
        data += key + value
    return head + data


def branch(children: list[tuple[bytes, int]]) -> bytes:
    head, data = b"", b""
    for position, (key, child) in enumerate(children):
        offset = (len(children) - position) * 16 + len(data)
        head += struct.pack("<IIQ", offset, len(key), child)
        data += key
    return head + data


def build(*, first_meta_whole: bool = True, second_root: int = 2, child: int = 5) -> bytes:
    inline = struct.pack("<QQ", 0, 0) + page(0, LEAF, 1, leaf([(b"m", b"1", 0)]), 0)
    top = [(b"key", struct.pack("<QQ", 3, 0), BUCKET), (b"meta", inline, BUCKET)]
    return b"".join(
        [
            meta(0, root=2, transaction=7, whole=first_meta_whole),
            meta(1, root=second_root, transaction=6),
            page(2, LEAF, 2, leaf(top)),
            page(3, BRANCH, 2, branch([(b"a", 4), (b"c", child)])),
            page(4, LEAF, 2, leaf([(b"a", b"A", 0), (b"b", b"B", 0)])),
            page(5, LEAF, 1, leaf([(b"c", b"C" * 900, 0)])),
        ]
    )


def read(content: bytes) -> dict[bytes, list[tuple[bytes, bytes]]]:
    file = BoltFile(memoryview(content))
    return {
        name: [(key, bytes(value)) for key, value in file.pairs(bucket)]
        for name, bucket in file.buckets().items()
    }


def test_buckets_of_pages_and_inline_ones_are_read_in_order() -> None:
    assert read(build()) == {
        b"key": [(b"a", b"A"), (b"b", b"B"), (b"c", b"C" * 900)],
        b"meta": [(b"m", b"1")],
    }


def test_the_newer_whole_meta_page_counts() -> None:
    assert read(build(second_root=99)) == read(build())
    assert read(build(first_meta_whole=False)) == read(build())
    with pytest.raises(BoltError, match="page 99 is not in the file"):
        read(build(first_meta_whole=False, second_root=99))


def test_a_loop_of_pages_is_refused() -> None:
    with pytest.raises(BoltError, match="page 3 is there twice"):
        read(build(child=3))


def test_no_meta_page_is_refused() -> None:
    with pytest.raises(BoltError, match="no meta page is whole"):
        read(bytes(4 * PAGE))


@given(
    flips=st.lists(
        st.tuples(st.integers(0, 6 * PAGE - 1), st.integers(1, 255)), min_size=1, max_size=8
    ),
    size=st.integers(0, 6 * PAGE),
)
def test_damage_is_an_error_or_harmless(flips: list[tuple[int, int]], size: int) -> None:
    content = bytearray(build())
    for offset, mask in flips:
        content[offset] ^= mask
    for damaged in (bytes(content), bytes(content[:size])):
        try:
            read(damaged)
        except BoltError:
            continue

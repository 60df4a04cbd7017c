"""Reading bbolt, the database of etcd: buckets and their pairs, in order. Read-only.

    page      id u64 | flags u16 | count u16 | overflow u32 | elements...
    branch    key's offset u32 | key's size u32 | child page u64
    leaf      flags u32 | key's offset u32 | key's size u32 | value's size u32
    bucket    a leaf's value: root page u64 | sequence u64 | if the root is 0, its page itself
    meta      magic u32 | version u32 | page size u32 | flags u32 | root bucket | freelist u64
              | pages u64 | transaction u64 | FNV-1a of what comes before it u64

Little endian; offsets count from the element they stand in. Pages 0 and 1 are meta pages, and the
newer whole one counts. Source: bbolt, internal/common (page.go, meta.go, bucket.go).
"""

from __future__ import annotations

import struct
from collections.abc import Iterator
from dataclasses import dataclass

MAGIC = 0xED0CDAED
_VERSION = 2
_PAGE = struct.Struct("<QHHI")
_BRANCH = struct.Struct("<IIQ")
_LEAF = struct.Struct("<IIII")
_BUCKET = struct.Struct("<QQ")
_META = struct.Struct("<IIIIQQQQQ")
_CHECKSUM = struct.Struct("<Q")
_IS_BRANCH, _IS_LEAF, _IS_META = 1, 2, 4
_IS_BUCKET = 1
_PAGE_BYTES_MIN, _PAGE_BYTES_MAX = 1 << 9, 1 << 16
_FNV_START, _FNV_PRIME = 0xCBF29CE484222325, 0x100000001B3


class BoltError(ValueError):
    """The file is damaged, or of another version."""


@dataclass(frozen=True, slots=True)
class _Meta:
    page_bytes: int
    root: int
    transaction: int


class BoltFile:
    """The content of a database file, mapped or read."""

    def __init__(self, content: memoryview) -> None:
        """Raises BoltError: neither meta page is whole."""
        self._content = content
        found = [meta for meta in self._metas() if meta is not None]
        if not found:
            raise BoltError("no meta page is whole")
        newest = max(found, key=lambda meta: meta.transaction)
        self._page_bytes = newest.page_bytes
        self._root = newest.root

    def buckets(self) -> dict[bytes, memoryview]:
        """The buckets at the top by name; `pairs` reads one."""
        found = self._walk(self._root, set())
        return {key: value for key, value, flags in found if flags & _IS_BUCKET}

    def pairs(self, bucket: memoryview) -> Iterator[tuple[bytes, memoryview]]:
        """Keys, ascending, and values; buckets within are left out.

        Raises:
            BoltError: a page is none.
        """
        if len(bucket) < _BUCKET.size:
            raise BoltError("bucket cut short")
        (root, _) = _BUCKET.unpack_from(bucket)
        seen: set[int] = set()
        found = self._walk(root, seen) if root else self._page(bucket[_BUCKET.size :], seen)
        for key, value, flags in found:
            if not flags & _IS_BUCKET:
                yield key, value

    def _metas(self) -> Iterator[_Meta | None]:
        yield _meta(self._content)
        size = _PAGE_BYTES_MIN
        # Where the second one is depends on the page size, which a damaged first one does not say.
        while size <= _PAGE_BYTES_MAX:
            found = _meta(self._content[size:])
            if found is not None and found.page_bytes == size:
                yield found
            size *= 2

    def _walk(self, page: int, seen: set[int]) -> Iterator[tuple[bytes, memoryview, int]]:
        start = page * self._page_bytes
        if start + _PAGE.size > len(self._content):
            raise BoltError(f"page {page} is not in the file")
        if page in seen:  # or else a damaged file might never end
            raise BoltError(f"page {page} is there twice")
        seen.add(page)
        number, *_ = _PAGE.unpack_from(self._content, start)
        if number != page:
            raise BoltError(f"page {page} says that it is {number}")
        return self._page(self._content[start:], seen)

    def _page(self, page: memoryview, seen: set[int]) -> Iterator[tuple[bytes, memoryview, int]]:
        if len(page) < _PAGE.size:
            raise BoltError("page cut short")
        _, kind, count, _ = _PAGE.unpack_from(page)
        size = _BRANCH.size if kind == _IS_BRANCH else _LEAF.size
        if _PAGE.size + count * size > len(page):
            raise BoltError("page cut short")
        at = _PAGE.size
        for _ in range(count):
            if kind == _IS_BRANCH:
                _, _, child = _BRANCH.unpack_from(page, at)
                yield from self._walk(child, seen)
                at += _BRANCH.size
            elif kind == _IS_LEAF:
                flags, offset, key_bytes, value_bytes = _LEAF.unpack_from(page, at)
                start = at + offset
                middle, end = start + key_bytes, start + key_bytes + value_bytes
                if end > len(page):
                    raise BoltError("element cut short")
                yield bytes(page[start:middle]), page[middle:end], flags
                at += _LEAF.size
            else:
                raise BoltError(f"page with flags {kind:#x} among those of a bucket")


def _meta(page: memoryview) -> _Meta | None:
    if len(page) < _PAGE.size + _META.size + _CHECKSUM.size:
        return None
    _, kind, _, _ = _PAGE.unpack_from(page)
    magic, version, page_bytes, _, root, _, _, _, transaction = _META.unpack_from(page, _PAGE.size)
    if not kind & _IS_META or magic != MAGIC or version != _VERSION:
        return None
    end = _PAGE.size + _META.size
    if _CHECKSUM.unpack_from(page, end)[0] != _fnv(bytes(page[_PAGE.size : end])):
        return None
    return _Meta(page_bytes, root, transaction)


def _fnv(data: bytes) -> int:
    figure = _FNV_START
    for byte in data:
        figure = (figure ^ byte) * _FNV_PRIME & 0xFFFFFFFFFFFFFFFF
    return figure

"""Records of the write-ahead log: what one fsync makes durable is one record. Pure.

    magic 4 | length u32 | CRC-32 of the payload u32 | CRC-32 of this header u32 | payload | padding

Records start at multiples of 16 bytes, so no header crosses a disk sector, and the CRCs are
seeded with the segment's number, so no record of another segment is mistaken for one of this.

Only the last record can have been under way when the machine lost power. What it left behind is
bytes that are missing or sectors that are zero, for a sector is written whole or not at all;
`scan` cuts such a tail off. Everything else that does not check is damage: `scan` says where.
"""

from __future__ import annotations

import struct
import zlib
from dataclasses import dataclass

_HEADER = struct.Struct("<4sIII")
_MAGIC = b"kbW1"
ALIGNMENT = 16
_SECTOR = 512
RECORD_BYTES_MAX = 1 << 30


class DamageError(ValueError):
    """A record that was once whole is not any more; `offset` is where it starts."""

    def __init__(self, offset: int, cause: str) -> None:
        super().__init__(f"damaged record at offset {offset}: {cause}")
        self.offset = offset
        self.cause = cause


@dataclass(frozen=True, slots=True)
class Scan:
    """The payloads of the whole records, and how many bytes of the segment they take."""

    payloads: list[bytes]
    good_bytes: int


def frame(payload: bytes, *, segment: int) -> bytes:
    """One record around `payload`, padded to the next boundary."""
    assert len(payload) <= RECORD_BYTES_MAX
    size = _HEADER.size + len(payload)
    header = _header(len(payload), zlib.crc32(payload, _seed(segment)), _seed(segment))
    return b"".join((header, payload, bytes(-size % ALIGNMENT)))


def scan(content: bytes, *, segment: int, last: bool) -> Scan:
    """Read a segment's records.

    Args:
        content: the whole file.
        segment: its number.
        last: no later segment exists, so that a torn record at its end is no damage.

    Raises:
        DamageError: a record is damaged in a way that losing power cannot explain.
    """
    payloads: list[bytes] = []
    at = 0
    while at < len(content):
        payload, fault = _read(content, at, segment)
        if payload is None:
            if not last:
                raise DamageError(at, fault)
            _check_torn(content, at, segment, fault)
            break
        payloads.append(payload)
        at += _extent(len(payload))
    return Scan(payloads, at)


def _seed(segment: int) -> int:
    return segment & 0xFFFFFFFF


def _header(length: int, payload_crc: int, seed: int) -> bytes:
    head = struct.pack("<4sII", _MAGIC, length, payload_crc)
    return head + struct.pack("<I", zlib.crc32(head, seed))


def _extent(length: int) -> int:
    size = _HEADER.size + length
    return size + -size % ALIGNMENT


def _read(content: bytes, at: int, segment: int) -> tuple[bytes | None, str]:
    """The payload at `at`, or None and what is wrong with it."""
    if at + _HEADER.size > len(content):
        return None, "header cut short"
    magic, length, payload_crc, header_crc = _HEADER.unpack_from(content, at)
    seed = _seed(segment)
    if magic != _MAGIC or zlib.crc32(content[at : at + 12], seed) != header_crc:
        return None, "header does not match its CRC"
    start = at + _HEADER.size
    payload = content[start : start + length]
    if at + _extent(length) > len(content):  # padding too: the next record must start aligned
        return None, "payload cut short"
    if zlib.crc32(payload, seed) != payload_crc:
        return None, "payload does not match its CRC"
    return payload, ""


def _check_torn(content: bytes, at: int, segment: int, fault: str) -> None:
    """Raise unless the record at `at` is one that losing power can have left behind."""
    header = content[at : at + _HEADER.size]
    if len(header) == _HEADER.size and header.strip(b"\0"):
        if "header" in fault:
            raise DamageError(at, fault)
        _, length, _, _ = _HEADER.unpack(header)
        end = at + _extent(length)
        if end <= len(content) and not _has_zero_sector(content, at, end):
            raise DamageError(at, fault)
    later = content.find(_MAGIC, at + ALIGNMENT)
    while later >= 0:
        if later % ALIGNMENT == 0 and _read(content, later, segment)[0] is not None:
            raise DamageError(at, f"{fault}, yet a whole record follows at offset {later}")
        later = content.find(_MAGIC, later + 1)


def _has_zero_sector(content: bytes, start: int, end: int) -> bool:
    # The sector of the header was written, for the header is there.
    second = start - start % _SECTOR + _SECTOR
    return any(
        not content[sector : min(sector + _SECTOR, end)].strip(b"\0")
        for sector in range(second, end, _SECTOR)
    )

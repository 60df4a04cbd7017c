"""What is in a snapshot, in short: `snapshot status` and `hashkv`.

Source: etcd, etcdutl (printer.go), go-humanize (Bytes).
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from zlib import crc32

from store.mvcc.hash import hash_kv
from store.mvcc.store import MvccStore
from store.offline.database import unpacked

_UNIT = 1000
_UNITS = ("B", "kB", "MB", "GB", "TB", "PB", "EB")


@dataclass(frozen=True, slots=True)
class Status:
    """`hash` is ours: it says whether two snapshots of this store are the same."""

    hash: int
    revision: int
    keys: int
    bytes: int

    def row(self) -> dict[str, str]:
        return {
            "hash": f"{self.hash:x}",
            "revision": str(self.revision),
            "total keys": str(self.keys),
            "total size": human_bytes(self.bytes),
            "version": "",
        }

    def json(self) -> dict[str, object]:
        return {
            "hash": self.hash,
            "revision": self.revision,
            "totalKey": self.keys,
            "totalSize": self.bytes,
            "version": "",
        }


@dataclass(frozen=True, slots=True)
class KvHash:
    """As `etcdctl endpoint hashkv` shows it of a member with the same state."""

    hash: int
    revision: int
    compacted: int

    def row(self) -> dict[str, str]:
        return {
            "hash": str(self.hash),
            "hash revision": str(self.revision),
            "compact revision": str(self.compacted),
        }

    def json(self) -> dict[str, object]:
        return {
            "hash": self.hash,
            "hashRevision": self.revision,
            "compactRevision": self.compacted,
        }


def status(snapshot: Path) -> Status:
    """Raises SnapshotError, OSError: it is damaged or cannot be read."""
    with unpacked(snapshot, skip_hash_check=False) as backend:
        store = MvccStore(backend)
        checksum = 0
        for name, value in backend.all_meta(b""):
            checksum = crc32(value, crc32(name, checksum))
        for number, value in sorted(backend.leases().items()):
            checksum = crc32(value, crc32(number.to_bytes(8, "big"), checksum))
        figure, _ = hash_kv(store)
        checksum = crc32(figure.to_bytes(4, "big"), checksum)
        return Status(checksum, store.revision, len(store.index), backend.used_bytes())


def kv_hash(snapshot: Path, revision: int) -> KvHash:
    """The hash of the history up to `revision`, 0 for all of it.

    Raises:
        SnapshotError, OSError: it is damaged or cannot be read.
        MvccError: the history does not reach `revision`.
    """
    with unpacked(snapshot, skip_hash_check=False) as backend:
        store = MvccStore(backend)
        figure, at = hash_kv(store, revision)
        return KvHash(figure, at, store.compacted)


def human_bytes(count: int) -> str:
    """`2.1 MB`: below ten with one digit behind the point."""
    if count < 10:
        return f"{count} B"
    value, unit = float(count), 0
    while value >= _UNIT and unit < len(_UNITS) - 1:
        value /= _UNIT
        unit += 1
    value = int(value * 10 + 0.5) / 10
    return f"{value:.1f} {_UNITS[unit]}" if value < 10 else f"{value:.0f} {_UNITS[unit]}"

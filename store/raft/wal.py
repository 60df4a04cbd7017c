"""The write-ahead log: segments of records on a directory, and the log image they amount to.

A segment opens with who it belongs to, the hard state and the base, so that older segments can go
as a whole once the base has moved past their last entry. `Wal.write` makes one batch durable with
one fsync; a write that fails is never repeated, for what the disk then holds is not known.

Payload of a record: items of `kind u8 | length u32 | body`, little endian.
"""

from __future__ import annotations

import re
import struct
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from store.raft.codec import decode_voters, encode_voters
from store.raft.disk import Directory
from store.raft.log import Base, Compact, HardState, Item, LogImage, Reset, Truncate, first_image
from store.raft.messages import Entry
from store.raft.record import DamageError, frame, scan

FORMAT_VERSION = 1
SEGMENT_BYTES = 16 << 20

_NAME = re.compile(r"([0-9a-f]{16})\.wal")
_ITEM = struct.Struct("<BI")
_IDENTITY = struct.Struct("<IQQQ")
_ENTRY = struct.Struct("<QQ")
_INDEX = struct.Struct("<Q")
_HARD_STATE = struct.Struct("<QQQ")
_BASE = struct.Struct("<QQ")

_KIND_IDENTITY, _KIND_ENTRY, _KIND_TRUNCATE, _KIND_HARD_STATE, _KIND_COMPACT, _KIND_RESET = range(
    1, 7
)


class WalError(Exception):
    """The write-ahead log cannot be used; the message names file, offset and cause."""


@dataclass(frozen=True, slots=True)
class Identity:
    """Whose log it is."""

    cluster_id: int
    member_id: int


@dataclass(slots=True)
class _Segment:
    number: int
    size: int
    # No entry above this index was ever written to it.
    last_index: int

    @property
    def name(self) -> str:
        return f"{self.number:016x}.wal"


class Wal:
    """A member's write-ahead log on `directory`; used by one thread at a time."""

    def __init__(
        self,
        directory: Directory,
        identity: Identity,
        segments: list[_Segment],
        image: LogImage,
        *,
        segment_bytes: int = SEGMENT_BYTES,
    ) -> None:
        self._directory = directory
        self._identity = identity
        self._segments = segments
        self._segment_bytes = segment_bytes
        self._hard_state = image.hard_state
        self._base = image.base
        self._failure = ""

    @property
    def segments(self) -> tuple[str, ...]:
        """Names of the segments, oldest first."""
        return tuple(segment.name for segment in self._segments)

    @property
    def newest(self) -> str:
        """Where the log ends: the path of its last segment."""
        return f"{self._directory.label}/{self._segments[-1].name}"

    def write(self, items: Sequence[Item]) -> None:
        """Make `items` durable, in this order, all or nothing.

        Raises:
            WalError: the disk failed; this log takes nothing more.
        """
        if self._failure:
            raise WalError(self._failure)
        try:
            self._write(items)
        except OSError as error:
            self._failure = f"{self.newest}: cannot write: {error.strerror or error}"
            raise WalError(self._failure) from error

    def close(self) -> None:
        self._directory.close()

    def _write(self, items: Sequence[Item]) -> None:
        active = self._segments[-1]
        if active.size >= self._segment_bytes:
            active = self._roll()
        data = frame(b"".join(_encode(items)), segment=active.number)
        self._directory.append(active.name, data)
        active.size += len(data)
        self._follow(items, active)
        if any(isinstance(item, Compact | Reset) for item in items):
            self._drop()

    def _follow(self, items: Sequence[Item], active: _Segment) -> None:
        for item in items:
            match item:
                case Entry():
                    active.last_index = max(active.last_index, item.index)
                case HardState():
                    self._hard_state = item
                case Compact(base) | Reset(base):
                    self._base = base
                case Truncate():
                    pass  # the entries are written all the same

    def _roll(self) -> _Segment:
        """Begin a new segment; it stands on its own but for the entries behind the base."""
        number = self._segments[-1].number + 1
        content = _opening(number, self._identity, self._hard_state, self._base)
        segment = _Segment(number, len(content), 0)
        self._directory.create(segment.name, content)
        self._segments.append(segment)
        return segment

    def _drop(self) -> None:
        """Remove whole segments that hold nothing above the base, oldest first."""
        while len(self._segments) > 1 and self._segments[0].last_index <= self._base.index:
            self._directory.remove(self._segments[0].name)
            del self._segments[0]


def read_identity(directory: Directory) -> Identity | None:
    """Whose log lies on `directory`; None where there is none yet.

    Raises:
        WalError: the newest segment is damaged, or of a newer version.
    """
    names = [name for name in directory.names() if _NAME.fullmatch(name)]
    if not names:
        return None
    place = f"{directory.label}/{names[-1]}"
    number = int(names[-1].removesuffix(".wal"), 16)
    try:
        found = scan(directory.read(names[-1]), segment=number, last=True)
        kind, body = next(_items(found.payloads[0] if found.payloads else b""), (0, b""))
        if kind != _KIND_IDENTITY:
            raise WalError(f"{place}: does not say whose it is")
        _check_version(place, body)
        _, cluster_id, member_id, _ = _IDENTITY.unpack(body)
    except (DamageError, struct.error, ValueError) as error:
        raise WalError(f"{place}: {error}") from error
    return Identity(cluster_id, member_id)


def begin_wal(
    directory: Directory,
    identity: Identity,
    image: LogImage,
    *,
    segment_bytes: int = SEGMENT_BYTES,
) -> Wal:
    """Begin a log that amounts to `image`, which has no entries, where there is none yet."""
    assert not image.entries
    segment = _Segment(1, 0, 0)
    content = _opening(1, identity, image.hard_state, image.base)
    segment.size = len(content)
    directory.create(segment.name, content)
    return Wal(directory, identity, [segment], image, segment_bytes=segment_bytes)


def open_wal(
    directory: Directory,
    identity: Identity,
    voters: dict[int, str],
    *,
    segment_bytes: int = SEGMENT_BYTES,
) -> tuple[Wal, LogImage]:
    """Recover the log on `directory`, or begin one whose first configuration is `voters`.

    A torn record at the very end is cut off.

    Raises:
        WalError: it belongs to another cluster or member, was written by a newer version, or is
            damaged anywhere but at a torn end.
    """
    names = [name for name in directory.names() if _NAME.fullmatch(name)]
    if not names:
        image = first_image(voters)
        return begin_wal(directory, identity, image, segment_bytes=segment_bytes), image
    replay = _Replay(directory.label, identity)
    segments: list[_Segment] = []
    for name in names:
        number = int(name.removesuffix(".wal"), 16)
        if segments and number != segments[-1].number + 1:
            raise WalError(f"{directory.label}/{segments[-1].name}: the segment after it is gone")
        segment = _Segment(number, 0, 0)
        _recover(directory, segment, replay, last=name == names[-1])
        segments.append(segment)
    image = replay.image()
    return Wal(directory, identity, segments, image, segment_bytes=segment_bytes), image


def _recover(directory: Directory, segment: _Segment, replay: _Replay, *, last: bool) -> None:
    place = f"{directory.label}/{segment.name}"
    content = directory.read(segment.name)
    try:
        found = scan(content, segment=segment.number, last=last)
    except DamageError as error:
        raise WalError(f"{place}: {error}") from error
    if not found.payloads:
        # Segments are renamed into place whole, so not even the last one may lack its opening.
        raise WalError(f"{place}: damaged record at offset 0: no whole record")
    for payload in found.payloads:
        replay.record(place, payload, segment)
    if found.good_bytes < len(content):
        directory.truncate(segment.name, found.good_bytes)
    segment.size = found.good_bytes


class _Replay:
    """Folds items, oldest first, into a log image."""

    def __init__(self, label: str, identity: Identity) -> None:
        self._label = label
        self._identity = identity
        self._hard_state = HardState()
        self._base: Base | None = None
        self._entries: list[Entry] = []

    def record(self, place: str, payload: bytes, segment: _Segment) -> None:
        try:
            for kind, body in _items(payload):
                self._item(place, kind, body, segment)
        except (struct.error, ValueError) as error:
            raise WalError(f"{place}: a record does not decode: {error}") from error

    def image(self) -> LogImage:
        """What all segments amount to.

        Raises:
            WalError: entries between the base and the first entry kept are missing.
        """
        if self._base is None:
            raise WalError(f"{self._label}: no segment says where the log starts")
        base = self._base
        entries = [entry for entry in self._entries if entry.index > base.index]
        if entries and entries[0].index != base.index + 1:
            raise WalError(
                f"{self._label}: entries {base.index + 1} to {entries[0].index - 1} are missing"
            )
        return LogImage(self._hard_state, base, tuple(entries))

    def _item(self, place: str, kind: int, body: bytes, segment: _Segment) -> None:
        if kind == _KIND_ENTRY:
            index, term = _ENTRY.unpack_from(body)
            if len(body) == _ENTRY.size:
                raise ValueError("entry without data")
            self._entry(place, Entry(body[_ENTRY.size :], index, term))
            segment.last_index = max(segment.last_index, index)
        elif kind == _KIND_HARD_STATE:
            self._hard_state = HardState(*_HARD_STATE.unpack(body))
        elif kind == _KIND_TRUNCATE:
            (index,) = _INDEX.unpack(body)
            if self._entries:
                del self._entries[max(0, index - self._entries[0].index) :]
        elif kind in (_KIND_COMPACT, _KIND_RESET):
            index, term = _BASE.unpack_from(body)
            self._base = Base(index, term, decode_voters(body[_BASE.size :]))
            if kind == _KIND_RESET:
                self._entries = []
        elif kind == _KIND_IDENTITY:
            self._check_identity(place, body, segment)
        else:
            raise ValueError(f"unknown item kind {kind}")

    def _entry(self, place: str, entry: Entry) -> None:
        # A gap is right only where dropped segments held what the base now stands for, which
        # `image` checks once the newest base is known.
        if self._entries and entry.index != self._entries[-1].index + 1:
            if entry.index <= self._entries[-1].index:
                raise WalError(f"{place}: entry {entry.index} is there twice")
            self._entries = []
        self._entries.append(entry)

    def _check_identity(self, place: str, body: bytes, segment: _Segment) -> None:
        _check_version(place, body)
        _, cluster_id, member_id, number = _IDENTITY.unpack(body)
        if cluster_id != self._identity.cluster_id:
            raise WalError(
                f"{place}: data directory of another cluster "
                f"({cluster_id:x}, not {self._identity.cluster_id:x})"
            )
        if member_id != self._identity.member_id:
            raise WalError(
                f"{place}: data directory of another member "
                f"({member_id:x}, not {self._identity.member_id:x})"
            )
        if number != segment.number:
            raise WalError(f"{place}: holds segment {number:016x}")


def _check_version(place: str, body: bytes) -> None:
    (version,) = struct.unpack_from("<I", body)
    if version > FORMAT_VERSION:
        raise WalError(
            f"{place}: written by a newer version (format {version}, "
            f"this program reads up to {FORMAT_VERSION})"
        )


def _opening(number: int, identity: Identity, hard_state: HardState, base: Base) -> bytes:
    body = _IDENTITY.pack(FORMAT_VERSION, identity.cluster_id, identity.member_id, number)
    items = [_pack(_KIND_IDENTITY, body), *_encode((hard_state, Compact(base)))]
    return frame(b"".join(items), segment=number)


def _encode(items: Sequence[Item]) -> Iterator[bytes]:
    for item in items:
        match item:
            case Entry(data, index, term):
                yield _pack(_KIND_ENTRY, _ENTRY.pack(index, term) + data)
            case Truncate(index):
                yield _pack(_KIND_TRUNCATE, _INDEX.pack(index))
            case HardState(term, vote, commit):
                yield _pack(_KIND_HARD_STATE, _HARD_STATE.pack(term, vote, commit))
            case Compact(base):
                yield _pack(_KIND_COMPACT, _encode_base(base))
            case Reset(base):
                yield _pack(_KIND_RESET, _encode_base(base))


def _encode_base(base: Base) -> bytes:
    return _BASE.pack(base.index, base.term) + encode_voters(base.voters)


def _pack(kind: int, body: bytes) -> bytes:
    return _ITEM.pack(kind, len(body)) + body


def _items(payload: bytes) -> Iterator[tuple[int, bytes]]:
    at = 0
    while at < len(payload):
        kind, length = _ITEM.unpack_from(payload, at)
        at += _ITEM.size
        if at + length > len(payload):
            raise ValueError("item cut short")
        yield kind, payload[at : at + length]
        at += length

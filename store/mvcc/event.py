"""KV events: what a watch delivers, encoded once however many watchers there are."""

from __future__ import annotations

from kubraft.pb.mvccpb.kv_pb2 import KeyValue
from store.mvcc.revision import PackedRevision, Revision, is_tombstone, main_of
from store.mvcc.wire import field_bytes, varint

# WatchResponse.events = 11, length-delimited.
_EVENTS_TAG = varint(11 << 3 | 2)
# Event.type = DELETE; PUT is the default and takes no bytes.
_TYPE_DELETE = b"\x08\x01"


def _put_head(size: int) -> bytes:
    """What precedes the record of a put without `prev_kv`."""
    head = varint(2 << 3 | 2) + varint(size)
    return _EVENTS_TAG + varint(len(head) + size) + head


# By the size of the record: events are many, and their values alike.
_PUT_HEADS_MAX = 4096
_PUT_HEADS = [_put_head(size) for size in range(_PUT_HEADS_MAX)]


class KvEvent:
    """One put or delete at one packed revision; `record` is its encoded `mvccpb.KeyValue`."""

    __slots__ = ("_chunk", "_chunk_with_previous", "key", "packed", "record")

    def __init__(self, packed: PackedRevision, key: bytes, record: bytes) -> None:
        self.packed = packed
        self.key = key
        self.record = record
        self._chunk: bytes | None = None
        self._chunk_with_previous: bytes | None = None

    @property
    def revision(self) -> Revision:
        return main_of(self.packed)

    @property
    def is_delete(self) -> bool:
        return is_tombstone(self.packed)

    def is_create(self) -> bool:
        """Whether a put began the life of its key, so that there is no previous value."""
        if self.is_delete:
            return False
        return KeyValue.FromString(self.record).create_revision == self.revision

    def chunk(self) -> bytes:
        """The event as one `events` field of a WatchResponse."""
        if self._chunk is None:
            size = len(self.record)
            if size < _PUT_HEADS_MAX and not self.packed & 1:
                self._chunk = _PUT_HEADS[size] + self.record
            else:
                self._chunk = self._encode(None)
        return self._chunk

    def chunk_with_previous(self, previous: bytes | None) -> bytes:
        """The same with `prev_kv`; `previous` is the encoded value before, if it is known."""
        if previous is None:
            return self.chunk()
        if self._chunk_with_previous is None:
            self._chunk_with_previous = self._encode(previous)
        return self._chunk_with_previous

    def _encode(self, previous: bytes | None) -> bytes:
        payload = (_TYPE_DELETE if self.is_delete else b"") + field_bytes(2, self.record)
        if previous is not None:
            payload += field_bytes(3, previous)
        return _EVENTS_TAG + varint(len(payload)) + payload

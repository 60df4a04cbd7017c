"""One watch stream: its watches, what waits to be sent, and catching up on history.

A stream keeps at most about `BACKLOG_BYTES_MAX` of events for a client that reads slowly. A
watcher that would exceed it is taken out of the hub and later reads on from history, so a slow
client costs bounded memory and loses nothing; only a compaction that overtakes it ends its watch.

No I/O: `store.rpc.watch` moves requests in and responses out. All on the event loop; no method
but `room` and `news` waits.

Source: etcd v3 API guarantees, Watch APIs; etcd, server/etcdserver/api/v3rpc (watch.go).
"""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import Callable

from kubraft.pb.etcdserverpb.rpc_pb2 import WatchCreateRequest, WatchRequest
from store.mvcc.errors import CompactedError
from store.mvcc.event import KvEvent
from store.mvcc.key_index import range_end
from store.mvcc.revision import Revision
from store.mvcc.store import MvccStore
from store.mvcc.watch import EventBatch, Watcher, WatchHub, WatchID
from store.mvcc.wire import field_bytes, field_varint

BACKLOG_BYTES_MAX = 2 << 20
# What one step of catching up looks at and sends at most, in whole revisions.
STEP_EVENTS = 1000
STEP_BYTES = 1 << 20

# Of a watch that was not made, and of progress on behalf of all watches.
NO_WATCH = WatchID(-1)

_CREATED = field_varint(3, 1)
_CANCELED = field_varint(4, 1)
_FRAGMENT = field_varint(7, 1)
_DUPLICATE_ID = "mvcc: duplicate watch ID provided on the WatchStream"
_EMPTY_RANGE = "mvcc: watcher range is empty"


class WatchStream:
    """State of one stream; implements `store.mvcc.watch.Sink`."""

    def __init__(
        self,
        store: MvccStore,
        hub: WatchHub,
        header: Callable[[int], bytes],
        *,
        progress_interval_s: float,
        response_bytes_max: int,
        now: Callable[[], float],
        refusal: Callable[[WatchCreateRequest], str] = lambda _: "",
    ) -> None:
        """`refusal` says why a watch is not permitted, nothing if it is."""
        self._store = store
        self._hub = hub
        self._header = header
        self._response_bytes_max = response_bytes_max
        self._progress_interval_s = progress_interval_s
        self._now = now
        self._refusal = refusal
        self._watchers: dict[WatchID, Watcher] = {}
        self._lagging: deque[Watcher] = deque()
        self._next_id = 0
        self._outbox: deque[bytes] = deque()
        self._outbox_bytes = 0
        self._progress_requested = False
        self._next_progress_at: float | None = None
        self._news = asyncio.Event()
        self._room = asyncio.Event()
        self._room.set()

    # Requests.

    def receive(self, request: WatchRequest) -> None:
        """Carry out one request; one of an unknown kind is ignored, as in etcd."""
        match request.WhichOneof("request_union"):
            case "create_request":
                self._create(request.create_request)
            case "cancel_request":
                self._cancel(WatchID(request.cancel_request.watch_id))
            case "progress_request":
                self._progress_requested = True
                self._news.set()
            case _:
                pass

    def _create(self, request: WatchCreateRequest) -> None:
        store = self._store
        key = request.key or b"\0"
        end = range_end(request.range_end)
        watch_id = WatchID(request.watch_id)
        if request.start_revision < 0:
            return self._refuse(CompactedError.message)
        if reason := self._refusal(request):
            return self._refuse(reason)
        if end and key >= end:
            return self._refuse(_EMPTY_RANGE)
        if watch_id == 0:
            while self._next_id in self._watchers:
                self._next_id += 1
            watch_id = WatchID(self._next_id)
            self._next_id += 1
        elif watch_id in self._watchers:
            return self._refuse(_DUPLICATE_ID)
        start = request.start_revision or store.revision + 1
        watcher = Watcher(watch_id, key, end, start, self)
        watcher.no_put = WatchCreateRequest.NOPUT in request.filters
        watcher.no_delete = WatchCreateRequest.NODELETE in request.filters
        watcher.prev_kv = request.prev_kv
        watcher.fragment = request.fragment
        watcher.progress_notify = request.progress_notify
        self._watchers[watch_id] = watcher
        self._send(store.revision, watch_id, _CREATED)
        if watcher.progress_notify and self._next_progress_at is None:
            self._next_progress_at = self._now() + self._progress_interval_s
        if start > store.revision:
            self._hub.add(watcher)
        else:
            self.lag(watcher)
        return None

    def _refuse(self, reason: str) -> None:
        fields = _CREATED + _CANCELED + field_bytes(6, reason.encode())
        self._send(self._store.revision, NO_WATCH, fields)

    def _cancel(self, watch_id: WatchID) -> None:
        if self._forget(watch_id):
            self._send(self._store.revision, watch_id, _CANCELED)

    def _forget(self, watch_id: WatchID) -> bool:
        watcher = self._watchers.pop(watch_id, None)
        if watcher is None:
            return False
        self._hub.remove(watcher)
        if watcher in self._lagging:
            self._lagging.remove(watcher)
        return True

    def close(self) -> None:
        """Give up all watches."""
        for watch_id in list(self._watchers):
            self._forget(watch_id)

    # Events.

    def offer(self, watcher: Watcher, batch: EventBatch, revision: Revision) -> None:
        if self._outbox_bytes > BACKLOG_BYTES_MAX:
            self._hub.remove(watcher)
            watcher.next_revision = max(watcher.next_revision, batch.first_revision)
            self.lag(watcher)
            return
        self._send_events(watcher, batch, revision)
        watcher.next_revision = max(watcher.next_revision, revision + 1)

    def lag(self, watcher: Watcher) -> None:
        self._lagging.append(watcher)
        self._news.set()

    @property
    def is_lagging(self) -> bool:
        return bool(self._lagging)

    def catch_up(self) -> None:
        """Let the watcher that waits longest read on for one step."""
        watcher = self._lagging.popleft()
        store = self._store
        if watcher.next_revision < store.compacted:
            del self._watchers[watcher.id]
            # At no revision: nothing is known of what was missed.
            self._send(0, watcher.id, field_varint(5, store.compacted) + _CANCELED)
            return
        events, reached = self._read_history(watcher)
        if events:
            self._send_events(watcher, EventBatch(events, store.find_at), reached)
        watcher.next_revision = max(watcher.next_revision, reached + 1)
        if reached == store.revision:
            self._hub.add(watcher)
        else:
            self._lagging.append(watcher)

    def _read_history(self, watcher: Watcher) -> tuple[list[KvEvent], Revision]:
        """Events for `watcher`, in whole revisions, and the revision up to which it now has all."""
        events: list[KvEvent] = []
        size = 0
        last = Revision(watcher.next_revision - 1)
        for seen, event in enumerate(self._store.history(watcher.next_revision)):
            if (seen >= STEP_EVENTS or size >= STEP_BYTES) and event.revision != last:
                return events, last
            last = event.revision
            if watcher.covers(event.key) and watcher.wants(event):
                events.append(event)
                size += len(event.record)
        return events, self._store.revision

    def _send_events(self, watcher: Watcher, batch: EventBatch, revision: Revision) -> None:
        payload = batch.payload(watcher)
        if not payload:
            return
        watcher.progress_due = False
        if not watcher.fragment or len(payload) < self._response_bytes_max:
            self._send(revision, watcher.id, payload)
            return
        part: list[bytes] = []
        size = 0
        for chunk in batch.chunks(watcher):
            if part and size + len(chunk) >= self._response_bytes_max:
                self._send(revision, watcher.id, _FRAGMENT + b"".join(part))
                part, size = [], 0
            part.append(chunk)
            size += len(chunk)
        self._send(revision, watcher.id, b"".join(part))

    # Progress.

    @property
    def next_progress_at(self) -> float | None:
        """When `notify_progress` is due next, on the clock of `now`."""
        return self._next_progress_at

    def notify_progress(self) -> None:
        """Tell idle watchers that asked for it how far they are, once an interval."""
        if self._next_progress_at is None or self._now() < self._next_progress_at:
            return
        self._next_progress_at = self._now() + self._progress_interval_s
        for watcher in self._watchers.values():
            if not watcher.progress_notify:
                continue
            if not self._has_all(watcher):
                continue
            if watcher.progress_due:
                self._send(self._store.revision, watcher.id, b"")
            watcher.progress_due = True

    def _has_all(self, watcher: Watcher) -> bool:
        """Whether the store's revision says how far `watcher` is.

        Not so for one that waits for a revision to come: who resumed after what it was told would
        get events from before its start.
        """
        awaits = watcher.next_revision > self._store.revision + 1
        return not awaits and watcher not in self._lagging

    # Responses.

    def _send(self, revision: int, watch_id: WatchID, fields: bytes) -> None:
        response = self._header(revision) + field_varint(2, watch_id) + fields
        self._outbox.append(response)
        self._outbox_bytes += len(response)
        self._news.set()
        if self._outbox_bytes > BACKLOG_BYTES_MAX:
            self._room.clear()

    def next_response(self) -> bytes | None:
        """The next encoded WatchResponse; None if there is nothing to send now.

        A progress request is answered for all watches at once, when all have what came before;
        as in etcd it gets no answer while one of them waits for a revision to come.
        """
        if not self._outbox and self._progress_requested and not self._lagging:
            self._progress_requested = False
            if all(map(self._has_all, self._watchers.values())):
                self._send(self._store.revision, NO_WATCH, b"")
        if not self._outbox:
            return None
        response = self._outbox.popleft()
        self._outbox_bytes -= len(response)
        if self._outbox_bytes <= BACKLOG_BYTES_MAX:
            self._room.set()
        return response

    async def news(self) -> None:
        """Wait until `next_response` or `catch_up` may have something to do."""
        await self._news.wait()
        self._news.clear()

    async def room(self) -> None:
        """Wait until the client has taken enough of what it asked for to ask for more."""
        await self._room.wait()

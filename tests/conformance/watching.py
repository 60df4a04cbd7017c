"""Watch streams as a comparison sees them: per watch what it said in order, however it was cut."""

from __future__ import annotations

import queue
import threading
import time
from typing import Any

import grpc
from google.protobuf import text_format

from kubraft.pb.etcdserverpb import rpc_pb2 as pb
from kubraft.pb.etcdserverpb import rpc_pb2_grpc

_POLL_S = 0.01
_ANSWER_S = 20.0
_QUIET_S = 0.15
# The first of the watches that only show how far the server is; no test asks for such an id.
_MARK = 1 << 40
_MARKED_KEY = b"\xffnobody writes here"

# What each watch of a stream said.
Heard = dict[int, list[str]]


class Watching:
    """One stream; events one by one, since how many come in a response is nobody's promise."""

    def __init__(self, channel: grpc.Channel, metadata: Any = ()) -> None:
        self._requests: queue.Queue[pb.WatchRequest | None] = queue.Queue()
        self._call: Any = rpc_pb2_grpc.WatchStub(channel).Watch(
            iter(self._requests.get, None), metadata=metadata
        )
        self._lock = threading.Lock()
        self._heard: dict[int, list[str]] = {}
        self._marks = 0
        self._seen_marks = 0
        self.failure = ""
        self._reader = threading.Thread(target=self._read, daemon=True)
        self._reader.start()

    def send(self, request: pb.WatchRequest) -> None:
        """Send a request, and wait until the server has carried it out.

        Another watch shows it. A request for progress would not: since 3.6 it has no answer while
        a watch of the stream awaits a revision to come.
        """
        self._requests.put(request)
        mark = pb.WatchCreateRequest(key=_MARKED_KEY, watch_id=_MARK + self._marks)
        self._marks += 1
        self._requests.put(pb.WatchRequest(create_request=mark))
        deadline = time.monotonic() + _ANSWER_S
        while self._seen_marks < self._marks and not self.failure:
            assert time.monotonic() < deadline, "no answer to the watch behind a request"
            time.sleep(_POLL_S)

    def _read(self) -> None:
        try:
            for response in self._call:
                with self._lock:
                    self._hear(response)
        except grpc.RpcError as error:
            self.failure = f"error {error.code().name}: {error.details()}"

    def _hear(self, response: pb.WatchResponse) -> None:
        events = list(response.events)
        if response.watch_id >= _MARK:
            self._seen_marks += int(response.created)
            return
        heard = self._heard.setdefault(response.watch_id, [])
        if response.fragment or events:
            heard += [text_format.MessageToString(event, as_one_line=True) for event in events]
            return
        response.ClearField("watch_id")
        for name in ("cluster_id", "member_id", "raft_term"):
            response.header.ClearField(name)
        heard.append(text_format.MessageToString(response, as_one_line=True))

    def heard(self) -> Heard:
        """Everything so far, by watch id."""
        with self._lock:
            return {watch: list(lines) for watch, lines in sorted(self._heard.items())}

    def close(self) -> None:
        self._requests.put(None)
        self._call.cancel()
        self._reader.join(10)


def settled(one: Watching, other: Watching) -> tuple[Heard, Heard]:
    """What both have heard when they agree and nothing came for a while, or when time is up."""
    deadline = time.monotonic() + _ANSWER_S
    before: Any = None
    since = time.monotonic()
    while time.monotonic() < deadline:
        now = (one.heard(), other.heard())
        if now != before:
            before, since = now, time.monotonic()
        elif now[0] == now[1] and time.monotonic() - since > _QUIET_S:
            break
        time.sleep(_POLL_S)
    return one.heard(), other.heard()

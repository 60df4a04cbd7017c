"""Data-driven scripts: requests in protobuf text format, and below each what etcd v3 answers.

    Put key: "a" value: "1"
    ----
    header { revision: 2 }

A block is a request (over several lines if it likes), `----`, the answer, and an empty line; text
before the first block is a comment. An error is `error CODE: text`. Of a header only the revision
is kept. Watches are streams with names: `WatchSend w create_request { key: "a" }` sends on stream
`w`, `WatchReceive w 2` prints the next two responses of it. `KeepAlive` sends one keep-alive.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import grpc
import grpc.aio
from google.protobuf import text_format
from google.protobuf.message import Message

from kubraft.pb.etcdserverpb import rpc_pb2, rpc_pb2_grpc

RECEIVE_S = 5.0

_KV = ("Range", "Put", "DeleteRange", "Txn", "Compact")
_LEASE = ("LeaseGrant", "LeaseRevoke", "LeaseTimeToLive", "LeaseLeases")
_REQUESTS: dict[str, type[Message]] = {
    "Range": rpc_pb2.RangeRequest,
    "Put": rpc_pb2.PutRequest,
    "DeleteRange": rpc_pb2.DeleteRangeRequest,
    "Txn": rpc_pb2.TxnRequest,
    "Compact": rpc_pb2.CompactionRequest,
    "LeaseGrant": rpc_pb2.LeaseGrantRequest,
    "LeaseRevoke": rpc_pb2.LeaseRevokeRequest,
    "LeaseTimeToLive": rpc_pb2.LeaseTimeToLiveRequest,
    "LeaseLeases": rpc_pb2.LeaseLeasesRequest,
    "KeepAlive": rpc_pb2.LeaseKeepAliveRequest,
}


@dataclass(slots=True)
class Block:
    request: str
    answer: str


@dataclass(slots=True)
class Script:
    comment: str
    blocks: list[Block]

    @classmethod
    def read(cls, path: Path) -> Script:
        parts = path.read_text().strip("\n").split("\n\n")
        comment = parts.pop(0) if "----" not in parts[0] else ""
        blocks = []
        for part in parts:
            request, separator, answer = part.partition("\n----")
            assert separator, f"{path.name}: no ---- after {request!r}"
            blocks.append(Block(request, answer.strip("\n")))
        return cls(comment, blocks)

    def text(self) -> str:
        blocks = [f"{block.request}\n----\n{block.answer}" for block in self.blocks]
        return "\n\n".join(filter(None, [self.comment, *blocks])) + "\n"


async def run(script: Script, channel: grpc.aio.Channel) -> Script:
    """The script with the answers of whoever is at the other end of `channel`."""
    player = _Player(channel)
    try:
        blocks = [Block(b.request, await player.play(b.request)) for b in script.blocks]
    finally:
        player.close()
    return Script(script.comment, blocks)


class _Player:
    def __init__(self, channel: grpc.aio.Channel) -> None:
        self._stubs: list[Any] = [rpc_pb2_grpc.KVStub(channel), rpc_pb2_grpc.LeaseStub(channel)]
        self._watch: Any = rpc_pb2_grpc.WatchStub(channel)
        self._streams: dict[str, Any] = {}

    async def play(self, request: str) -> str:
        verb, _, rest = request.partition(" ")
        try:
            if verb.startswith("Watch"):
                return await self._play_watch(verb, rest)
            message = text_format.Parse(rest, _REQUESTS[verb]())
            if verb == "KeepAlive":
                return await self._keep_alive(message)
            stub = self._stubs[0] if verb in _KV else self._stubs[1]
            assert verb in _KV or verb in _LEASE
            return show(await getattr(stub, verb)(message, timeout=RECEIVE_S))
        except grpc.aio.AioRpcError as error:
            return f"error {error.code().name}: {error.details()}"

    async def _keep_alive(self, message: Message) -> str:
        async def requests() -> AsyncIterator[Message]:
            yield message

        async for response in self._stubs[1].LeaseKeepAlive(requests(), timeout=RECEIVE_S):
            return show(response)
        return "end of stream"

    async def _play_watch(self, verb: str, rest: str) -> str:
        name, _, arguments = rest.partition(" ")
        if name not in self._streams:
            self._streams[name] = self._watch.Watch()
        stream = self._streams[name]
        if verb == "WatchSend":
            await stream.write(text_format.Parse(arguments, rpc_pb2.WatchRequest()))
            return "sent"
        assert verb == "WatchReceive"
        responses: list[rpc_pb2.WatchResponse] = []
        async with asyncio.timeout(RECEIVE_S):
            while len(responses) < int(arguments):
                responses.append(await stream.read())
        # Which watch of a stream comes first is nobody's promise.
        responses.sort(key=lambda response: response.watch_id)
        return "\n".join(map(show, responses))

    def close(self) -> None:
        for stream in self._streams.values():
            stream.cancel()


def show(message: Message) -> str:
    """A response in one line, without what differs from cluster to cluster or from time to time."""
    for holder in _headers(message):
        header = holder.header
        header.ClearField("cluster_id")
        header.ClearField("member_id")
        header.ClearField("raft_term")
    if isinstance(message, rpc_pb2.LeaseTimeToLiveResponse) and message.TTL > 0:
        message.ClearField("TTL")
    if isinstance(message, rpc_pb2.LeaseTimeToLiveResponse):
        message.keys[:] = sorted(message.keys)
    return text_format.MessageToString(message, as_one_line=True) or "(empty)"


def _headers(message: Any) -> list[Any]:
    found = [message] if message.HasField("header") else []
    if isinstance(message, rpc_pb2.TxnResponse):
        for response in message.responses:
            kind = response.WhichOneof("response")
            if kind is not None:
                found += _headers(getattr(response, kind))
    return found

"""Data-driven scripts: requests in protobuf text format, and below each what etcd v3 answers.

    Put key: "a" value: "1"
    ----
    header { revision: 2 }

A block is a request (over several lines if it likes), `----`, the answer, and an empty line; text
before the first block is a comment. An error is `error CODE: text`. Of a header only the revision
is kept. Watches are streams with names: `WatchSend w create_request { key: "a" }` sends on stream
`w`, `WatchReceive w 2` prints the next two responses of it. `KeepAlive` sends one keep-alive.
`Start w REQUEST` begins a call that waits, `End w` prints its answer.
`As NAME PASSWORD` authenticates; all that follows is done as that user, until `As` without a name.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any, NamedTuple

import grpc
import grpc.aio
from google.protobuf import message_factory, text_format
from google.protobuf.message import Message

from kubraft.pb.etcdserverpb import rpc_pb2, rpc_pb2_grpc
from kubraft.pb.v3electionpb import v3election_pb2
from kubraft.pb.v3lockpb import v3lock_pb2

RECEIVE_S = 5.0
# A call that has not ended by then is taken to wait for others.
WAITS_S = 0.4


class _Method(NamedTuple):
    path: str
    request: type[Message]
    response: type[Message]


def _unary_methods() -> dict[str, _Method]:
    files = (rpc_pb2.DESCRIPTOR, v3lock_pb2.DESCRIPTOR, v3election_pb2.DESCRIPTOR)
    return {
        method.name: _Method(
            f"/{service.full_name}/{method.name}",
            message_factory.GetMessageClass(method.input_type),
            message_factory.GetMessageClass(method.output_type),
        )
        for file in files
        for service in file.services_by_name.values()
        for method in service.methods
        if not (method.client_streaming or method.server_streaming)
    }


METHODS = _unary_methods()


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
        self._channel = channel
        self._lease: Any = rpc_pb2_grpc.LeaseStub(channel)
        self._watch: Any = rpc_pb2_grpc.WatchStub(channel)
        self._token = ""
        self._background: dict[str, asyncio.Task[str]] = {}
        self._streams: dict[str, Any] = {}
        self._reads: dict[str, asyncio.Future[Any]] = {}

    async def play(self, request: str) -> str:
        verb, _, rest = request.partition(" ")
        try:
            if verb.startswith("Watch"):
                return await self._play_watch(verb, rest)
            if verb == "KeepAlive":
                return await self._keep_alive(
                    text_format.Parse(rest, rpc_pb2.LeaseKeepAliveRequest())
                )
            if verb == "Start":
                return await self._start(*rest.split(maxsplit=1))
            if verb == "End":
                return await self._background.pop(rest)
            if verb == "As":
                return await self._log_in(*rest.split())
            method = METHODS[verb]
            return show(await self._call(method, text_format.Parse(rest, method.request())))
        except grpc.aio.AioRpcError as error:
            return f"error {error.code().name}: {error.details()}"

    async def _start(self, name: str, request: str) -> str:
        """Begin a call that waits, and see it wait."""
        task = self._background[name] = asyncio.create_task(self.play(request))
        done, _ = await asyncio.wait({task}, timeout=WAITS_S)
        return "ended" if done else "waits"

    async def _call(self, method: _Method, message: Message) -> Any:
        call = self._channel.unary_unary(
            method.path,
            request_serializer=method.request.SerializeToString,
            response_deserializer=method.response.FromString,
        )
        return await call(message, timeout=RECEIVE_S, metadata=self._metadata())

    def _metadata(self) -> tuple[tuple[str, str], ...]:
        return (("token", self._token),) if self._token else ()

    async def _log_in(self, name: str = "", password: str = "") -> str:
        self._token = ""
        if not name:
            return "nobody"
        request = rpc_pb2.AuthenticateRequest(name=name, password=password)
        self._token = (await self._call(METHODS["Authenticate"], request)).token
        return name

    async def _keep_alive(self, message: Message) -> str:
        async def requests() -> AsyncIterator[Message]:
            yield message

        metadata = self._metadata()
        stream = self._lease.LeaseKeepAlive(requests(), timeout=RECEIVE_S, metadata=metadata)
        async for response in stream:
            return show(response)
        return "end of stream"

    async def _play_watch(self, verb: str, rest: str) -> str:
        name, _, arguments = rest.partition(" ")
        if name not in self._streams:
            self._streams[name] = self._watch.Watch(metadata=self._metadata())
        stream = self._streams[name]
        if verb == "WatchSend":
            await stream.write(text_format.Parse(arguments, rpc_pb2.WatchRequest()))
            return "sent"
        assert verb == "WatchReceive"
        responses: list[rpc_pb2.WatchResponse] = []
        while len(responses) < int(arguments):
            # A read that is cancelled would end the stream, so one that waits is kept.
            read = self._reads.pop(name, None) or asyncio.ensure_future(stream.read())
            done, _ = await asyncio.wait({read}, timeout=RECEIVE_S)
            if not done:
                self._reads[name] = read
                break
            responses.append(read.result())
        # Which watch of a stream comes first is nobody's promise.
        responses.sort(key=lambda response: response.watch_id)
        missing = ["nothing more"] if len(responses) < int(arguments) else []
        return "\n".join([*map(show, responses), *missing])

    def close(self) -> None:
        for stream in self._streams.values():
            stream.cancel()
        for task in (*self._background.values(), *self._reads.values()):
            task.cancel()


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
    if isinstance(message, rpc_pb2.LeaseLeasesResponse):
        message.leases.sort(key=lambda lease: lease.ID)
    if isinstance(message, rpc_pb2.AlarmResponse):
        message.alarms.sort(key=lambda alarm: (alarm.alarm, alarm.memberID))
    return text_format.MessageToString(message, as_one_line=True) or "(empty)"


def _headers(message: Any) -> list[Any]:
    found = [message] if message.HasField("header") else []
    if isinstance(message, rpc_pb2.TxnResponse):
        for response in message.responses:
            kind = response.WhichOneof("response")
            if kind is not None:
                found += _headers(getattr(response, kind))
    return found

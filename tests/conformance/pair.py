"""The real etcd and a member of ours side by side: the same request to both, and both answers."""

from __future__ import annotations

import contextlib
from pathlib import Path
from types import TracebackType
from typing import Any, NamedTuple, Self

import grpc
from google.protobuf import text_format
from google.protobuf.message import Message

from kubraft.pb.etcdserverpb import rpc_pb2 as pb
from tests.conformance.requests import PASSWORDS
from tests.conformance.script import METHODS, show
from tests.e2e.store_cluster import StoreCluster

CALL_S = 20.0
_EVERYTHING = pb.DeleteRangeRequest(key=b"\0", range_end=b"\0")
_FLAGS = ("--bcrypt-cost=4", "--max-txn-ops=6", "--max-request-bytes=65536")


class Answers(NamedTuple):
    etcd: str
    ours: str


def _refusal(error: Any) -> str:
    return f"error {error.code().name}: {error.details()}"


class Side:
    """One of the two servers, as one caller sees it."""

    def __init__(self, cluster: StoreCluster) -> None:
        self.cluster = cluster
        self.channel = cluster.channel("store-0")
        self.token = ""
        # Authentication's revision when a run began: servers count on from different ones.
        self.auth_base = 0

    def call(self, verb: str, request: Message) -> Any:
        """Raises grpc.RpcError."""
        method = METHODS[verb]
        call = self.channel.unary_unary(
            method.path,
            request_serializer=method.request.SerializeToString,
            response_deserializer=method.response.FromString,
        )
        metadata = (("token", self.token),) if self.token else ()
        return call(request, timeout=CALL_S, metadata=metadata)

    def answer(self, verb: str, request: Message) -> str:
        try:
            response = self.call(verb, request)
            if isinstance(response, pb.AuthStatusResponse):
                response.authRevision -= self.auth_base
            return show(response)
        except grpc.RpcError as error:
            return _refusal(error)

    def raw(self, path: str, data: bytes) -> str:
        """What the server says to bytes."""
        try:
            self.channel.unary_unary(path, bytes, bytes)(data, timeout=CALL_S)
        except grpc.RpcError as error:
            return _refusal(error)
        return "ok"


class Pair:
    """Both servers; a context manager that starts and ends them."""

    def __init__(self, directory: Path) -> None:
        self._clusters = [
            StoreCluster(directory / name, members=1, tls=False, etcd=is_etcd, flags=_FLAGS)
            for name, is_etcd in (("etcd", True), ("ours", False))
        ]
        for cluster in self._clusters:
            cluster.directory.mkdir(exist_ok=True)

    def __enter__(self) -> Self:
        with contextlib.ExitStack() as stack:
            for cluster in self._clusters:
                stack.enter_context(cluster)
                cluster.start()
            for cluster in self._clusters:
                cluster.wait_ready()
            self.etcd, self.ours = map(Side, self._clusters)
            for side in self.sides:
                stack.callback(side.channel.close)
            self._stack = stack.pop_all()
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        self._stack.close()

    @property
    def sides(self) -> tuple[Side, Side]:
        return self.etcd, self.ours

    def ask(self, verb: str, request: Message) -> Answers:
        return Answers(self.etcd.answer(verb, request), self.ours.answer(verb, request))

    def raw(self, path: str, data: bytes) -> Answers:
        return Answers(self.etcd.raw(path, data), self.ours.raw(path, data))

    def log_in(self, request: pb.AuthenticateRequest) -> Answers:
        """Go on as that user on both sides, as nobody if they are not let in."""
        answers = []
        for side in self.sides:
            side.token = ""
            try:
                side.token = side.call("Authenticate", request).token
                answers.append("ok")
            except grpc.RpcError as error:
                answers.append(_refusal(error))
        return Answers(*answers)

    def agree(self, verb: str, request: Message, *, answers: Answers | None = None) -> str:
        """The answer that both give, or gave."""
        answers = answers or self.ask(verb, request)
        shown = f"{verb} {text_format.MessageToString(request, as_one_line=True)}"
        assert answers.ours == answers.etcd, f"{shown}\netcd: {answers.etcd}\nours: {answers.ours}"
        return answers.etcd

    def begin_auth(self) -> None:
        """No users, no roles, and nobody asks for them."""
        for password in PASSWORDS:
            self.log_in(pb.AuthenticateRequest(name="root", password=password))
            for side in self.sides:
                with contextlib.suppress(grpc.RpcError):
                    side.call("AuthDisable", pb.AuthDisableRequest())
        for side in self.sides:
            side.token = ""
            for user in side.call("UserList", pb.AuthUserListRequest()).users:
                side.call("UserDelete", pb.AuthUserDeleteRequest(name=user))
            for role in side.call("RoleList", pb.AuthRoleListRequest()).roles:
                side.call("RoleDelete", pb.AuthRoleDeleteRequest(role=role))
            side.auth_base = side.call("AuthStatus", pb.AuthStatusRequest()).authRevision

    def begin(self) -> int:
        """Empty both, with equal history behind them; the revision that both are at."""
        for side in self.sides:
            for lease in side.call("LeaseLeases", pb.LeaseLeasesRequest()).leases:
                side.call("LeaseRevoke", pb.LeaseRevokeRequest(ID=lease.ID))
            side.call("DeleteRange", _EVERYTHING)
        ask = pb.RangeRequest(key=b"x", count_only=True)
        now: list[int] = [side.call("Range", ask).header.revision for side in self.sides]
        goal = max(now) + 1
        for side, revision in zip(self.sides, now, strict=True):
            for _ in range(goal - revision):
                side.call("Put", pb.PutRequest(key=b"\0\0fill"))
            side.call("Compact", pb.CompactionRequest(revision=goal, physical=True))
            side.call("DeleteRange", _EVERYTHING)
            side.call("Compact", pb.CompactionRequest(revision=goal + 1, physical=True))
        return goal + 1

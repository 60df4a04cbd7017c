"""What all services of a member share: the way into the log, linearizable reads, headers, errors.

Handlers take and give bytes. A request is decoded once to be checked and then proposed as it came;
a response is the header's bytes in front of the body that the state machine has encoded.
"""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass
from typing import Any, TypeVar

import grpc
import grpc.aio
from google.protobuf.message import DecodeError, Message

from kubraft.pb.etcdserverpb.rpc_pb2 import NOSPACE, AlarmRequest
from store.figures import FIGURES, CallTally
from store.mvcc import command
from store.mvcc.command import Identity, Kind
from store.mvcc.errors import MvccError, NoSpaceError
from store.mvcc.lease_expiry import LeaseExpiry
from store.mvcc.machine import KvMachine
from store.mvcc.store import MvccStore, Reply
from store.mvcc.watch import WatchHub
from store.mvcc.wire import field_bytes, field_varint
from store.raft.engine import Engine, EngineError, EngineStatus
from store.raft.membership import is_learner, present, urls_of
from store.rpc import calls, passwords
from store.rpc.caller import Callers, Context
from store.rpc.calls import name_of
from store.rpc.errors import (
    NO_LEADER,
    NOT_FOR_LEARNERS,
    TOO_LARGE,
    UNREADABLE,
    Refusal,
    RefusedError,
    refusal_of_engine,
    refusal_of_request,
)

# Source: etcd, defaults of --max-request-bytes and --max-txn-ops, and what gRPC adds to the first.
REQUEST_BYTES_MAX = 3 * 512 * 1024
REQUEST_OVERHEAD_BYTES = 512 * 1024
# What etcd's envelope in the log adds to a request, and counts: an id and the request's length.
_ENVELOPE_BYTES = 18

# Source: etcd, server/etcdserver (readIndexRetryTime): what is asked again after so long is slow.
_SLOW_READ_S = 0.5

# What `Context.read` returns when the client has no more requests.
END_OF_REQUESTS: Any = getattr(grpc.aio, "EOF")  # noqa: B009  # missing in the type stubs
M = TypeVar("M", bound=Message)


@dataclass(frozen=True, slots=True)
class ClusterMember:
    """A member as the cluster knows it."""

    id: int
    name: str
    peer_urls: tuple[str, ...]
    client_urls: tuple[str, ...] = ()
    is_learner: bool = False


@dataclass(frozen=True, slots=True)
class ServiceOptions:
    request_bytes_max: int = REQUEST_BYTES_MAX
    txn_ops_max: int = 128
    # Below zero there is none.
    quota_bytes: int = 2 << 30
    lease_ttl_s_min: int = 2
    learners_max: int = 1
    # Refuse changes of membership that members which are down make risky.
    strict_reconfiguration: bool = True
    watch_progress_interval_s: float = 600.0
    password_cost: int = passwords.COST_DEFAULT


class MemberServices:
    """One member as its services see it."""

    def __init__(
        self,
        *,
        cluster_id: int,
        member_id: int,
        members: Mapping[int, ClusterMember],
        engine: Engine,
        machine: KvMachine,
        expiry: LeaseExpiry,
        options: ServiceOptions,
        callers: Callers,
        announced: str = "",
    ) -> None:
        """`announced` is this member's place in the cluster as the others told it at the start."""
        self.cluster_id = cluster_id
        self.member_id = member_id
        # Under which names the flags know the members of the start.
        self._first_members = members
        self._announced = announced
        self.engine = engine
        self.machine = machine
        self.expiry = expiry
        self.options = options
        self.callers = callers
        self.hub = WatchHub(machine.store.find_at)
        self._status: EngineStatus | None = None
        self._status_at = 0.0
        self._loop: asyncio.AbstractEventLoop | None = None
        # The last header, for its revision and term: reads get the same again and again.
        self._header = b""
        self._header_of = (0, 0)
        self._ids = field_varint(1, cluster_id) + field_varint(2, member_id)

    @property
    def store(self) -> MvccStore:
        return self.machine.store

    @property
    def members(self) -> dict[int, ClusterMember]:
        """The members by id, as of the last applied change; names and client URLs as published."""
        found: dict[int, ClusterMember] = {}
        for member_id, place in sorted(present(self.engine.members()).items()):
            told = self.machine.members.get(member_id)
            found[member_id] = ClusterMember(
                id=member_id,
                name=told.name if told else "",
                peer_urls=tuple(urls_of(place).split(",")),
                client_urls=tuple(told.clientURLs) if told else (),
                is_learner=is_learner(place),
            )
        return found

    @property
    def names(self) -> dict[int, str]:
        """What to call the members in an error, those that never ran too."""
        names = {member.id: member.name for member in self._first_members.values()}
        return names | {m.id: m.name for m in self.members.values() if m.name}

    def is_learner(self) -> bool:
        """Whether this member is one; before its log says so, the others have said it."""
        return is_learner(self.engine.members().get(self.member_id, self._announced))

    def check_voter(self) -> None:
        """Refuse what a learner does not serve.

        Raises:
            RefusedError: this member is a learner.
        """
        if self.is_learner():
            raise RefusedError(grpc.StatusCode.FAILED_PRECONDITION, NOT_FOR_LEARNERS)

    def header(self, revision: int) -> bytes:
        """Field 1 of a response."""
        shown = (revision, self.status().term)
        if self._header_of != shown:
            fields = self._ids + field_varint(3, revision) + field_varint(4, shown[1])
            self._header, self._header_of = field_bytes(1, fields), shown
        return self._header

    def _now(self) -> float:
        # To find out which loop is running takes longer than to ask it for the time.
        if self._loop is None:
            self._loop = asyncio.get_running_loop()
        return self._loop.time()

    def status(self) -> EngineStatus:
        """The engine's status as of this turn of the event loop, asked for once in it."""
        now = self._now()
        if self._status is None or self._status_at != now:
            self._status, self._status_at = self.engine.status(), now
        return self._status

    def response(self, reply: Reply) -> bytes:
        return self.header(reply.revision) + reply.body

    async def enter(self, context: Context) -> None:
        """What this task does from now on is done for the caller behind `context`.

        A token that another member handed out just now may not have come here yet: what the log
        has is waited for then, as a linearizable read does.
        """
        self.callers.enter(context)
        if self.callers.unheard_index() > self.engine.status().applied_index:
            with contextlib.suppress(EngineError):  # the token is told of as unknown
                await self.engine.read_index()

    async def propose(self, kind: Kind, request: bytes, who: Identity | None = None) -> Reply:
        """Replicate a checked request, of the present caller if not said otherwise.

        Raises:
            RefusedError, MvccError, EngineError: see `guarded`.
        """
        self.check_voter()
        if len(request) + _ENVELOPE_BYTES > self.options.request_bytes_max:
            raise RefusedError(*TOO_LARGE)
        if who is None:
            who = self.callers.identity()
        try:
            result = await self.engine.propose(command.encode(kind, request, who))
        except EngineError:
            FIGURES.proposals_failed += 1
            raise
        if isinstance(result, MvccError):
            raise result
        assert isinstance(result, Reply)
        return result

    async def check_space(self) -> None:
        """Refuse what makes the store grow once it is over its quota, and raise the alarm.

        Raises:
            NoSpaceError: compact, defragment and disarm, or raise the quota.
            EngineError: the alarm could not be raised.
        """
        quota = self.options.quota_bytes
        if quota < 0 or self.machine.backend.used_bytes() <= quota:
            return
        if not self.machine.alarms.has(NOSPACE, self.member_id):
            alarm = AlarmRequest(
                action=AlarmRequest.ACTIVATE, memberID=self.member_id, alarm=NOSPACE
            )
            await self.propose(Kind.ALARM, alarm.SerializeToString())
        raise NoSpaceError

    async def make_linearizable(self) -> None:
        """Wait until a local read shows everything acknowledged before this call.

        Raises:
            EngineError: no quorum confirmed it.
        """
        self.check_voter()
        began = self._now()
        try:
            await self.engine.read_index()
        except EngineError:
            FIGURES.reads_failed += 1
            raise
        finally:
            FIGURES.slow_reads += self._now() - began > _SLOW_READ_S

    def unary(
        self, handle: Callable[[bytes], Awaitable[bytes]], tally: CallTally, *, learners: bool
    ) -> grpc.RpcMethodHandler[bytes, bytes]:
        """A method handler around `handle`, which takes and gives encoded messages.

        Args:
            handle: the method.
            tally: where its calls are counted.
            learners: whether a learner serves it too.
        """

        async def call(data: bytes, context: Context) -> bytes:
            tally.started += 1
            FIGURES.client_bytes_received += len(data)
            try:
                await self.enter(context)
                if not learners:
                    self.check_voter()
                self.check_leader(context)
                response = await handle(data)
            except (RefusedError, MvccError, EngineError, DecodeError) as error:
                refusal = self.refusal_of(error)
                tally.end(name_of(refusal.code))
                await context.abort(refusal.code, refusal.message)
                raise
            except BaseException as error:
                tally.end("Canceled" if isinstance(error, asyncio.CancelledError) else "Unknown")
                raise
            tally.end("OK")
            FIGURES.client_bytes_sent += len(response)
            return response

        return grpc.unary_unary_rpc_method_handler(call)

    def check_leader(self, context: Context) -> None:
        """Refuse a call that says it needs a leader while there is none.

        Source: etcd, clientv3.WithRequireLeader (metadata `hasleader: true`).
        """
        if self.status().leader is None and requires_leader(context):
            raise RefusedError(grpc.StatusCode.UNAVAILABLE, NO_LEADER)

    async def abort(self, context: Context, error: Exception) -> None:
        """End the call with the status that belongs to `error`."""
        refusal = self.refusal_of(error)
        calls.note(refusal.code)
        await context.abort(refusal.code, refusal.message)

    def refusal_of(self, error: Exception) -> Refusal:
        if isinstance(error, RefusedError):
            return error.refusal
        if isinstance(error, MvccError):
            return refusal_of_request(error)
        if isinstance(error, EngineError):
            return refusal_of_engine(error, self.engine.status(), self.names)
        return UNREADABLE


def requires_leader(context: Context) -> bool:
    metadata = context.invocation_metadata() or ()
    return any(key == "hasleader" and value == "true" for key, value in metadata)


def parse(kind: type[M], data: bytes) -> M:
    """Raises DecodeError: not an encoded message of that kind."""
    return kind.FromString(data)

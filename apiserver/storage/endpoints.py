"""Connections to the members of the store, and which of them to ask next."""

from __future__ import annotations

import asyncio
import contextlib
import ssl
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import grpc
import grpc.aio

from kubraft.api.errors import ServiceUnavailableError
from kubraft.grpc_client.alarms import Alarms
from kubraft.grpc_client.channel import Channel, Target
from kubraft.grpc_client.failure import NO_ANSWER, CallError
from kubraft.grpc_server.guard import Limits
from kubraft.pb.etcdserverpb import rpc_pb2_grpc

# A write must fail within 5 s of a lost quorum, its answer's way to the client included.
CALL_BUDGET_S = 4.6
# A member gets this long before another is asked: a paused one does not answer at all. A write is
# left time to be told why there is no quorum, which takes our store 3.5 s to be sure of.
READ_ATTEMPT_S = 1.5
WRITE_ATTEMPT_S = 3.8
ROUND_PAUSE_S = 0.1
RECEIVE_BYTES_MAX = 512 * 1024 * 1024

_LIMITS = Limits(
    message_bytes_max=RECEIVE_BYTES_MAX, keepalive_interval_s=10.0, keepalive_timeout_s=3.0
)
_DEFAULT_PORTS = {"http": 80, "https": 443}
_RETRYABLE = {
    grpc.StatusCode.UNAVAILABLE,
    grpc.StatusCode.DEADLINE_EXCEEDED,
    grpc.StatusCode.CANCELLED,
}


@dataclass(frozen=True, slots=True)
class StoreTls:
    """Files for mutual TLS with the store, PEM."""

    ca_file: Path
    cert_file: Path
    key_file: Path

    def context(self) -> ssl.SSLContext:
        """Raises OSError where a file cannot be read, or is none of that kind."""
        context = ssl.create_default_context(cafile=self.ca_file)
        context.minimum_version = ssl.TLSVersion.TLSv1_2
        # Python 3.13 wants every extension of RFC 5280; etcd's own clients do not.
        context.verify_flags &= ~ssl.VERIFY_X509_STRICT
        context.load_cert_chain(self.cert_file, self.key_file)
        context.set_alpn_protocols(["h2"])
        return context


class Endpoint:
    """One member and the stubs of its services."""

    def __init__(self, url: str, tls: ssl.SSLContext | None) -> None:
        parts = urlsplit(url)
        if parts.scheme not in _DEFAULT_PORTS or not parts.hostname:
            raise ValueError(f"--etcd-servers: not an http:// or https:// URL: {url!r}")
        if parts.scheme == "https" and tls is None:
            raise ValueError(
                f"--etcd-servers: {url} needs --etcd-cafile, --etcd-certfile and --etcd-keyfile"
            )
        self.url = url
        secure = parts.scheme == "https"
        port = parts.port or _DEFAULT_PORTS[parts.scheme]
        target = Target(parts.hostname, port, parts.netloc, tls if secure else None)
        self.channel = Channel(target, _LIMITS)
        # The stubs' constructors want a channel of grpcio's, of which they use what this one has.
        channel: Any = self.channel
        self.kv = rpc_pb2_grpc.KVStub(channel)
        self.watch = rpc_pb2_grpc.WatchStub(channel)
        self.lease = rpc_pb2_grpc.LeaseStub(channel)
        self.maintenance = rpc_pb2_grpc.MaintenanceStub(channel)

    def may_answer(self) -> bool:
        """Whether it is connected; begins to connect where it is not, for the next time.

        To leave one that is slow for one that is down would lose what it is about to say.
        """
        self.channel.connect()
        return self.channel.ready


class _NoAnswerError(Exception):
    """A member was given up."""


class Endpoints:
    """All members; sticks to one until it fails, then goes on to the next."""

    def __init__(self, urls: Sequence[str], tls: StoreTls | None = None, *, first: int = 0) -> None:
        """`first` picks the member to begin with, so that replicas do not all ask the same."""
        if not urls:
            raise ValueError("--etcd-servers: at least one URL is needed")
        context = tls.context() if tls else None
        self._all = [Endpoint(url, context) for url in urls]
        self._index = first % len(urls)
        self._alarms = Alarms()
        # Told of a member that is given up, so that its streams end as well.
        self.on_rotate: Callable[[Endpoint], None] = lambda _: None

    @property
    def current(self) -> Endpoint:
        return self._all[self._index]

    def rotate(self, failed: Endpoint) -> None:
        """Go on to the next member, unless somebody else already did."""
        if self.current is failed:
            self._index = (self._index + 1) % len(self._all)
            self.on_rotate(failed)

    async def call(
        self,
        method: Callable[[Endpoint], Callable[..., Any]],
        request: Any,
        *,
        attempt_s: float = READ_ATTEMPT_S,
        budget_s: float = CALL_BUDGET_S,
    ) -> tuple[Any, bool]:
        """Ask members in turn until one answers.

        Args:
            method: picks the remote method of a member.
            attempt_s: after so long without answer another member is asked, if there is one.
            budget_s: for all attempts.

        Returns:
            The answer, and whether an earlier attempt may have been carried out unseen.

        Raises:
            ServiceUnavailableError: no answer within `budget_s`.
            grpc.aio.AioRpcError: a member refused the request.
        """
        deadline = time.monotonic() + budget_s
        ambiguous = False
        failures: dict[str, str] = {}
        while True:
            for _ in self._all:
                remaining_s = deadline - time.monotonic()
                if remaining_s <= 0.01:
                    raise ServiceUnavailableError(unavailable_message(failures))
                endpoint = self.current
                try:
                    call = method(endpoint)(request, timeout=remaining_s)
                    return await self._patiently(call, endpoint, attempt_s), ambiguous
                except _NoAnswerError:
                    ambiguous = True
                    failures.setdefault(endpoint.url, NO_ANSWER)
                except grpc.aio.AioRpcError as error:
                    if error.code() not in _RETRYABLE:
                        raise
                    ambiguous = ambiguous or not never_sent(error)
                    _note(failures, endpoint.url, error)
                self.rotate(endpoint)
            await asyncio.sleep(min(ROUND_PAUSE_S, max(0.0, deadline - time.monotonic())))

    async def _patiently(self, call: Any, endpoint: Endpoint, attempt_s: float) -> Any:
        """Wait for an answer; give up after `attempt_s` only if another member may be up.

        Raises:
            _NoAnswerError: given up.
        """
        given_up = False

        def check() -> None:
            nonlocal given_up
            if any(other.may_answer() for other in self._all if other is not endpoint):
                given_up = True
                call.cancel()
            else:
                self._alarms.set(call, attempt_s / 4, check)

        self._alarms.set(call, attempt_s, check)
        try:
            return await call
        except asyncio.CancelledError:
            if not given_up:
                raise
            raise _NoAnswerError from None
        finally:
            self._alarms.drop(call)

    async def close(self) -> None:
        for endpoint in self._all:
            with contextlib.suppress(Exception):
                await endpoint.channel.close()


def never_sent(error: grpc.aio.AioRpcError) -> bool:
    """Whether the request surely did not reach a member."""
    return isinstance(error, CallError) and not error.sent


def unavailable_message(failures: dict[str, str]) -> str:
    """One line on why the store does not answer: its own words where there are any."""
    for details in failures.values():
        if "quorum lost" in details:
            return details
    for details in failures.values():
        if details.startswith("etcdserver:"):
            return details
    if not failures:
        return "the store did not answer in time"
    causes = "; ".join(f"{url}: {_short(details)}" for url, details in failures.items())
    return f"the store does not answer: {causes}"


def _note(failures: dict[str, str], url: str, error: grpc.aio.AioRpcError) -> None:
    """Keep why a member failed; its own words are worth more than a timeout later on."""
    details = error.details() or str(error.code())
    if not failures.get(url, "").startswith("etcdserver:") or details.startswith("etcdserver:"):
        failures[url] = details


def _short(details: str) -> str:
    return NO_ANSWER if "Deadline Exceeded" in details else details

"""Connections to the members of the store, and which of them to ask next."""

from __future__ import annotations

import asyncio
import contextlib
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import grpc
import grpc.aio

from kubraft.api.errors import ServiceUnavailableError
from kubraft.pb.etcdserverpb import rpc_pb2_grpc

# A write must fail within 5 s of a lost quorum, its answer's way to the client included.
CALL_BUDGET_S = 4.6
# A member gets this long before another is asked: a paused one does not answer at all. A write is
# left time to be told why there is no quorum, which takes our store 3.5 s to be sure of.
READ_ATTEMPT_S = 1.5
WRITE_ATTEMPT_S = 3.8
ROUND_PAUSE_S = 0.1
RECEIVE_BYTES_MAX = 512 * 1024 * 1024

_CHANNEL_OPTIONS: list[tuple[str, Any]] = [
    ("grpc.max_receive_message_length", RECEIVE_BYTES_MAX),
    ("grpc.max_send_message_length", -1),
    ("grpc.keepalive_time_ms", 10_000),
    ("grpc.keepalive_timeout_ms", 3_000),
    ("grpc.initial_reconnect_backoff_ms", 100),
    ("grpc.min_reconnect_backoff_ms", 1_000),
    ("grpc.max_reconnect_backoff_ms", 1_000),
    ("grpc.enable_retries", 0),
    ("grpc.use_local_subchannel_pool", 1),
]
_NO_ANSWER = "no answer in time"
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

    def credentials(self) -> grpc.ChannelCredentials:
        """Raises OSError where a file cannot be read."""
        return grpc.ssl_channel_credentials(
            self.ca_file.read_bytes(), self.key_file.read_bytes(), self.cert_file.read_bytes()
        )


class Endpoint:
    """One member and the stubs of its services."""

    def __init__(self, url: str, credentials: grpc.ChannelCredentials | None) -> None:
        parts = urlsplit(url)
        if parts.scheme not in {"http", "https"} or not parts.netloc:
            raise ValueError(f"--etcd-servers: not an http:// or https:// URL: {url!r}")
        if parts.scheme == "https" and credentials is None:
            raise ValueError(
                f"--etcd-servers: {url} needs --etcd-cafile, --etcd-certfile and --etcd-keyfile"
            )
        self.url = url
        self.channel = (
            grpc.aio.secure_channel(parts.netloc, credentials, _CHANNEL_OPTIONS)
            if parts.scheme == "https" and credentials is not None
            else grpc.aio.insecure_channel(parts.netloc, _CHANNEL_OPTIONS)
        )
        self.kv = rpc_pb2_grpc.KVStub(self.channel)
        self.watch = rpc_pb2_grpc.WatchStub(self.channel)
        self.lease = rpc_pb2_grpc.LeaseStub(self.channel)
        self.maintenance = rpc_pb2_grpc.MaintenanceStub(self.channel)

    def may_answer(self) -> bool:
        """Whether it is connected; begins to connect where it is not, for the next time.

        To leave one that is slow for one that is down would lose what it is about to say.
        """
        state = self.channel.get_state(try_to_connect=True)
        return state is grpc.ChannelConnectivity.READY


class _NoAnswerError(Exception):
    """A member was given up."""


class Endpoints:
    """All members; sticks to one until it fails, then goes on to the next."""

    def __init__(self, urls: Sequence[str], tls: StoreTls | None = None, *, first: int = 0) -> None:
        """`first` picks the member to begin with, so that replicas do not all ask the same."""
        if not urls:
            raise ValueError("--etcd-servers: at least one URL is needed")
        credentials = tls.credentials() if tls else None
        self._all = [Endpoint(url, credentials) for url in urls]
        self._index = first % len(urls)
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
                    failures.setdefault(endpoint.url, _NO_ANSWER)
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
        loop = asyncio.get_running_loop()
        given_up = False
        timer: asyncio.TimerHandle

        def check() -> None:
            nonlocal given_up
            if any(other.may_answer() for other in self._all if other is not endpoint):
                given_up = True
                call.cancel()
            else:
                look_again(attempt_s / 4)

        def look_again(delay_s: float) -> None:
            nonlocal timer
            timer = loop.call_later(delay_s, check)

        look_again(attempt_s)
        try:
            return await call
        except asyncio.CancelledError:
            if not given_up:
                raise
            raise _NoAnswerError from None
        finally:
            timer.cancel()

    async def close(self) -> None:
        for endpoint in self._all:
            with contextlib.suppress(Exception):
                await endpoint.channel.close(None)


def never_sent(error: grpc.aio.AioRpcError) -> bool:
    """Whether the request surely did not reach a member."""
    details = error.details() or ""
    return error.code() is grpc.StatusCode.UNAVAILABLE and details.startswith("failed to connect")


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
    if details.startswith("failed to connect"):
        return "connection refused" if "refused" in details else "cannot connect"
    if "Deadline Exceeded" in details:
        return _NO_ANSWER
    return details

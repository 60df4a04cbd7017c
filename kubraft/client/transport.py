"""Calls over one connection to an API server: waiting for it, deadlines, errors, retries.

Reads are tried again when the connection breaks under them; a write is not, because it may have
happened: the caller looks and reconciles.
"""

from __future__ import annotations

from collections.abc import AsyncGenerator, Awaitable, Callable
from copy import copy
from typing import Any, TypeVar

import grpc.aio

from kubraft.api.errors import ApiError, ServiceUnavailableError
from kubraft.client.channel import until_connected
from kubraft.client.status import error_of_call

_READ_ATTEMPTS = 3

# Seconds for which writes are still allowed; raises where they no longer are.
Fence = Callable[[], float]

_Answer = TypeVar("_Answer")


class Transport:
    """Sends the calls of a client."""

    def __init__(
        self,
        channel: grpc.aio.Channel,
        server: str,
        *,
        token: str | None,
        connect_timeout_s: float,
        call_timeout_s: float,
    ) -> None:
        self._channel = channel
        self._server = server
        self._metadata = (("authorization", f"Bearer {token}"),) if token else None
        self._connect_timeout_s = connect_timeout_s
        self._call_timeout_s = call_timeout_s
        self._fence: Fence | None = None

    def fenced(self, fence: Fence) -> Transport:
        """The same connection, on which writes are sent only while `fence` allows."""
        twin = copy(self)
        twin._fence = fence  # noqa: SLF001 - the same class
        return twin

    async def read(self, method: Callable[..., Awaitable[_Answer]], request: Any) -> _Answer:
        """Send what may be sent twice."""
        for attempt in range(1, _READ_ATTEMPTS + 1):
            connected = await until_connected(self._channel, self._connect_timeout_s)
            try:
                return await self._call(method, request, self._call_timeout_s)
            except ServiceUnavailableError as error:
                # What the server itself says about the store is passed on at once.
                if not connected or attempt == _READ_ATTEMPTS or not _is_lost(error):
                    raise
        raise AssertionError("unreachable")

    async def write(self, method: Callable[..., Awaitable[_Answer]], request: Any) -> _Answer:
        """Send what must not be sent twice."""
        await until_connected(self._channel, self._connect_timeout_s)
        timeout_s = self._call_timeout_s
        if self._fence:
            timeout_s = min(timeout_s, self._fence())
        return await self._call(method, request, timeout_s)

    async def stream(self, method: Callable[..., Any], request: Any) -> AsyncGenerator[Any, None]:
        """The answers to a call that has many; closing the generator cancels the call."""
        await until_connected(self._channel, self._connect_timeout_s)
        call = method(request, metadata=self._metadata)
        try:
            async for answer in call:
                yield answer
        except grpc.aio.AioRpcError as error:
            raise error_of_call(error, self._server) from error
        finally:
            call.cancel()

    async def close(self) -> None:
        """End all calls and the connection."""
        await self._channel.close(None)

    async def _call(
        self, method: Callable[..., Awaitable[_Answer]], request: Any, timeout_s: float
    ) -> _Answer:
        try:
            return await method(request, timeout=timeout_s, metadata=self._metadata)
        except grpc.aio.AioRpcError as error:
            raise error_of_call(error, self._server) from error


def _is_lost(error: ApiError) -> bool:
    """Whether the connection broke, rather than the server having answered that it cannot."""
    return error.message.startswith("the API server at ")

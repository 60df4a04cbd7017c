"""A call of the gateway, as the handlers of gRPC know one: their context, without a network."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Mapping, Sequence
from typing import Any, NoReturn

import grpc
import grpc.aio

END_OF_REQUESTS: Any = getattr(grpc.aio, "EOF")  # noqa: B009  # missing in the type stubs
Metadata = tuple[tuple[str, str], ...]


class GatewayCall:
    """Satisfies what handlers use of `grpc.aio.ServicerContext`.

    `next_request` gives a stream's requests, END_OF_REQUESTS behind the last; `send` takes a
    stream's responses. After an AbortError, `code` and `details` say how the call ended.
    """

    def __init__(
        self,
        peer: str,
        metadata: Metadata,
        *,
        next_request: Callable[[], Awaitable[Any]],
        send: Callable[[bytes], Awaitable[None]],
    ) -> None:
        self.code = grpc.StatusCode.OK
        self.details = ""
        self._peer = peer
        self._metadata = metadata
        self._next_request = next_request
        self._send = send

    async def read(self) -> Any:
        return await self._next_request()

    async def write(self, response: bytes) -> None:
        await self._send(response)

    async def abort(
        self, code: grpc.StatusCode, details: str = "", trailing_metadata: object = ()
    ) -> NoReturn:
        """Raises AbortError: always, to leave the handler."""
        del trailing_metadata  # nobody reads it
        self.code, self.details = code, details
        raise grpc.aio.AbortError

    def invocation_metadata(self) -> Metadata:
        return self._metadata

    def auth_context(self) -> Mapping[str, Sequence[bytes]]:
        """Nothing: whose certificate opened the connection does not count behind the gateway."""
        return {}

    def peer(self) -> str:
        return self._peer

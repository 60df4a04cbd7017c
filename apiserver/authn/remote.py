"""Asking others over HTTPS on behalf of authentication: bounded in time and size, no redirects."""

from __future__ import annotations

import ssl
from typing import TYPE_CHECKING, Any, Final

import orjson

from apiserver.authn.refusal import refused
from apiserver.http_answer import read_bounded

if TYPE_CHECKING:
    import aiohttp

ANSWER_BYTES_MAX: Final = 1 << 20
TIMEOUT_S: Final = 10.0


class Remote:
    """A client of its own for one peer; its connections are made when they are needed."""

    def __init__(self, context: ssl.SSLContext, headers: dict[str, str] | None = None) -> None:
        """`context` decides whom to trust and what to show."""
        self._context = context
        self._headers = headers or {}
        self._session: aiohttp.ClientSession | None = None

    async def ask(self, method: str, url: str, body: Any = None) -> Any:
        """The JSON of an answer of 200 or 201.

        Raises:
            UnauthorizedError: there is none, whatever the reason; its note says which.
        """
        import aiohttp  # noqa: PLC0415 - rare, and slow to import

        if self._session is None:
            self._session = aiohttp.ClientSession(
                headers=self._headers, timeout=aiohttp.ClientTimeout(total=TIMEOUT_S)
            )
        data = None if body is None else orjson.dumps(body)
        kind = {} if data is None else {"content-type": "application/json"}
        try:
            async with self._session.request(
                method, url, data=data, headers=kind, ssl=self._context, allow_redirects=False
            ) as answer:
                if answer.status not in (200, 201):
                    raise refused(f"{url} answered {answer.status}")
                raw = await read_bounded(answer.content, ANSWER_BYTES_MAX)
        except (aiohttp.ClientError, TimeoutError, OSError, ValueError) as error:
            raise refused(f"{url} cannot be asked: {type(error).__name__}: {error}") from error
        try:
            return orjson.loads(raw)
        except ValueError as error:
            raise refused(f"{url} did not answer in JSON") from error

    async def close(self) -> None:
        if self._session is not None:
            await self._session.close()

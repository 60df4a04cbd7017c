"""Requests to a whole API server without a socket: its real front, and an exchange that records."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator, Mapping, Sequence
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

from kubraft.grpc_server.exchange import Exchange, Headers, HttpRequest, run, target
from tests.apiserver.in_process import ADMIN_TOKEN, Served, serving

# The longest that any request of a test may take: beyond it, it hangs.
HANGS_AFTER_S = 60.0


class Recorded(Exchange):
    """What a handler answers, and how it ended."""

    def __init__(self, request: HttpRequest, body: bytes) -> None:
        super().__init__(request)
        self.status = 0
        self.answered: dict[str, str] = {}
        self.sent = b""
        self.abandoned = False
        if body:
            self.feed(body)
        self.feed_end()

    def json(self) -> Any:
        return json.loads(self.sent)

    def _send_head(self, status: int, headers: Headers) -> None:
        self.status, self.answered = status, dict(headers)

    async def write(self, data: bytes) -> None:
        self.sent += data

    def finish(self) -> None:
        self.over = True

    def abandon(self) -> None:
        if not self.over:
            self.over = self.abandoned = True

    def auth_context(self) -> Mapping[str, Sequence[bytes]]:
        return {}

    def _expected(self) -> None:
        pass

    def _taken(self, size: int) -> None:
        pass


class Front:
    """Asks the front of a server in this process."""

    def __init__(self, served: Served) -> None:
        self.served = served
        self._front = served.server._make_front()

    async def ask(
        self,
        method: str,
        path: str,
        body: Any = None,
        *,
        kind: str = "application/json",
        headers: Sequence[tuple[str, str]] = (),
        token: str = ADMIN_TOKEN,
    ) -> Recorded:
        """One request; `path` has the query. Raises TimeoutError where it hangs."""
        raw = (
            b"" if body is None else body if isinstance(body, bytes) else json.dumps(body).encode()
        )
        sent = [("content-type", kind), ("content-length", str(len(raw)))]
        sent += [("authorization", f"Bearer {token}"), *headers]
        plain, query = target(path)
        request = HttpRequest(method, plain, query, "test", sent, secure=True)
        exchange = Recorded(request, raw)
        async with asyncio.timeout(HANGS_AFTER_S):
            await run(self._front.handle, exchange)
        return exchange


@asynccontextmanager
async def asking(folder: Path, pki: Path, *flags: str) -> AsyncIterator[Front]:
    async with serving(folder, pki, *flags) as served:
        yield Front(served)


def check_answer(found: Recorded) -> None:
    """An answer is whole, no defect of the server, and a Status where it is a refusal."""
    assert not found.abandoned, found.request.path
    if found.status == 500 and b'"message":"failed to create typed patch object (' in found.sent:
        return  # an apply that does not fit its schema: kube-apiserver says 500 to that
    assert 200 <= found.status < 500, (found.status, found.request.path, found.sent[:2000])
    if found.status >= 400 and found.answered.get("content-type") == "application/json":
        status = found.json()
        assert (status["kind"], status["code"]) == ("Status", found.status), status
        assert status["status"] == "Failure"
        assert isinstance(status["message"], str)
        assert "Traceback" not in status["message"]

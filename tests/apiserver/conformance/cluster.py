"""A client of a server in this process, in the words that the stories use."""

from __future__ import annotations

import asyncio
import contextlib
import itertools
import json
import ssl
from collections.abc import AsyncIterator, Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import aiohttp

from kubraft.api.object import Object
from tests.apiserver.admission.hooks_server import HookServer
from tests.apiserver.in_process import ADMIN_TOKEN, DEADLINE_S, Served

PATCHES = {
    "json": "application/json-patch+json",
    "merge": "application/merge-patch+json",
    "strategic": "application/strategic-merge-patch+json",
    "apply": "application/apply-patch+yaml",
}
JSON = "application/json"


@dataclass
class Answer:
    status: int
    headers: dict[str, str]
    body: bytes

    def json(self) -> Any:
        return json.loads(self.body)


@dataclass
class Events:
    """A watch; events that were read stay in `seen`."""

    content: aiohttp.StreamReader
    seen: list[tuple[str, Object]] = field(default_factory=list)

    async def next(self) -> tuple[str, Object]:
        """The next event, but for bookmarks."""
        while True:
            async with asyncio.timeout(DEADLINE_S):
                line = await self.content.readline()
            assert line, "the watch ended"
            event = json.loads(line)
            if event["type"] != "BOOKMARK":
                self.seen.append((event["type"], event["object"]))
                return self.seen[-1]

    async def until(self, type_: str, when: Callable[[Object], Any] = bool) -> Object:
        """The first event from here on that is of the type, and of which `when` is true."""
        while True:
            found, obj = await self.next()
            if found == type_ and when(obj):
                return obj


class Cluster:
    """Every method asserts the answer that it is named for."""

    def __init__(self, served: Served, session: aiohttp.ClientSession, hooks: HookServer) -> None:
        self.served, self.hooks, self._session = served, hooks, session
        self._numbers = itertools.count()

    async def ask(
        self, method: str, path: str, body: Any = None, *, kind: str = JSON, **headers: str
    ) -> Answer:
        sent = {"content-type": kind, "authorization": f"Bearer {ADMIN_TOKEN}"}
        sent |= {name.strip("_").replace("_", "-"): value for name, value in headers.items()}
        raw = body if isinstance(body, bytes) else b"" if body is None else json.dumps(body)
        url = f"https://127.0.0.1:{self.served.port}{path}"
        async with (
            asyncio.timeout(DEADLINE_S),
            self._session.request(method, url, data=raw, headers=sent) as response,
        ):
            found = {name.lower(): value for name, value in response.headers.items()}
            return Answer(response.status, found, await response.read())

    async def get(self, path: str, **headers: str) -> Object:
        return await self._expect(200, "GET", path, **headers)

    async def items(self, path: str) -> list[Object]:
        return list((await self.get(path))["items"])

    async def create(self, path: str, obj: Object) -> Object:
        return await self._expect(201, "POST", path, obj)

    async def update(self, path: str, obj: Object) -> Object:
        return await self._expect(200, "PUT", path, obj)

    async def patch(self, path: str, patch: Any, kind: str = "merge") -> Object:
        return await self._expect(200, "PATCH", path, patch, kind=PATCHES[kind])

    async def annotate(self, path: str, key: str) -> Object:
        """Read, set an annotation and write, again while somebody else was faster."""
        while True:
            obj = await self.get(path)
            obj["metadata"].setdefault("annotations", {})[key] = "true"
            answer = await self.ask("PUT", path, obj)
            if answer.status != 409:
                assert answer.status == 200, answer.body
                made: Object = answer.json()
                return made

    async def delete(self, path: str, options: Object | None = None) -> Object:
        answer = await self.ask("DELETE", path, options)
        assert answer.status in (200, 202), answer.body
        made: Object = answer.json()
        return made

    async def refused(
        self, status: int, method: str, path: str, body: Any = None, **headers: str
    ) -> str:
        """The message of the Status that the request is refused with."""
        answer = await self.ask(method, path, body, **headers)
        assert answer.status == status, answer.body
        return str(answer.json()["message"])

    async def gone(self, path: str) -> None:
        answer = await self.ask("GET", path)
        assert answer.status == 404, answer.body

    @contextlib.asynccontextmanager
    async def watching(self, path: str) -> AsyncIterator[Events]:
        """A watch; the path has the query, but for `watch`."""
        url = f"https://127.0.0.1:{self.served.port}{path}{'&' if '?' in path else '?'}watch=1"
        headers = {"authorization": f"Bearer {ADMIN_TOKEN}"}
        async with self._session.get(url, headers=headers) as response:
            assert response.status == 200, await response.read()
            yield Events(response.content)

    def name(self, prefix: str = "x") -> str:
        """A name that no other story has."""
        return f"{prefix}-{next(self._numbers)}"

    async def namespace(self, **labels: str) -> str:
        """A new Namespace in which Pods can be, and the path of what is in it, of core."""
        metadata = {"name": self.name("ns"), "labels": labels}
        namespace = {"apiVersion": "v1", "kind": "Namespace", "metadata": metadata}
        await self.create("/api/v1/namespaces", namespace)
        account = {"apiVersion": "v1", "kind": "ServiceAccount", "metadata": {"name": "default"}}
        path = f"/api/v1/namespaces/{metadata['name']}"
        await self.create(f"{path}/serviceaccounts", account)
        return path

    async def _expect(
        self, status: int, method: str, path: str, body: Any = None, **headers: str
    ) -> Object:
        answer = await self.ask(method, path, body, **headers)
        assert answer.status == status, answer.body
        made: Object = answer.json()
        return made


@contextlib.asynccontextmanager
async def talking(served: Served, pki: Path, hooks: HookServer) -> AsyncIterator[Cluster]:
    connector = aiohttp.TCPConnector(ssl=ssl.create_default_context(cafile=pki / "ca.crt"))
    async with aiohttp.ClientSession(connector=connector) as session:
        yield Cluster(served, session, hooks)


async def eventually(check: Callable[[], Any]) -> Any:
    """What `check` answers once that is true."""
    async with asyncio.timeout(DEADLINE_S):
        while True:
            if found := await check():
                return found
            await asyncio.sleep(0.01)

"""A registry that has the built-in images and nothing else, for containerd to ask first.

Only what pulling needs: GET and HEAD of manifests and blobs, on a port of loopback.

Source: OCI distribution specification 1.0, "Pull"; containerd 1.6, registry hosts (the query `ns`).
"""

from __future__ import annotations

import asyncio
import contextlib
from typing import Final
from urllib.parse import parse_qs, urlsplit

from agents.containerd.images.catalog import MANIFEST_TYPE, Catalog, digest
from agents.containerd.images.layers import Layer
from kubraft.log import get_logger
from kubraft.ports import LOOPBACK

_HEAD_BYTES_MAX: Final = 16 * 1024
_IDLE_S: Final = 60.0
_BLOB_TYPE: Final = "application/octet-stream"

log = get_logger("containerd.images")


class Mirror:
    """The server; `url` is known once it is open."""

    def __init__(self, catalog: Catalog) -> None:
        self._catalog = catalog
        self._server: asyncio.Server | None = None
        self._port = 0

    @property
    def url(self) -> str:
        return f"http://{LOOPBACK}:{self._port}"

    async def open(self) -> None:
        """Listen on a free port.

        Raises:
            OSError: there is none.
        """
        self._server = await asyncio.start_server(self._serve, LOOPBACK, 0, limit=_HEAD_BYTES_MAX)
        self._port = self._server.sockets[0].getsockname()[1]

    def close(self) -> None:
        """Take no more requests."""
        if self._server is not None:
            self._server.close()

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        failures = (OSError, asyncio.IncompleteReadError, asyncio.LimitOverrunError, ValueError)
        with contextlib.suppress(*failures, TimeoutError):
            while True:
                async with asyncio.timeout(_IDLE_S):
                    head = await reader.readuntil(b"\r\n\r\n")
                method, target, _version = head.partition(b"\r\n")[0].decode().split(" ")
                await self._answer(method, target, writer)
        writer.close()

    async def _answer(self, method: str, target: str, writer: asyncio.StreamWriter) -> None:
        if method not in ("GET", "HEAD"):
            writer.write(_head(405, 0, _BLOB_TYPE))
            return
        parts = urlsplit(target)
        registry = parse_qs(parts.query).get("ns", ["docker.io"])[0]
        found = await asyncio.to_thread(self._find, parts.path, registry)
        match found:
            case None:
                body = b'{"errors":[{"code":"MANIFEST_UNKNOWN","message":"not a built-in image"}]}'
                writer.write(_head(404, len(body), "application/json"))
                writer.write(b"" if method == "HEAD" else body)
            case bytes():
                kind = MANIFEST_TYPE if "/manifests/" in parts.path else _BLOB_TYPE
                writer.write(_head(200, len(found), kind, digest(found)))
                writer.write(b"" if method == "HEAD" else found)
            case Layer():
                writer.write(_head(200, found.size, _BLOB_TYPE, found.digest))
                if method == "GET":
                    await writer.drain()
                    with found.path.open("rb") as file:
                        await asyncio.get_running_loop().sendfile(writer.transport, file)
        await writer.drain()

    def _find(self, path: str, registry: str) -> bytes | Layer | None:
        if path in ("/v2", "/v2/"):
            return b"{}"
        words = path.removeprefix("/v2/").split("/")
        if len(words) < 3:
            return None
        repository, kind, reference = "/".join(words[:-2]), words[-2], words[-1]
        if kind == "manifests":
            return self._catalog.manifest(registry, repository, reference)
        return self._catalog.layer(reference) or self._catalog.document(reference)


def _head(status: int, length: int, kind: str, content_digest: str = "") -> bytes:
    reasons = {200: "OK", 404: "Not Found", 405: "Method Not Allowed"}
    lines = [
        f"HTTP/1.1 {status} {reasons[status]}",
        f"Content-Length: {length}",
        f"Content-Type: {kind}",
    ]
    if content_digest:
        lines.append(f"Docker-Content-Digest: {content_digest}")
    return ("\r\n".join(lines) + "\r\n\r\n").encode()

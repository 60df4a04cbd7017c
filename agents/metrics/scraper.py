"""Asks all nodes for what they use, in rounds.

Source: metrics-server's scraper (which address and port of a node, one node never holds up others).
"""

from __future__ import annotations

import asyncio
import ssl
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import Final

import aiohttp

from agents.metrics.samples import Scrape, parse
from agents.metrics.storage import Storage
from kubraft.api.hollow import is_hollow
from kubraft.api.object import Object
from kubraft.api.time import Clock
from kubraft.log import get_logger

SCRAPE_TIMEOUT_S: Final = 10.0
SCRAPES_AT_ONCE: Final = 32
BODY_BYTES_MAX: Final = 32 << 20
# So soon after a node's first point comes its second: usage is known early.
SECOND_AFTER_S: Final = 2.0
_ADDRESSES: Final = ("InternalIP", "ExternalIP", "Hostname", "InternalDNS", "ExternalDNS")


class ScrapeError(Exception):
    """A node does not say what it uses; the message says why."""


@dataclass(frozen=True, slots=True)
class Tls:
    """How nodes are asked, PEM files."""

    ca_file: Path
    cert_file: Path
    key_file: Path

    def context(self) -> ssl.SSLContext:
        """Raises OSError: a file cannot be used."""
        context = ssl.create_default_context(cafile=self.ca_file)
        context.load_cert_chain(self.cert_file, self.key_file)
        return context


def url_of(node: Object) -> str:
    """Where a node tells its usage. Pure.

    Raises:
        ScrapeError: it has no address.
    """
    status = node.get("status") or {}
    port = ((status.get("daemonEndpoints") or {}).get("kubeletEndpoint") or {}).get("Port") or 10250
    known = {a.get("type"): a.get("address") for a in status.get("addresses") or ()}
    for kind in _ADDRESSES:
        if known.get(kind):
            host = f"[{known[kind]}]" if ":" in known[kind] else known[kind]
            return f"https://{host}:{port}/metrics/resource"
    raise ScrapeError("the node has no address")


def measurable(nodes: Iterable[Object]) -> list[Object]:
    """The nodes that can say what they use: hollow ones have no programs to measure. Pure."""
    return [node for node in nodes if not is_hollow(node)]


class Scraper:
    """Fills a storage; `run` makes the rounds."""

    def __init__(
        self,
        storage: Storage,
        nodes: Callable[[], Iterable[Object]],
        tls: Tls,
        clock: Clock,
        resolution_s: float,
    ) -> None:
        self._storage = storage
        self._nodes = nodes
        self._tls = tls
        self._clock = clock
        self._resolution_s = resolution_s
        self._gate = asyncio.Semaphore(SCRAPES_AT_ONCE)
        self._failed: dict[str, str] = {}
        self._log = get_logger("metrics.scraper")
        self.rounds = 0

    async def run(self) -> None:
        """Make rounds until cancelled."""
        connector = aiohttp.TCPConnector(
            ssl=self._tls.context(),
            limit=SCRAPES_AT_ONCE,
            # Handshakes cost more than all else: a connection outlives the pause between rounds.
            keepalive_timeout=2 * self._resolution_s + SCRAPE_TIMEOUT_S,
        )
        timeout = aiohttp.ClientTimeout(total=SCRAPE_TIMEOUT_S)
        async with aiohttp.ClientSession(connector=connector, timeout=timeout) as session:
            while True:
                begun_s = self._clock.monotonic_s()
                new = await self._round(session)
                pause_s = SECOND_AFTER_S if new else self._resolution_s
                await self._clock.sleep(max(0.1, begun_s + pause_s - self._clock.monotonic_s()))

    async def _round(self, session: aiohttp.ClientSession) -> bool:
        """Ask all nodes once; whether there was none, or one of which no usage is known yet."""
        nodes = {node["metadata"]["name"]: node for node in self._nodes()}
        self._storage.keep_only(nodes)
        await asyncio.gather(*(self._see_to(session, name, nodes[name]) for name in nodes))
        self.rounds += 1
        answering = [name for name in nodes if name not in self._failed]
        return not nodes or any(self._storage.node(name) is None for name in answering)

    async def _see_to(self, session: aiohttp.ClientSession, name: str, node: Object) -> None:
        try:
            async with self._gate:
                scrape = await self._ask(session, node)
        except (ScrapeError, aiohttp.ClientError, OSError, TimeoutError, ValueError) as error:
            cause = str(error) or type(error).__name__
            if self._failed.get(name) != cause:  # once, however often it is tried
                self._log.warning("scrape_failed", node=name, cause=cause)
            self._failed[name] = cause
            return
        self._failed.pop(name, None)
        self._storage.store(name, scrape)

    async def _ask(self, session: aiohttp.ClientSession, node: Object) -> Scrape:
        async with session.get(url_of(node), allow_redirects=False) as answer:
            if answer.status != 200:
                raise ScrapeError(f"request failed, status: {answer.status}")
            body = bytearray()
            async for part in answer.content.iter_chunked(1 << 16):
                body += part
                if len(body) > BODY_BYTES_MAX:
                    answer.close()
                    raise ScrapeError(f"the answer is over {BODY_BYTES_MAX} bytes")
        return parse(body.decode())

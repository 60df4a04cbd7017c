"""HTTPS connections to servers that are asked again and again: kept open, bounded for each host."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import aiohttp


def new_session(
    *, per_host: int, keepalive_s: float, connect_s: float | None = None
) -> aiohttp.ClientSession:
    """A session without cookies, decompression or a time limit of its own; its owner closes it.

    Args:
        per_host: connections to one host at a time; there is no bound for all together.
        keepalive_s: how long an idle one is kept.
        connect_s: the limit of connecting; None is none.
    """
    import aiohttp  # noqa: PLC0415 - slow to import, and most clusters ask nobody

    connector = aiohttp.TCPConnector(
        limit=0, limit_per_host=per_host, keepalive_timeout=keepalive_s
    )
    return aiohttp.ClientSession(
        connector=connector,
        auto_decompress=False,
        cookie_jar=aiohttp.DummyCookieJar(),
        timeout=aiohttp.ClientTimeout(total=None, sock_connect=connect_s),
    )

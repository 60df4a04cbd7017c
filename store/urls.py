"""URLs of flags. Source: etcd, client/pkg/types (urls.go), server/embed (checkBindURLs)."""

from __future__ import annotations

import ipaddress
from dataclasses import dataclass
from urllib.parse import urlsplit

from store.flag_error import FlagError

_PORT_MAX = 65535


@dataclass(frozen=True, slots=True)
class Address:
    """Where a URL leads: a host without brackets, empty for all, and a port."""

    host: str
    port: int


def parse(flag: str, text: str) -> tuple[str, ...]:
    """Comma-separated http or https URLs with host and port, each once, in order.

    Raises:
        FlagError: one is none, or there is none.
    """
    found = tuple(dict.fromkeys(url.strip().rstrip("/") for url in text.split(",") if url.strip()))
    if not found:
        raise FlagError(f"--{flag}: no valid URLs given")
    for url in found:
        address_of(flag, url)
    return found


def to_listen_on(flag: str, text: str) -> tuple[str, ...]:
    """The same for addresses of this machine, which a name might not lead to.

    Raises:
        FlagError: one is none, or names a host that is not `localhost`.
    """
    found = parse(flag, text)
    for url in found:
        host = address_of(flag, url).host
        if host in {"", "localhost"}:
            continue
        try:
            ipaddress.ip_address(host.partition("%")[0])
        except ValueError:
            raise FlagError(f"--{flag}: expected IP in URL for binding ({url})") from None
    return found


def address_of(flag: str, url: str) -> Address:
    """Raises FlagError: not `http(s)://host:port`."""
    try:
        parts = urlsplit(url)
        port = parts.port
    except ValueError:
        raise FlagError(
            f'--{flag}: URL address does not have the form "host:port": {url}'
        ) from None
    if parts.scheme in {"unix", "unixs"}:
        raise FlagError(f"--{flag}: sockets of the file system are not served: {url}")
    if parts.scheme not in {"http", "https"} or "://" not in url:
        raise FlagError(f"--{flag}: URL scheme must be http or https: {url}")
    if port is None or port > _PORT_MAX or "@" in parts.netloc:
        raise FlagError(f'--{flag}: URL address does not have the form "host:port": {url}')
    if parts.path or parts.query or parts.fragment:
        raise FlagError(f"--{flag}: URL must not contain a path: {url}")
    return Address(parts.hostname or "", port)

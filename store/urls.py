"""URLs of flags. Source: etcd, client/pkg/types (urls.go), server/embed (checkBindURLs)."""

from __future__ import annotations

import ipaddress
from dataclasses import dataclass
from urllib.parse import urlsplit

from store.flag_error import FlagError

_PORT_MAX = 65535
_SOCKET_SCHEMES = frozenset({"unix", "unixs"})


@dataclass(frozen=True, slots=True)
class Address:
    """Where a URL leads: a host without brackets, empty for all, and a port; or a socket's path."""

    host: str
    port: int
    path: str = ""


def is_secure(url: str) -> bool:
    """Whether it asks for TLS."""
    return url.startswith(("https:", "unixs:"))


def parse(flag: str, text: str) -> tuple[str, ...]:
    """Comma-separated URLs with host and port, or of a socket, each once, in order.

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
        address = address_of(flag, url)
        host = address.host
        if address.path or host in {"", "localhost"}:
            continue
        try:
            ipaddress.ip_address(host.partition("%")[0])
        except ValueError:
            raise FlagError(f"--{flag}: expected IP in URL for binding ({url})") from None
    return found


def address_of(flag: str, url: str) -> Address:
    """Raises FlagError: not `http(s)://host:port`, nor `unix(s)://path` where that can be."""
    scheme, _, path = url.partition("://")
    if scheme in _SOCKET_SCHEMES and path:
        if "peer" in flag or "cluster" in flag:
            raise FlagError(f"--{flag}: members meet on TCP, not on a socket of a file: {url}")
        return Address("", 0, path)
    try:
        parts = urlsplit(url)
        port = parts.port
    except ValueError:
        raise FlagError(
            f'--{flag}: URL address does not have the form "host:port": {url}'
        ) from None
    if parts.scheme not in {"http", "https"} or "://" not in url:
        raise FlagError(f"--{flag}: URL scheme must be http or https: {url}")
    if port is None or port > _PORT_MAX or "@" in parts.netloc:
        raise FlagError(f'--{flag}: URL address does not have the form "host:port": {url}')
    if parts.path or parts.query or parts.fragment:
        raise FlagError(f"--{flag}: URL must not contain a path: {url}")
    return Address(parts.hostname or "", port)

"""The host's name servers, by its /etc/resolv.conf.

Source: resolv.conf(5).
"""

from __future__ import annotations

import ipaddress
from collections.abc import Collection
from pathlib import Path
from typing import Final

SERVERS_MAX: Final = 3
_BYTES_MAX: Final = 64 * 1024


def name_servers(text: str, own: Collection[str] = ()) -> tuple[str, ...]:
    """The addresses of the first name servers, without `own`, who would ask themselves for ever."""
    found = []
    for line in text.splitlines():
        words = line.split()
        if len(words) >= 2 and words[0] == "nameserver":
            address, _, scope = words[1].partition("%")
            try:
                ipaddress.ip_address(address)
            except ValueError:
                continue
            if address not in own:
                found.append(f"{address}%{scope}" if scope else address)
    return tuple(dict.fromkeys(found))[:SERVERS_MAX]


class ResolvConf:
    """Reads the file again when it has changed."""

    def __init__(self, path: Path, own: Collection[str]) -> None:
        """`own` are the addresses by which this name server is reached."""
        self._path = path
        self._own = own
        self._seen: tuple[int, int] | None = None
        self._servers: tuple[str, ...] = ()

    def servers(self) -> tuple[str, ...]:
        """Whom to ask, in order; empty where the host has no name server."""
        try:
            status = self._path.stat()
            seen = (status.st_mtime_ns, status.st_ino)
            if seen != self._seen:
                with self._path.open("rb") as file:
                    text = file.read(_BYTES_MAX).decode(errors="replace")
                self._servers, self._seen = name_servers(text, self._own), seen
        except OSError:
            self._servers, self._seen = (), None
        return self._servers

"""Which mode a proxy runs in, and why. Pure."""

from __future__ import annotations

import ipaddress
from collections.abc import Iterable
from typing import Final, NamedTuple

from kubraft.api.object import Object

MODES: Final = ("auto", "nftables", "userspace")


class Choice(NamedTuple):
    """A mode, and the reason for a person to read."""

    mode: str
    reason: str


def choose(asked: str, why_not_nftables: str, services: Iterable[Object]) -> Choice:
    """The mode to run in.

    Args:
        asked: one of `MODES`.
        why_not_nftables: "" where rules can be made.
        services: all of them, or at least one that has an address.

    Raises:
        ValueError: nftables was asked for, and cannot be.
    """
    if asked == "userspace":
        return Choice("userspace", "--proxy-mode asks for it")
    if asked == "nftables":
        if why_not_nftables:
            raise ValueError(f"--proxy-mode=nftables cannot be: {why_not_nftables}")
        return Choice("nftables", "--proxy-mode asks for it")
    if why_not_nftables:
        return Choice("userspace", why_not_nftables)
    if _on_loopback(services):
        return Choice(
            "userspace", "Services' addresses are loopback ones, which need no rules of the machine"
        )
    return Choice("nftables", "rules can be made, and Services' addresses need them")


def _on_loopback(services: Iterable[Object]) -> bool:
    found = [(service.get("spec") or {}).get("clusterIP") for service in services]
    addresses = [each for each in found if each not in (None, "", "None")]
    return bool(addresses) and all(ipaddress.ip_address(each).is_loopback for each in addresses)

"""Routes of this machine's kernel, for a machine that is the router of its nodes' network.

The kernel is all the memory there is: routes of ours have a protocol number of their own, and
nothing else is listed, changed or deleted. A route's node is the one that has its gateway's
address.

Source: ip-route(8); rtnetlink(7) (rtm_protocol: who installed a route).
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass
from ipaddress import ip_address
from typing import Any, Final

import orjson

from agents.cloud.provider import CloudError, Route
from kubraft.api.networks import find_network
from kubraft.program import ProgramError, run_program

# Of nobody else: /etc/iproute2/rt_protos names those that are taken.
PROTOCOL: Final = "79"
_TIMEOUT_S: Final = 10.0
_MESSAGE_CHARS_MAX: Final = 300
_THERE, _GONE = "File exists", "No such process"

# Runs ip with these arguments; what it writes. Raises CloudError.
Ip = Callable[[Sequence[str]], Awaitable[bytes]]


@dataclass(frozen=True, slots=True)
class IpProgram:
    """The program; `command` may put another before it, such as one that enters a namespace."""

    command: tuple[str, ...] = ("ip",)

    async def __call__(self, arguments: Sequence[str]) -> bytes:
        """Run it.

        Raises:
            CloudError: it cannot be run, takes too long, or its status is not 0.
        """
        try:
            return await run_program(
                self.command,
                arguments,
                timeout_s=_TIMEOUT_S,
                message_chars_max=_MESSAGE_CHARS_MAX,
            )
        except ProgramError as error:
            raise CloudError(str(error)) from error


class KernelRoutes:
    """Routes of one kernel, or one network namespace."""

    def __init__(self, ip: Ip | None = None) -> None:
        self._ip = ip or IpProgram()

    async def list(self) -> tuple[Route, ...]:
        """Those with our number, of both families."""
        found: list[Route] = []
        for family in ("-4", "-6"):
            out = await self._ip(("-json", family, "route", "show", "proto", PROTOCOL))
            found += [_route(each) for each in orjson.loads(out or b"[]") if "gateway" in each]
        return tuple(found)

    async def create(self, route: Route) -> None:
        """Lead the range to the node's address; one that is there already is no error."""
        gateway = _gateway(route)
        try:
            await self._change("add", route.destination_cidr, gateway)
        except CloudError as error:
            there = Route("", route.destination_cidr, gateway=gateway)
            if _THERE not in str(error) or there not in await self.list():
                raise

    async def delete(self, route: Route) -> None:
        """Remove it; one that is gone is no error."""
        try:
            await self._change("delete", route.destination_cidr, route.gateway)
        except CloudError as error:
            if _GONE not in str(error):
                raise

    async def _change(self, verb: str, cidr: str, gateway: str) -> None:
        family = "-6" if ":" in cidr else "-4"
        await self._ip((family, "route", verb, cidr, "via", gateway, "proto", PROTOCOL))


def _route(shown: dict[str, Any]) -> Route:
    # A range of one address is shown without its prefix.
    network = find_network(str(shown["dst"]))
    return Route("", str(network or shown["dst"]), gateway=str(shown["gateway"]))


def _gateway(route: Route) -> str:
    """The node's address of the range's family; raises CloudError where it has none to go to."""
    network = find_network(route.destination_cidr)
    if network is None:
        raise CloudError(f"{route.destination_cidr} is no range of addresses")
    for type_, text in route.addresses:
        if type_ != "InternalIP":
            continue
        try:
            address = ip_address(text)
        except ValueError:
            continue
        if address.version == network.version and not address.is_loopback:
            return str(address)
    raise CloudError(f"the node has no IPv{network.version} address of type InternalIP to go by")

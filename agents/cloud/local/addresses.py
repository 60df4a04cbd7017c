"""Which load balancer has which address: a table that outlives the process. Pure but for its file.

An address is given once and kept until its load balancer is deleted, so clients that know it are
led to no other Service.
"""

from __future__ import annotations

import ipaddress
import json
from collections.abc import Mapping
from pathlib import Path
from zlib import crc32

from agents.cloud.provider import CloudError
from kubraft.home import write_private

Network = ipaddress.IPv4Network


def free_address(uid: str, taken: Mapping[str, str], network: Network, wanted: str = "") -> str:
    """An address for the Service with that uid: the one it has, the one it wants, or any other.

    Args:
        taken: address by uid.
        wanted: `spec.loadBalancerIP`, empty where it is all the same.

    Raises:
        CloudError: the wanted one cannot be had, or there is none left.
    """
    if uid in taken and wanted in ("", taken[uid]):
        return taken[uid]
    others = {address for other, address in taken.items() if other != uid}
    if wanted:
        try:
            inside = ipaddress.IPv4Address(wanted) in network
        except ValueError:
            inside = False
        if not inside:
            raise CloudError(f"loadBalancerIP {wanted} is not in {network}")
        if wanted in others:
            raise CloudError(f"loadBalancerIP {wanted} is another load balancer's")
        return wanted
    usable = network.num_addresses - 2
    first = crc32(uid.encode())
    for step in range(usable):
        address = str(network[1 + (first + step) % usable])
        if address not in others:
            return address
    raise CloudError(f"no address of {network} is left")


class AddressFile:
    """The table on disk, written before anybody is told of an address."""

    def __init__(self, path: Path) -> None:
        self._path = path

    def read(self) -> dict[str, str]:
        """Address by uid.

        Raises:
            CloudError: it cannot be read.
        """
        try:
            found = json.loads(self._path.read_text())["addresses"]
        except FileNotFoundError:
            return {}
        except (OSError, ValueError, KeyError, TypeError) as error:
            raise CloudError(f"{self._path} cannot be read: {error}") from error
        return dict(found)

    def write(self, addresses: Mapping[str, str]) -> None:
        """Replace it, durably.

        Raises:
            CloudError: it cannot be written.
        """
        try:
            self._path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
            text = json.dumps({"addresses": dict(sorted(addresses.items()))}, indent=1)
            write_private(self._path, text + "\n")
        except OSError as error:
            raise CloudError(f"{self._path} cannot be written: {error.strerror}") from error

"""Where a Service's name leads: addresses and ports, from the Service and its EndpointSlices. Pure.

Source: CoreDNS, plugin kubernetes: which endpoints count (ready ones, and those whose readiness is
unknown; the slices of a Service that publishes addresses of Pods that are not ready say that they
are), endpoints of Services with an address of their own by name, endpoints without ports.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from typing import Any, Final, NamedTuple

from agents.dns.catalog import Catalog, short_form
from agents.dns.names import ServiceName, endpoint_name
from kubraft.api.object import Object, key_of

NO_PORT: Final = 0
# More than fit into the longest answer.
TARGETS_MAX: Final = 5_000


class Target(NamedTuple):
    """An address behind a name.

    Attributes:
        host: the labels, below "svc", of the name that is this address's own.
        port: NO_PORT where the endpoint says none.
    """

    host: tuple[str, ...]
    address: str
    port: int


def is_external(service: Object) -> bool:
    """Whether the Service is another name for one outside."""
    return bool((service.get("spec") or {}).get("type") == "ExternalName")


def is_headless(service: Object) -> bool:
    """Whether the Service has no address of its own."""
    return (service.get("spec") or {}).get("clusterIP") == "None"


def targets_of(catalog: Catalog, service: Object, name: ServiceName) -> list[Target]:
    """What `name`, one of this Service, leads to; empty where there is no such name.

    At most TARGETS_MAX; the Service is not an external one.
    """
    found = (
        _of_endpoints(catalog, service, name)
        if is_headless(service) or name.endpoint
        else _of_service(service, name)
    )
    return list(dict.fromkeys(target for target, _ in zip(found, range(TARGETS_MAX), strict=False)))


def hosts_at(endpoint_slice: Object, address: str) -> Iterator[str]:
    """The names of the ready endpoints of a slice that have that address."""
    for endpoint, each in _ready(endpoint_slice):
        if short_form(each) == address:
            yield _name(endpoint, each)


def _of_service(service: Object, name: ServiceName) -> Iterator[Target]:
    key, spec = key_of(service), service["spec"]
    own = spec.get("clusterIPs") or [spec.get("clusterIP")]
    for port in spec.get("ports") or ():
        if _matches(name, port):
            for address in filter(None, own):
                yield Target((key.name, key.namespace), address, port["port"])


def _of_endpoints(catalog: Catalog, service: Object, name: ServiceName) -> Iterator[Target]:
    key = key_of(service)
    for endpoint_slice in catalog.slices_of(key.namespace, key.name):
        ports = endpoint_slice.get("ports") or [{}]
        wanted = [port.get("port") or NO_PORT for port in ports if _matches(name, port)]
        for endpoint, address in _ready(endpoint_slice) if wanted else ():
            own = _name(endpoint, address)
            if name.endpoint in ("", own):
                for port in wanted:
                    yield Target((own, key.name, key.namespace), address, port)


def _ready(endpoint_slice: Object) -> Iterable[tuple[dict[str, Any], str]]:
    if endpoint_slice.get("addressType", "IPv4") == "FQDN":
        return
    for endpoint in endpoint_slice.get("endpoints") or ():
        if (endpoint.get("conditions") or {}).get("ready") is not False:  # unknown is ready
            for address in endpoint.get("addresses") or ():
                yield endpoint, address


def _name(endpoint: dict[str, Any], address: str) -> str:
    return (endpoint.get("hostname") or endpoint_name(address)).lower()


def _matches(name: ServiceName, port: dict[str, Any]) -> bool:
    """Whether the name is of that port; one that names no port is of all."""
    if name.port and name.port != (port.get("name") or "").lower():
        return False
    return not name.protocol or name.protocol == (port.get("protocol") or "TCP").lower()

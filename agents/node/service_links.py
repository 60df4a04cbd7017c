"""What a container's environment says of Services: NAME_SERVICE_HOST, NAME_SERVICE_PORT and links.

Those of the Pod's own Namespace, unless it has `enableServiceLinks: false`, and always those of
`default/kubernetes`, by which clients inside find the API server.

Source: Kubernetes documentation, "Service", "Environment variables".
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import Final

from kubraft.api.object import Object

_API_SERVER: Final = ("default", "kubernetes")


def service_links(pod: Object, services: Iterable[Object]) -> dict[str, str]:
    """The variables of all `services` that this Pod is told of; headless ones have none."""
    namespace = pod["metadata"]["namespace"]
    wants = pod["spec"].get("enableServiceLinks", True)
    told: dict[str, Object] = {}
    for service in services:
        place = (service["metadata"]["namespace"], service["metadata"]["name"])
        if service["spec"].get("clusterIP") in {None, "", "None"} or not service["spec"].get(
            "ports"
        ):
            continue
        if place[0] == namespace and (wants or place == _API_SERVER):
            told[place[1]] = service
        elif place == _API_SERVER:
            told.setdefault(place[1], service)
    found: dict[str, str] = {}
    for _, service in sorted(told.items()):
        found |= _of_service(service)
    return found


def _of_service(service: Object) -> dict[str, str]:
    prefix = service["metadata"]["name"].upper().replace("-", "_")
    host, ports = service["spec"]["clusterIP"], service["spec"]["ports"]
    bracketed = f"[{host}]" if ":" in host else host
    found = {
        f"{prefix}_SERVICE_HOST": host,
        f"{prefix}_SERVICE_PORT": str(ports[0]["port"]),
    }
    for port in ports:
        if port.get("name"):
            name = port["name"].upper().replace("-", "_")
            found[f"{prefix}_SERVICE_PORT_{name}"] = str(port["port"])
    for index, port in enumerate(ports):
        protocol = port.get("protocol") or "TCP"
        url = f"{protocol.lower()}://{bracketed}:{port['port']}"
        link = f"{prefix}_PORT_{port['port']}_{protocol}"
        if index == 0:
            found[f"{prefix}_PORT"] = url
        found |= {
            link: url,
            f"{link}_PROTO": protocol.lower(),
            f"{link}_PORT": str(port["port"]),
            f"{link}_ADDR": host,
        }
    return found

"""The Pods behind a Service: who belongs, at which addresses and ports, and how each stands.

Source: Kubernetes documentation, "EndpointSlices" and "Service"; upstream's endpointslice and
endpoints controllers.
"""

from __future__ import annotations

import ipaddress
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from typing import Any

from kubraft.api.labels import selector_from_labels
from kubraft.api.object import Object, is_terminating, labels_of
from kubraft.api.pods import all_containers, is_pod_ready, is_sidecar, is_terminated

ZONE = "topology.kubernetes.io/zone"
HEADLESS = "service.kubernetes.io/headless"

Port = dict[str, Any]


def selects_pods(service: Object) -> bool:
    """Whether Pods stand behind the Service by its selector."""
    spec = service["spec"]
    return bool(spec.get("selector")) and spec.get("type") != "ExternalName"


def selects(service: Object, pod: Object) -> bool:
    """Whether the Service's selector matches the Pod's labels."""
    return selects_pods(service) and selector_from_labels(service["spec"]["selector"]).matches(
        labels_of(pod)
    )


def affected(
    services_in: Callable[[str], Iterable[Object]], old: Object | None, new: Object | None
) -> Iterator[Object]:
    """The Services whose endpoints a change of a Pod may change; `services_in` a namespace."""
    if facts(old) != facts(new):
        known = [pod for pod in (old, new) if pod is not None]
        for service in services_in(known[0]["metadata"]["namespace"]):
            if any(selects(service, pod) for pod in known):
                yield service


def is_headless(service: Object) -> bool:
    """Whether the Service has no address of its own."""
    address: str | None = service["spec"].get("clusterIP")
    return address == "None"


def publishes_not_ready(service: Object) -> bool:
    """Whether Pods count as ready whatever their probes say."""
    return bool(service["spec"].get("publishNotReadyAddresses"))


def families_of(service: Object) -> Sequence[str]:
    """The families of the Service's addresses, "IPv4" first where it says nothing."""
    return service["spec"].get("ipFamilies") or ("IPv4",)


def addresses_of(pod: Object, family: str) -> list[str]:
    """The Pod's addresses of a family ("IPv4" or "IPv6"); none for a Pod that has ended."""
    if is_terminated(pod):
        return []
    status = pod.get("status") or {}
    found = [entry["ip"] for entry in status.get("podIPs") or () if entry.get("ip")]
    if not found and status.get("podIP"):
        found = [status["podIP"]]
    return [address for address in found if family_of(address) == family]


def family_of(address: str) -> str:
    """The family of an IP address; "" for what is none."""
    try:
        return f"IPv{ipaddress.ip_address(address).version}"
    except ValueError:
        return ""


def ports_of(service: Object, pod: Object) -> list[Port]:
    """The Service's ports as this Pod has them, less those whose name the Pod does not know."""
    found: list[Port] = []
    for port in service["spec"].get("ports") or ():
        number = _target(port, pod)
        if number is None:
            continue
        entry = {"name": port.get("name", ""), "port": number, "protocol": _protocol(port)}
        if port.get("appProtocol"):
            entry["appProtocol"] = port["appProtocol"]
        found.append(entry)
    return found


def endpoint_of(service: Object, pod: Object, address: str, zones: Mapping[str, str]) -> Object:
    """The Pod as an endpoint of an EndpointSlice; `zones` are the zones of nodes by name."""
    serving, leaving = is_pod_ready(pod), is_terminating(pod)
    ready = publishes_not_ready(service) or (serving and not leaving)
    endpoint: Object = {
        "addresses": [address],
        "conditions": {"ready": ready, "serving": serving, "terminating": leaving},
        "targetRef": reference_to(pod),
    }
    if node := pod["spec"].get("nodeName"):
        endpoint["nodeName"] = node
        if zone := zones.get(node):
            endpoint["zone"] = zone
    if name := hostname_of(service, pod):
        endpoint["hostname"] = name
    if ready and (hints := _hints(service, endpoint)):
        endpoint["hints"] = hints
    return endpoint


def reference_to(pod: Object) -> Object:
    """The Pod, as an endpoint names what it leads to."""
    metadata = pod["metadata"]
    return {"kind": "Pod", **{part: metadata[part] for part in ("namespace", "name", "uid")}}


def hostname_of(service: Object, pod: Object) -> str:
    """The name under which DNS knows the Pod below the Service; "" where it has none."""
    spec = pod["spec"]
    if spec.get("subdomain") != service["metadata"]["name"]:
        return ""
    return spec.get("hostname") or ""


def facts(pod: Object | None) -> Object | None:
    """What of a Pod its endpoints are made of: where this is the same, nothing is to be done."""
    if pod is None:
        return None
    spec, status = pod["spec"], pod.get("status") or {}
    return {
        "labels": labels_of(pod),
        "uid": pod["metadata"].get("uid"),
        "leaving": is_terminating(pod),
        "ready": is_pod_ready(pod),
        "ended": is_terminated(pod),
        "places": [status.get("podIP"), status.get("podIPs"), spec.get("nodeName")],
        "names": [spec.get("hostname"), spec.get("subdomain")],
    }


def _target(port: Mapping[str, Any], pod: Object) -> int | None:
    target = port.get("targetPort") or port["port"]
    if isinstance(target, int):
        return target
    for container_port in _container_ports(pod):
        same = _protocol(container_port) == _protocol(port)
        if container_port.get("name") == target and same:
            number: int = container_port["containerPort"]
            return number
    return None


def _container_ports(pod: Object) -> Iterator[Mapping[str, Any]]:
    """Those of containers that run on: no init containers but sidecars."""
    initial = pod["spec"].get("initContainers") or []
    for container in all_containers(pod["spec"]):
        if container not in initial or is_sidecar(container):
            yield from container.get("ports") or ()


def _protocol(port: Mapping[str, Any]) -> str:
    return port.get("protocol") or "TCP"


def _hints(service: Object, endpoint: Object) -> Object:
    """For whom the endpoint is, where the Service wants its traffic kept near."""
    wanted = service["spec"].get("trafficDistribution")
    hints: Object = {}
    near = wanted in ("PreferClose", "PreferSameZone", "PreferSameNode")
    if near and endpoint.get("zone"):
        hints["forZones"] = [{"name": endpoint["zone"]}]
    if wanted == "PreferSameNode" and endpoint.get("nodeName"):
        hints["forNodes"] = [{"name": endpoint["nodeName"]}]
    return hints

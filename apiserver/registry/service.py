"""Services.

Source: Kubernetes API reference, core/v1 Service; texts of upstream's validation.
"""

from __future__ import annotations

from typing import Any

from apiserver.registry.causes import (
    all_invalid,
    duplicate,
    forbidden,
    invalid,
    required,
    unsupported,
)
from apiserver.registry.ip_addresses import ip_address, key_of
from apiserver.registry.metadata import label_causes
from apiserver.registry.service_validation import service_causes
from apiserver.registry.strategy import Strategy
from apiserver.storage import codec
from kubraft.api.errors import Cause
from kubraft.api.names import (
    dns1035_label_errors,
    dns1123_label_errors,
    dns1123_subdomain_errors,
    ip_errors,
    port_name_errors,
    port_number_errors,
)
from kubraft.api.object import Object

Json = dict[str, Any]

HEADLESS = "None"
AFFINITY_TIMEOUT_S = 10_800
_TYPES = ("ClusterIP", "ExternalName", "LoadBalancer", "NodePort")
_PROTOCOLS = ("SCTP", "TCP", "UDP")
_AFFINITIES = ("ClientIP", "None")
_IP_FOLDER = "/registry/ranges/serviceips/"
_PORT_FOLDER = "/registry/ranges/servicenodeports/"


def needs_cluster_ip(obj: Object) -> bool:
    """Whether an address of the Service range belongs to it."""
    spec = obj["spec"]
    return bool(spec.get("type") != "ExternalName" and spec.get("clusterIP") != HEADLESS)


def needs_node_ports(obj: Object) -> bool:
    """Whether each of its ports is opened on every node."""
    spec = obj["spec"]
    if spec.get("type") == "LoadBalancer":
        return bool(spec.get("allocateLoadBalancerNodePorts", True))
    return bool(spec.get("type") == "NodePort")


def ip_claim(address: str) -> str:
    """The key that says that an address is in use."""
    return _IP_FOLDER + address


def port_claim(protocol: str, port: int) -> str:
    """The key that says that a node port is in use."""
    return f"{_PORT_FOLDER}{protocol.lower()}/{port}"


class ServiceStrategy(Strategy):
    """The rules of Services; addresses and ports are given by the allocator."""

    has_status = True

    def name_errors(self, name: str) -> list[str]:
        return dns1035_label_errors(name)

    def default(self, obj: Object) -> None:
        spec = obj.setdefault("spec", {})
        spec.setdefault("type", "ClusterIP")
        spec.setdefault("sessionAffinity", "None")
        if spec["sessionAffinity"] == "ClientIP":
            config = spec.setdefault("sessionAffinityConfig", {}).setdefault("clientIP", {})
            config.setdefault("timeoutSeconds", AFFINITY_TIMEOUT_S)
        for port in spec.get("ports") or ():
            port.setdefault("protocol", "TCP")
            if port.get("targetPort") in (None, 0, "") and "port" in port:
                port["targetPort"] = port["port"]
        if spec["type"] == "ExternalName":
            return
        spec.setdefault("internalTrafficPolicy", "Cluster")
        spec.setdefault("ipFamilies", ["IPv4"])
        spec.setdefault("ipFamilyPolicy", "SingleStack")
        if _is_reachable(spec):
            spec.setdefault("externalTrafficPolicy", "Cluster")
        if spec["type"] == "LoadBalancer":
            spec.setdefault("allocateLoadBalancerNodePorts", True)
        addresses = spec.get("clusterIPs")
        if spec.get("clusterIP"):
            spec["clusterIPs"] = addresses or [spec["clusterIP"]]
        elif addresses:
            spec["clusterIP"] = addresses[0]

    def prepare_for_create(self, obj: Object) -> None:
        obj["status"] = {"loadBalancer": {}}

    def prepare_for_update(self, new: Object, old: Object) -> None:
        super().prepare_for_update(new, old)
        _keep_allocated(new["spec"], old["spec"])

    def validate(self, obj: Object) -> list[Cause]:
        spec = obj["spec"]
        causes: list[Cause] = []
        if spec["type"] not in _TYPES:
            causes.append(unsupported("spec.type", spec["type"], _TYPES))
        if spec["sessionAffinity"] not in _AFFINITIES:
            field = "spec.sessionAffinity"
            causes.append(unsupported(field, spec["sessionAffinity"], _AFFINITIES))
        headless = spec.get("clusterIP") == HEADLESS
        if spec["type"] == "ExternalName":
            causes += _external_name(spec)
        elif not spec.get("ports") and not headless:
            causes.append(required("spec.ports"))
        if headless and spec["type"] in ("NodePort", "LoadBalancer"):
            rule = f"may not be set to 'None' for {spec['type']} services"
            causes.append(invalid("spec.clusterIPs[0]", HEADLESS, rule))
        address = spec.get("clusterIP", "")
        if address and not headless:
            causes += all_invalid("spec.clusterIPs[0]", address, ip_errors(address))
        causes += label_causes("spec.selector", spec.get("selector") or {})
        return causes + _ports(obj) + service_causes(spec)

    def validate_update(self, new: Object, old: Object) -> list[Cause]:
        causes = self.validate(new)
        before, after = old["spec"].get("clusterIP", ""), new["spec"].get("clusterIP", "")
        both = "ExternalName" not in (new["spec"]["type"], old["spec"]["type"])
        if both and before and after != before:
            rule = "may not change once set"
            causes.append(invalid("spec.clusterIPs[0]", after, rule))
        return causes

    def claims(self, obj: Object) -> dict[str, bytes]:
        owner = f"{obj['metadata'].get('namespace')}/{obj['metadata'].get('name')}".encode()
        spec = obj["spec"]
        claims: dict[str, bytes] = {}
        if needs_cluster_ip(obj) and spec.get("clusterIP"):
            address = spec["clusterIP"]
            claims[ip_claim(address)] = owner
            if not ip_errors(address):
                claims[key_of(address)] = codec.encode(ip_address(obj, address))
        for port in spec.get("ports") or ():
            if port.get("nodePort"):
                claims[port_claim(port.get("protocol", "TCP"), port["nodePort"])] = owner
        return claims


def _external_name(spec: Json) -> list[Cause]:
    causes = []
    if spec.get("clusterIP"):
        rule = "may not be set for ExternalName services"
        causes.append(forbidden("spec.clusterIPs[0]", rule))
    name = (spec.get("externalName") or "").removesuffix(".")
    if not name:
        return [*causes, required("spec.externalName")]
    return causes + all_invalid("spec.externalName", name, dns1123_subdomain_errors(name))


def _ports(obj: Object) -> list[Cause]:
    spec, causes = obj["spec"], list[Cause]()
    ports = spec.get("ports") or []
    names: set[str] = set()
    numbers: set[tuple[str, int]] = set()
    for index, port in enumerate(ports):
        field, name = f"spec.ports[{index}]", port.get("name", "")
        if not name and len(ports) > 1:
            causes.append(required(f"{field}.name"))
        elif name:
            causes += all_invalid(f"{field}.name", name, dns1123_label_errors(name))
            if name in names:
                causes.append(duplicate(f"{field}.name", name))
        names.add(name)
        number, protocol = port.get("port", 0), port.get("protocol", "")
        causes += all_invalid(f"{field}.port", number, port_number_errors(number))
        if protocol not in _PROTOCOLS:
            causes.append(unsupported(f"{field}.protocol", protocol, _PROTOCOLS))
        target = port.get("targetPort")
        if isinstance(target, str):
            causes += all_invalid(f"{field}.targetPort", target, port_name_errors(target))
        elif target is not None:
            causes += all_invalid(f"{field}.targetPort", target, port_number_errors(target))
        if port.get("nodePort") and not needs_node_ports(obj):
            rule = f"may not be used when `type` is '{spec['type']}'"
            causes.append(forbidden(f"{field}.nodePort", rule))
        if (protocol, number) in numbers:
            causes.append(duplicate(field, {"port": number, "protocol": protocol}))
        numbers.add((protocol, number))
    return causes


def _is_reachable(spec: Json) -> bool:
    """Whether a Service is there for clients outside the cluster."""
    return spec.get("type") in ("NodePort", "LoadBalancer") or bool(spec.get("externalIPs"))


def _is_balanced(spec: Json) -> bool:
    return bool(spec.get("type") == "LoadBalancer")


# What goes with the type that it was for, where nobody changed it.
_OF_TYPES = (
    ("externalTrafficPolicy", _is_reachable),
    ("healthCheckNodePort", _is_balanced),
    ("allocateLoadBalancerNodePorts", _is_balanced),
    ("loadBalancerClass", _is_balanced),
)


def _keep_allocated(new: Json, old: Json) -> None:
    """An update that leaves out what was allocated keeps it; what its type has not, it loses."""
    for name, needs in _OF_TYPES:
        if needs(old) and not needs(new) and new.get(name) == old.get(name):
            new.pop(name, None)
    if new.get("type") != "ExternalName" and old.get("type") != "ExternalName":
        if not new.get("clusterIP") and old.get("clusterIP"):
            new["clusterIP"] = old["clusterIP"]
            new["clusterIPs"] = old.get("clusterIPs") or [old["clusterIP"]]
    elif new.get("type") == "ExternalName":
        for name in ("clusterIP", "clusterIPs", "ipFamilies", "ipFamilyPolicy"):
            if new.get(name) == old.get(name):
                new.pop(name, None)
    if new.get("type") not in ("NodePort", "LoadBalancer"):
        if old.get("type") in ("NodePort", "LoadBalancer"):
            for port in new.get("ports") or ():
                port.pop("nodePort", None)
        return
    held = {(p.get("protocol"), p.get("port")): p.get("nodePort") for p in old.get("ports") or ()}
    for port in new.get("ports") or ():
        kept = held.get((port.get("protocol"), port.get("port")))
        if not port.get("nodePort") and kept:
            port["nodePort"] = kept

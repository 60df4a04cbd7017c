"""Ingresses and IngressClasses.

Source: Kubernetes API reference, networking.k8s.io/v1; texts of upstream's validation.
"""

from __future__ import annotations

import ipaddress
import re
from typing import Final

from apiserver.registry.causes import all_invalid, forbidden, invalid, required, too_long
from apiserver.registry.columns import AGE, NAME, cell, columns
from apiserver.registry.paths import Place, at
from apiserver.registry.resource import Resource
from apiserver.registry.rules import RuleStrategy, named, needed, one_of
from kubraft.api.errors import Cause
from kubraft.api.gvk import GroupVersionKind
from kubraft.api.names import (
    dns1123_label_errors,
    dns1123_subdomain_errors,
    path_segment_errors,
    port_name_errors,
    port_number_errors,
)
from kubraft.api.object import Object, annotations_of

INGRESS = GroupVersionKind("networking.k8s.io", "v1", "Ingress")
INGRESS_CLASS = GroupVersionKind("networking.k8s.io", "v1", "IngressClass")

CLASS_ANNOTATION: Final = "kubernetes.io/ingress.class"
_CONTROLLER_MAX: Final = 250
_HOSTS_SHOWN: Final = 3
_SEQUENCES: Final = ("//", "/./", "/../", "%2f", "%2F")
_SUFFIXES: Final = ("/..", "/.")
_WILDCARD = r"\*\.[a-z0-9]([-a-z0-9]*[a-z0-9])?(\.[a-z0-9]([-a-z0-9]*[a-z0-9])?)*"
_WILDCARD_TEXT = (
    "a wildcard DNS-1123 subdomain must start with '*.', followed by a valid DNS subdomain, which "
    "must consist of lower case alphanumeric characters, '-' or '.' and end with an alphanumeric "
    f"character (e.g. '*.example.com', regex used for validation is '{_WILDCARD}')"
)


def _some_backend(place: Place) -> list[Cause]:
    spec = place.value or {}
    if spec.get("rules") or spec.get("defaultBackend") is not None:
        return []
    text = "either `defaultBackend` or `rules` must be specified"
    return [invalid("spec", spec.get("rules"), text)]


def _host(place: Place) -> list[Cause]:
    host = place.value
    if not host:
        return []
    causes: list[Cause] = []
    try:
        ipaddress.ip_address(host)
    except ValueError:
        pass
    else:
        causes.append(invalid(place.field, host, "must be a DNS name, not an IP address"))
    return causes + _names_host(place)


def _names_host(place: Place) -> list[Cause]:
    host = str(place.value or "")
    if "*" in host:
        fits = re.fullmatch(_WILDCARD, host)
        return [] if fits else [invalid(place.field, host, _WILDCARD_TEXT)]
    return all_invalid(place.field, host, dns1123_subdomain_errors(host)) if host else []


def _path(place: Place) -> list[Cause]:
    kind, path = place.value.get("pathType"), place.value.get("path") or ""
    field = f"{place.field}.path"
    if kind is None:
        return [required(f"{place.field}.pathType", "pathType must be specified")]
    causes: list[Cause] = []
    strict = kind in ("Exact", "Prefix")
    if not path.startswith("/") and (path or strict):
        causes.append(invalid(field, path, "must be an absolute path"))
    if strict:
        causes += [
            invalid(field, path, f"must not contain '{part}'")
            for part in _SEQUENCES
            if part in path
        ]
        causes += [
            invalid(field, path, f"cannot end with '{end}'")
            for end in _SUFFIXES
            if path.endswith(end)
        ]
    return causes


def _backend(place: Place) -> list[Cause]:
    backend, field = place.value, place.field
    if not isinstance(backend, dict):
        return []
    service, resource = backend.get("service"), backend.get("resource")
    if service is not None and resource is not None:
        return [invalid(field, "", "cannot set both resource and service backends")]
    if resource is not None:
        return _reference(resource, f"{field}.resource")
    if service is None:
        return [invalid(field, "", "resource or service backend is required")]
    causes: list[Cause] = []
    if name := service.get("name"):
        causes += all_invalid(f"{field}.service.name", name, dns1123_label_errors(name))
    else:
        causes.append(required(f"{field}.service.name"))
    port = service.get("port") or {}
    port_name, number = port.get("name"), port.get("number")
    if port_name and number:
        causes.append(invalid(field, "", "cannot set both port name & port number"))
    elif port_name:
        path = f"{field}.service.port.name"
        causes += all_invalid(path, port_name, port_name_errors(port_name))
    elif number:
        path = f"{field}.service.port.number"
        causes += all_invalid(path, number, port_number_errors(number))
    else:
        causes.append(required(field, "port name or number is required"))
    return causes


def _reference(reference: Object, field: str) -> list[Cause]:
    causes: list[Cause] = []
    if group := reference.get("apiGroup"):
        causes += all_invalid(f"{field}.apiGroup", group, dns1123_subdomain_errors(group))
    for name in ("kind", "name"):
        if value := reference.get(name):
            causes += all_invalid(f"{field}.{name}", value, path_segment_errors(value))
        else:
            causes.append(required(f"{field}.{name}"))
    return causes


def _parameters(place: Place) -> list[Cause]:
    parameters = place.value
    if parameters is None:
        return []
    causes = _reference(parameters, place.field)
    scope, namespace = parameters.get("scope"), parameters.get("namespace")
    field = f"{place.field}.namespace"
    if scope == "Namespace":
        if namespace is None:
            causes.append(required(field, "`parameters.scope` is set to 'Namespace'"))
        else:
            causes += all_invalid(field, namespace, dns1123_label_errors(namespace))
    elif scope == "Cluster" and namespace is not None:
        causes.append(forbidden(field, "`parameters.scope` is set to 'Cluster'"))
    return causes


def _controller(place: Place) -> list[Cause]:
    controller = place.value
    if len(controller) > _CONTROLLER_MAX:
        return [too_long(place.field, _CONTROLLER_MAX)]
    domain, slash, path = controller.partition("/")
    if not slash or not domain or not path:
        text = 'must be a domain-prefixed path (such as "acme.io/foo")'
        return [invalid(place.field, controller, text)]
    return all_invalid(place.field, domain, dns1123_subdomain_errors(domain))


class IngressStrategy(RuleStrategy):
    """An Ingress and its old annotation must agree when it is made."""

    def validate(self, obj: Object) -> list[Cause]:
        causes = super().validate(obj)
        said, wanted = annotations_of(obj).get(CLASS_ANNOTATION), at(obj, "spec.ingressClassName")
        if None not in (said, wanted) and said != wanted:
            text = "must match `ingressClassName` when both are specified"
            causes.append(invalid(f"annotations.{CLASS_ANNOTATION}", said, text))
        return causes

    def validate_update(self, new: Object, old: Object) -> list[Cause]:
        causes = super().validate_update(new, old)
        return [cause for cause in causes if not cause.field.startswith("annotations.")]


def _hosts(obj: Object) -> str:
    found = [rule["host"] for rule in at(obj, "spec.rules") or () if rule.get("host")]
    more = len(found) - _HOSTS_SHOWN
    shown = ",".join(found[:_HOSTS_SHOWN])
    return (f"{shown} + {more} more..." if more > 0 else shown) or "*"


def _address(obj: Object) -> str:
    entries = at(obj, "status.loadBalancer.ingress") or ()
    return ",".join(sorted({e.get("ip") or e.get("hostname") or "" for e in entries}))


def _class(obj: Object) -> str:
    named_ = at(obj, "spec.ingressClassName") or annotations_of(obj).get(CLASS_ANNOTATION)
    return str(named_ or "<none>")


def _of_class(obj: Object) -> str:
    parameters = at(obj, "spec.parameters")
    if not parameters:
        return "<none>"
    group = parameters.get("apiGroup")
    kind = f"{parameters.get('kind')}.{group}" if group else str(parameters.get("kind"))
    return f"{kind}/{parameters.get('name')}"


ROWS = (
    Resource(
        INGRESS,
        "ingresses",
        IngressStrategy(
            checks=(
                ("spec", _some_backend),
                ("spec.defaultBackend", _backend),
                ("spec.rules[].host", _host),
                ("spec.rules[].http.paths", needed()),
                ("spec.rules[].http.paths[]", _path),
                (
                    "spec.rules[].http.paths[].pathType",
                    one_of("Exact", "ImplementationSpecific", "Prefix"),
                ),
                ("spec.rules[].http.paths[].backend", _backend),
                ("spec.tls[].hosts[]", _names_host),
                ("spec.tls[].secretName", named(dns1123_subdomain_errors)),
                ("spec.ingressClassName", named(dns1123_subdomain_errors)),
            ),
            generation=True,
            status={"loadBalancer": {}},
            status_checks=(("status.loadBalancer.ingress[].hostname", _host),),
        ),
        columns(
            NAME,
            cell("Class", _class),
            cell("Hosts", _hosts),
            cell("Address", _address),
            cell("Ports", lambda obj: "80, 443" if at(obj, "spec.tls") else "80"),
            AGE,
        ),
        short_names=("ing",),
        subresources=("status",),
        folder="ingress",
    ),
    Resource(
        INGRESS_CLASS,
        "ingressclasses",
        RuleStrategy(
            defaults={"spec.parameters.scope": "Cluster"},
            checks=(
                ("spec.controller", needed(), _controller),
                ("spec.parameters.scope", one_of("Cluster", "Namespace")),
                ("spec.parameters", _parameters),
            ),
            fixed={"spec.controller": ""},
            generation=True,
        ),
        columns(
            NAME,
            cell("Controller", "spec.controller"),
            cell("Parameters", _of_class),
            AGE,
        ),
        namespaced=False,
    ),
)

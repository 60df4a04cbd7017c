"""Rules on a container beyond the schema.

Source: Kubernetes API reference, core/v1 Container; texts of upstream's validation.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping
from typing import Any

from apiserver.registry import numbers, security_context
from apiserver.registry.causes import (
    all_invalid,
    duplicate,
    forbidden,
    invalid,
    not_found,
    required,
    unsupported,
)
from apiserver.registry.downward import field_reference_causes
from kubraft.api.errors import Cause
from kubraft.api.names import (
    dns1123_label_errors,
    env_name_errors,
    port_name_errors,
    port_number_errors,
)
from kubraft.api.quantity import parse_quantity

Json = dict[str, Any]

_PROTOCOLS = ("TCP", "UDP", "SCTP")
_PULL_POLICIES = ("Always", "IfNotPresent", "Never")
_HANDLERS = ("exec", "httpGet", "tcpSocket", "grpc")
_PROBES = ("livenessProbe", "readinessProbe", "startupProbe")
_NOT_EPHEMERAL = (
    *("ports", "resources", "resizePolicy", "restartPolicy", "restartPolicyRules", "lifecycle"),
    *_PROBES,
)
_PROBE_NUMBERS = (
    "initialDelaySeconds",
    "timeoutSeconds",
    "periodSeconds",
    "successThreshold",
    "failureThreshold",
)


def validate_container(
    container: Json, path: str, volumes: Mapping[str, Json], *, kind: str
) -> list[Cause]:
    """What is wrong with a container of list `kind` ("containers", "initContainers", ...)."""
    causes: list[Cause] = []
    name, image = container.get("name", ""), container.get("image", "")
    if name:
        causes += all_invalid(f"{path}.name", name, dns1123_label_errors(name))
    else:
        causes.append(required(f"{path}.name"))
    if not image:
        causes.append(required(f"{path}.image"))
    elif image != image.strip():
        rule = "must not have leading or trailing whitespace"
        causes.append(invalid(f"{path}.image", image, rule))
    policy = container.get("imagePullPolicy", "")
    if policy not in _PULL_POLICIES:
        causes.append(unsupported(f"{path}.imagePullPolicy", policy, _PULL_POLICIES))
    causes += _ports(container, path)
    causes += _env(container, path)
    causes += _mounts(container, path, volumes)
    causes += _resources(container.get("resources") or {}, f"{path}.resources")
    causes += security_context.container_causes(container, path)
    sidecar = container.get("restartPolicy") == "Always"
    for probe in _PROBES:
        if probe in container:
            if kind == "initContainers" and not sidecar:
                rule = "may not be set for init containers without restartPolicy=Always"
                causes.append(forbidden(f"{path}.{probe}", rule))
            else:
                causes += _probe(container[probe], f"{path}.{probe}", probe)
    return causes


def validate_ephemeral(container: Json, path: str, targets: Collection[Any]) -> list[Cause]:
    """What an ephemeral container may not have; `targets` are names of the Pod's others."""
    causes: list[Cause] = []
    target = container.get("targetContainerName")
    if target and target not in targets:
        causes.append(not_found(f"{path}.targetContainerName", target))
    rule = "cannot be set for an Ephemeral Container"
    set_ = (name for name in _NOT_EPHEMERAL if container.get(name))
    causes += [forbidden(f"{path}.{name}", rule) for name in set_]
    for index, mount in enumerate(container.get("volumeMounts") or ()):
        causes += [
            forbidden(f"{path}.volumeMounts[{index}].{name}", rule)
            for name in ("subPath", "subPathExpr")
            if mount.get(name)
        ]
    return causes


def _ports(container: Json, path: str) -> list[Cause]:
    causes: list[Cause] = []
    names: set[str] = set()
    for index, port in enumerate(container.get("ports") or ()):
        field = f"{path}.ports[{index}]"
        if name := port.get("name"):
            causes += all_invalid(f"{field}.name", name, port_name_errors(name))
            if name in names:
                causes.append(duplicate(f"{field}.name", name))
            names.add(name)
        number = port.get("containerPort", 0)
        if not number:
            causes.append(required(f"{field}.containerPort"))
        else:
            causes += all_invalid(f"{field}.containerPort", number, port_number_errors(number))
        if host_port := port.get("hostPort"):
            causes += all_invalid(f"{field}.hostPort", host_port, port_number_errors(host_port))
        if port.get("protocol") not in _PROTOCOLS:
            causes.append(unsupported(f"{field}.protocol", port.get("protocol", ""), _PROTOCOLS))
    return causes


def _env(container: Json, path: str) -> list[Cause]:
    causes: list[Cause] = []
    for index, variable in enumerate(container.get("env") or ()):
        field = f"{path}.env[{index}]"
        if not variable.get("name"):
            causes.append(required(f"{field}.name"))
        else:
            name = variable["name"]
            causes += all_invalid(f"{field}.name", name, env_name_errors(name))
        source = variable.get("valueFrom")
        if source is None:
            continue
        if variable.get("value"):
            rule = "may not be specified when `value` is not empty"
            causes.append(invalid(f"{field}.valueFrom", "", rule))
        if len(source) != 1:
            rule = (
                "may not have more than one field specified at a time"
                if source
                else "must specify one of: `fieldRef`, `resourceFieldRef`, `configMapKeyRef`, "
                "`secretKeyRef` or `fileKeyRef`"
            )
            causes.append(invalid(f"{field}.valueFrom", "", rule))
        if "fieldRef" in source:
            causes += field_reference_causes(source["fieldRef"], f"{field}.valueFrom.fieldRef")
    return causes


def _mounts(container: Json, path: str, volumes: Mapping[str, Json]) -> list[Cause]:
    causes: list[Cause] = []
    places: set[str] = set()
    for index, mount in enumerate(container.get("volumeMounts") or ()):
        field = f"{path}.volumeMounts[{index}]"
        name, place = mount.get("name", ""), mount.get("mountPath", "")
        if not name:
            causes.append(required(f"{field}.name"))
        elif name not in volumes:
            causes.append(not_found(f"{field}.name", name))
        if not place:
            causes.append(required(f"{field}.mountPath"))
        elif place in places:
            causes.append(invalid(f"{field}.mountPath", place, "must be unique"))
        places.add(place)
        sub_path = mount.get("subPath", "")
        if sub_path.startswith("/"):
            causes.append(invalid(f"{field}.subPath", sub_path, "must be a relative path"))
        elif ".." in sub_path.split("/"):
            causes.append(invalid(f"{field}.subPath", sub_path, "must not contain '..'"))
    return causes


def _resources(resources: Json, path: str) -> list[Cause]:
    limits, requests = resources.get("limits") or {}, resources.get("requests") or {}
    causes = numbers.amounts(f"{path}.limits", limits, of_container=True)
    causes += numbers.amounts(f"{path}.requests", requests, of_container=True)
    if causes:
        return causes
    for name, amount in requests.items():
        if name in limits and parse_quantity(amount) > parse_quantity(limits[name]):
            rule = f"must be less than or equal to {name} limit of {limits[name]}"
            causes.append(invalid(f"{path}.requests", amount, rule))
    return causes


def _probe(probe: Json, path: str, kind: str) -> list[Cause]:
    causes: list[Cause] = []
    handlers = [name for name in _HANDLERS if name in probe]
    if not handlers:
        causes.append(required(path, "must specify a handler type"))
    causes += [
        forbidden(f"{path}.{name}", "may not specify more than 1 handler type")
        for name in handlers[1:]
    ]
    for name in _PROBE_NUMBERS:
        causes += numbers.non_negative(f"{path}.{name}", probe)
    if kind != "readinessProbe" and probe.get("successThreshold", 1) != 1:
        field = f"{path}.successThreshold"
        causes.append(invalid(field, probe["successThreshold"], "must be 1"))
    if "exec" in probe and not probe["exec"].get("command"):
        causes.append(required(f"{path}.exec.command"))
    for name in ("httpGet", "tcpSocket", "grpc"):
        if name in probe:
            causes += _handler_port(probe[name].get("port"), f"{path}.{name}.port")
    return causes


def _handler_port(port: Any, field: str) -> list[Cause]:
    if isinstance(port, str):
        return all_invalid(field, port, port_name_errors(port))
    return all_invalid(field, port or 0, port_number_errors(port or 0))

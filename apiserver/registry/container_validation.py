"""Rules on a container beyond the schema.

Source: Kubernetes API reference, core/v1 Container; texts of upstream's validation.
"""

from __future__ import annotations

import re
from collections.abc import Collection, Mapping, Sequence
from typing import Any

from apiserver.registry import numbers, security_context
from apiserver.registry.amounts_validation import container_resource_causes
from apiserver.registry.causes import (
    all_invalid,
    duplicate,
    forbidden,
    invalid,
    not_found,
    required,
    unsupported,
)
from apiserver.registry.environment_validation import environment_causes
from kubraft.api.errors import Cause
from kubraft.api.names import (
    dns1123_label_errors,
    port_name_errors,
    port_number_errors,
)

Json = dict[str, Any]

_PROTOCOLS = ("TCP", "UDP", "SCTP")
_PULL_POLICIES = ("Always", "IfNotPresent", "Never")
_HANDLERS = ("exec", "httpGet", "tcpSocket", "grpc")
_SCHEMES = ("HTTP", "HTTPS")
_TERMINATION_POLICIES = ("FallbackToLogsOnError", "File")
_HEADER = re.compile("[-A-Za-z0-9]+")
_HEADER_RULE = (
    "a valid HTTP header must consist of alphanumeric characters or '-' (e.g. 'X-Header-Name', "
    "regex used for validation is '[-A-Za-z0-9]+')"
)
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
    causes += environment_causes(container, path, volumes)
    causes += container_resource_causes(container.get("resources") or {}, f"{path}.resources")
    causes += security_context.container_causes(container, path)
    causes += _termination(container, path)
    sidecar = container.get("restartPolicy") == "Always"
    if "lifecycle" in container and kind != "ephemeralContainers":
        if kind == "initContainers" and not sidecar:
            rule = "may not be set for init containers without restartPolicy=Always"
            causes.append(forbidden(f"{path}.lifecycle", rule))
        else:
            causes += _lifecycle(container["lifecycle"], f"{path}.lifecycle")
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


def _termination(container: Json, path: str) -> list[Cause]:
    policy = container.get("terminationMessagePolicy", "")
    if not policy:
        return [required(f"{path}.terminationMessagePolicy")]
    if policy not in _TERMINATION_POLICIES:
        field = f"{path}.terminationMessagePolicy"
        return [unsupported(field, policy, _TERMINATION_POLICIES)]
    return []


def _lifecycle(lifecycle: Json, path: str) -> list[Cause]:
    causes: list[Cause] = []
    for hook in ("postStart", "preStop"):
        if lifecycle.get(hook) is not None:
            causes += _handler(lifecycle[hook], f"{path}.{hook}", (*_HANDLERS[:3], "sleep"))
    return causes


def _handler(handler: Json, path: str, kinds: Sequence[str]) -> list[Cause]:
    """What a probe or hook does: one thing, and that completely."""
    causes: list[Cause] = []
    found = [name for name in kinds if name in handler]
    if not found:
        causes.append(required(path, "must specify a handler type"))
    causes += [
        forbidden(f"{path}.{name}", "may not specify more than 1 handler type")
        for name in found[1:]
    ]
    if "exec" in handler and not handler["exec"].get("command"):
        causes.append(required(f"{path}.exec.command"))
    for name in ("httpGet", "tcpSocket", "grpc"):
        if name in handler:
            causes += _handler_port(handler[name].get("port"), f"{path}.{name}.port")
    if "httpGet" in handler:
        causes += _http_get(handler["httpGet"], f"{path}.httpGet")
    return causes


def _http_get(request: Json, path: str) -> list[Cause]:
    causes: list[Cause] = []
    if not request.get("path"):
        causes.append(required(f"{path}.path"))
    if request.get("scheme") not in _SCHEMES:
        causes.append(unsupported(f"{path}.scheme", request.get("scheme", ""), _SCHEMES))
    for header in request.get("httpHeaders") or ():
        name = header.get("name", "")
        if not _HEADER.fullmatch(name):
            causes.append(invalid(f"{path}.httpHeaders", name, _HEADER_RULE))
    return causes


def _probe(probe: Json, path: str, kind: str) -> list[Cause]:
    causes = _handler(probe, path, _HANDLERS)
    for name in _PROBE_NUMBERS:
        causes += numbers.non_negative(f"{path}.{name}", probe)
    if kind != "readinessProbe" and probe.get("successThreshold", 1) != 1:
        field = f"{path}.successThreshold"
        causes.append(invalid(field, probe["successThreshold"], "must be 1"))
    grace = probe.get("terminationGracePeriodSeconds")
    if grace is not None and kind == "readinessProbe":
        rule = "must not be set for readinessProbes"
        causes.append(invalid(f"{path}.terminationGracePeriodSeconds", grace, rule))
    elif grace is not None and grace <= 0:
        field = f"{path}.terminationGracePeriodSeconds"
        causes.append(invalid(field, grace, "must be greater than 0"))
    return causes


def _handler_port(port: Any, field: str) -> list[Cause]:
    if isinstance(port, str):
        return all_invalid(field, port, port_name_errors(port))
    return all_invalid(field, port or 0, port_number_errors(port or 0))

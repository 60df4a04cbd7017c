"""APIServices: which server has a version of a group.

Source: Kubernetes API reference, apiregistration.k8s.io/v1; texts of kube-aggregator's validation.
"""

from __future__ import annotations

import base64
import binascii
from typing import Any, Final

from apiserver.registry.causes import all_invalid, invalid, required
from apiserver.registry.columns import AGE, NAME, cell, columns
from apiserver.registry.paths import Place, at
from apiserver.registry.resource import Resource
from apiserver.registry.rules import RuleStrategy, one_of
from kubraft.api.conditions import conditions_of, find_condition
from kubraft.api.errors import Cause
from kubraft.api.gvk import GroupVersionKind
from kubraft.api.names import (
    dns1035_label_errors,
    dns1123_subdomain_errors,
    path_segment_errors,
    port_number_errors,
)
from kubraft.api.object import Object

API_SERVICE: Final = GroupVersionKind("apiregistration.k8s.io", "v1", "APIService")
_GROUP_PRIORITY_MAX: Final = 20_000
_VERSION_PRIORITY_MAX: Final = 1_000
_CORE_TEXT: Final = "only v1 may have an empty group and it better be legacy kube"


def local_condition(now: str) -> Object:
    """The condition of an APIService that this server has itself."""
    return {
        "type": "Available",
        "status": "True",
        "lastTransitionTime": now,
        "reason": "Local",
        "message": "Local APIServices are always available",
    }


def _prepare(obj: Object) -> None:
    if not at(obj, "spec.service"):
        condition = local_condition(obj["metadata"]["creationTimestamp"])
        obj["status"] = {"conditions": [condition]}


def _rules(place: Place) -> list[Cause]:
    obj: Object = place.value
    spec = obj.get("spec")
    if not isinstance(spec, dict):
        return []
    group, version = spec.get("group") or "", spec.get("version") or ""
    name, wanted = obj["metadata"].get("name", ""), f"{version}.{group}"
    causes: list[Cause] = []
    if name != wanted and not path_segment_errors(name):
        text = f'must be `spec.version+"."+spec.group`: "{wanted}"'
        causes.append(invalid("metadata.name", name, text))
    if not group and version != "v1":
        causes.append(required("spec.group", _CORE_TEXT))
    if group:
        causes += all_invalid("spec.group", group, dns1123_subdomain_errors(group))
    causes += all_invalid("spec.version", version, dns1035_label_errors(version))
    causes += _priority(spec, "groupPriorityMinimum", _GROUP_PRIORITY_MAX)
    causes += _priority(spec, "versionPriority", _VERSION_PRIORITY_MAX)
    service = spec.get("service")
    return causes + (_remote(spec, service) if isinstance(service, dict) else _local(spec))


def _priority(spec: Object, name: str, most: int) -> list[Cause]:
    value = spec.get(name) or 0
    if isinstance(value, int) and 0 < value <= most:
        return []
    return [invalid(f"spec.{name}", value, f"must be positive and less than {most}")]


def _local(spec: Object) -> list[Cause]:
    causes: list[Cause] = []
    if bundle := spec.get("caBundle"):
        size = f"{_size(bundle)} bytes"
        causes.append(invalid("spec.caBundle", size, "local APIServices may not have a caBundle"))
    if spec.get("insecureSkipTLSVerify"):
        text = "local APIServices may not have insecureSkipTLSVerify"
        causes.append(invalid("spec.insecureSkipTLSVerify", True, text))
    return causes


def _remote(spec: Object, service: Object) -> list[Cause]:
    causes = [
        required(f"spec.service.{name}") for name in ("namespace", "name") if not service.get(name)
    ]
    port = service.get("port", 443)
    if isinstance(port, int) and (errors := port_number_errors(port)):
        text = f"port is not valid: {', '.join(errors)}"
        causes.append(invalid("spec.service.port", port, text))
    if spec.get("insecureSkipTLSVerify") and spec.get("caBundle"):
        text = "may not be true if caBundle is present"
        causes.append(invalid("spec.insecureSkipTLSVerify", True, text))
    return causes


def _size(bundle: Any) -> int:
    try:
        return len(base64.b64decode(str(bundle), validate=True))
    except (binascii.Error, ValueError):
        return len(str(bundle))


def _service(obj: Object) -> str:
    service = at(obj, "spec.service")
    return f"{service.get('namespace')}/{service.get('name')}" if service else "Local"


def _available(obj: Object) -> str:
    condition = find_condition(conditions_of(obj), "Available")
    if condition is None:
        return "Unknown"
    status, reason = condition.get("status", ""), condition.get("reason")
    return f"{status} ({reason})" if status != "True" and reason else status


ROWS = (
    Resource(
        API_SERVICE,
        "apiservices",
        RuleStrategy(
            name=path_segment_errors,
            defaults={"spec.service.port": 443},
            checks=(("", _rules),),
            status={},
            status_checks=(("status.conditions[].status", one_of("True", "False", "Unknown")),),
            prepare=_prepare,
        ),
        columns(NAME, cell("Service", _service), cell("Available", _available), AGE),
        namespaced=False,
        categories=("api-extensions",),
        subresources=("status",),
        folder="apiregistration.k8s.io/apiservices",
    ),
)

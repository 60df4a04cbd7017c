"""Defaults of Pods and Pod templates.

Source: Kubernetes API reference, core/v1 PodSpec, Container, Probe, Volume ("Defaults to ...").
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

from kubraft.api.quantity import canonical

PROJECTED_MODE = 0o644
TOKEN_EXPIRATION_S = 3600
_PROBES = ("livenessProbe", "readinessProbe", "startupProbe")
_CONTAINER_LISTS = ("initContainers", "containers", "ephemeralContainers")
_MODED_VOLUMES = ("secret", "configMap", "downwardAPI", "projected")

Json = dict[str, Any]


def default_pod_spec(spec: Json, *, is_pod: bool) -> None:
    """Fill in a Pod's spec; requests follow limits in a Pod, not yet in a template."""
    spec.setdefault("restartPolicy", "Always")
    spec.setdefault("dnsPolicy", "ClusterFirst")
    spec.setdefault("schedulerName", "default-scheduler")
    spec.setdefault("terminationGracePeriodSeconds", 30)
    spec.setdefault("securityContext", {})
    if is_pod:
        spec.setdefault("enableServiceLinks", True)
    account = spec.get("serviceAccountName") or spec.get("serviceAccount")
    if account:
        spec["serviceAccountName"] = spec["serviceAccount"] = account
    for container in containers(spec):
        _default_container(container, host_network=bool(spec.get("hostNetwork")))
        if is_pod:
            _requests_from_limits(container)
    for volume in spec.get("volumes") or ():
        _default_volume(volume)
    for amounts in (spec.get("overhead"), *(spec.get("resources") or {}).values()):
        canonical_amounts(amounts)


def containers(spec: Json) -> Iterable[Json]:
    """All containers of a Pod's spec, of all three lists."""
    for name in _CONTAINER_LISTS:
        yield from spec.get(name) or ()


def canonical_amounts(amounts: Any) -> None:
    """Write each quantity of a resource list as the API writes it; leaves alone what is none."""
    if not isinstance(amounts, dict):
        return
    for name, amount in amounts.items():
        try:
            amounts[name] = canonical(amount)
        except (ValueError, TypeError, ArithmeticError):
            continue  # validation names it


def _default_container(container: Json, *, host_network: bool) -> None:
    container.setdefault("terminationMessagePath", "/dev/termination-log")
    container.setdefault("terminationMessagePolicy", "File")
    container.setdefault("imagePullPolicy", _pull_policy(container.get("image", "")))
    resources = container.setdefault("resources", {})
    for kind in ("limits", "requests"):
        canonical_amounts(resources.get(kind))
    for port in container.get("ports") or ():
        port.setdefault("protocol", "TCP")
        if host_network and not port.get("hostPort") and "containerPort" in port:
            port["hostPort"] = port["containerPort"]
    for variable in container.get("env") or ():
        _default_field_ref(variable.get("valueFrom") or {})
    for name in _PROBES:
        if container.get(name) is not None:
            _default_probe(container[name])
    for hook in (container.get("lifecycle") or {}).values():
        if isinstance(hook, dict):
            _default_http_get(hook)


def _pull_policy(image: str) -> str:
    if "@" in image:
        return "IfNotPresent"
    tag = image.rpartition("/")[2].partition(":")[2]
    return "Always" if tag in ("", "latest") else "IfNotPresent"


def _default_probe(probe: Json) -> None:
    for name, value in (
        ("timeoutSeconds", 1),
        ("periodSeconds", 10),
        ("successThreshold", 1),
        ("failureThreshold", 3),
    ):
        if not probe.get(name):
            probe[name] = value
    _default_http_get(probe)
    if isinstance(probe.get("grpc"), dict):
        probe["grpc"].setdefault("service", "")


def _default_http_get(handler: Json) -> None:
    http_get = handler.get("httpGet")
    if isinstance(http_get, dict):
        http_get.setdefault("path", "/")
        http_get.setdefault("scheme", "HTTP")


def _default_field_ref(source: Json) -> None:
    if isinstance(source.get("fieldRef"), dict):
        source["fieldRef"].setdefault("apiVersion", "v1")
    if isinstance(source.get("resourceFieldRef"), dict):
        source["resourceFieldRef"].setdefault("divisor", "0")


def _requests_from_limits(container: Json) -> None:
    resources = container["resources"]
    limits = resources.get("limits")
    if limits:
        requests = resources.setdefault("requests", {})
        for name, amount in limits.items():
            requests.setdefault(name, amount)


def _default_volume(volume: Json) -> None:
    if set(volume) <= {"name"}:
        volume["emptyDir"] = {}
    for name in _MODED_VOLUMES:
        if isinstance(volume.get(name), dict):
            volume[name].setdefault("defaultMode", PROJECTED_MODE)
    if isinstance(volume.get("hostPath"), dict):
        volume["hostPath"].setdefault("type", "")
    empty_dir = volume.get("emptyDir")
    if isinstance(empty_dir, dict) and "sizeLimit" in empty_dir:
        size = {"sizeLimit": empty_dir["sizeLimit"]}
        canonical_amounts(size)
        empty_dir.update(size)
    for item in (volume.get("downwardAPI") or {}).get("items") or ():
        _default_field_ref(item)
    for source in (volume.get("projected") or {}).get("sources") or ():
        if isinstance(source.get("serviceAccountToken"), dict):
            source["serviceAccountToken"].setdefault("expirationSeconds", TOKEN_EXPIRATION_S)
        for item in (source.get("downwardAPI") or {}).get("items") or ():
            _default_field_ref(item)

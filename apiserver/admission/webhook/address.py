"""Where a webhook listens: a URL, or a Service that is resolved to one of its ready Pods.

Source: admissionregistration.k8s.io/v1 WebhookClientConfig; upstream's service resolvers.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from random import Random
from typing import Any, Final, NamedTuple
from urllib.parse import urlsplit

from apiserver.reader import Reader
from apiserver.registry.kinds.networking import ENDPOINT_SLICE
from kubraft.api.gvk import POD, SERVICE
from kubraft.api.labels import selector_from_labels
from kubraft.api.object import Object, labels_of

PORT_DEFAULT: Final = 443
SERVICE_LABEL: Final = "kubernetes.io/service-name"


class NoAddressError(ValueError):
    """There is nowhere to connect to; the message says why, in upstream's words."""


class Address(NamedTuple):
    """`url` is connected to; `shown` stands in messages; the certificate is that of `server`."""

    url: str
    shown: str
    server: str
    host: str


def resolve(config: Mapping[str, Any], reader: Reader, rng: Random) -> Address:
    """The address of a clientConfig at this moment.

    Raises:
        NoAddressError: it has none.
    """
    service = config.get("service")
    if not isinstance(service, dict):
        return _of_url(str(config.get("url") or ""))
    name, namespace = str(service.get("name", "")), str(service.get("namespace", ""))
    path = str(service.get("path") or "")
    path = path if path.startswith("/") or not path else f"/{path}"
    port = int(service.get("port") or PORT_DEFAULT)
    server = f"{name}.{namespace}.svc"
    found = reader.get(SERVICE, namespace, name)
    if found is None:
        raise NoAddressError(f'service "{name}" not found')
    host, target = _endpoint(found, port, reader, rng)
    shown = f"https://{server}:{port}{path}"
    return Address(f"https://{_bracketed(host)}:{target}{path}", shown, server, f"{server}:{port}")


def _of_url(url: str) -> Address:
    if not url:
        raise NoAddressError("webhook configuration must have either service or URL")
    try:
        parts = urlsplit(url)
        host, _ = parts.hostname, parts.port
    except ValueError as error:
        raise NoAddressError(f"Unparsable URL: {error}") from error
    if parts.scheme != "https" or not host:
        raise NoAddressError(f"Unparsable URL: {url[:256]}")
    return Address(url, url, host, parts.netloc.rpartition("@")[2])


def _endpoint(service: Object, port: int, reader: Reader, rng: Random) -> tuple[str, int]:
    """Host and port of one of those behind a Service."""
    spec, metadata = service.get("spec") or {}, service["metadata"]
    if spec.get("type") == "ExternalName":
        return str(spec.get("externalName")), port
    row = next((each for each in spec.get("ports") or () if each.get("port") == port), None)
    if row is None:
        raise NoAddressError(f'no service port {port} found for service "{metadata["name"]}"')
    if not spec.get("selector"):
        if listed := list(_of_slices(metadata, row, reader)):
            return rng.choice(listed)
        if spec.get("clusterIP") in (None, "", "None"):
            raise NoAddressError(f'no endpoints available for service "{metadata["name"]}"')
        return str(spec["clusterIP"]), port
    ready = ready_endpoints(service, row, reader)
    if not ready:
        raise NoAddressError(f'no endpoints available for service "{metadata["name"]}"')
    pod, target = rng.choice(ready)
    return str(pod["status"]["podIP"]), target


def _of_slices(
    metadata: Object, row: Mapping[str, Any], reader: Reader
) -> Iterator[tuple[str, int]]:
    """The ready endpoints that somebody wrote down for a port of a Service."""
    for each in reader.list(ENDPOINT_SLICE, metadata["namespace"]):
        if labels_of(each).get(SERVICE_LABEL) != metadata["name"]:
            continue
        ports = [
            int(port["port"])
            for port in each.get("ports") or ()
            if (port.get("name") or "") == (row.get("name") or "") and port.get("port")
        ]
        for endpoint in each.get("endpoints") or ():
            if (endpoint.get("conditions") or {}).get("ready") is not False:
                for address in endpoint.get("addresses") or ():
                    yield from ((str(address), port) for port in ports)


def ready_endpoints(
    service: Object, row: Mapping[str, Any], reader: Reader
) -> list[tuple[Object, int]]:
    """The ready Pods behind a Service, with the number of the port that `row` of it leads to."""
    selector = (service.get("spec") or {}).get("selector")
    if not selector:
        return []
    chosen = selector_from_labels(selector)
    return [
        (pod, target)
        for pod in reader.list(POD, service["metadata"]["namespace"])
        if chosen.matches(pod["metadata"].get("labels") or {}) and _is_ready(pod)
        if (target := _target_port(row, pod))
    ]


def _is_ready(pod: Object) -> bool:
    status = pod.get("status") or {}
    if pod["metadata"].get("deletionTimestamp") or not status.get("podIP"):
        return False
    return any(
        c.get("type") == "Ready" and c.get("status") == "True"
        for c in status.get("conditions") or ()
    )


def _target_port(row: Mapping[str, Any], pod: Object) -> int:
    """The number of a Service's target port in a Pod; 0 where the Pod has no port of the name."""
    target = row.get("targetPort") or row["port"]
    if isinstance(target, int):
        return target
    for container in (pod.get("spec") or {}).get("containers") or ():
        for port in container.get("ports") or ():
            if port.get("name") == target:
                return int(port.get("containerPort") or 0)
    return 0


def _bracketed(host: str) -> str:
    return f"[{host}]" if ":" in host else host
